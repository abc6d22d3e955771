"""Repeated lines of a log shown once, with their number, found in steps while the log grows."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Protocol

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.folding import fold_key
from servedeck.logs.lines import NOTICE_SOURCE
from servedeck.logs.text import plain_text

_LINES_AT_ONCE = 100
_LONGEST_LINE = 4096
"""Bytes of a line that are compared."""


class ShownLines(Protocol):
    """The lines to fold, oldest first, by their numbers; a filter leaves numbers out."""

    @property
    def count(self) -> int: ...

    @property
    def end(self) -> int: ...

    def numbers(self, start: int, stop: int) -> Sequence[int]: ...

    def position(self, number: int) -> int: ...


class LogFolder:
    """Of consecutive lines of one source that are the same but for their numbers, the first.

    Lines that were not compared yet follow as they are. Notices of servedeck are never folded.
    """

    def __init__(self, buffer: LogBuffer, lines: ShownLines) -> None:
        self._buffer = buffer
        self._lines = lines
        self._starts: array[int] = array("Q")
        """Number of the first line of each run."""
        self._ends: array[int] = array("Q")
        """Number of its last line."""
        self._counts: array[int] = array("Q")
        """Lines in it."""
        self._folded = 0
        """Lines in all runs."""
        self._next = 0
        """Number after the last line that was compared."""
        self._last: tuple[int, bytes, str] | None = None
        """Source, text and key of that line."""

    @property
    def count(self) -> int:
        """Lines shown."""
        self._keep_up()
        return len(self._starts) + self._lines.count - self._folded

    @property
    def end(self) -> int:
        """The number after the last line that is shown, folded, or left out by a filter."""
        return self._lines.end

    def numbers(self, start: int, stop: int) -> list[int]:
        """The numbers of the lines at these positions."""
        self._keep_up()
        runs, start = len(self._starts), max(start, 0)
        found = self._starts[start : max(stop, 0)].tolist()
        if stop > runs:
            offset = self._folded - runs
            found += self._lines.numbers(max(start, runs) + offset, stop + offset)
        return found

    def position(self, number: int) -> int:
        """The position of the first line shown with this or a higher number."""
        self._keep_up()
        if number < self._next:
            return bisect_left(self._starts, number)
        return len(self._starts) + self._lines.position(number) - self._folded

    def holder(self, number: int) -> int:
        """The position of the line that stands for this one; of the next one, if it is not
        shown."""
        self._keep_up()
        at = bisect_right(self._starts, number) - 1
        if at >= 0 and number <= self._ends[at]:
            return at
        return self.position(number)

    def repeats(self, number: int) -> int:
        """How many lines this one stands for."""
        self._keep_up()
        at = bisect_left(self._starts, number)
        if at < len(self._starts) and self._starts[at] == number:
            return self._counts[at]
        return 1

    def advance(self, budget_seconds: float = 0.003) -> bool:
        """Compare lines for about so long; False when nothing is left to do."""
        deadline = time.perf_counter() + budget_seconds
        while True:
            self._keep_up()
            at = self._lines.position(self._next)
            numbers = self._lines.numbers(at, at + _LINES_AT_ONCE)
            if not numbers:
                return False
            try:
                for number in numbers:
                    self._add(number)
            except IndexError:  # it was dropped just now
                continue
            if time.perf_counter() >= deadline:
                return True

    def _add(self, number: int) -> None:
        line = self._buffer.line(number)
        last, raw = self._last, line.text[:_LONGEST_LINE]
        same = last is not None and last[0] == line.source != NOTICE_SOURCE
        if not (same and last is not None and last[1] == raw):
            key = fold_key(plain_text(raw))
            same = same and last is not None and last[2] == key
            self._last = (line.source, raw, key)
        if same and self._starts:
            self._ends[-1] = number
            self._counts[-1] += 1
        else:
            self._starts.append(number)
            self._ends.append(number)
            self._counts.append(1)
        self._folded += 1
        self._next = number + 1

    def _keep_up(self) -> None:
        """Lines may have been dropped; and a filter may have taken the last lines of a record away,
        or added them."""
        first, lines = self._buffer.first, self._lines
        if self._starts and self._starts[0] < first:
            gone = bisect_left(self._ends, first)
            self._folded -= sum(self._counts[:gone])
            for each in (self._starts, self._ends, self._counts):
                del each[:gone]
            if self._starts and self._starts[0] < first:
                held = lines.position(self._ends[0] + 1)
                self._folded -= self._counts[0] - held
                self._counts[0] = held
                self._starts[0] = lines.numbers(0, 1)[0] if held else first
        self._next = max(self._next, first)
        if self._starts and lines.position(self._next) != self._folded:
            while self._starts and lines.position(self._next) != self._folded:
                self._take_back_last_run()
            if self._starts:  # what follows may go on with it
                self._take_back_last_run()
        if not self._starts:
            self._next, self._folded, self._last = first, 0, None

    def _take_back_last_run(self) -> None:
        self._next = self._starts.pop()
        self._ends.pop()
        self._folded -= self._counts.pop()
        self._last = None
