"""The metrics of one serving, as they are shown: graphs, and the figures of the moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import time as unix_time
from typing import Any, TypeVar

from servedeck.metrics import queries
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.expression_names import selector_names
from servedeck.metrics.families import Metric, all_sample_names
from servedeck.metrics.graph_line import GraphLine
from servedeck.metrics.graphs import (
    GRAPH_KINDS,
    POD_GRAPHS,
    QUANTILES,
    GraphKey,
    GraphOptions,
    graph_lines,
    pod_lines,
)
from servedeck.metrics.period import USUAL_SCRAPE_INTERVAL, TimeGrid, rate_window
from servedeck.metrics.queries import KnownNames, metric_series, pod_pattern
from servedeck.metrics.shown_lines import ShownLine, joined_lines, shown_lines
from servedeck.metrics.source import MetricsSource
from servedeck.metrics.target import NO_READY_POD, MetricsTarget
from servedeck.promql.expressions import Expression, first_of, format_expression
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE

RECOMPUTED_POINTS = 2
"""The newest points are asked for again: a scrape may have arrived late."""
LOOK_BACK_POINTS = 25
LOOK_BACK_STEP = 3600.0
"""Seconds: a serving that was stopped within a day has its metrics."""
LEARN_AGAIN_SECONDS = 600.0
"""After which is asked again what the Pods export: their next version may have other names."""
RETRY_SECONDS = 60.0
"""The same where nothing was known of them."""
FIRST_READINGS_SECONDS = 15.0
"""Until a source that has no past has read the Pods twice."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShownGraph:
    """A graph with its values."""

    key: GraphKey
    grid: TimeGrid
    lines: tuple[ShownLine, ...]
    queries: tuple[str, ...]
    """What was evaluated, as PromQL."""
    is_by_pod: bool = False
    reason: str = ""
    """Why there is nothing to show, one sentence; "" where there is something."""
    warning: str = ""
    """What the source says about the values, one sentence."""

    @property
    def title(self) -> str:
        title = GRAPH_KINDS[self.key].title
        if not self.is_by_pod:
            return title
        shown = POD_GRAPHS.get(self.key, title)
        return f"{title} by Pod" + (f": {shown}" if shown.lower() != title.lower() else "")


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a moment; None for what is not. Times are in seconds."""

    time: float
    """Seconds since the epoch."""
    seconds: float
    """Of the period that the totals are of."""
    window: float
    """Seconds that the present values are of."""
    total_requests: float | None = None
    request_rate: float | None = None
    """Finished requests per second."""
    error_share: float | None = None
    """Of the requests, those that the server failed to answer (5xx)."""
    quantiles: tuple[float | None, ...] = (None, None, None)
    """P50, P95 and P99 of the time of a request."""
    ttft: float | None = None
    """P95 of the time to first token."""
    running: float | None = None
    waiting: float | None = None
    kv_cache: float | None = None
    """Share of the fullest Pod."""
    warning: str = ""
    """What the source says about the values, one sentence."""


class ServingMetrics:
    """Asks one source about one serving. Raises MetricsError."""

    def __init__(self, source: MetricsSource, target: MetricsTarget) -> None:
        self.source = source
        self.target = target
        self._known: KnownNames = None
        self._interval = USUAL_SCRAPE_INTERVAL
        self._preparation = asyncio.Lock()
        self._prepared_until = -math.inf
        """In seconds of the event loop's clock."""
        self._begun_at = math.inf
        """The same clock, when it was prepared first."""

    @property
    def _is_first_reading(self) -> bool:
        age = asyncio.get_running_loop().time() - self._begun_at
        return self.source.since is not None and age < FIRST_READINGS_SECONDS

    @property
    def scrape_interval(self) -> float:
        """Seconds, as far as it is known."""
        return self._interval

    @property
    def known_names(self) -> KnownNames:
        """The names of the samples that the Pods have, once it is prepared; None if that is not
        known."""
        return self._known

    async def prepare(self) -> None:
        """Learn what the Pods export, and how often it is read: the first time, and seldom
        again."""
        async with self._preparation:
            time = asyncio.get_running_loop().time()
            self._begun_at = min(self._begun_at, time)
            if time < self._prepared_until:
                return
            async with _unwrapped_errors(), asyncio.TaskGroup() as group:
                names = group.create_task(self._known_names())
                interval = group.create_task(self.source.scrape_interval(self.target))
            self._known = names.result()
            self._interval = interval.result() or self._interval
            is_known = bool(self._known) and interval.result() is not None
            self._prepared_until = time + (LEARN_AGAIN_SECONDS if is_known else RETRY_SECONDS)

    async def _known_names(self) -> KnownNames:
        try:
            return await self.source.known_names(self.target)
        except MetricsError:
            return None  # who may not list names may query: what is asked says more

    async def has_values(self) -> bool:
        """Whether the source has, or has had within a day, something of the serving."""
        known = self._known or ()
        own = (one.name for names in self.target.own_names.values() for one in names)
        if any(one in known for one in (*all_sample_names(self.target.template), *own)):
            return True
        requests = first_of(
            queries.counter_increase(one, LOOK_BACK_STEP)
            for one in metric_series(Metric.REQUESTS, self.target, self._known)
        )
        if requests is None:
            return False
        start = unix_time() - LOOK_BACK_STEP * (LOOK_BACK_POINTS - 1)
        grid = TimeGrid(start, LOOK_BACK_STEP, LOOK_BACK_POINTS)
        return bool((await self.source.query_range(requests, grid)).series)

    async def graph(
        self,
        key: GraphKey,
        grid: TimeGrid,
        *,
        by_pod: bool = False,
        previous: ShownGraph | None = None,
    ) -> ShownGraph:
        """A graph at the times of a grid. Of what `previous` has, only the newest points are asked
        for again."""
        await self.prepare()
        options = GraphOptions(rate_window(grid.step, self._interval), grid.step, self._known)
        lines = (pod_lines if by_pod else graph_lines)(key, self.target, options)
        texts = tuple(format_expression(one.expression) for one in lines)
        asked = grid
        if previous is not None and _continues(previous, key, grid, by_pod, texts):
            asked = _newest_part(previous.grid, grid)
        else:
            previous = None
        results = await all_of(self.source.query_range(one.expression, asked) for one in lines)
        shown, left_out = shown_lines(lines, results, asked)
        if previous is not None:
            shown = joined_lines(previous.lines, previous.grid, shown, asked, grid, lines)
        warning = next((one.warning for one in results if one.warning), "")
        if left_out and not warning:
            warning = f"{left_out:,} more lines are not shown"
        has_values = any(value is not None for one in shown for value in one.values)
        return ShownGraph(
            key,
            grid,
            tuple(shown) if has_values else (),
            texts,
            by_pod,
            "" if has_values else self._absent_reason(key, lines, by_pod=by_pod),
            warning,
        )

    async def figures(self, seconds: float, now: float | None = None) -> Figures:
        """The totals of the last `seconds`, and the present values."""
        await self.prepare()
        now = unix_time() if now is None else now
        window = rate_window(0.0, self._interval)
        asked = self._figure_expressions(seconds, window)
        wanted = {name: one for name, one in asked.items() if one is not None}
        found = await all_of(self.source.query(one, now) for one in wanted.values())
        values: dict[str, float | None] = dict.fromkeys(asked)
        for name, result in zip(wanted, found, strict=True):
            values[name] = next((one.values[0] for one in result.series), None)
        return Figures(
            now,
            seconds,
            window,
            values["total"],
            values["rate"],
            values["failures"],
            tuple(values[label] for label, _ in QUANTILES),
            values["ttft"],
            values["running"],
            values["waiting"],
            values["kv"],
            next((one.warning for one in found if one.warning), ""),
        )

    def _figure_expressions(self, seconds: float, window: float) -> dict[str, Expression | None]:
        target, known = self.target, self._known
        requests = metric_series(Metric.REQUESTS, target, known)
        latency = metric_series(Metric.LATENCY, target, known)
        shares = [
            queries.failure_share(one, window)
            for one in metric_series(Metric.ERRORS, target, known)
        ]
        found = {
            "total": first_of(queries.counter_increase(one, seconds) for one in requests),
            "rate": first_of(queries.counter_rate(one, window) for one in requests),
            "failures": first_of(one for one in shares if one is not None),
            "ttft": first_of(
                queries.latency_quantile(0.95, one, window, known)
                for one in metric_series(Metric.TTFT, target, known)
            ),
            "running": self._gauge(Metric.RUNNING),
            "waiting": self._gauge(Metric.WAITING),
            "kv": first_of(
                queries.gauge(one, "max") for one in metric_series(Metric.KV_CACHE, target, known)
            ),
        }
        for label, share in QUANTILES:
            found[label] = first_of(
                queries.latency_quantile(share, one, window, known) for one in latency
            )
        return found

    def _gauge(self, metric: Metric) -> Expression | None:
        return first_of(
            queries.gauge(one) for one in metric_series(metric, self.target, self._known)
        )

    def _absent_reason(self, key: GraphKey, lines: Sequence[GraphLine], *, by_pod: bool) -> str:
        absent = GRAPH_KINDS[key].absent
        names = list(dict.fromkeys(n for one in lines for n in selector_names(one.expression)))
        if not names:
            return self._unasked_reason(key, absent, by_pod=by_pod)
        if not self._known and self.source.since is not None and not self.target.ready_pods:
            return NO_READY_POD  # none is read, however long it takes
        if not self._known and self._is_first_reading:
            return "A rate is known from the second reading of its Pods on."
        if not self._known and self.source.since is not None:
            return f"Nothing was read from its Pods that tells {absent}."
        if self._known is not None and any(one in self._known for one in names):
            return "No values in this time: there were no requests, or they were not recorded."
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return f"{self.source.display_name} has no record of {absent} ({shown})."

    def _unasked_reason(self, key: GraphKey, absent: str, *, by_pod: bool) -> str:
        target = self.target
        if by_pod and key not in POD_GRAPHS:
            return "This graph is not shown by Pod."
        if key is GraphKey.REPLICAS:
            return "Only a whole Deployment has a number of replicas."
        if not pod_pattern(target):
            return "None of its Pods is known."
        server = "Its server" if target.template == CUSTOM_TEMPLATE else target.template
        return f"{server} does not export {absent}."


async def all_of(awaited: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; the first one that fails cancels the others."""
    async with _unwrapped_errors(), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in awaited]
    return [one.result() for one in tasks]


@asynccontextmanager
async def _unwrapped_errors() -> AsyncIterator[None]:
    """The first error of a group in place of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _continues(
    previous: ShownGraph, key: GraphKey, grid: TimeGrid, by_pod: bool, texts: tuple[str, ...]
) -> bool:
    """Whether the older points of a grid are those of a graph, and nothing is missing there."""
    old = previous.grid
    return (
        not previous.warning
        and previous.key is key
        and previous.is_by_pod == by_pod
        and previous.queries == texts
        and old.step == grid.step
        and old.start <= grid.start <= old.end <= grid.end
        and old.index(grid.start) is not None
    )


def _newest_part(old: TimeGrid, new: TimeGrid) -> TimeGrid:
    """The times of `new` after those of `old`, and the last ones of those."""
    added = round((new.end - old.end) / new.step)
    count = min(added + RECOMPUTED_POINTS, new.count)
    return TimeGrid(new.end - (count - 1) * new.step, new.step, count)
