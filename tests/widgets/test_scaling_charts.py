"""The charts of what an autoscaler scales by and of the replicas."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.scaling_history import ScalingHistory
from servedeck.metrics.serving_metrics import ShownGraph
from servedeck.metrics.units import Unit
from servedeck.serving.scaling.replay import replay
from servedeck.serving.scaling.replay_settings import Assumption, ReplaySettings
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from widgets.scaling_charts import ScalingCharts, message_charts, scaling_charts

GRID = TimeGrid(900.0, 30.0, 4)


def history(
    by: ScaledBy, values: tuple[float | None, ...], replicas: tuple[float | None, ...] = ()
) -> ScalingHistory:
    key = GraphKey.LATENCY if by is ScaledBy.RESPONSE_TIME else GraphKey.QUEUE
    empty = ShownGraph(key, GRID, (), (), reason="No record of it.")
    return ScalingHistory(by, GRID, values, replicas, empty, empty, warning="some are missing")


LATENCY = history(ScaledBy.RESPONSE_TIME, (6000.0, None, 4000.0, 4000.0), (2.0, 2.0, 3.0, 3.0))
WAITING = history(ScaledBy.WAITING_REQUESTS, (12.0, 12.0, None, 9.0), (2.0, 0.0, 3.0, None))


def test_a_latency_is_drawn_in_seconds_with_its_target() -> None:
    metric, replicas = scaling_charts(LATENCY, 5000.0, 10)
    assert (metric.title, metric.unit) == ("P95 response time", Unit.SECONDS)
    (line,) = metric.lines
    assert (line.label, line.values) == ("P95", (6.0, None, 4.0, 4.0))
    assert (metric.limit, metric.limit_label) == (5.0, "target 5000 ms")
    assert metric.note == "some are missing"
    (ready,) = replicas.lines
    assert (ready.label, ready.values) == ("ready", (2.0, 2.0, 3.0, 3.0))
    assert (replicas.limit, replicas.limit_label) == (10, "max 10")


def test_waiting_requests_are_drawn_per_replica_as_their_target_is() -> None:
    metric, _ = scaling_charts(WAITING, 10.0, None)
    assert metric.lines[0].values == (6.0, 12.0, None, None)
    assert (metric.title, metric.limit_label) == ("Waiting per replica", "target 10 per replica")
    total, _ = scaling_charts(history(ScaledBy.WAITING_REQUESTS, (12.0,) * 4), 10.0, None)
    assert (total.lines[0].label, total.lines[0].values) == ("in total", (12.0,) * 4)
    assert total.limit is None  # of another unit


def test_a_replay_is_drawn_by_its_highest_between_two_points() -> None:
    settings = ReplaySettings(
        ScaledBy.RESPONSE_TIME.metric_type, 3000.0, 1, 10, 0.0, scale_up_policies=()
    )
    found = replay(LATENCY.record(), settings, start_replicas=2)
    # 2 ready ones × 2, twice; then no requests, which is 0; then × 4 / 3
    assert found.replicas == (4, 8, 1, 1, 2, 3)
    metric, replicas = scaling_charts(LATENCY, 3000.0, 10, found)
    assert [one.label for one in metric.lines] == ["as it was"]  # it is the same
    what_if = replicas.lines[1]
    assert (what_if.label, what_if.values) == ("what if", (8, 1, 3, 3))
    by_load = replay(
        LATENCY.record(), settings, start_replicas=2, assumption=Assumption.LOAD_PER_REPLICA
    )
    metric, _ = scaling_charts(LATENCY, 3000.0, 10, by_load)
    assert [one.label for one in metric.lines] == ["as it was", "what if"]
    assert metric.lines[1].values[0] == 6.0
    assert metric.lines[1].values[1] is None  # 0 is no response time


def test_why_there_is_nothing_to_draw() -> None:
    metric, replicas = scaling_charts(history(ScaledBy.RESPONSE_TIME, ()), 5000.0, 10)
    assert (metric.lines, metric.reason) == ((), "No record of it.")
    assert replicas.reason == "Nothing tells how many replicas there were."
    metric, replicas = message_charts(ScaledBy.WAITING_REQUESTS, 900.0, "Loading.")
    assert (metric.title, metric.reason) == ("Waiting requests", "Loading.")


class ChartsApp(App[None]):
    def compose(self) -> ComposeResult:
        yield ScalingCharts(is_utf8=True)


@pytest.mark.parametrize(
    ("size", "metric", "replicas"),
    [
        ((120, 8), (60, 8), (60, 8)),
        ((80, 20), (80, 10), (80, 10)),
        ((80, 8), (80, 1), (80, 7)),
        ((80, 5), (0, 0), (80, 5)),
        ((20, 2), (20, 1), (20, 1)),
    ],
)
async def test_the_charts_share_the_room(
    size: tuple[int, int], metric: tuple[int, int], replicas: tuple[int, int]
) -> None:
    app = ChartsApp()
    async with app.run_test(size=size) as pilot:
        charts = app.query_one(ScalingCharts)
        charts.show(*scaling_charts(LATENCY, 5000.0, 10))
        await pilot.pause()
        shown = charts.metric.size if charts.metric.display else (0, 0)
        assert (tuple(shown), tuple(charts.replicas.size)) == (metric, replicas)
