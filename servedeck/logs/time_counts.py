"""Counts of log lines by level over time, in little memory for a log of any length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from servedeck.logs.levels import Level
from servedeck.logs.lines import NOTICE_SOURCE, STAMP_BYTES, stamp_to_ns

_NANOSECONDS = 10**9
_SECOND_BYTES = 19
_MINUTE_BYTES = 17

_MOST_SLOTS = 2048
# Seconds of a slot. When there are too many slots, they become the next larger ones, which are
# still finer than the columns of any terminal.
_RESOLUTIONS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400, 604_800, 2_592_000)
_MOST_MINUTES = 4096


class Bucket(NamedTuple):
    """The lines of a span of time."""

    start_ns: int
    """Unix time in nanoseconds."""
    end_ns: int
    """The start of the next bucket."""
    errors: int
    """Lines of `Level.ERROR` and above."""
    warnings: int
    others: int
    first_line: int
    """Number of its first line; of an empty bucket, of the next line after it."""


class _Slot:
    """The lines of one slot of time."""

    __slots__ = ("errors", "first", "last", "lines", "warnings")

    def __init__(self, first: int, last: int) -> None:
        self.lines = self.warnings = self.errors = 0
        self.first = first
        self.last = last

    def add(self, other: _Slot) -> None:
        self.lines += other.lines
        self.warnings += other.warnings
        self.errors += other.errors
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


class TimeCounts:
    """Counts for each second; for several seconds together where a log is long, so that no more
    than 2,048 spans of time are counted. Lines may be added in any order."""

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._resolution = _RESOLUTIONS[0]
        self._minutes: dict[bytes, int] = {}

    @property
    def resolution_seconds(self) -> int:
        """How much time is counted together."""
        return self._resolution

    def add(
        self,
        first: int,
        stamps: bytes,
        sources: Sequence[int],
        levels: Iterable[tuple[int, Level]],
    ) -> None:
        """Count consecutive lines from number `first`, with `STAMP_BYTES` and a source each.
        `levels` are those of `Level.WARNING` and above, by index. Notices are not counted."""
        count = len(sources)
        second = stamps[:_SECOND_BYTES]
        if stamps.count(second) == count and NOTICE_SOURCE not in sources:
            # All are of one second: so it is where lines are many.
            slot = self._slot(second, first, first + count - 1)
            slot.lines += count
            slots = {second: slot}
        else:
            slots = self._count_seconds(first, stamps, sources)
        for index, level in levels:
            if sources[index] == NOTICE_SOURCE:
                continue
            at = index * STAMP_BYTES
            slot = slots[stamps[at : at + _SECOND_BYTES]]
            if level >= Level.ERROR:
                slot.errors += 1
            else:
                slot.warnings += 1
        while len(self._slots) > _MOST_SLOTS and self._resolution != _RESOLUTIONS[-1]:
            self._coarsen()

    def _count_seconds(
        self, first: int, stamps: bytes, sources: Sequence[int]
    ) -> dict[bytes, _Slot]:
        """Count lines without their levels; the slot of each second."""
        seconds = [
            stamps[at : at + _SECOND_BYTES]
            for at in range(0, len(sources) * STAMP_BYTES, STAMP_BYTES)
        ]
        numbers: Sequence[int] = range(first, first + len(seconds))
        if NOTICE_SOURCE in sources:
            numbers = list(compress(numbers, sources))
            seconds = list(compress(seconds, sources))
        last = dict(zip(seconds, numbers, strict=True))
        firsts = dict(zip(reversed(seconds), reversed(numbers), strict=True))
        slots = {}
        for second, count in Counter(seconds).items():
            slot = slots[second] = self._slot(second, firsts[second], last[second])
            slot.lines += count
        return slots

    def drop_before(self, first: int) -> None:
        """Forget slots all lines of which have a smaller number. Of a slot that has lines before
        and after, at most as many are counted as there are numbers left."""
        gone = [key for key, slot in self._slots.items() if slot.last < first]
        for key in gone:
            del self._slots[key]
        for slot in self._slots.values():
            if slot.first < first:
                slot.first = first
                slot.lines = min(slot.lines, slot.last - first + 1)
                slot.errors = min(slot.errors, slot.lines)
                slot.warnings = min(slot.warnings, slot.lines - slot.errors)

    def histogram(self, buckets: int) -> list[Bucket]:
        """The counts from the first time to the last in at most `buckets` spans of equal length,
        each a multiple of the resolution. Empty if nothing is counted."""
        if not self._slots or buckets < 1:
            return []
        start = min(self._slots)
        width = -(-(max(self._slots) + 1 - start) // buckets)
        joined: dict[int, _Slot] = {}
        for key, slot in self._slots.items():
            bucket = (key - start) // width
            if bucket not in joined:
                joined[bucket] = _Slot(slot.first, slot.last)
            joined[bucket].add(slot)
        found = []
        step = width * self._resolution * _NANOSECONDS
        at = start * self._resolution * _NANOSECONDS
        last = max(joined)
        following = 0
        for bucket in range(last, -1, -1):
            slot = joined.get(bucket) or _Slot(following, following)
            following = slot.first
            others = slot.lines - slot.errors - slot.warnings
            begin = at + bucket * step
            found.append(
                Bucket(begin, begin + step, slot.errors, slot.warnings, others, slot.first)
            )
        found.reverse()
        return found

    def lines_at(self, ns: int) -> tuple[int, int, int | None]:
        """(first, stop, following): where the lines of the slot of this time begin and end, and
        the first line of a later slot, None if there is none. `first` is `stop` if no line is in
        the slot."""
        key = ns // _NANOSECONDS // self._resolution
        later = min((other for other in self._slots if other > key), default=None)
        following = None if later is None else self._slots[later].first
        slot = self._slots.get(key)
        return (0, 0, following) if slot is None else (slot.first, slot.last + 1, following)

    def earliest_ns(self) -> int | None:
        """The start of the first slot; None if nothing is counted."""
        if not self._slots:
            return None
        return min(self._slots) * self._resolution * _NANOSECONDS

    def _slot(self, second: bytes, first: int, last: int) -> _Slot:
        key = self._unix_time(second) // self._resolution
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot(first, last)
        else:
            slot.first = min(slot.first, first)
            slot.last = max(slot.last, last)
        return slot

    def _unix_time(self, second: bytes) -> int:
        """Seconds since 1970 of the first bytes of a timestamp; 0 if it is none."""
        minute = second[:_MINUTE_BYTES]
        try:
            if minute not in self._minutes:
                if len(self._minutes) >= _MOST_MINUTES:
                    self._minutes.clear()
                self._minutes[minute] = stamp_to_ns(minute + b"00.000000000Z") // _NANOSECONDS
            return self._minutes[minute] + int(second[_MINUTE_BYTES:])
        except ValueError:
            return 0

    def _coarsen(self) -> None:
        finer = self._resolution
        self._resolution = _RESOLUTIONS[_RESOLUTIONS.index(finer) + 1]
        slots: dict[int, _Slot] = {}
        for key, slot in self._slots.items():
            joined = slots.setdefault(key * finer // self._resolution, slot)
            if joined is not slot:
                joined.add(slot)
        self._slots = slots
