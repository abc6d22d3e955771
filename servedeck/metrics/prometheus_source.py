"""Prometheus, or what speaks its API, as a source of metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from time import time as unix_time
from typing import TypeVar

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import Metric, server_names
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.prometheus import PrometheusClient, Series
from servedeck.metrics.queries import pod_matchers, pod_pattern
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Aggregation,
    Call,
    Expression,
    Matcher,
    Selector,
    format_expression,
)

QUERIES_IN_FLIGHT = 4
"""Queries that Prometheus computes for us at the same time, at most: of the 20 that it computes for
all (--query.max-concurrency)."""
QUERY_TIMEOUT = 20.0
"""Seconds for one answer."""
NAMES_SECONDS = 86400.0
"""Of which the names of metrics are asked for: the longest period that is shown."""
_SAMPLED_SECONDS = 300.0
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
        answer = await self._limited(self._client.query(format_expression(expression), time))
        found = tuple(
            FoundSeries(one.labels, (one.points[0].value if one.points else None,))
            for one in answer.series
        )
        return QueryResult(found, answer.warning)

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        answer = await self._limited(
            self._client.query_range(format_expression(expression), grid.start, grid.end, grid.step)
        )
        return QueryResult(
            tuple(FoundSeries(one.labels, _on_grid(one, grid)) for one in answer.series),
            answer.warning,
        )

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        if not pod_pattern(target):
            return None
        selector = Selector("", pod_matchers(target))
        now = unix_time()
        return await self._limited(
            self._client.metric_names(format_expression(selector), now - NAMES_SECONDS, now)
        )

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        """By the number of samples in the last five minutes."""
        names = [
            one.name
            for metric in (Metric.RUNNING, Metric.REQUESTS)
            for group in server_names(metric, target.template)
            for one in group
        ]
        if not names or not pod_pattern(target):
            return None
        matchers = (Matcher("__name__", "=~", "|".join(names)), *pod_matchers(target))
        counted = Call("count_over_time", (Selector("", matchers, _SAMPLED_SECONDS),))
        found = await self.query(Aggregation("max", counted))
        count = next((one.values[0] for one in found.series), None)
        if not count:
            return None
        interval = _SAMPLED_SECONDS / count
        return next((one for one in _USUAL_INTERVALS if interval <= one * 1.2), interval)

    async def close(self) -> None:
        await self._client.close()

    async def _limited(self, answer: Awaitable[T]) -> T:
        """An answer, once few enough others are awaited."""
        async with self._slots:
            try:
                async with asyncio.timeout(QUERY_TIMEOUT):
                    return await answer
            except TimeoutError:
                raise MetricsError(
                    f"{self.display_name} does not answer within {QUERY_TIMEOUT:.0f} s."
                ) from None


def _on_grid(series: Series, grid: TimeGrid) -> Sequence[float | None]:
    values: list[float | None] = [None] * grid.count
    for point in series.points:
        index = grid.index(point.time)
        if index is not None:
            values[index] = point.value
    return values
