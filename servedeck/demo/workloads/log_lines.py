"""Lines of a log with the time they were written at."""

from __future__ import annotations

import time as _time
from typing import NamedTuple


class Line(NamedTuple):
    time: float
    """Seconds since the epoch."""
    text: str


class Writer:
    """Makes lines that follow each other by a few milliseconds from an offset after `started`."""

    def __init__(self, started: float) -> None:
        self._started = started
        self.offset = 0.0

    def at(self, offset: float) -> None:
        """Goes on at `offset` seconds after the start; time never runs back."""
        self.offset = max(self.offset, offset)

    def step(self, seconds: float) -> None:
        self.offset += seconds

    def plain(self, text: str) -> Line:
        self.offset += 0.004
        return Line(self._started + self.offset, text)

    def info(self, process: str, place: str, text: str) -> Line:
        return self._logged(process, "INFO", place, text)

    def error(self, process: str, place: str, text: str) -> Line:
        return self._logged(process.strip("() "), "ERROR", place, text)

    def stamped(self, process: str, level: str, place: str, text: str, time: float) -> str:
        """A line as vLLM's logger formats it: "(process) LEVEL 11-23 15:04:05 [place] text"."""
        moment = _time.strftime("%m-%d %H:%M:%S", _time.gmtime(time))
        return f"({process}) {level} {moment} [{place}] {text}"

    def _logged(self, process: str, level: str, place: str, text: str) -> Line:
        line = self.plain("")
        return Line(line.time, self.stamped(process, level, place, text, line.time))
