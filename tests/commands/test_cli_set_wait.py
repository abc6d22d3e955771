"""`servedeck set` and `servedeck wait` as used by a script and in a terminal, on a demo cluster."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.demo.process import spawn
from tests.commands.test_cli_apply_export import run_servedeck
from tests.waiting import WAIT_SECONDS

SERVING = "chat/llama-33-70b"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


def run_set(kubeconfig: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return run_servedeck("set", "--kubeconfig", kubeconfig, SERVING, *args)


def read_field(kubeconfig: Path, field: str) -> str:
    """The line of a field in the exported YAML."""
    namespace, name = SERVING.split("/")
    text = run_servedeck("export", "--kubeconfig", kubeconfig, "-n", namespace, name).stdout
    return next((line.strip() for line in text.splitlines() if f"{field}:" in line), "")


def test_a_field_that_restarts_nothing_is_set_at_once(kubeconfig: Path) -> None:
    result = run_set(kubeconfig, "description=at once")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"{SERVING}:"
    assert result.stdout.splitlines()[-1] == "deployment.apps/llama-33-70b configured"
    again = run_set(kubeconfig, "description=at once")
    assert again.returncode == 0
    assert again.stdout == "deployment.apps/llama-33-70b unchanged\n"


def test_a_read_only_set_is_refused_before_it_asks(kubeconfig: Path) -> None:
    result = run_set(kubeconfig, "image=new:1", "--readonly")
    assert result.returncode == 1
    assert "servedeck runs with --readonly" in result.stderr
    assert "terminal" not in result.stderr
    assert "new:1" not in result.stdout
    assert run_set(kubeconfig, "image=new:1", "--readonly", "--dry-run").returncode == 0


def test_a_dry_run_shows_the_plan_and_changes_nothing(kubeconfig: Path) -> None:
    before = read_field(kubeconfig, "image")
    result = run_set(kubeconfig, "image=dry:1", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "-> dry:1 (restarts Pods)" in result.stdout
    assert "Pods restart (RollingUpdate" in result.stdout
    assert "deployment.apps/llama-33-70b configured (server dry run)" in result.stdout
    assert read_field(kubeconfig, "image") == before


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        ("image=refused:1", f"restart the Pods of {SERVING}"),
        ("replicas=0", f"scale {SERVING} to 0"),
    ],
)
def test_without_a_terminal_a_restart_is_refused_unless_confirmed(
    kubeconfig: Path, change: str, effect: str
) -> None:
    field, _, value = change.partition("=")
    result = run_set(kubeconfig, change)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"servedeck: There is no terminal to ask for a confirmation; add -y to {effect}, or "
        "--dry-run to see the plan."
    )
    assert read_field(kubeconfig, field) != f"{field}: {value}"


def test_what_is_confirmed_is_saved_and_said_as_json(kubeconfig: Path) -> None:
    result = run_set(kubeconfig, "-y", "-o", "json", "memory=900Gi", "env.API_KEY=hunter2")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["result"] == "saved"
    assert document["restartsPods"]
    assert [one["field"] for one in document["fields"]] == ["memory", "env.API_KEY"]
    assert document["applied"] == [{"kind": "Deployment", "name": "llama-33-70b"}]
    assert "hunter2" not in result.stdout + result.stderr
    assert read_field(kubeconfig, "memory") == "memory: 900Gi"


@pytest.mark.parametrize(("answer", "saved"), [("y", True), ("n", False), ("", False)])
def test_in_a_terminal_it_asks(kubeconfig: Path, answer: str, saved: bool) -> None:
    image = f"asked:{answer or 'nothing'}"
    question = f"Restart the Pods of {SERVING}? [y/N] "
    primary, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "servedeck", "set", "--kubeconfig", str(kubeconfig)),
            *(SERVING, f"image={image}"),
        ],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    try:
        shown = ""
        while question not in shown:
            shown += os.read(primary, 4096).decode()
        os.write(primary, f"{answer}\n".encode())
        process.communicate(timeout=WAIT_SECONDS)
        shown += os.read(primary, 10_000).decode()
    finally:
        process.kill()
        process.wait()
        os.close(primary)
        os.close(terminal)
    assert process.returncode == (0 if saved else 1)
    assert ("Not confirmed; nothing was changed." in shown) is not saved
    assert (read_field(kubeconfig, "image") == f"image: {image}") is saved


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("imgae=x",), 2, "servedeck: There is no field imgae; use image.\n"),
        (("nofield=1",), 2, "servedeck: There is no field nofield; "),
        (("env.NOPE-",), 2, "servedeck: There is no variable NOPE to remove.\n"),
        (("memory=x",), 2, "servedeck: memory: "),
        (("env.A.secret=x",), 2, "servedeck: The value of env.A.secret is a name and a key"),
        (("image",), 2, "servedeck: 'image' is not FIELD=VALUE; "),
        ((), 2, "FIELD=VALUE"),
        (("image=x", "-A"), 2, "in all namespaces"),
        (("image=x", "-n", "other"), 2, "name two namespaces; give one."),
    ],
)
def test_wrong_input_says_what_is_wrong(
    kubeconfig: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    result = run_set(kubeconfig, *args)
    assert result.returncode == code
    assert message in result.stderr
    assert result.stdout == ""


def test_times_for_a_probe_that_there_is_not_are_a_warning(kubeconfig: Path) -> None:
    changes = ("livenessPath=", "livenessTimes=period=30")
    first = run_set(kubeconfig, *changes, "--yes")
    assert first.returncode == 0, first.stderr
    warning = "warning: llama-33-70b: livenessTimes: No liveness probe is known that these are for;"
    assert warning in first.stderr
    assert read_field(kubeconfig, "livenessTimes") == ""
    again = run_set(kubeconfig, *changes)
    assert (again.returncode, again.stdout) == (0, "deployment.apps/llama-33-70b unchanged\n")
    assert warning in again.stderr


@pytest.mark.parametrize(("path", "value"), [("env.A.secret", "nope/key"), ("volumes./x/", "nope")])
def test_an_error_of_the_plan_names_the_entry_as_it_was_written(
    kubeconfig: Path, path: str, value: str
) -> None:
    result = run_set(kubeconfig, f"{path}={value}")
    assert result.returncode == 1
    assert f"error: llama-33-70b: {path}: " in result.stderr
    printed = run_set(kubeconfig, f"{path}={value}", "-o", "json")
    assert path in [one["field"] for one in json.loads(printed.stdout)["issues"]]


def test_a_missing_serving_is_said(kubeconfig: Path) -> None:
    result = run_servedeck("set", "--kubeconfig", kubeconfig, "chat/nope", "image=x")
    assert result.returncode == 1
    assert result.stderr == "servedeck: There is no Deployment nope in namespace chat.\n"


def test_readonly_rejects_the_change_at_once(kubeconfig: Path) -> None:
    result = run_set(kubeconfig, "description=readonly", "--readonly")
    assert result.returncode == 1
    assert "--readonly" in result.stderr
    assert result.stdout == ""
    planned = run_set(kubeconfig, "description=readonly", "--readonly", "--dry-run")
    assert (planned.returncode, "readonly" in planned.stdout) == (0, True)


def test_flags_and_changes_come_in_any_order(kubeconfig: Path) -> None:
    result = run_set(kubeconfig, "description=order", "--dry-run", "env.X=1", "-y")
    assert result.returncode == 0, result.stderr
    assert "  env.X: none -> 1" in result.stdout


# -- wait ---------------------------------------------------------------------------------------


def test_wait_ends_when_the_state_is_reached(kubeconfig: Path) -> None:
    result = run_servedeck(
        "wait", "--kubeconfig", kubeconfig, "research/mistral-7b", "--for=status=ready"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "research/mistral-7b is Ready\n"
    assert result.stderr.splitlines() == ["research/mistral-7b: Ready 1/1"]


def test_wait_says_why_the_state_is_not_reached(kubeconfig: Path) -> None:
    result = run_servedeck(
        "wait",
        "--kubeconfig",
        kubeconfig,
        "search/qwen3-embedding-8b",
        "--for=ready",
        "--timeout=0",
    )
    assert result.returncode == 1
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("servedeck: search/qwen3-embedding-8b is not Ready: ")


@pytest.mark.parametrize(
    "args", [("--for=ready", "--timeout=5"), ("--for=done",), (), ("--for=ready", "-A")]
)
def test_wait_rejects_wrong_flags(kubeconfig: Path, args: tuple[str, ...]) -> None:
    result = run_servedeck("wait", "--kubeconfig", kubeconfig, "chat/x", *args)
    assert result.returncode == 2
    assert result.stdout == ""
