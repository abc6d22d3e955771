"""A pytest plugin: a test run has a folder of its own for temporary files and for the home
directory, and fails where it leaves a file or a process behind.

Everything that the tests start inherits TMPDIR, which tells their processes from all others.
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

LEFT_BEHIND = 7
"""Exit status of a run whose tests passed but which left something behind; pytest's end at 6."""
GRACE = 60.0
"""Seconds in which a process that was told to end may do so."""
PYTEST_FOLDER = "pytest"
OUTPUT = "left_behind"


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it runs in the background ignore these, and so would what the tests start.
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Isolation(config), "isolation")
    else:
        config.pluginmanager.register(Worker(), "isolation-worker")


class Worker:
    """What one process of pytest-xdist checks before it ends: its own children."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]
        output[OUTPUT] = end_all(psutil.Process().children(recursive=True))


class Isolation:
    """The folder, the check at the end and its report: in the process that was called."""

    def __init__(self, config: pytest.Config) -> None:
        self._before = dict(os.environ)
        self.folder = Path(tempfile.mkdtemp(prefix="servedeck-tests-"))
        self.home = self.folder / "home"
        self.temporary = self.folder / "tmp"
        for each in (self.home, self.temporary, self.folder / "tmux"):
            each.mkdir()
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[name]
        os.environ.pop("KUBECONFIG", None)  # no test may reach a developer's clusters
        os.environ["HOME"] = str(self.home)
        os.environ["TMPDIR"] = str(self.temporary)
        os.environ["TMUX_TMPDIR"] = str(self.folder / "tmux")
        tempfile.tempdir = None
        if config.option.basetemp is None:
            config.option.basetemp = str(self.folder / PYTEST_FOLDER)
        self.left: list[str] = []
        config.add_cleanup(self._close)

    def _close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ.clear()
        os.environ.update(self._before)
        tempfile.tempdir = None

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist
    def pytest_testnodedown(self, node: Any) -> None:
        self.left += getattr(node, "workeroutput", {}).get(OUTPUT, [])

    @pytest.hookimpl(trylast=True)  # when the workers have ended
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.left += end_all(self._processes())
        self.left += [f"in the home directory: {name}" for name in inside(self.home)]
        self.left += [f"in the temporary directory: {name}" for name in inside(self.temporary)]
        if self.left and session.exitstatus in (0, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = LEFT_BEHIND

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left:
            terminalreporter.section("the tests left something behind", red=True)
            for line in self.left:
                terminalreporter.line(line)

    def _processes(self) -> list[psutil.Process]:
        """Processes of this run, its own children and those that lost their parent."""
        found = set(psutil.Process().children(recursive=True))
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("TMPDIR", "").startswith(str(self.folder)):
                    found.add(process)
        return [process for process in found if process.pid != os.getpid()]


def inside(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def end_all(processes: list[psutil.Process]) -> list[str]:
    """What still runs after a grace period, one line each; ended when this returns."""
    _, running = psutil.wait_procs([each for each in processes if alive(each)], timeout=GRACE)
    lines = []
    for process in running:
        with suppress(psutil.NoSuchProcess):
            if alive(process):
                lines.append(f"process {process.pid}: {' '.join(process.cmdline())}")
                process.kill()
    return lines


def alive(process: psutil.Process) -> bool:
    """Whether it runs: one that has ended and was not waited for does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
