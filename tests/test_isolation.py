"""The checks at the end of a test run, on small separate pytest runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.isolation import LEAK_EXIT_CODE
from tests.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[1]


def run_pytest(folder: Path, test: str, workers: str = "0") -> subprocess.CompletedProcess[str]:
    """Run pytest on one file, in an environment whose temporary directory is `folder`/outer."""
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(
        "from tests import isolation\n"
        "isolation.GRACE_SECONDS = 0.2\n"
        "pytest_plugins = ['tests.isolation', 'tests.skip_summary']\n"
    )
    (folder / "outer").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", workers]
    command += ["-p", "no:cacheprovider"]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ
        | {"TMPDIR": str(folder / "outer"), "PYTHONPATH": str(ROOT)}
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_a_run_that_leaves_nothing_passes_and_says_in_one_line_what_was_skipped(
    tmp_path: Path,
) -> None:
    test = (
        "import pytest\n"
        "def test(tmp_path): (tmp_path / 'a').touch()\n"
        "@pytest.mark.parametrize('n', range(30))\n"
        "def test_real(n): pytest.skip('no servers')\n"
        "@pytest.mark.skipif(True, reason='no tmux')\n"
        "def test_other(): ...\n"
    )
    done = run_pytest(tmp_path, test, "1")
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if "no servers" in line]
    assert lines == ["skipped 30: no servers; 1: no tmux"]
    assert list((tmp_path / "outer").iterdir()) == []


@pytest.mark.parametrize("workers", ["0", "1"])
def test_files_and_processes_left_are_named_and_removed(tmp_path: Path, workers: str) -> None:
    test = (
        "import pathlib, subprocess, tempfile\n"
        "def test():\n"
        "    tempfile.mkdtemp(prefix='drafts-')\n"
        "    (pathlib.Path.home() / '.config').mkdir()\n"
        "    subprocess.Popen(['sleep', '601'], env={})\n"
        "    subprocess.run(['sh', '-c', 'sleep 602 >&2 & echo $! > orphan'])\n"
    )
    done = run_pytest(tmp_path, test, workers)
    assert done.returncode == LEAK_EXIT_CODE, done.stdout
    assert "in the temporary directory: drafts-" in done.stdout
    assert "in the home directory: .config" in done.stdout
    assert "sleep 601" in done.stdout
    assert "sleep 602" in done.stdout, "its parent has ended"
    orphan = int((tmp_path / "orphan").read_text())
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie"
    assert list((tmp_path / "outer").iterdir()) == []


def test_a_failure_stays_a_failure(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test(): assert False\n")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


def test_home_and_temporary_files_lie_in_the_folder_of_the_run() -> None:
    folder = Path(tempfile.gettempdir()).parent
    assert folder.name.startswith("servedeck-tests-")
    for path in (
        Path.home(),
        platformdirs.user_config_path("servedeck"),
        platformdirs.user_state_path("servedeck"),
        platformdirs.user_cache_path("servedeck"),
        platformdirs.user_data_path("servedeck"),
    ):
        assert path.is_relative_to(folder)
    assert "KUBECONFIG" not in os.environ


def test_every_property_is_tested_under_a_profile() -> None:
    """The result of a property test does not depend on speed or on random generation."""
    profile = settings.default
    assert profile is not None
    assert profile.deadline is None
    assert profile.print_blob
    assert {HealthCheck.too_slow, HealthCheck.filter_too_much} <= set(profile.suppress_health_check)
    assert str(ROOT / ".hypothesis") in repr(profile.database)
