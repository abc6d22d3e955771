"""The tab Async Queue in a terminal: which tasks are on its screen, and when keys take effect."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.async_queue_setup import NAMESPACE, SERVING
from benchmarks.measure import clean_environment, matches_line
from benchmarks.terminal import BenchmarkTerminal

SIZE = (200, 50)
KEY_SECONDS = 3.0
"""Seconds after which a key counts as lost."""
_START_SECONDS = 60.0
_TEXT_WIDTH = 120
"""Cells of a line that are read: id, status, request and model are in them."""
_ROW = re.compile(
    r"…?(?P<id>[0-9a-f]{8,44}) +. (?P<state>Pending|Processing|Completed|Failed|Cancelled)\b"
    r"(?P<rest>.*)"
)
_FULL_PAGE = 30
"""Rows of tasks that a screen has at least."""


class Row(NamedTuple):
    y: int
    """Line of the screen."""
    id: str
    """Its end, or all of it where ids are shown whole."""
    state: str
    rest: str
    """What is to the right of the state."""


class Press(NamedTuple):
    took: float
    """Milliseconds to the effect on the screen; KEY_SECONDS if there was none."""
    cpu: float
    """Milliseconds of CPU time of the program meanwhile."""

    @property
    def is_lost(self) -> bool:
        return self.took >= 1000 * KEY_SECONDS


class QueueDashboard:
    """A running dashboard that shows the page of the serving; a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        self._home = tempfile.TemporaryDirectory()
        environment = clean_environment(kubeconfig, self._home.name)
        environment |= {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
        argv = [sys.executable, "-m", "servedeck", "-n", NAMESPACE]
        self.terminal = BenchmarkTerminal(argv, SIZE, environment)

    def __enter__(self) -> QueueDashboard:
        try:
            self._wait_for(rf"\b{SERVING}\b.*\bReady\b")
            self.terminal.send_keys("\r")
            self._wait_for(r"4 Async Queue")
            time.sleep(3)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.terminal.close()
        self._home.cleanup()

    def open_tab(self) -> Press:
        """Press its key; returns when its tasks are shown."""
        pressed = self.press("4", lambda: len(self.rows()) >= _FULL_PAGE)
        if pressed.is_lost:
            raise RuntimeError("the tab shows no tasks:\n" + self.screen())
        return pressed

    def leave_tab(self) -> None:
        """Show the first tab."""
        self.press("1", lambda: not self.rows())

    def press(
        self, key: str, has_effect: Callable[[], bool], seconds: float = KEY_SECONDS
    ) -> Press:
        """Wait at most so many seconds for the effect."""
        cpu, at = self.terminal.run_seconds(), time.monotonic()
        self.terminal.send_keys(key)
        shown = self.terminal.wait(has_effect, seconds)
        used = self.terminal.run_seconds() - cpu
        return Press(1000 * ((shown or at + seconds) - at), 1000 * used)

    def rows(self) -> list[Row]:
        """The tasks on the screen, from the top."""
        found = []
        for y in range(self.terminal.screen.lines):
            match = _ROW.search(self._text(y))
            if match is not None:
                found.append(Row(y, match["id"], match["state"], match["rest"]))
        return found

    def row_at(self, y: int) -> Row | None:
        match = _ROW.search(self._text(y))
        return Row(y, match["id"], match["state"], match["rest"]) if match is not None else None

    def cursor_line(self, lines: Sequence[int]) -> int | None:
        """The one of these lines of tasks whose background differs from that of the others."""
        buffer = self.terminal.screen.buffer
        looks = [(buffer[y][0].bg, buffer[y][0].reverse) for y in lines]
        found = [y for y, look in zip(lines, looks, strict=True) if looks.count(look) == 1]
        return found[0] if len(found) == 1 else None

    def chosen_state(self) -> str:
        """The state in brackets above the tasks."""
        for y in range(12):
            match = re.search(
                r"\[(All|Pending|Processing|Completed|Failed|Cancelled)\b", self._text(y)
            )
            if match is not None:
                return match[1]
        return ""

    def screen(self) -> str:
        return "\n".join(one.rstrip() for one in self.terminal.screen_lines())

    def _text(self, y: int) -> str:
        cells = self.terminal.screen.buffer[y]
        return "".join([cells[x].data for x in range(_TEXT_WIDTH)])

    def _wait_for(self, pattern: str) -> None:
        wanted = re.compile(pattern)
        if self.terminal.wait(lambda: matches_line(self.terminal, wanted), _START_SECONDS) is None:
            raise RuntimeError(f"the dashboard does not show {pattern}:\n{self.screen()}")
