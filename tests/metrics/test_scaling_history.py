"""The metric that an autoscaler scales by and the replicas, read from a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.scaling_history import read_scaling_history, scraped_pods
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.promql.expressions import format_expression
from servedeck.serving.scaling.scaling_metrics import MetricType, ScaledBy
from tests.metrics.targets import target
from tests.metrics.test_serving_metrics import FakeSource, Values

GRID = TimeGrid(900.0, 15.0, 5)
UP = "count(max by (pod) (up{"


def flat(value: float | None) -> list[tuple[dict[str, str], Values]]:
    return [({}, lambda _: value)]


ALL: Mapping[str, list[tuple[dict[str, str], Values]]] = {
    "histogram_quantile(0.95": flat(6.2),
    "histogram_quantile(0.5": flat(0.4),
    "num_requests_waiting": flat(12.0),
    "num_requests_running": flat(40.0),
    "kube_deployment_status_replicas_ready": flat(3.0),
    "kube_deployment_spec_replicas": flat(4.0),
    UP: flat(2.0),
}


def metrics(*without: str) -> tuple[ServingMetrics, FakeSource]:
    source = FakeSource({key: one for key, one in ALL.items() if key not in without})
    return ServingMetrics(source, target()), source


async def test_the_response_time_is_the_p95_in_milliseconds() -> None:
    found = await read_scaling_history(metrics()[0], ScaledBy.RESPONSE_TIME, GRID)
    assert found.values == (6200.0,) * 5
    assert found.replicas == (3.0,) * 5
    assert (found.reason, found.is_counted_by_scrapes) == ("", False)
    assert found.record().times == GRID.times()
    assert ScaledBy.RESPONSE_TIME.metric_type is MetricType.VALUE


async def test_without_requests_the_trigger_gives_zero_and_without_replicas_nothing() -> None:
    read, source = metrics()
    answers = {900.0: 6.2, 960.0: 4.0}
    source.series["histogram_quantile(0.95"] = [({}, answers.get)]
    ready = {900.0: 3.0, 915.0: 3.0, 930.0: 0.0, 960.0: 1.0}
    source.series["kube_deployment_status_replicas_ready"] = [({}, ready.get)]
    found = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
    assert found.record().values == (6200.0, 0.0, None, None, 4000.0)
    unknown = replace(found, replicas=())
    assert unknown.record().values == (6200.0, 0.0, 0.0, 0.0, 4000.0)
    waiting = replace(found, by=ScaledBy.WAITING_REQUESTS)
    assert waiting.record().values == found.values


async def test_the_waiting_requests_are_those_of_all_pods() -> None:
    found = await read_scaling_history(metrics()[0], ScaledBy.WAITING_REQUESTS, GRID)
    assert found.values == (12.0,) * 5
    assert ScaledBy.WAITING_REQUESTS.metric_type is MetricType.AVERAGE_VALUE


async def test_pods_that_are_scraped_count_where_nothing_tells_of_the_deployment() -> None:
    ready = "kube_deployment_status_replicas_ready"
    read, source = metrics(ready)
    found = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
    assert found.replicas == (2.0,) * 5
    assert found.is_counted_by_scrapes
    asked = [text for text, _ in source.asked if text.startswith(UP)]
    hash_, suffix = "[bcdfghjklmnpqrstvwxz2456789]{7,10}", "[bcdfghjklmnpqrstvwxz2456789]{5}"
    pods = f'namespace="chat",pod=~"llama-{hash_}-{suffix}"'
    assert asked == [f"count(max by (pod) (up{{{pods}}} == 1))"]
    neither, _ = metrics(ready, UP)
    assert (await read_scaling_history(neither, ScaledBy.RESPONSE_TIME, GRID)).replicas == ()


def test_without_a_pod_nothing_is_counted() -> None:
    assert scraped_pods(replace(target(), name="x" * 60, pods=())) is None
    known = scraped_pods(target())
    assert known is not None and format_expression(known).startswith(UP)


async def test_why_there_are_no_values() -> None:
    read, _ = metrics("histogram_quantile(0.95", "histogram_quantile(0.5")
    found = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
    assert found.values == ()
    assert "has no record of times of requests" in found.reason
    only_median, _ = metrics("histogram_quantile(0.95")
    found = await read_scaling_history(only_median, ScaledBy.RESPONSE_TIME, GRID)
    assert found.reason == "No values of it in this time."


async def test_only_the_newest_points_are_asked_for_again() -> None:
    read, source = metrics()
    first = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
    source.asked.clear()
    later = TimeGrid(GRID.start + 15.0, 15.0, 5)
    again = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, later, first)
    grids = {grid.count for _, grid in source.asked if isinstance(grid, TimeGrid)}
    assert grids == {3}
    assert len(again.values) == 5
    other = await read_scaling_history(read, ScaledBy.WAITING_REQUESTS, later, first)
    assert other.values == (12.0,) * 5


async def test_an_error_of_the_source_is_raised_and_a_warning_is_kept() -> None:
    read, source = metrics()
    source.warning = "a store did not answer"
    found = await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
    assert found.warning == "a store did not answer"
    source.failing = "replicas_ready"
    with pytest.raises(MetricsError):
        await read_scaling_history(read, ScaledBy.RESPONSE_TIME, GRID)
