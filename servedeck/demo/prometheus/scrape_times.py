"""When targets are scraped, and which of these times a query needs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from servedeck.promql.expressions import Aggregation, Binary, Call, Expression, Selector

SCRAPE_INTERVAL_SECONDS = 15.0
_INTERVAL_MILLISECONDS = 15_000
_RATE_FUNCTIONS = frozenset(("rate", "increase"))
"""They need the first and the last sample of a window, if no counter is reset in it."""


class ScrapeGrid(NamedTuple):
    """The times at which one target is scraped: every 15 s, from an offset on that is spread among
    the targets as Prometheus does (scrape/target.go, offset)."""

    offset: int
    """Milliseconds."""

    @classmethod
    def of_target(cls, target: str) -> ScrapeGrid:
        return cls(zlib.crc32(target.encode()) % _INTERVAL_MILLISECONDS)

    def time(self, number: int) -> float:
        """Seconds since the epoch of the scrape with this number."""
        return (number * _INTERVAL_MILLISECONDS + self.offset) / 1000

    def last_until(self, time: float) -> int:
        """The number of the last scrape at `time` or before."""
        return math.floor((time * 1000 - self.offset) / _INTERVAL_MILLISECONDS)

    def first_from(self, time: float) -> int:
        """The number of the first scrape at `time` or after."""
        return math.ceil((time * 1000 - self.offset) / _INTERVAL_MILLISECONDS)


@dataclass(frozen=True, slots=True)
class _Need:
    """The samples that a selector needs before each time of the evaluation."""

    window: float
    """Seconds; 0: the last sample only."""
    offset: float
    is_complete: bool
    """Whether all samples of the window are needed."""


class NeededScrapes:
    """The scrapes that the evaluation of an expression at evenly spaced times needs, so that each
    of its values is the same as with all scrapes. `lookback` is in seconds."""

    def __init__(
        self, expression: Expression, times: Sequence[float], lookback: float = 300.0
    ) -> None:
        self._times = times
        self._lookback = lookback
        self._needs = frozenset(_find_needs(expression, is_rate=False))

    @property
    def has_instants(self) -> bool:
        """Whether the last sample before a time is needed, so that the end of a series counts."""
        return any(not need.window for need in self._needs)

    @property
    def start(self) -> float:
        """Seconds since the epoch; no sample before it is needed."""
        reach = max((n.offset + (n.window or self._lookback) for n in self._needs), default=0.0)
        return self._times[0] - reach

    @property
    def end(self) -> float:
        """Seconds since the epoch; no sample after it is needed."""
        return self._times[-1] - min((n.offset for n in self._needs), default=0.0)

    def numbers(self, grid: ScrapeGrid, first: int, last: int) -> list[int]:
        """The needed scrapes of those with the numbers `first` to `last`, in order. The target is
        not scraped, or its counters are reset, before `first` and after `last`."""
        found: set[int] = set()
        for need in self._needs:
            for time in self._times:
                end = time - need.offset
                high = grid.last_until(end)
                if not need.window:
                    if high >= first:
                        found.add(min(high, last))
                    continue
                low = grid.last_until(end - need.window) + 1
                inner_low, inner_high = max(low, first), min(high, last)
                if need.is_complete or inner_low != low or inner_high != high:
                    found.update(range(inner_low, inner_high + 1))
                elif low <= high:
                    found.add(low)
                    found.add(high)
        return sorted(found)


def _find_needs(expression: Expression, *, is_rate: bool) -> Iterator[_Need]:
    match expression:
        case Selector():
            yield _Need(
                expression.window, expression.offset, bool(expression.window and not is_rate)
            )
        case Call(function, arguments):
            for one in arguments:
                yield from _find_needs(one, is_rate=function in _RATE_FUNCTIONS)
        case Aggregation():
            yield from _find_needs(expression.expression, is_rate=False)
        case Binary(_, left, right):
            yield from _find_needs(left, is_rate=False)
            yield from _find_needs(right, is_rate=False)
