"""The lines of a buffer that match a query, found in steps while the buffer grows."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.query import LineQuery


class LogSearch:
    """Hits in all lines that a buffer holds. Searched is one range of lines that widens from where
    the operator looks; a hit of lines that are no longer held is forgotten."""

    def __init__(self, buffer: LogBuffer, query: LineQuery, *, near: int) -> None:
        """Starts with the block that holds line `near`."""
        self.query = query
        self._buffer = buffer
        self._near = near
        self._low = self._high = min(max(near, buffer.first), buffer.end)
        """The lines searched."""
        self._origin = self._low
        self._above: array[int] = array("Q")
        """Hits from `_origin` on, ascending."""
        self._below: array[int] = array("Q")
        """Hits before it, descending: they are found in this order."""
        self._work: Generator[None] | None = None

    @property
    def count(self) -> int:
        """Lines with a hit found so far that are still held."""
        self._forget_dropped()
        return len(self._below) + len(self._above)

    @property
    def complete(self) -> bool:
        """Whether every line that is held is searched."""
        buffer = self._buffer
        return self._low <= buffer.first and self._high >= buffer.end

    def advance(self, budget_seconds: float = 0.003) -> bool:
        """Search for about so long; False when nothing is left to do."""
        deadline = time.perf_counter() + budget_seconds
        while True:
            if self._work is None:
                if self.complete:
                    return False
                self._work = self._search_next()
            if next(self._work, "ended"):
                self._work = None
            if time.perf_counter() >= deadline:
                return self._work is not None or not self.complete

    def next_hit(self, after: int) -> int | None:
        """The first hit known after a line; None if there is none."""
        self._forget_dropped()
        if after < self._origin - 1:
            at = self._below_after(after)
            if at >= 0:
                return self._below[at]
        at = bisect_right(self._above, after)
        return self._above[at] if at < len(self._above) else None

    def previous_hit(self, before: int) -> int | None:
        """The last hit known before a line; None if there is none."""
        self._forget_dropped()
        at = bisect_left(self._above, before) - 1
        if at >= 0:
            return self._above[at]
        at = self._below_after(before - 1) + 1
        return self._below[at] if at < len(self._below) else None

    def is_hit(self, number: int) -> bool:
        """Whether a line is a hit, among those that are searched."""
        return self.next_hit(number - 1) == number

    def rank(self, number: int) -> int:
        """How many of the hits known are up to this line: for a hit its number, from 1."""
        self._forget_dropped()
        return self._count_until(number + 1)

    def _count_until(self, number: int) -> int:
        """Hits before a line."""
        below = len(self._below) - 1 - self._below_after(number - 1)
        return below + bisect_left(self._above, number)

    def _below_after(self, number: int) -> int:
        """The index in `_below` of the first hit after a line; -1 if there is none."""
        return bisect_left(self._below, -number, key=int.__neg__) - 1

    def _search_next(self) -> Generator[None]:
        """Search one more block: that which is nearest to where the operator looks."""
        self._forget_dropped()
        buffer = self._buffer
        upwards = self._high < buffer.end and (
            self._low <= buffer.first or self._high - self._near <= self._near - self._low
        )
        try:
            if self._low == self._high:
                block = buffer.block_at(min(self._high, buffer.end - 1), keep=False)
                self._low = self._high = self._origin = block.first
                upwards = True
            elif upwards:
                block = buffer.block_from(self._high, keep=False)
            else:
                block = buffer.block_at(self._low - 1, keep=False)
        except IndexError:  # it was dropped just now
            return
        found = yield from self.query.steps(block)
        first = buffer.first  # it may have advanced since
        numbers = [block.first + index for index in found if block.first + index >= first]
        if upwards:
            self._above.extend(numbers)
            self._high = max(self._high, block.end)
        else:
            self._below.extend(reversed(numbers))
            self._low = max(min(self._low, block.first), first)

    def _forget_dropped(self) -> None:
        first = self._buffer.first
        if self._low >= first:
            return
        self._low = first
        self._high = max(self._high, first)
        while self._below and self._below[-1] < first:
            self._below.pop()
        if self._above and self._above[0] < first:
            del self._above[: bisect_left(self._above, first)]
