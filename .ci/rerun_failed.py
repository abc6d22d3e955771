"""Runs pytest; what failed is run again once, alone. What passes then is flaky and named; what
fails twice fails the run.

    python .ci/rerun_failed.py [--flaky FILE] PYTEST_ARGUMENT...

Only failed tests of a run that went through to its end are run again: one that was interrupted or
crashed, or that left files or processes behind, fails as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OUTCOMES = "SERVEDECK_TEST_OUTCOMES"
"""Names the file that this module, as a plugin of pytest, writes at the end of a run: a JSON object
of the outcome of each test that was collected, "" for one that did not run."""

TESTS_FAILED = 1


class Recorder:
    """The plugin: what became of each test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: Any) -> None:
        self._outcomes = {item.nodeid: "" for item in session.items} | self._outcomes

    def pytest_runtest_logreport(self, report: Any) -> None:
        known = self._outcomes.get(report.nodeid)
        if known != "failed" and (report.outcome != "passed" or report.when == "call"):
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps(self._outcomes))


def pytest_configure(config: Any) -> None:
    if (file := os.environ.get(OUTCOMES)) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(file)), "outcomes")


def run(arguments: list[str], outcomes: Path) -> tuple[int, dict[str, str]]:
    """The exit status of pytest, and the outcome of each test; none where it did not come to its
    end."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    outcomes.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", Path(__file__).stem, *arguments],
        env=os.environ | {OUTCOMES: str(outcomes), "PYTHONPATH": path},
        check=False,
    )
    found = json.loads(outcomes.read_text()) if outcomes.exists() else {}
    return done.returncode, found


def run_twice(arguments: list[str], folder: Path) -> tuple[int, list[str]]:
    """The exit status to end with, and the tests that passed only the second time."""
    status, outcomes = run(arguments, folder / "first")
    failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
    if status != TESTS_FAILED or not failed or "" in outcomes.values():
        return status, []
    print(f"\n{len(failed)} failed: run again, alone", flush=True)
    names = folder / "failed"
    names.write_text("".join(f"{name}\n" for name in failed))
    status, again = run([f"@{names}"], folder / "second")
    flaky = [name for name in failed if again.get(name) == "passed"]
    if status == 0 and flaky != failed:
        status = TESTS_FAILED  # some were skipped or not found: that is no proof
    return status, flaky


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--flaky", type=Path, help="also write the names of these tests here")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        status, flaky = run_twice(arguments, Path(folder))
    for name in flaky:
        print(f"flaky: {name}", flush=True)
    if options.flaky:
        options.flaky.write_text("".join(f"{name}\n" for name in flaky))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
