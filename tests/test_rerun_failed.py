"""How CI handles tests that fail once: .ci/rerun_failed.py, on small separate pytest runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.isolation import LEAK_EXIT_CODE
from tests.waiting import WAIT_SECONDS

SCRIPT = Path(__file__).parents[1] / ".ci" / "rerun_failed.py"
PASSING_TEST = "def test_steady(): ...\n"
FLAKY_TEST = (
    "import pathlib, pytest\n"
    "@pytest.mark.parametrize('text', ['a b', '[c]'])\n"
    "def test_once(text):\n"
    "    mark = pathlib.Path('ran-' + text)\n"
    "    ran = mark.exists()\n"
    "    mark.touch()\n"
    "    assert ran or text == 'a b'\n"
)
FAILING_TEST = "def test_always(): assert False\n"


def run_rerun_script(
    folder: Path, test: str, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The completed run, and the tests that it reports as flaky."""
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    flaky = folder / "flaky"
    command = [sys.executable, str(SCRIPT), "--flaky", str(flaky)]
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    names = flaky.read_text().splitlines()
    assert [f"flaky: {name}" for name in names] == [
        line for line in done.stdout.splitlines() if line.startswith("flaky: ")
    ]
    return done, names


def test_what_passes_the_second_time_is_named_and_the_run_passes(tmp_path: Path) -> None:
    done, flaky = run_rerun_script(tmp_path, PASSING_TEST + FLAKY_TEST)
    assert (done.returncode, flaky) == (0, ["test_it.py::test_once[[c]]"]), done.stdout
    assert "2 passed" in done.stdout, "the first time"
    assert "collected 1 item" in done.stdout, "the failed one alone"


def test_what_fails_twice_fails_the_run(tmp_path: Path) -> None:
    done, flaky = run_rerun_script(tmp_path, PASSING_TEST + FLAKY_TEST + FAILING_TEST)
    assert (done.returncode, flaky) == (1, ["test_it.py::test_once[[c]]"]), done.stdout


def test_a_run_without_failures_is_run_once(tmp_path: Path) -> None:
    done, flaky = run_rerun_script(tmp_path, PASSING_TEST)
    assert (done.returncode, flaky) == (0, [])
    assert done.stdout.count("passed") == 1


@pytest.mark.parametrize(
    ("test", "arguments", "status"),
    [
        ("import os\n" + FLAKY_TEST + "def test_crash(): os._exit(1)\n", [], 1),
        ("import os\n" + FLAKY_TEST + "def test_kill(): os.kill(os.getpid(), 9)\n", [], 137),
        (FLAKY_TEST + "def test_stop(): raise KeyboardInterrupt\n", [], 2),
        (FLAKY_TEST + PASSING_TEST, ["-x"], 1),
        ("import no_such_module\n", [], 2),
        (PASSING_TEST, ["--no-such-option"], 4),
        ("", [], 5),
    ],
    ids=[
        "crashed",
        "killed",
        "interrupted",
        "stopped",
        "not collected",
        "usage",
        "no tests",
    ],
)
def test_a_run_that_did_not_go_through_fails_and_nothing_is_run_again(
    tmp_path: Path, test: str, arguments: list[str], status: int
) -> None:
    done, flaky = run_rerun_script(tmp_path, test, *arguments)
    assert (done.returncode, flaky) == (status, []), done.stdout + done.stderr
    assert "run again" not in done.stdout


def test_a_run_that_left_something_behind_fails_whatever_passes_the_second_time(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text(
        f"def pytest_sessionfinish(session): session.exitstatus = {LEAK_EXIT_CODE}\n"
    )
    done, flaky = run_rerun_script(tmp_path, FLAKY_TEST)
    assert (done.returncode, flaky) == (LEAK_EXIT_CODE, []), done.stdout


def test_a_test_that_is_skipped_the_second_time_proves_nothing(tmp_path: Path) -> None:
    test = (
        "import pathlib, pytest\n"
        "def test_it():\n"
        "    if pathlib.Path('ran').exists():\n"
        "        pytest.skip('no servers')\n"
        "    pathlib.Path('ran').touch()\n"
        "    assert False\n"
    )
    done, flaky = run_rerun_script(tmp_path, test)
    assert (done.returncode, flaky) == (1, []), done.stdout


def test_an_error_of_a_fixture_counts_as_a_failure(tmp_path: Path) -> None:
    test = (
        "import pathlib, pytest\n"
        "@pytest.fixture\n"
        "def broken():\n"
        "    yield\n"
        "    ran = pathlib.Path('ran').exists()\n"
        "    pathlib.Path('ran').touch()\n"
        "    assert ran\n"
        "def test_it(broken): ...\n"
    )
    done, flaky = run_rerun_script(tmp_path, test)
    assert (done.returncode, flaky) == (0, ["test_it.py::test_it"]), done.stdout
