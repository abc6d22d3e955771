"""The lock files contain an allowed version of every requirement in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
GATEWAY_LOCK = "deploy/gateway/requirements.lock"
PIN_PATTERN = re.compile(
    r"^([\w.-]+)==([^\s;]+)((?: ;[^\\]*)?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.M
)


def parse_lock(text: str) -> dict[str, list[str]]:
    """The versions of each package in a lock file: several if they differ by Python version."""
    found: dict[str, list[str]] = {}
    for name, version, _, _ in PIN_PATTERN.findall(text):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def unmet_requirements(required: list[str], pins: dict[str, list[str]]) -> list[str]:
    """The requirements that the lock file does not satisfy."""
    lines = []
    for line in required:
        requirement = Requirement(line)
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(each) for each in versions):
            lines.append(f"{line}: {', '.join(versions) or 'not locked'}; run `make lock`")
    return lines


def load_pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*, dev: bool) -> list[str]:
    named = load_pyproject()
    found = [*named["project"]["dependencies"], *named["dependency-groups"]["build"]]
    return found + (named["project"]["optional-dependencies"]["dev"] if dev else [])


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_satisfies_the_ranges(file: str) -> None:
    pins = parse_lock((ROOT / file).read_text())
    assert unmet_requirements(requirements(dev="dev" in file), pins) == []


def test_the_lock_of_the_gateway_satisfies_its_ranges_which_are_those_of_the_package() -> None:
    groups, named = load_pyproject()["dependency-groups"], load_pyproject()["project"]
    pins = parse_lock((ROOT / GATEWAY_LOCK).read_text())
    assert unmet_requirements([*groups["gateway"], *groups["build"]], pins) == []
    assert set(groups["gateway"]) <= set(named["dependencies"])
    versions = parse_lock((ROOT / "requirements.lock").read_text())
    assert {name: one for name, one in pins.items() if versions.get(name) != one} == {}


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock", GATEWAY_LOCK])
def test_every_line_of_a_lock_is_a_pin_with_hashes(file: str) -> None:
    rest = PIN_PATTERN.sub("", (ROOT / file).read_text())
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []


def test_what_runs_is_tested_in_the_same_version() -> None:
    run = parse_lock((ROOT / "requirements.lock").read_text())
    dev = parse_lock((ROOT / "requirements-dev.lock").read_text())
    assert {name: dev.get(name) for name in run} == run


def test_a_version_out_of_range_and_a_package_left_out_are_named() -> None:
    pins = parse_lock("httpx==0.27.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n")
    assert unmet_requirements(["httpx>=0.27,<1"], pins) == []
    assert unmet_requirements(["httpx>=0.28,<1"], pins) == [
        "httpx>=0.28,<1: 0.27.0; run `make lock`"
    ]
    assert unmet_requirements(["PyYAML"], pins) == ["PyYAML: not locked; run `make lock`"]
