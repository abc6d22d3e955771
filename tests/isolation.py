"""A pytest plugin: a test run has its own folder for temporary files and the home directory, and
fails if it leaves a file or a process behind.

Every process that the tests start inherits TMPDIR, which identifies it as part of this run.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

LEAK_EXIT_CODE = 7
"""Exit status of a run that left files or processes behind; pytest's own codes end at 6."""
GRACE_SECONDS = 60.0
"""Grace period in seconds for a process to terminate."""
BASETEMP_NAME = "pytest"
WORKER_OUTPUT_KEY = "left_behind"


def pytest_configure(config: pytest.Config) -> None:
    # A shell makes background jobs ignore the first two, nohup the last, and the tests' processes
    # would inherit that.
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Isolation(config), "isolation")
    else:
        config.pluginmanager.register(WorkerLeakCheck(), "isolation-worker")


class WorkerLeakCheck:
    """Checks for remaining child processes at the end of a pytest-xdist worker."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]
        output[WORKER_OUTPUT_KEY] = kill_remaining(psutil.Process().children(recursive=True))


class Isolation:
    """The folder, the final check and its report, in the main process."""

    def __init__(self, config: pytest.Config) -> None:
        self._saved_environ = dict(os.environ)
        self.directory = Path(tempfile.mkdtemp(prefix="servedeck-tests-"))
        self.home = self.directory / "home"
        self.tmp_directory = self.directory / "tmp"
        for each in (self.home, self.tmp_directory, self.directory / "tmux"):
            each.mkdir()
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[name]
        os.environ.pop("KUBECONFIG", None)  # no test may reach a developer's clusters
        os.environ["HOME"] = str(self.home)
        os.environ["TMPDIR"] = str(self.tmp_directory)
        os.environ["TMUX_TMPDIR"] = str(self.directory / "tmux")
        tempfile.tempdir = None
        if config.option.basetemp is None:
            config.option.basetemp = str(self.directory / BASETEMP_NAME)
        self.leaks: list[str] = []
        config.add_cleanup(self._clean_up)

    def _clean_up(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        os.environ.clear()
        os.environ.update(self._saved_environ)
        tempfile.tempdir = None

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist
    def pytest_testnodedown(self, node: Any) -> None:
        self.leaks += getattr(node, "workeroutput", {}).get(WORKER_OUTPUT_KEY, [])

    @pytest.hookimpl(trylast=True)  # after the workers have exited
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.leaks += kill_remaining(self._processes())
        self.leaks += [f"in the home directory: {name}" for name in list_names(self.home)]
        self.leaks += [
            f"in the temporary directory: {name}" for name in list_names(self.tmp_directory)
        ]
        if self.leaks and session.exitstatus in (0, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = LEAK_EXIT_CODE

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.leaks:
            terminalreporter.section("the tests left something behind", red=True)
            for line in self.leaks:
                terminalreporter.line(line)

    def _processes(self) -> list[psutil.Process]:
        """Processes of this run: its own children and orphaned ones."""
        found = set(psutil.Process().children(recursive=True))
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("TMPDIR", "").startswith(str(self.directory)):
                    found.add(process)
        return [process for process in found if process.pid != os.getpid()]


def list_names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def kill_remaining(processes: list[psutil.Process]) -> list[str]:
    """Processes that still run after the grace period, one line each; killed when this returns."""
    _, running = psutil.wait_procs(
        [each for each in processes if is_alive(each)], timeout=GRACE_SECONDS
    )
    lines = []
    for process in running:
        with suppress(psutil.NoSuchProcess):
            if is_alive(process):
                lines.append(f"process {process.pid}: {' '.join(process.cmdline())}")
                process.kill()
    return lines


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
