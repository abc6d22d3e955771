"""A program in a terminal that may go away, with all the processes below it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.tui.terminal import PtyTerminal

WAIT_TIMEOUT = 60.0
"""Seconds that a condition may take to come true on a busy machine."""

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
SERVEDECK = [PYTHON, "-m", "servedeck"]


def app_command(kind: str) -> list[str]:
    """The app on servings made by hand."""
    return [PYTHON, "-m", "tests.tui.terminal_app", kind]


def shell_command(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


class TerminalSession(PtyTerminal):
    """`argv` leads a session of its own in the terminal."""

    def __init__(
        self,
        argv: list[str],
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(argv, size, env)
        if 0 in size:
            self.screen.resize(size[1] or 24, size[0] or 80)
        self.processes: list[psutil.Process] = []
        """All of them, as `remember` found them."""
        self._is_open = True

    def wait(
        self, condition: Callable[[], object], what: str, timeout: float = WAIT_TIMEOUT
    ) -> None:
        super().wait(condition, what, timeout)

    def wait_text(self, text: str) -> None:
        self.wait(lambda: text in self.text, text)

    def record_processes(self) -> None:
        """Look which processes there are, before the first of them goes."""
        first = psutil.Process(self.pid)
        self.processes = [first, *first.children(recursive=True)]

    def find_process(self, *words: str) -> psutil.Process:
        """The innermost process whose command line has all the words."""
        return [one for one in self.processes if set(words) <= set(command_line(one))][-1]

    def hang_up(self) -> None:
        """The terminal is closed."""
        os.close(self.fd)
        self._is_open = False

    def wait_until_gone(self, *, leave_unread: bool = False) -> None:
        """Until none of the processes runs; `unread`: nobody takes what they write."""
        end = time.monotonic() + WAIT_TIMEOUT
        while left := [one for one in self.processes if is_running(one)]:
            assert time.monotonic() < end, f"still there: {left}"
            if self._is_open and not leave_unread:
                self.read(0.02)
            else:
                time.sleep(0.02)

    def exit_code(self) -> int:
        """Of the session's first process; negative for the signal that killed it."""
        self.wait(self.has_exited, "the end")
        self.read(0.2)
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def close(self) -> int:
        with contextlib.suppress(psutil.Error):
            self.processes += psutil.Process(self.pid).children(recursive=True)
        for one in self.processes:
            with contextlib.suppress(psutil.Error):
                one.kill()
        os.kill(self.pid, signal.SIGKILL)  # ours until we wait for it
        _, status = os.waitpid(self.pid, 0)
        if self._is_open:
            self.hang_up()
        return status


def command_line(process: psutil.Process) -> list[str]:
    """Its command line, empty where it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def is_running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def assert_restored(raw: bytes) -> None:
    """Whether the last that the terminal was told of each mode is what it had at first."""
    for mode in (b"1049", b"1000", b"1003", b"1006", b"2004", b"1004"):
        off, on = raw.rfind(b"\x1b[?" + mode + b"l"), raw.rfind(b"\x1b[?" + mode + b"h")
        assert off > on >= 0, f"mode {mode.decode()} was left on"
    for mode in (b"25", b"7"):
        off, on = raw.rfind(b"\x1b[?" + mode + b"l"), raw.rfind(b"\x1b[?" + mode + b"h")
        assert on > off >= 0, f"mode {mode.decode()} was left off"
