"""The Pods' own /metrics as a source, for as long as servedeck runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from time import time as unix_time

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.queries import pod_pattern
from servedeck.metrics.sample_ring import PodCondition, SampleRing
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget
from servedeck.metrics.units import finite
from servedeck.promql.errors import PromqlError
from servedeck.promql.evaluation import KnownAggregations, evaluate_range
from servedeck.promql.expressions import Expression
from servedeck.promql.rates import TimeSpan
from servedeck.promql.samples import RangeSeries

SCRAPE_INTERVAL = 5.0
"""Seconds between two readings of a Pod."""
_MAX_GRIDS = 4
"""Of so many grids what was computed is kept: of the graphs, of the figures, and one of another
time."""


class LiveSource:
    """The `MetricsSource` of what was read from the Pods."""

    display_name = "The Pods' /metrics"

    def __init__(self, ring: SampleRing, target: MetricsTarget | None = None) -> None:
        """`since` is that of the `target`, as the ring has Pods of other servings too."""
        self._ring = ring
        self._target = target
        self._turn = asyncio.Lock()
        """Threads that compute at the same time only hinder each other, and the event loop."""
        self._version = -1
        self._known: dict[TimeGrid, KnownAggregations] = {}
        """What was computed of this version of the ring."""

    @property
    def since(self) -> float | None:
        if self._target is None:
            return self._ring.since() or unix_time()
        return self._ring.since(owned_by(self._target)) or unix_time()

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        now = unix_time() if time is None else time
        return await self.query_range(expression, TimeGrid(now, 1.0, 1))

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        try:
            async with self._turn:
                found = await asyncio.to_thread(self._evaluate, expression, grid)
        except PromqlError as error:
            raise MetricsError(str(error)) from error
        return QueryResult(
            tuple(FoundSeries(one.labels, tuple(map(finite, one.values))) for one in found)
        )

    def _evaluate(self, expression: Expression, grid: TimeGrid) -> list[RangeSeries]:
        version = self._ring.version
        if version != self._version or len(self._known) > _MAX_GRIDS:
            self._version = version
            self._known.clear()
        known = self._known.setdefault(grid, {})
        return evaluate_range(
            expression,
            self._ring,
            grid.start,
            grid.end,
            grid.step,
            known=known,
            joins=self._joins(),
        )

    def _joins(self) -> list[TimeSpan]:
        """When its Pods began to be read: a counter that is first seen then has counted before, as
        its Pod was not read, and not idle."""
        if self._target is None:
            return []
        begins = self._ring.reading_begins(self._target.namespace, self._target.name)
        # from a little before, as times of samples are whole milliseconds
        return [(one - 1.0, one + 2 * SCRAPE_INTERVAL) for one in begins]

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        # of Pods that were not read yet nothing is known, which is not that they have no names
        return frozenset(self._ring.names(owned_by(target))) or None

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        return SCRAPE_INTERVAL

    async def close(self) -> None:
        """The samples stay: they cannot be read again."""


def replicas_job(target: MetricsTarget) -> str:
    """The label `job` of the numbers of replicas of a target."""
    return f"deployment/{target.name}"


def owned_by(target: MetricsTarget) -> PodCondition:
    """Whether samples in the ring are of the Pods of a target, or of its replicas."""
    pattern = re.compile(pod_pattern(target))
    job = replicas_job(target) if target.is_deployment else None

    def is_owned(labels: Mapping[str, str]) -> bool:
        if labels.get("namespace") != target.namespace:
            return False
        pod = labels.get("pod", "")
        return pattern.fullmatch(pod) is not None if pod else labels.get("job") == job

    return is_owned
