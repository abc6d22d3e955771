"""What an autoscaler would have scaled by, and the replicas that there were, over a time."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.queries import pod_matchers
from servedeck.metrics.serving_metrics import ServingMetrics, ShownGraph, all_of
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import Aggregation, Binary, Expression, Number, Selector
from servedeck.serving.scaling.replay_settings import RecordedMetric
from servedeck.serving.scaling.scaling_metrics import ScaledBy

_MILLISECONDS = 1000.0


_GRAPHS = {
    ScaledBy.RESPONSE_TIME: (GraphKey.LATENCY, "P95", _MILLISECONDS),
    ScaledBy.WAITING_REQUESTS: (GraphKey.QUEUE, "waiting", 1.0),
}
"""The graph and the line that has the values, and by what they are multiplied."""


@dataclass(frozen=True, slots=True)
class ScalingHistory:
    by: ScaledBy
    grid: TimeGrid
    values: tuple[float | None, ...]
    """In the unit of the target, one for each time; () where nothing is known."""
    replicas: tuple[float | None, ...]
    """Ready ones; () where that is not known."""
    metric_graph: ShownGraph
    replicas_graph: ShownGraph
    is_counted_by_scrapes: bool = False
    """Whether the replicas are the Pods that Prometheus could scrape: there is no record of the
    Deployment."""
    warning: str = ""
    """What the source says about the values, one sentence."""

    @property
    def reason(self) -> str:
        """Why there are no values, one sentence; "" where there are."""
        if self.values:
            return ""
        return self.metric_graph.reason or "No values of it in this time."

    def record(self) -> RecordedMetric:
        """As it is replayed, and as the queries of servedeck's triggers give it: a serving without
        requests has no P95, which is 0 there. Of a time without replicas nothing is known."""
        values = self.values
        if self.by is ScaledBy.RESPONSE_TIME and values:
            replicas = self.replicas or (None,) * len(values)
            values = tuple(
                0.0 if value is None and (count or not self.replicas) else value
                for value, count in zip(values, replicas, strict=True)
            )
        return RecordedMetric(self.grid.times(), values, self.replicas)


async def read_scaling_history(
    metrics: ServingMetrics,
    by: ScaledBy,
    grid: TimeGrid,
    previous: ScalingHistory | None = None,
) -> ScalingHistory:
    """The history at the times of a grid. Of what `previous` has, only the newest points are asked
    for again. Raises MetricsError."""
    key, label, factor = _GRAPHS[by]
    known = previous if previous is not None and previous.by is by else None
    old_replicas = previous.replicas_graph if previous is not None else None
    metric_graph, replicas_graph = await all_of(
        (
            metrics.graph(key, grid, previous=known.metric_graph if known else None),
            metrics.graph(GraphKey.REPLICAS, grid, previous=old_replicas),
        )
    )
    values = _line(metric_graph, label)
    replicas = _line(replicas_graph, "ready")
    warning = metric_graph.warning or replicas_graph.warning
    is_counted = False
    if not replicas and (scraped := scraped_pods(metrics.target)) is not None:
        found = await metrics.source.query_range(scraped, grid)
        if found.series:
            replicas, is_counted = tuple(found.series[0].values), True
        warning = warning or found.warning
    return ScalingHistory(
        by,
        grid,
        tuple(None if one is None else one * factor for one in values),
        replicas,
        metric_graph,
        replicas_graph,
        is_counted,
        warning,
    )


def scraped_pods(target: MetricsTarget) -> Expression | None:
    """How many Pods could be scraped: about those that are ready, and loading ones as well where
    their server answers /metrics before. None where no Pod is known."""
    pods = pod_matchers(target)
    if not pods:
        return None
    is_up = Binary("==", Selector("up", pods), Number(1.0))
    return Aggregation("count", Aggregation("max", is_up, ("pod",)))


def _line(graph: ShownGraph, label: str) -> tuple[float | None, ...]:
    """The values of a line; () where it has none."""
    for one in graph.lines:
        if one.label == label and any(value is not None for value in one.values):
            return one.values
    return ()
