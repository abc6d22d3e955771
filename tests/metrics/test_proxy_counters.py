"""Counters of a proxy, which begin with their first request."""

from __future__ import annotations

import pytest

from servedeck.metrics.error_budget import read_budget
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.promql.samples import SampleSeries
from servedeck.serving.objectives import ObjectiveKind, Objectives
from tests.metrics.sampled_source import SampledSource
from tests.metrics.targets import target

NOW = 1_700_000_000.0
LABELS = (
    ("destination_workload", "llama"),
    ("destination_workload_namespace", "chat"),
    ("reporter", "destination"),
)
CUSTOM = target("custom")


def seen(count: float, *times: float, name: str = "istio_requests_total") -> SampleSeries:
    """A counter that had the same value at a few times."""
    return SampleSeries(name, LABELS, list(times), [count] * len(times))


async def total(series: SampleSeries, seconds: float) -> float | None:
    figures = await ServingMetrics(SampledSource([series]), CUSTOM).figures(seconds, NOW)
    return figures.total_requests


async def test_a_counter_that_was_seen_once_counts_if_it_is_new():
    assert await total(seen(7.0, NOW - 20.0), 120.0) == 7.0


async def test_requests_of_the_time_before_do_not_count():
    # of the last two minutes there is one sample, as of a counter that has just begun
    assert await total(seen(1_000_000.0, NOW - 230.0, NOW - 50.0), 120.0) is None


@pytest.mark.parametrize(("times", "burnt"), [((-20.0,), 20.0), ((-230.0, -50.0), None)])
async def test_the_budget_is_that_of_the_time(times: tuple[float, ...], burnt: float | None):
    name = "istio_request_duration_milliseconds_bucket"
    at = [NOW + one for one in times]
    series = [
        SampleSeries(name, (*LABELS[:2], ("le", bound), LABELS[2]), at, [count] * len(at))
        for bound, count in (("1000", 0.0), ("5000", 9.0), ("+Inf", 9.0))
    ]
    source = SampledSource(series)
    found = await read_budget(source, CUSTOM, Objectives(p95=1.0), 120.0, NOW, None)
    assert found[ObjectiveKind.P95] == (None if burnt is None else pytest.approx(burnt))
