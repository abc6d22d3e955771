"""The lines of a buffer that a filter shows, found in steps while the buffer grows.

A filter shows and hides whole records: a line with the lines that continue it, of the same source,
however the lines of sources alternate and wherever blocks end. Whether lines continue others is
asked only where it matters: around lines that match, and where the block of a source begins and
ends.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Sequence

from servedeck.logs.buffer import LogBlock, LogBuffer
from servedeck.logs.lines import NOTICE_SOURCE
from servedeck.logs.query import LineMatcher
from servedeck.logs.records import is_continuation

_DENSE = 8
"""Where more than one line in so many meets a condition, all lines are looked at."""

_Hits = list[set[int]]
"""For each condition the indices of the lines that meet it, in one block."""


class _Conditions:
    """What a record must meet: each of the first `needed` conditions in some line, none of the
    others in any."""

    def __init__(
        self,
        queries: Iterable[LineMatcher],
        keep: Callable[[LogBlock], Sequence[int]] | None,
    ) -> None:
        queries = tuple(queries)
        self._queries = [
            *(query for query in queries if not query.inverse),
            *(query for query in queries if query.inverse),
        ]
        self._keep = keep
        self.needed = sum(not query.inverse for query in queries) + (keep is not None)
        self.all_met = (1 << self.needed) - 1

    def find(self, block: LogBlock) -> Generator[None, None, _Hits]:
        """The lines that meet each condition, in steps."""
        hits: _Hits = [] if self._keep is None else [set(self._keep(block))]
        for query in self._queries:
            hits.append(set((yield from query.steps(block))))
        return hits

    def met_by(self, indices: Iterable[int], hits: _Hits) -> int:
        """The conditions that some of these lines meet, one bit each."""
        met = 0
        for bit, found in enumerate(hits):
            if found and not found.isdisjoint(indices):
                met |= 1 << bit
        return met


class _OpenRecord:
    """The last record of a source, which may go on."""

    __slots__ = ("hidden", "is_shown", "met", "numbers")

    def __init__(self) -> None:
        self.numbers: array[int] = array("Q")
        """Its lines, unless nothing can change for them any more."""
        self.met = 0
        self.is_shown = False
        """Whether its lines are among those shown."""
        self.hidden = False
        """Whether nothing can show it any more."""


class LogFilter:
    """The numbers of the lines shown. Lines that are no longer held leave it.

    Decided is from the oldest line to the newest. The last record of each source is decided by the
    lines it has, and again when it goes on: its lines may then be added, or leave.
    """

    def __init__(
        self,
        buffer: LogBuffer,
        queries: Sequence[LineMatcher],
        *,
        keep: Callable[[LogBlock], Sequence[int]] | None = None,
    ) -> None:
        """A record is shown if each query that is not inverse matches one of its lines, `keep`
        names one of them (by their indices in the block; one more such condition), and no inverse
        query matches any. Notices of servedeck are always shown."""
        self.queries = tuple(queries)
        self._buffer = buffer
        self._conditions = _Conditions(queries, keep)
        self._next = buffer.first
        """The first line that is not decided."""
        self._shown: array[int] = array("Q")
        self._dropped = 0
        """Entries at the start of `_shown` that are no longer held."""
        self._open: dict[int, _OpenRecord] = {}
        self._work: Generator[None] | None = None

    @property
    def count(self) -> int:
        """Lines shown."""
        self._forget_dropped()
        return len(self._shown) - self._dropped

    @property
    def end(self) -> int:
        """The number after the last line that is decided."""
        return self._next

    @property
    def complete(self) -> bool:
        """Whether every line that is held is decided."""
        return self._next >= self._buffer.end

    def advance(self, budget_seconds: float = 0.003) -> bool:
        """Decide for about so long; False when nothing is left to do."""
        deadline = time.perf_counter() + budget_seconds
        while True:
            if self._work is None:
                if self.complete:
                    return False
                self._work = self._decide_next()
            if next(self._work, "ended"):
                self._work = None
            if time.perf_counter() >= deadline:
                return self._work is not None or not self.complete

    def numbers(self, start: int, stop: int) -> list[int]:
        """The numbers of the lines shown at positions `start` to before `stop`, from 0."""
        self._forget_dropped()
        start, stop = max(0, start), max(0, stop)
        return self._shown[self._dropped + start : self._dropped + stop].tolist()

    def position(self, number: int) -> int:
        """The position of a line; of the next one shown, if it is not shown."""
        self._forget_dropped()
        return bisect_left(self._shown, number, self._dropped) - self._dropped

    def holder(self, number: int) -> int:
        """As `position`: no line is folded."""
        return self.position(number)

    def _forget_dropped(self) -> None:
        first, shown = self._buffer.first, self._shown
        if self._dropped < len(shown) and shown[self._dropped] < first:
            self._dropped = bisect_left(shown, first, self._dropped)
            if self._dropped > len(shown) // 2:
                del shown[: self._dropped]
                self._dropped = 0

    def _decide_next(self) -> Generator[None]:
        """Decide the lines of one more block, or those that were added to the last one."""
        self._next = max(self._next, self._buffer.first)
        if self.complete:
            return
        try:
            block = self._buffer.block_from(self._next, keep=False)
        except IndexError:  # it was dropped just now
            return
        hits = yield from self._conditions.find(block)
        step = _BlockStep(block, hits, self._conditions, self._open)
        step.decide()
        self._next = block.end
        if step.removed:
            self._remove(step.removed)
        self._add(step.added)

    def _remove(self, numbers: set[int]) -> None:
        at = bisect_left(self._shown, min(numbers), self._dropped)
        rest = [number for number in self._shown[at:] if number not in numbers]
        self._shown[at:] = array("Q", rest)

    def _add(self, numbers: list[int]) -> None:
        first, shown = self._buffer.first, self._shown
        numbers.sort()
        numbers = numbers[bisect_left(numbers, first) :]
        if not numbers:
            return
        if not shown or shown[-1] < numbers[0]:
            shown.extend(numbers)
            return
        at = bisect_left(shown, numbers[0], self._dropped)
        shown[at:] = array("Q", sorted([*shown[at:], *numbers]))


class _BlockStep:
    """Decides the lines of one block."""

    def __init__(
        self,
        block: LogBlock,
        hits: _Hits,
        conditions: _Conditions,
        open_records: dict[int, _OpenRecord],
    ) -> None:
        self.added: list[int] = []
        """Numbers of lines that are shown from now on, in any order."""
        self.removed: set[int] = set()
        """Numbers of lines that are no longer shown."""
        self._block = block
        self._hits = hits
        self._conditions = conditions
        self._open = open_records
        self._texts = block.texts()
        self._any_hit = sorted(set().union(*hits))

    def decide(self) -> None:
        if len(self._any_hit) > self._block.count // _DENSE and not any(
            map(is_continuation, self._texts)
        ):
            self._decide_single_lines()
            return
        by_source = self._group()
        if (notices := by_source.pop(NOTICE_SOURCE, None)) is not None:
            self._show(notices)
        hits_of: dict[int, list[int]] = {}
        sources = self._block.sources
        for index in self._any_hit:
            hits_of.setdefault(sources[index], []).append(index)
        for source, indices in by_source.items():
            self._decide_source(source, indices, hits_of.get(source, []))

    def _decide_single_lines(self) -> None:
        """Decide a block in which no line continues another."""
        block, needed = self._block, self._conditions.needed
        shown = set(range(block.count)).intersection(*self._hits[:needed])
        shown.difference_update(*self._hits[needed:])
        last_lines = dict(zip(block.sources, range(block.count), strict=True))
        if NOTICE_SOURCE in last_lines:
            del last_lines[NOTICE_SOURCE]
            shown.update(
                index for index, source in enumerate(block.sources) if source == NOTICE_SOURCE
            )
        shown.difference_update(last_lines.values())
        self._show(list(shown))
        for source, index in last_lines.items():
            self._open[source] = record = _OpenRecord()
            self._go_on(record, (index,))

    def _group(self) -> dict[int, Sequence[int]]:
        """The indices of the lines of each source."""
        sources = self._block.sources
        if sources.count(sources[0]) == len(sources):
            return {sources[0]: range(len(sources))}
        found: dict[int, list[int]] = {}
        for index, source in enumerate(sources):
            if source in found:
                found[source].append(index)
            else:
                found[source] = [index]
        return dict(found)

    def _decide_source(self, source: int, indices: Sequence[int], hits: list[int]) -> None:
        start, end = 0, len(indices)
        record = self._open.get(source)
        if record is not None:
            while start < end and self._continues(indices[start]):
                start += 1
            if start:
                self._go_on(record, indices[:start])
            if start == end:
                return
        last = end - 1
        while last > start and self._continues(indices[last]):
            last -= 1
        self._decide_closed(indices, start, last, hits)
        self._open[source] = record = _OpenRecord()
        self._go_on(record, indices[last:])

    def _continues(self, index: int) -> bool:
        return is_continuation(self._texts[index])

    def _decide_closed(
        self, indices: Sequence[int], start: int, stop: int, hits: list[int]
    ) -> None:
        """Decide the records at `indices[start:stop]`, which all end there."""
        conditions = self._conditions
        shown_by_default = not conditions.needed
        done = start
        for hit in hits:
            at = bisect_left(indices, hit)
            if at < done:
                continue
            if at >= stop:
                break
            begin, end = at, at + 1
            while begin > done and self._continues(indices[begin]):
                begin -= 1
            while end < stop and self._continues(indices[end]):
                end += 1
            if shown_by_default:
                self._show(indices[done:begin])
            if conditions.met_by(indices[begin:end], self._hits) == conditions.all_met:
                self._show(indices[begin:end])
            done = end
        if shown_by_default:
            self._show(indices[done:stop])

    def _go_on(self, record: _OpenRecord, indices: Sequence[int]) -> None:
        """Add lines to the last record of a source."""
        conditions = self._conditions
        if record.hidden:
            return
        record.met |= conditions.met_by(indices, self._hits)
        if record.met > conditions.all_met:
            record.hidden = True
            if record.is_shown:
                self.removed.update(record.numbers)
            record.numbers = array("Q")
            return
        first = self._block.first
        numbers = [first + index for index in indices]
        if record.is_shown:
            self.added += numbers
            record.numbers.extend(numbers)
        else:
            record.numbers.extend(numbers)
            if record.met == conditions.all_met:
                record.is_shown = True
                self.added += record.numbers

    def _show(self, indices: Sequence[int]) -> None:
        first = self._block.first
        if isinstance(indices, range):
            self.added += range(first + indices.start, first + indices.stop)
        else:
            self.added += [first + index for index in indices]
