"""The objectives of a serving with its figures and graphs."""

from __future__ import annotations

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.objective_status import ObjectiveState
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.serving_objectives import read_statuses
from servedeck.serving.objectives import ObjectiveKind, Objectives
from tests.metrics.sampled_source import SampledSource, sample_counter
from tests.metrics.targets import PODS, target

NOW = 1_700_003_600.0
TIMES = [NOW - 3600.0 + 15.0 * index for index in range(241)]
GRID = TimeGrid(NOW - 3600.0, 60.0, 61)
POD = {"namespace": "chat", "pod": PODS[0]}


def source() -> SampledSource:
    """A request each second; in the last 10 minutes all are slow, and one in ten fails."""
    ends = [NOW - 3600.0 + index for index in range(3600)]
    slow = [one for one in ends if one > NOW - 600.0]
    quick = [one for one in ends if one <= NOW - 600.0]
    return SampledSource(
        [
            *(
                sample_counter(
                    "vllm:e2e_request_latency_seconds_bucket", {**POD, "le": bound}, events, TIMES
                )
                for bound, events in (("0.5", quick), ("4", ends), ("+Inf", ends))
            ),
            sample_counter("http_requests_total", {**POD, "status": "2xx"}, ends, TIMES),
            sample_counter("http_requests_total", {**POD, "status": "5xx"}, slow[::10], TIMES),
        ]
    )


async def test_all_that_is_known_of_the_objectives():
    metrics = ServingMetrics(source(), target())
    await metrics.prepare()
    figures = await metrics.figures(3600.0, NOW)
    graph = await metrics.graph(GraphKey.LATENCY, GRID)
    objectives = Objectives(p95=0.5, ttft=1.0, error_rate=0.2)
    p95, ttft, errors = await read_statuses(metrics, objectives, figures, [graph], GRID)
    assert (p95.kind, p95.state) == (ObjectiveKind.P95, ObjectiveState.MISSED)
    assert p95.since is not None and NOW - 660.0 <= p95.since <= NOW - 480.0
    assert not p95.may_be_older
    assert p95.budget_burnt is not None and 3.0 < p95.budget_burnt < 3.6  # a sixth of 5 %
    assert (ttft.state, ttft.budget_burnt) == (ObjectiveState.UNKNOWN, None)
    assert errors.state is ObjectiveState.MET
    assert errors.value is not None and 0.08 < errors.value < 0.1
    assert errors.budget_burnt is not None and 0.0 < errors.budget_burnt < 0.1


async def test_since_when_the_error_rate_is_above_its_objective():
    metrics = ServingMetrics(source(), target())
    figures = await metrics.figures(3600.0, NOW)
    [errors] = await read_statuses(metrics, Objectives(error_rate=0.05), figures, [], GRID)
    assert errors.state is ObjectiveState.MISSED
    assert errors.since is not None and NOW - 660.0 <= errors.since <= NOW - 420.0


async def test_a_graph_that_is_not_shown_gives_no_begin():
    metrics = ServingMetrics(source(), target())
    figures = await metrics.figures(3600.0, NOW)
    [p95] = await read_statuses(metrics, Objectives(p95=0.5), figures, [], GRID)
    assert (p95.state, p95.since) == (ObjectiveState.MISSED, None)


async def test_without_objectives_nothing_is_asked():
    samples = source()
    metrics = ServingMetrics(samples, target())
    figures = await metrics.figures(3600.0, NOW)
    samples.queries.clear()
    assert await read_statuses(metrics, Objectives(others=("x=1",)), figures, [], GRID) == ()
    assert samples.queries == []
