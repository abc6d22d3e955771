"""The samples that the demo's Prometheus has scraped, computed for one query."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from servedeck.demo.prometheus.exporters import ExportedSeries, Exporter
from servedeck.demo.prometheus.scrape_times import NeededScrapes
from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import Matcher
from servedeck.promql.matching import compile_matchers
from servedeck.promql.samples import STALE, Labels, SampleSeries

MAX_SAMPLES = 5_000_000
"""Samples of one query, as --query.max-samples."""

_Key = tuple[str, Labels]


class _Scrapes(NamedTuple):
    """The needed scrapes of an exporter."""

    times: list[float]
    states: list[Any]
    """One for each time."""
    first_at: float
    """When it was scraped first."""
    gone_at: float | None
    """When a scrape found it gone, if that is needed."""


_NO_SCRAPES = _Scrapes([], [], math.inf, None)


class TooManySamplesError(PromqlError):
    """A query needs more than MAX_SAMPLES."""

    def __init__(self) -> None:
        super().__init__(
            "query processing would load too many samples into memory in query execution"
        )


class ComputedSamples:
    """Implements `SampleSource` for one query: `select` gives the samples that the query needs, and
    no others. A target that is no longer scraped ends with STALE."""

    def __init__(
        self, exporters: Sequence[Exporter], needed: NeededScrapes, oldest: float, now: float
    ) -> None:
        """Samples between `oldest` and `now` exist (seconds since the epoch)."""
        self._exporters = exporters
        self._needed = needed
        self._oldest = oldest
        self._now = now
        self._scrapes: dict[Exporter, _Scrapes] = {}
        self._joined: dict[tuple[Exporter, ...], tuple[list[float], list[bool]]] = {}
        self._selected: dict[tuple[str, tuple[Matcher, ...]], list[SampleSeries]] = {}
        self._count = 0

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterable[SampleSeries]:
        """See SampleSource. Raises PromqlError for an invalid regular expression, and
        TooManySamplesError."""
        key = name, tuple(matchers)
        found = self._selected.get(key)
        if found is None:
            found = self._selected[key] = self._select(name, matchers)
        return found

    def find(
        self, name: str, matchers: Sequence[Matcher]
    ) -> dict[_Key, list[tuple[Exporter, ExportedSeries]]]:
        """The series by name and labels, with the exporters that have had them, in the order of
        their beginnings. Raises PromqlError."""
        matches = compile_matchers(matchers)
        found: dict[_Key, list[tuple[Exporter, ExportedSeries]]] = {}
        for exporter in self._exporters:
            for known in (name,) if name else exporter.series:
                for series in exporter.series.get(known, ()):
                    if matches(known, series.labels):
                        found.setdefault((known, series.labels), []).append((exporter, series))
        return found

    def _select(self, name: str, matchers: Sequence[Matcher]) -> list[SampleSeries]:
        found = []
        for (known, labels), parts in self.find(name, matchers).items():
            times, ends = self._join(tuple(exporter for exporter, _ in parts))
            self._count += len(times)
            if self._count > MAX_SAMPLES:
                raise TooManySamplesError
            values: list[float] = []
            for (exporter, (_, value)), is_end in zip(parts, ends, strict=True):
                values += [value(state) for state in self._scrape(exporter).states]
                if is_end:
                    values.append(STALE)
            if times:
                found.append(SampleSeries(known, labels, times, values))
        return found

    def _join(self, exporters: tuple[Exporter, ...]) -> tuple[list[float], list[bool]]:
        """The times of a series that these exporters have had, one after the other, and whether
        the last time of each of them is the end of the series. The list is the same one for all
        such series, which the evaluation makes use of."""
        found = self._joined.get(exporters)
        if found is None:
            times: list[float] = []
            ends: list[bool] = []
            for exporter in exporters:
                scrapes = self._scrape(exporter)
                if ends and ends[-1] and times[-1] >= scrapes.first_at:
                    times.pop()  # it is back when it would have been found gone
                    ends[-1] = False
                times += scrapes.times
                ends.append(scrapes.gone_at is not None)
                if scrapes.gone_at is not None:
                    times.append(scrapes.gone_at)
            found = self._joined[exporters] = times, ends
        return found

    def _scrape(self, exporter: Exporter) -> _Scrapes:
        found = self._scrapes.get(exporter)
        if found is None:
            found = self._scrapes[exporter] = self._compute_scrapes(exporter)
        return found

    def _compute_scrapes(self, exporter: Exporter) -> _Scrapes:
        if exporter.begin > self._now or exporter.end <= self._oldest:
            return _NO_SCRAPES
        grid, needed = exporter.grid, self._needed
        first = grid.first_from(max(exporter.begin, self._oldest))
        last = grid.last_until(min(exporter.end, self._now))
        is_gone = exporter.end <= self._now
        if is_gone and grid.time(last) == exporter.end:
            last -= 1
        if first > last:
            return _NO_SCRAPES
        times = [grid.time(number) for number in needed.numbers(grid, first, last)]
        gone_at = None
        if is_gone and needed.has_instants and grid.time(last + 1) <= min(self._now, needed.end):
            gone_at = grid.time(last + 1)
        states = [exporter.state(time) for time in times]
        return _Scrapes(times, states, grid.time(first), gone_at)
