"""Where the errors of a log are, and how many lines it has by level over time, kept up to date
while the buffer grows."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from time import perf_counter

from servedeck.logs.buffer import LogBlock, LogBuffer
from servedeck.logs.levels import Level, find_levels
from servedeck.logs.lines import NOTICE_SOURCE, STAMP_BYTES, ns_to_stamp
from servedeck.logs.records import is_continuation
from servedeck.logs.time_counts import Bucket, TimeCounts

__all__ = ["Bucket", "LevelIndex"]

# Lines that are looked at between two looks at the clock: at most about half a millisecond.
_SLICE_LINES = 256


class _Span:
    """Consecutive lines that were looked at, and what the lines before or after have to know.

    Lines of a source that are errors, and continuations between them, are one error. So whether the
    first of them in a span is the first of the error depends on the lines before the span.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.stop = start
        self.errors = array("Q")
        self.leading: dict[int, int | None] = {}
        """For each source, the number of its first line that is no continuation, if that is an
        error; None if it is not."""
        self.within_error: dict[int, bool] = {}
        """For each source, whether its last line that is no continuation is an error."""

    def add(self, lines: list[str], sources: Sequence[int], errors: set[int]) -> None:
        """Go on with these lines; `errors` are the indices of those that are errors."""
        within = self.within_error
        if errors:
            for index, source in enumerate(sources):
                if source == NOTICE_SOURCE:
                    continue
                if index in errors:
                    self._add_error(self.stop + index, source)
                elif within.get(source) is not False and not is_continuation(lines[index]):
                    self.leading.setdefault(source, None)
                    within[source] = False
        else:
            # A line that is no continuation is found at once, so this is no loop over all lines.
            unsettled = {source for source in set(sources) if within.get(source) is not False}
            unsettled.discard(NOTICE_SOURCE)
            for source, line in zip(sources, lines, strict=True):
                if not unsettled:
                    break
                if source in unsettled and not is_continuation(line):
                    self.leading.setdefault(source, None)
                    within[source] = False
                    unsettled.discard(source)
        self.stop += len(lines)

    def _add_error(self, number: int, source: int) -> None:
        self.leading.setdefault(source, number)
        if not self.within_error.get(source):
            self.errors.append(number)
            self.within_error[source] = True

    def put_before(self, older: _Span) -> None:
        """Take in the span that ends where this one starts."""
        for source, number in self.leading.items():
            if number is not None and older.within_error.get(source):
                at = bisect_left(self.errors, number)
                if at < len(self.errors) and self.errors[at] == number:
                    del self.errors[at]
        self.leading = self.leading | older.leading
        self.within_error = older.within_error | self.within_error
        self.errors[0:0] = older.errors
        self.start = older.start

    def drop_before(self, first: int) -> None:
        """Forget the lines before `first`, a line of this span or its end."""
        del self.errors[: bisect_left(self.errors, first)]
        self.start = first


class LevelIndex:
    """The errors of all lines that a buffer holds, and their counts by level over time.

    Call `advance` now and then; it looks at the newest lines first, then at older ones, and at
    those that are appended. What it has found so far can be asked for at any time. Lines that the
    buffer drops are forgotten. Notices of servedeck itself are not counted. Memory: 8 bytes an
    error, and less than a megabyte for the counts.
    """

    def __init__(self, buffer: LogBuffer) -> None:
        self._buffer = buffer
        self._span = _Span(buffer.end)
        self._counts = TimeCounts()
        self._work: Iterator[None] | None = None
        self._appended_next = True
        self._dropped = buffer.first

    @property
    def complete(self) -> bool:
        """Whether all lines that the buffer holds were looked at."""
        return self._span.start <= self._buffer.first and self._span.stop >= self._buffer.end

    @property
    def errors(self) -> Sequence[int]:
        """The number of the first line of each error, ascending. An error is lines of one source of
        at least `Level.ERROR`, and continuations of them, with no other line of the source between.
        Not to be changed."""
        self._forget_dropped()
        return self._span.errors

    def advance(self, budget_seconds: float = 0.003) -> bool:
        """Look at more lines for about `budget_seconds`; False if none are left."""
        until = perf_counter() + budget_seconds
        while True:
            self._forget_dropped()
            if self._work is None:
                self._work = self._next_work()
            if self._work is None:
                return False
            try:
                next(self._work)
            except StopIteration:
                self._work = None
            if perf_counter() >= until:
                return True

    def next_error(self, after: int) -> int | None:
        """The first error after this line."""
        errors = self.errors
        at = bisect_right(errors, after)
        return errors[at] if at < len(errors) else None

    def previous_error(self, before: int) -> int | None:
        """The last error before this line."""
        errors = self.errors
        at = bisect_left(errors, before)
        return errors[at - 1] if at else None

    def histogram(self, buckets: int) -> list[Bucket]:
        """The lines looked at so far by level, from the first time to the last, in at most
        `buckets` spans of equal length. Of the seconds in which the oldest held line falls, lines
        that were dropped may still be counted."""
        self._forget_dropped()
        return self._counts.histogram(buckets)

    def line_at_time(self, ns: int) -> int:
        """The number of the first line at or after this Unix time in nanoseconds; the buffer's
        `end` if there is none. Where the clock of a node stepped back, one of the lines there."""
        self._forget_dropped()
        earliest = self._counts.earliest_ns()
        if self._span.start > self._buffer.first and (earliest is None or ns < earliest):
            return self._first_at(ns, self._buffer.first, self._span.start)
        first, stop, following = self._counts.lines_at(ns)
        if first < stop:
            found = self._first_at(ns, first, stop)
            if found < stop:
                return found
        if following is not None:
            return following
        return self._first_at(ns, self._span.stop, self._buffer.end)

    def _first_at(self, ns: int, first: int, stop: int) -> int:
        """The first of these lines that is not before this time; `stop` if all are."""
        stamp = ns_to_stamp(ns)
        while first < stop:
            middle = (first + stop) // 2
            try:
                block = self._buffer.block_at(middle)
            except IndexError:  # dropped just now
                first = middle + 1
                continue
            at = (middle - block.first) * STAMP_BYTES
            if block.stamps[at : at + STAMP_BYTES] < stamp:
                first = middle + 1
            else:
                stop = middle
        return first

    def _next_work(self) -> Iterator[None] | None:
        """A look at the next block: at appended lines and at older ones in turn, so that neither
        has to wait for the other."""
        appended = self._span.stop < self._buffer.end
        older = self._span.start > self._buffer.first
        try:
            if appended and (self._appended_next or not older):
                self._appended_next = False
                return self._look_at_appended(self._buffer.block_from(self._span.stop, keep=False))
            self._appended_next = True
            if older:
                return self._look_at_older(self._buffer.block_at(self._span.start - 1, keep=False))
        except IndexError:  # it cannot be read back, and was dropped
            self._forget_dropped()
            return self._next_work() if self._span.start < self._buffer.end else None
        return None

    def _look_at_appended(self, block: LogBlock) -> Iterator[None]:
        yield from self._look(block, block.count, self._span)

    def _look_at_older(self, block: LogBlock) -> Iterator[None]:
        older = _Span(block.first)
        yield from self._look(block, self._span.start - block.first, older)
        if older.stop == self._span.start:
            self._span.put_before(older)

    def _look(self, block: LogBlock, count: int, span: _Span) -> Iterator[None]:
        texts = block.texts()
        first = block.first
        for start in range(0, count, _SLICE_LINES):
            if first < self._buffer.first:
                return  # the block was dropped meanwhile
            stop = min(start + _SLICE_LINES, count)
            lines, sources = texts[start:stop], block.sources[start:stop]
            levels = find_levels(lines)
            stamps = block.stamps[start * STAMP_BYTES : stop * STAMP_BYTES]
            self._counts.add(first + start, stamps, sources, levels)
            span.add(lines, sources, {index for index, level in levels if level >= Level.ERROR})
            yield

    def _forget_dropped(self) -> None:
        first = self._buffer.first
        if first == self._dropped:
            return
        self._dropped = first
        self._counts.drop_before(first)
        if self._span.start >= first:
            return
        if self._span.stop <= first:
            self._span = _Span(first)
            self._work = None
        else:
            self._span.drop_before(first)
