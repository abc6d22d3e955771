"""Names of HTTP libraries, of which a custom server may have several with different labels."""

from __future__ import annotations

import pytest

from servedeck.metrics.error_budget import read_budget, read_error_shares
from servedeck.metrics.families import HTTP_REQUESTS, Metric
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.serving.objectives import ObjectiveKind, Objectives
from tests.metrics.sampled_source import SampledSource, sample_counter
from tests.metrics.targets import PODS, target

NOW = 1_700_000_000.0
TIMES = [NOW - 600.0 + 5.0 * number for number in range(121)]
POD = {"namespace": "chat", "pod": PODS[0], "handler": "/v1", "method": "POST"}
CUSTOM = target("custom")


def requests(name: str, per_second: float, **labels: str) -> object:
    events = [NOW - 600.0 + number / per_second for number in range(1, int(600 * per_second))]
    return sample_counter(name, POD | labels, events, TIMES)


def source(*series: object) -> SampledSource:
    return SampledSource(series)  # type: ignore[arg-type]


async def test_requests_that_have_two_names_are_counted_once():
    """https://github.com/trallnag/prometheus-fastapi-instrumentator exports both."""
    names = source(
        requests(HTTP_REQUESTS.name, 2.0, status="2xx"),
        requests("http_request_duration_seconds_count", 2.0),
    )
    figures = await ServingMetrics(names, CUSTOM).figures(300.0, NOW)
    assert figures.request_rate == pytest.approx(2.0, rel=0.05)
    assert figures.total_requests == pytest.approx(600.0, rel=0.05)
    alone = source(requests("http_request_duration_seconds_count", 2.0))
    figures = await ServingMetrics(alone, CUSTOM).figures(300.0, NOW)
    assert figures.request_rate == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    ("label", "good", "bad"), [("code", "200", "503"), ("status", "2xx", "5xx")]
)
async def test_failures_are_those_of_the_label_that_the_server_has(label: str, good: str, bad: str):
    counted = source(
        requests(HTTP_REQUESTS.name, 3.0, **{label: good}),
        requests(HTTP_REQUESTS.name, 1.0, **{label: bad}),
    )
    known = await counted.known_names(CUSTOM)
    figures = await ServingMetrics(counted, CUSTOM).figures(300.0, NOW)
    assert figures.error_share == pytest.approx(0.25, rel=0.05)
    grid = TimeGrid(NOW - 60.0, 30.0, 3)
    shares = await read_error_shares(counted, CUSTOM, grid, 60.0, known)
    assert shares == pytest.approx([0.25] * 3, rel=0.1)
    limits = Objectives(error_rate=0.5)
    burnt = await read_budget(counted, CUSTOM, limits, 300.0, NOW, known)
    assert burnt[ObjectiveKind.ERRORS] == pytest.approx(0.5, rel=0.05)


async def test_without_such_a_label_no_failure_is_known():
    counted = source(requests(HTTP_REQUESTS.name, 3.0))
    known = await counted.known_names(CUSTOM)
    figures = await ServingMetrics(counted, CUSTOM).figures(300.0, NOW)
    assert (figures.error_share, figures.request_rate) == (None, pytest.approx(3.0, rel=0.05))
    budget = await read_budget(counted, CUSTOM, Objectives(error_rate=0.5), 300.0, NOW, known)
    assert budget[ObjectiveKind.ERRORS] is None
    assert Metric.ERRORS not in CUSTOM.own_names
