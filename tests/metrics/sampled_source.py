"""A source of metrics over samples that a test makes of single requests."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence

from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.evaluation import evaluate_range
from servedeck.promql.expressions import Expression, Matcher, format_expression
from servedeck.promql.samples import SampleSeries


def sample_counter(
    name: str,
    labels: Mapping[str, str],
    events: Iterable[float],
    times: Sequence[float],
    base: float = 0.0,
) -> SampleSeries:
    """A counter that is `base` before all events, which are times."""
    sorted_events = sorted(events)
    values = [base + bisect_right(sorted_events, time) for time in times]
    return SampleSeries(name, tuple(sorted(labels.items())), list(times), values)


class SampledSource:
    """The `MetricsSource` of a test; keeps what it was asked."""

    display_name = "The samples"
    since: float | None = None

    def __init__(self, series: Iterable[SampleSeries]) -> None:
        self._series = list(series)
        self.queries: list[str] = []

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterable[SampleSeries]:
        for one in self._series:
            labels = dict(one.labels)
            if one.name == name and all(_is_match(m, labels.get(m.label, "")) for m in matchers):
                yield one

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        assert time is not None
        return await self.query_range(expression, TimeGrid(time, 1.0, 1))

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        self.queries.append(format_expression(expression))
        found = evaluate_range(expression, self, grid.start, grid.end, grid.step)
        return QueryResult(
            tuple(
                FoundSeries(
                    one.labels,
                    [
                        None if v is None or v != v or abs(v) == float("inf") else v
                        for v in one.values
                    ],
                )
                for one in found
            )
        )

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        return {one.name for one in self._series}

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        return 15.0

    async def close(self) -> None:
        pass


def _is_match(matcher: Matcher, value: str) -> bool:
    match matcher.operator:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return re.fullmatch(matcher.value, value) is not None
    raise AssertionError(f"no test needs {matcher.operator}")
