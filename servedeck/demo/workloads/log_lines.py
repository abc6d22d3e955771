"""Log lines with their times."""

from __future__ import annotations

import time as _time
from typing import NamedTuple


class LogLine(NamedTuple):
    time: float
    """Seconds since the epoch."""
    text: str


class LogWriter:
    """Writes lines a few milliseconds apart, at an offset after `started`."""

    def __init__(self, started: float) -> None:
        self._started = started
        self.offset = 0.0

    def advance_to(self, offset: float) -> None:
        """Continues at `offset` seconds after the start, but never earlier than now."""
        self.offset = max(self.offset, offset)

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def plain(self, text: str) -> LogLine:
        self.offset += 0.004
        return LogLine(self._started + self.offset, text)

    def info(self, process: str, location: str, text: str) -> LogLine:
        return self._logger_line(process, "INFO", location, text)

    def error(self, process: str, location: str, text: str) -> LogLine:
        return self._logger_line(process.strip("() "), "ERROR", location, text)

    def format_line(self, process: str, level: str, location: str, text: str, time: float) -> str:
        """A line as vLLM's logger formats it: "(process) LEVEL 11-23 15:04:05 [location] text"."""
        moment = _time.strftime("%m-%d %H:%M:%S", _time.gmtime(time))
        return f"({process}) {level} {moment} [{location}] {text}"

    def _logger_line(self, process: str, level: str, location: str, text: str) -> LogLine:
        line = self.plain("")
        return LogLine(line.time, self.format_line(process, level, location, text, line.time))
