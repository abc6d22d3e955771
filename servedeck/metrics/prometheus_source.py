"""Prometheus, or what speaks its API, as a source of metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from time import time as unix_time
from typing import TypeVar

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import Metric, MetricName
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.prometheus import PrometheusClient, Series
from servedeck.metrics.queries import MetricSeries, metric_series, pod_matchers
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Selector,
    first_of,
    format_expression,
)

QUERIES_IN_FLIGHT = 4
"""Queries that Prometheus computes for us at the same time, at most: of the 20 that it computes for
all (--query.max-concurrency)."""
QUERY_TIMEOUT = 20.0
"""Seconds for one answer."""
_MANY_POINTS = 5_000
"""What is more is put in order beside the screen: it takes more than two milliseconds."""
_SAMPLED_SECONDS = 300.0
_NAMES_SECONDS = 86400.0
"""Of which names are known: of the longest period, and not of all that Prometheus keeps."""
_USUAL_INTERVALS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)

T = TypeVar("T")


class PrometheusSource:
    """The `MetricsSource` of a Prometheus."""

    since: float | None = None

    def __init__(self, client: PrometheusClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(QUERIES_IN_FLIGHT)

    @property
    def display_name(self) -> str:
        return self._client.display_name

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        text = format_expression(expression)
        answer = await self._limited(lambda: self._client.query(text, time))
        found = tuple(
            FoundSeries(one.labels, (one.points[0].value if one.points else None,))
            for one in answer.series
        )
        return QueryResult(found, answer.warning)

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        text = format_expression(expression)
        answer = await self._limited(
            lambda: self._client.query_range(text, grid.start, grid.end, grid.step)
        )
        if sum(len(one.points) for one in answer.series) > _MANY_POINTS:
            found = await asyncio.to_thread(_on_grid, answer.series, grid)
        else:
            found = _on_grid(answer.series, grid)
        return QueryResult(found, answer.warning)

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        pods = pod_matchers(target)
        if not pods:
            return None
        selector, now = format_expression(Selector("", pods)), unix_time()
        return await self._limited(
            lambda: self._client.metric_names(selector, now - _NAMES_SECONDS, now)
        )

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        """By the number of samples in the last five minutes, of series that are as old: of those
        that are shown, also the proxies'; of an unknown server, whether it was reached."""
        asked_series = [
            series
            for metric in (Metric.REQUESTS, Metric.RUNNING)
            for series in metric_series(metric, target, known=())
        ]
        if pods := pod_matchers(target):
            asked_series.append(MetricSeries((MetricName("up"),), pods))
        counts = [
            Aggregation("max", counted)
            for series in asked_series
            if (counted := _sample_counts(series)) is not None
        ]
        asked = first_of(counts)
        if asked is None:
            return None
        found = await self.query(asked)
        count = next((one.values[0] for one in found.series), None)
        if not count:
            return None
        interval = _SAMPLED_SECONDS / count
        return next((one for one in _USUAL_INTERVALS if interval <= one * 1.2), interval)

    async def close(self) -> None:
        await self._client.close()

    async def _limited(self, ask: Callable[[], Awaitable[T]]) -> T:
        """An answer, asked for once few enough others are awaited."""
        async with self._slots:
            try:
                async with asyncio.timeout(QUERY_TIMEOUT):
                    return await ask()
            except TimeoutError:
                raise MetricsError(
                    f"{self.display_name} does not answer within {QUERY_TIMEOUT:.0f} s."
                ) from None


def _sample_counts(series: MetricSeries) -> Expression | None:
    # Name by name: without their names, the series of two may have the same labels.
    names, matchers = [one.name for one in series.names], series.matchers
    counted = first_of(
        Call("count_over_time", (Selector(one, matchers, _SAMPLED_SECONDS),)) for one in names
    )
    older = first_of(Selector(one, matchers, offset=_SAMPLED_SECONDS) for one in names)
    return None if counted is None or older is None else Binary("and", counted, older)


def _on_grid(series: Iterable[Series], grid: TimeGrid) -> tuple[FoundSeries, ...]:
    return tuple(FoundSeries(one.labels, _values(one, grid)) for one in series)


def _values(series: Series, grid: TimeGrid) -> Sequence[float | None]:
    values: list[float | None] = [None] * grid.count
    for point in series.points:
        index = grid.index(point.time)
        if index is not None:
            values[index] = point.value
    return values
