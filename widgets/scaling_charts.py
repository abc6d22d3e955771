"""Two charts below or beside each other: what an autoscaler scales by, with its target, and the
replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size

from servedeck.metrics.period import TimeGrid
from servedeck.metrics.scaling_history import ScalingHistory
from servedeck.metrics.units import Unit
from servedeck.serving.scaling.replay import Replay
from servedeck.serving.scaling.replay_settings import Assumption
from servedeck.serving.scaling.scaling_metrics import ScaledBy, format_amount, metric_unit
from widgets.chart_data import ChartData, ChartLine
from widgets.time_chart import MIN_SIZE, TimeChart

BESIDE_WIDTH = 100
"""Cells from which on the charts are beside each other."""
WHAT_IF = "what if"
"""Label of the lines of a replay."""
_TITLES = {
    ScaledBy.RESPONSE_TIME: "P95 response time",
    ScaledBy.WAITING_REQUESTS: "Waiting requests",
}
_PER_REPLICA = "Waiting per replica"
_REPLICAS = "Replicas"


class ScalingCharts(Container):
    """Shows two charts in whatever room there is. In a low one only the replicas are a graph, and
    the metric is a line with its last value, or nothing."""

    DEFAULT_CSS = """
    ScalingCharts {
        layout: vertical;
        height: 1fr;
        overflow: hidden hidden;
        & > TimeChart { height: 1fr; width: 1fr; }
        &.-beside { layout: horizontal; }
        &.-low > #scaling-metric { height: 1; }
        &.-lower > #scaling-metric { display: none; }
    }
    """

    def __init__(self, *, is_utf8: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self.metric = TimeChart(is_utf8=is_utf8, id="scaling-metric")
        self.replicas = TimeChart(is_utf8=is_utf8, id="scaling-replicas")

    def compose(self) -> ComposeResult:
        yield self.metric
        yield self.replicas

    def on_resize(self) -> None:
        self.adapt_to_size(self.size)

    def adapt_to_size(self, size: Size) -> None:
        """Lay the charts out for a size."""
        is_beside = size.width >= BESIDE_WIDTH
        self.set_class(is_beside, "-beside")
        self.set_class(not is_beside and size.height < 2 * MIN_SIZE[1], "-low")
        self.set_class(not is_beside and size.height == MIN_SIZE[1], "-lower")

    def show(self, metric: ChartData, replicas: ChartData) -> None:
        """Show other data."""
        self.metric.set_data(metric)
        self.replicas.set_data(replicas)


def scaling_charts(
    history: ScalingHistory,
    target: float | None,
    max_replicas: int | None,
    replayed: Replay | None = None,
) -> tuple[ChartData, ChartData]:
    """The metric with its target, which is in ms, or in requests per replica, and the replicas, as
    they were and as they would have been."""
    return _metric_chart(history, target, replayed), _replicas_chart(
        history, max_replicas, replayed
    )


def message_charts(by: ScaledBy, start: float, text: str) -> tuple[ChartData, ChartData]:
    """Charts without values: why, in place of the first one. `start` is a Unix time."""
    return (
        ChartData(_TITLES[by], _unit(by), start, 15.0, (), reason=text),
        ChartData(_REPLICAS, Unit.COUNT, start, 15.0, ()),
    )


def _metric_chart(
    history: ScalingHistory, target: float | None, replayed: Replay | None
) -> ChartData:
    by, grid = history.by, history.grid
    lines: list[ChartLine] = []
    title = _TITLES[by]
    if by is ScaledBy.RESPONSE_TIME:
        values: Sequence[float | None] = history.values
        label = "P95" if replayed is None else "as it was"
    elif history.replicas or replayed is not None:
        # The target is one of each replica.
        values = _per_replica(history.values, history.replicas)
        title, label = _PER_REPLICA, "as it was"
    else:
        values, label, target = history.values, "in total", None
    if any(one is not None for one in values):
        lines.append(ChartLine(label, _scaled(values, by)))
    if replayed is not None and _differs(by, replayed):
        # A serving without requests has no response time, though its trigger gives 0.
        assumed: Sequence[float | None] = [one or None for one in replayed.values]
        if by is ScaledBy.WAITING_REQUESTS:
            assumed = _per_replica(replayed.values, replayed.replicas)
        highest = _on_grid(replayed.times, assumed, grid)
        lines.append(ChartLine(WHAT_IF, _scaled(highest, by)))
    limit = None if target is None else _scaled((target,), by)[0]
    text = format_amount(target, metric_unit(by.value, by.metric_type))
    return ChartData(
        title,
        _unit(by),
        grid.start,
        grid.step,
        tuple(lines),
        limit=limit,
        limit_label=f"target {text}" if limit is not None else "",
        note=history.warning,
        reason=history.reason,
    )


def _differs(by: ScaledBy, replayed: Replay) -> bool:
    """Whether the metric of a replay is another one than what was recorded."""
    if by is ScaledBy.WAITING_REQUESTS:
        return True
    return replayed.assumption is Assumption.LOAD_PER_REPLICA


def _replicas_chart(
    history: ScalingHistory, max_replicas: int | None, replayed: Replay | None
) -> ChartData:
    grid = history.grid
    lines: list[ChartLine] = []
    if history.replicas:
        label = "scraped Pods" if history.is_counted_by_scrapes else "ready"
        lines.append(ChartLine(label, history.replicas))
    if replayed is not None and replayed.replicas:
        lines.append(ChartLine(WHAT_IF, _on_grid(replayed.times, replayed.replicas, grid)))
    return ChartData(
        _REPLICAS,
        Unit.COUNT,
        grid.start,
        grid.step,
        tuple(lines),
        limit=max_replicas,
        limit_label=f"max {max_replicas}" if max_replicas is not None else "",
        reason="" if lines else "Nothing tells how many replicas there were.",
    )


def _on_grid(
    times: Sequence[float], values: Sequence[float | None], grid: TimeGrid
) -> tuple[float | None, ...]:
    """The highest of the values from each time of a grid to the next one."""
    found: list[float | None] = [None] * grid.count
    for time, value in zip(times, values, strict=True):
        index = math.floor((time - grid.start) / grid.step + 1e-6)
        if value is not None and 0 <= index < grid.count:
            known = found[index]
            found[index] = value if known is None else max(known, value)
    if grid.count > 1 and found[-1] is None:
        found[-1] = found[-2]  # the last time of a grid ends the last decision
    return tuple(found)


def _per_replica(
    values: Sequence[float | None], replicas: Sequence[float | None]
) -> tuple[float | None, ...]:
    """None where the replicas are not known; at 0 replicas the total."""
    if not replicas:
        return (None,) * len(values)
    return tuple(
        None if value is None or count is None else value / max(count, 1.0)
        for value, count in zip(values, replicas, strict=True)
    )


def _unit(by: ScaledBy) -> Unit:
    return Unit.SECONDS if by is ScaledBy.RESPONSE_TIME else Unit.COUNT


def _scaled(values: Sequence[float | None], by: ScaledBy) -> tuple[float | None, ...]:
    """In the unit of the chart: seconds for milliseconds."""
    factor = 0.001 if by is ScaledBy.RESPONSE_TIME else 1.0
    return tuple(None if one is None else one * factor for one in values)
