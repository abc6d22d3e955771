"""The burnt budget of objectives, against the requests that the samples are made of."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.error_budget import (
    SLOW_SHARE,
    read_budget,
    read_error_shares,
    share_above,
)
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.promql.expressions import format_expression
from servedeck.promql.quantiles import bucket_quantile
from servedeck.promql.samples import SampleSeries
from servedeck.serving.objectives import ObjectiveKind, Objectives
from tests.metrics.sampled_source import SampledSource, sample_counter
from tests.metrics.targets import PODS, target

NOW, PERIOD = 1_700_003_600.0, 3600.0
TIMES = [NOW - PERIOD + 15.0 * index for index in range(1, 241)]
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
POD = {"namespace": "chat", "pod": PODS[0]}
BASE = 1e6
"""Requests before: counters that are far from 0 are extrapolated alike."""

requests = st.lists(
    st.tuples(st.floats(TIMES[0] + 0.001, TIMES[-1]), st.floats(0.001, 30.0)),
    min_size=1,
    max_size=200,
)


def histogram(
    name: str,
    times: Sequence[tuple[float, float]],
    labels: Mapping[str, str] = POD,
    factor: float = 1.0,
) -> list[SampleSeries]:
    """The buckets of requests, each with the time of its end and its duration in seconds."""
    return [
        sample_counter(
            f"{name}_bucket",
            {**labels, "le": "+Inf" if bound == math.inf else f"{bound * factor:g}"},
            [at for at, took in times if took <= bound],
            TIMES,
            BASE,
        )
        for bound in (*BOUNDS, math.inf)
    ]


def budget(
    source: SampledSource, objectives: Objectives, template: str = "vllm", known: bool = True
) -> Mapping[ObjectiveKind, float | None]:
    async def read() -> Mapping[ObjectiveKind, float | None]:
        whose = target(template)
        names = await source.known_names(whose) if known else None
        return await read_budget(source, whose, objectives, PERIOD, NOW, names)

    return asyncio.run(read())


@given(requests, st.floats(0.01, 9.99))
def test_the_share_of_slow_requests_is_that_of_the_requests_within_a_bucket(times, limit):
    source = SampledSource(histogram("vllm:e2e_request_latency_seconds", times))
    burnt = budget(source, Objectives(p95=limit))[ObjectiveKind.P95]
    below = max((one for one in BOUNDS if one < limit), default=0.0)
    above = min(one for one in BOUNDS if one >= limit)
    least = sum(took > above for _, took in times) / len(times)
    most = sum(took > below for _, took in times) / len(times)
    assert burnt is not None
    assert least / SLOW_SHARE - 1e-6 <= burnt <= most / SLOW_SHARE + 1e-6


@given(requests, st.sampled_from(BOUNDS))
def test_a_target_that_is_the_bound_of_a_bucket_is_exact(times, limit):
    source = SampledSource(histogram("vllm:time_to_first_token_seconds", times))
    burnt = budget(source, Objectives(ttft=limit))[ObjectiveKind.TTFT]
    share = sum(took > limit for _, took in times) / len(times)
    assert burnt == pytest.approx(share / SLOW_SHARE, abs=1e-6)


@given(
    st.lists(st.floats(0.0, 1000.0), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1),
    st.floats(0.001, 10.0),
)
def test_a_p95_that_is_met_has_not_burnt_its_budget(sizes, limit):
    counts = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    bounds = (*BOUNDS, math.inf)
    p95, share = bucket_quantile(0.95, bounds, counts), share_above(bounds, counts, limit)
    assert share is not None
    if math.isnan(p95):  # of no requests
        assert share == 0.0
    elif p95 < limit * (1 - 1e-9):
        assert share <= SLOW_SHARE + 1e-9
    elif p95 > limit * (1 + 1e-9):
        assert share >= SLOW_SHARE - 1e-9


def test_a_target_above_the_last_finite_bucket():
    slow = [(TIMES[1], 12.0)]
    name = "vllm:e2e_request_latency_seconds"
    source = SampledSource(histogram(name, slow))
    assert budget(source, Objectives(p95=20.0)) == {ObjectiveKind.P95: None}
    source = SampledSource(histogram(name, [(TIMES[1], 1.0)]))
    assert budget(source, Objectives(p95=20.0)) == {ObjectiveKind.P95: 0.0}


def test_without_requests_nothing_is_burnt_and_without_a_histogram_it_is_not_known():
    name = "vllm:e2e_request_latency_seconds"
    objectives = Objectives(p95=1.0, ttft=1.0, error_rate=0.01)
    assert budget(SampledSource(histogram(name, [])), objectives) == {
        ObjectiveKind.P95: 0.0,
        ObjectiveKind.TTFT: None,
        ObjectiveKind.ERRORS: None,
    }
    assert budget(SampledSource([]), Objectives()) == {}


def test_milliseconds_of_a_proxy():
    labels = {
        "reporter": "destination",
        "destination_workload": "llama",
        "destination_workload_namespace": "chat",
    }
    times = [(TIMES[10], 0.2)] * 9 + [(TIMES[20], 3.0)]
    series = histogram("istio_request_duration_milliseconds", times, labels, 1000.0)
    burnt = budget(SampledSource(series), Objectives(p95=1.0), "llama.cpp")
    assert burnt[ObjectiveKind.P95] == pytest.approx(0.1 / SLOW_SHARE)


def test_old_and_new_names_of_two_pods_count_together():
    new = histogram(
        "http_request_duration_seconds", [(TIMES[10], 0.2)] * 8, {**POD, "pod": PODS[0]}
    )
    old = histogram(
        "http_server_request_duration_seconds", [(TIMES[10], 3.0)] * 2, {**POD, "pod": PODS[1]}
    )
    burnt = budget(SampledSource([*new, *old]), Objectives(p95=1.0), "http")
    assert burnt[ObjectiveKind.P95] == pytest.approx(0.2 / SLOW_SHARE)


def test_the_first_histogram_that_there_is_counts_alone():
    """The buckets of a server are not mixed with those of a proxy in front of it."""
    labels = {
        "reporter": "destination",
        "destination_workload": "llama",
        "destination_workload_namespace": "chat",
    }
    own = histogram("vllm:e2e_request_latency_seconds", [(TIMES[10], 0.2)] * 10)
    proxy = histogram(
        "istio_request_duration_milliseconds", [(TIMES[10], 9.0)] * 10, labels, 1000.0
    )
    assert budget(SampledSource([*own, *proxy]), Objectives(p95=1.0))[ObjectiveKind.P95] == 0.0


def test_a_bucket_that_is_no_number_does_not_count():
    series = histogram("vllm:e2e_request_latency_seconds", [(TIMES[10], 0.2)] * 10)
    broken = [
        SampleSeries(
            series[0].name, tuple(sorted({**POD, "le": bound}.items())), TIMES, series[0].values
        )
        for bound in ("nan", "many", "")
    ]
    assert budget(SampledSource([*broken, *series]), Objectives(p95=1.0))[ObjectiveKind.P95] == 0.0


# -- errors -----------------------------------------------------------------------------------


def counted(status: str, events: Sequence[float]) -> SampleSeries:
    return sample_counter("http_requests_total", {**POD, "status": status}, events, TIMES, BASE)


@given(
    st.lists(st.floats(TIMES[0] + 0.001, TIMES[-1]), min_size=1, max_size=50),
    st.lists(st.floats(TIMES[0] + 0.001, TIMES[-1]), max_size=50),
    st.lists(st.floats(TIMES[0] + 0.001, TIMES[-1]), max_size=50),
    st.floats(0.001, 0.5),
)
def test_the_share_of_failed_requests_is_that_of_the_requests(good, refused, failed, limit):
    series = [counted("2xx", good), counted("4xx", refused), counted("5xx", failed)]
    burnt = budget(SampledSource(series), Objectives(error_rate=limit))[ObjectiveKind.ERRORS]
    share = len(failed) / (len(good) + len(refused) + len(failed))
    assert burnt == pytest.approx(share / limit, abs=1e-3)


def test_without_a_failed_request_no_budget_of_errors_is_burnt():
    source = SampledSource([counted("2xx", TIMES[1:])])
    assert budget(source, Objectives(error_rate=0.01)) == {ObjectiveKind.ERRORS: 0.0}


async def test_the_line_of_the_error_rate():
    times = [one + 1.0 for one in TIMES[:200] for _ in range(9)]
    failed = [one + 1.0 for one in TIMES[100:200]]
    source = SampledSource([counted("2xx", times), counted("5xx", failed)])
    grid = TimeGrid(TIMES[50], 15.0 * 50, 4)
    shares = await read_error_shares(source, target(), grid, 120.0, None)
    assert shares[0] == shares[1] == 0.0
    assert shares[2] == pytest.approx(0.1)
    assert shares[3] == pytest.approx(0.1)
    no_failures = SampledSource([counted("2xx", times)])
    assert await read_error_shares(no_failures, target(), grid, 120.0, None) == (0.0,) * 4
    idle = TimeGrid(TIMES[220], 15.0, 2)
    assert await read_error_shares(source, target(), idle, 120.0, None) == (None, None)
    assert await read_error_shares(SampledSource([]), target(), grid, 120.0, None) == (None,) * 4


# -- native histograms ------------------------------------------------------------------------


async def test_a_native_histogram_is_asked_for_the_fraction():
    asked: list[str] = []

    class Native(SampledSource):
        async def query(self, expression, time=None):
            asked.append(format_expression(expression))
            if asked[-1].startswith("histogram_fraction("):
                return QueryResult((FoundSeries({}, (0.9,)),))
            return QueryResult(())

    name = "vllm:e2e_request_latency_seconds"
    found = await read_budget(Native([]), target(), Objectives(p95=2.0), PERIOD, NOW, {name})
    assert found[ObjectiveKind.P95] == pytest.approx(0.1 / SLOW_SHARE)
    assert asked[1].startswith(f"histogram_fraction(0, 2, sum(increase({name}{{")
    assert asked[1].endswith("[3600s])))")
