"""The metrics of one serving, as they are shown: graphs, and the figures of the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time as unix_time

from servedeck.metrics import queries
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
from servedeck.metrics.period import (
    USUAL_SCRAPE_INTERVAL,
    TimeGrid,
    rate_window,
)
from servedeck.metrics.queries import KnownNames, metric_series
from servedeck.metrics.source import MetricsSource, QueryResult
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import Expression, first_of, format_expression
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE
from servedeck.serving.text import one_line

RECOMPUTED_POINTS = 2
"""The newest points are asked for again: a scrape may have arrived late."""
LOOK_BACK_POINTS = 25
LOOK_BACK_STEP = 3600.0
"""Seconds: a serving that was stopped within a day has its metrics."""
MAX_LINES = 60
"""Lines of one graph; a label with more values is no name of a line."""


@dataclass(frozen=True, slots=True)
class ShownLine:
    label: str
    """Sanitized."""
    values: tuple[float | None, ...]
    """One for each time of the grid."""


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
        kind = GRAPH_KINDS[self.key]
        if self.is_by_pod and POD_GRAPHS[self.key].lower() != kind.title.lower():
            return f"{kind.title} by Pod: {POD_GRAPHS[self.key]}"
        return f"{kind.title} by Pod" if self.is_by_pod else kind.title


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
    queries: tuple[str, ...] = field(default=(), compare=False)
    """PromQL of the total and the quantiles."""


class ServingMetrics:
    """Asks one source about one serving. Raises MetricsError."""

    def __init__(self, source: MetricsSource, target: MetricsTarget) -> None:
        self.source = source
        self.target = target
        self._known: KnownNames = None
        self._interval = USUAL_SCRAPE_INTERVAL
        self._is_prepared = False

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
        """Learn what the Pods export, and how often it is read; the first time only."""
        if self._is_prepared:
            return
        known, interval = await asyncio.gather(
            self.source.known_names(self.target), self.source.scrape_interval(self.target)
        )
        self._known = known or None
        self._interval = interval or USUAL_SCRAPE_INTERVAL
        self._is_prepared = bool(known)

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
        results = await asyncio.gather(
            *(self.source.query_range(one.expression, asked) for one in lines)
        )
        shown = list(_shown_lines(lines, results, asked))
        if previous is not None:
            shown = _joined(previous, shown, grid, asked)
        has_values = any(value is not None for one in shown for value in one.values)
        return ShownGraph(
            key,
            grid,
            tuple(shown) if has_values else (),
            texts,
            by_pod,
            "" if has_values else self._absent_reason(key, lines),
            next((one.warning for one in results if one.warning), ""),
        )

    async def figures(self, seconds: float, now: float | None = None) -> Figures:
        """The totals of the last `seconds`, and the present values."""
        await self.prepare()
        now = unix_time() if now is None else now
        window = rate_window(0.0, self._interval)
        asked = self._figure_expressions(seconds, window)
        found = await asyncio.gather(*(self._value(one, now) for one in asked.values()))
        values = dict(zip(asked, found, strict=True))
        return Figures(
            now,
            seconds,
            window,
            values["total"],
            values["rate"],
            _share(values["failures"], values["answered"]),
            tuple(values[label] for label, _ in QUANTILES),
            values["ttft"],
            values["running"],
            values["waiting"],
            values["kv"],
            tuple(
                format_expression(one)
                for name in ("total", *(label for label, _ in QUANTILES))
                if (one := asked[name]) is not None
            ),
        )

    def _figure_expressions(self, seconds: float, window: float) -> dict[str, Expression | None]:
        target, known = self.target, self._known
        requests = metric_series(Metric.REQUESTS, target, known)
        latency = metric_series(Metric.LATENCY, target, known)
        failures, answered = self._failures(window)
        found = {
            "total": first_of(queries.counter_increase(one, seconds) for one in requests),
            "rate": first_of(queries.counter_rate(one, window) for one in requests),
            "failures": failures,
            "answered": answered,
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

    def _failures(self, window: float) -> tuple[Expression | None, Expression | None]:
        """Failed requests per second, and all of the same count."""
        failed: list[Expression] = []
        counted: list[Expression] = []
        for series in metric_series(Metric.ERRORS, self.target, self._known):
            name = series.names[0]
            if not name.failure_codes:
                continue
            one = replace(series, names=(name,))
            counted.append(queries.counter_rate(one, window))
            failed.append(queries.error_rate(one, window, failures_only=True))
        return first_of(failed), first_of(counted)

    async def _value(self, expression: Expression | None, now: float) -> float | None:
        if expression is None:
            return None
        result = await self.source.query(expression, now)
        return next((one.values[0] for one in result.series), None)

    def _absent_reason(self, key: GraphKey, lines: Sequence[GraphLine]) -> str:
        kind = GRAPH_KINDS[key]
        names = list(dict.fromkeys(n for one in lines for n in selector_names(one.expression)))
        if not names:
            server = self.target.template
            subject = "Its server" if server == CUSTOM_TEMPLATE else server
            return f"{subject} exports no {kind.absent}."
        if self._known is not None and any(one in self._known for one in names):
            return "No values in this time: there were no requests, or they were not recorded."
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return f"{self.source.display_name} has no {kind.absent} of it ({shown})."


def _share(part: float | None, whole: float | None) -> float | None:
    """None where nothing was counted; a part that is not there is none of it."""
    if not whole:
        return None
    return (part or 0.0) / whole


def _continues(
    previous: ShownGraph, key: GraphKey, grid: TimeGrid, by_pod: bool, texts: tuple[str, ...]
) -> bool:
    """Whether the older points of a grid are those of a graph."""
    old = previous.grid
    return (
        previous.key is key
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


def _shown_lines(
    lines: Sequence[GraphLine], results: Sequence[QueryResult], grid: TimeGrid
) -> Iterator[ShownLine]:
    for line, result in zip(lines, results, strict=True):
        if not line.legend:
            values = result.series[0].values if result.series else (None,) * grid.count
            yield ShownLine(line.label, tuple(values))
            continue
        found = [
            ShownLine(one_line(_legend(line, one.labels)) or line.label, tuple(one.values))
            for one in result.series[:MAX_LINES]
        ]
        yield from sorted(found, key=lambda one: one.label)


def _legend(line: GraphLine, labels: Mapping[str, str]) -> str:
    value = labels.get(line.legend, "")
    if value:
        return value
    # the alternatives of proxies name the code in labels of their own
    return next((text for text in labels.values() if text), line.label)


def _joined(
    previous: ShownGraph, newest: Sequence[ShownLine], grid: TimeGrid, asked: TimeGrid
) -> list[ShownLine]:
    """The points of before, and the newest ones in place of those that were asked for again."""
    kept = grid.count - asked.count
    first = previous.grid.index(grid.start) or 0
    older = {one.label: one.values[first : first + kept] for one in previous.lines}
    newer = {one.label: one.values for one in newest}
    absent, gone = (None,) * kept, (None,) * asked.count
    labels = dict.fromkeys([*(one.label for one in newest), *older])
    return [
        ShownLine(one, tuple(older.get(one, absent)) + tuple(newer.get(one, gone)))
        for one in labels
    ]
