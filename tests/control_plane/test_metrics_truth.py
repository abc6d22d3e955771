"""Graphs and figures of servings from a real Prometheus with a day of the past: they are its
answers to queries that are written here by hand, and what the requests of that day were.
"""

from __future__ import annotations

import json
import statistics
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import MAX_POINTS, PERIODS, TimeGrid, make_grid
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.serving_metrics import ServingMetrics, ShownGraph
from servedeck.metrics.target import MetricsTarget, TargetPod
from servedeck.metrics.transports import PrometheusOptions, UrlTransport
from tests.control_plane.metrics_day import (
    GAP,
    HOUR,
    INTERVAL,
    LATENCY_BUCKETS,
    NOON,
    RESET,
    TTFT_BUCKETS,
    Day,
    Pod,
    bucket_of,
    requests_of,
)
from tests.control_plane.processes import ReservedPort
from tests.control_plane.prometheus import run_configured, run_past
from tests.control_plane.written_queries import (
    FRONT,
    FURIOSA,
    GATED,
    HIDDEN,
    LATENCY,
    LLAMA,
    SERVINGS,
    Written,
    fill,
    window_of,
)
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.xdist_group("metrics_truth")
"""The day is made once."""


class Past(NamedTuple):
    day: Day
    present: int
    """Seconds since the epoch."""
    url: str


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    # all steps of the graphs divide an hour
    present, day = int(time.time()) // HOUR * HOUR, Day()
    with run_past(day.lines(present)) as url:
        yield Past(day, present, url)


@pytest.fixture
async def source(past: Past) -> AsyncIterator[PrometheusSource]:
    found = open_source(past.url)
    yield found
    await found.close()


def open_source(url: str) -> PrometheusSource:
    return PrometheusSource(PrometheusClient(UrlTransport(PrometheusOptions(url))))


def target_of(name: str, template: str, pods: Iterable[Pod]) -> MetricsTarget:
    """The serving with the Pods that it has at present."""
    known = tuple(TargetPod(one.name, True) for one in pods if one.end > 0)
    return MetricsTarget("chat", name, template, 8000, False, known)


Range = tuple[int, int, int]
"""First time, last time and step, in seconds."""


def range_of(present: int, period: str) -> Range:
    """A step of 15 s or a 240th of the period, whichever is longer."""
    seconds = {"1h": HOUR, "6h": 6 * HOUR, "24h": 24 * HOUR}[period]
    return present - seconds, present, max(15, seconds // 240)


def ask(url: str, path: str, **params: object) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode(params)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=WAIT_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def number(text: str) -> float | None:
    return None if text in ("NaN", "+Inf", "-Inf") else float(text)


def value_at(url: str, query: str, at: float) -> float | None:
    found = ask(url, "query", query=query, time=at)
    assert len(found) <= 1, query
    return number(found[0]["value"][1]) if found else None


def values_on(url: str, query: str, times: Range) -> list[float | None]:
    """The values at each time; None where there is none."""
    start, end, step = times
    found = ask(url, "query_range", query=query, start=start, end=end, step=step)
    assert len(found) <= 1, query
    points = {round(at): number(text) for at, text in found[0]["values"]} if found else {}
    return [points.get(at) for at in range(start, end + 1, step)]


def same(found: Sequence[float | None], expected: Sequence[float | None]) -> bool:
    return len(found) == len(expected) and all(
        a is b is None or (a is not None and b is not None and a == pytest.approx(b, rel=1e-9))
        for a, b in zip(found, expected, strict=True)
    )


def metrics_of(written: Written, past: Past, source: PrometheusSource) -> ServingMetrics:
    pods = getattr(past.day, written.pods)
    return ServingMetrics(source, target_of(written.name, written.template, pods))


def grid_of(past: Past, period: str) -> TimeGrid:
    [seconds] = [one.seconds for one in PERIODS if one.name == period]
    grid = make_grid(past.present, seconds, MAX_POINTS)
    # the times of the queries by hand
    start, end, step = range_of(past.present, period)
    assert (grid.start, grid.end, grid.step) == (start, end, step)
    return grid


# -- the same as the queries by hand ------------------------------------------------------------

serving = pytest.mark.parametrize("written", SERVINGS, ids=[one.name for one in SERVINGS])
a_period = pytest.mark.parametrize("period", ["1h", "6h", "24h"])


@a_period
@serving
async def test_the_graphs_are_the_answers_of_prometheus(
    past: Past, source: PrometheusSource, written: Written, period: str
):
    pods: list[Pod] = getattr(past.day, written.pods)
    metrics, times = metrics_of(written, past, source), range_of(past.present, period)
    for key, queries in written.graphs.items():
        graph = await metrics.graph(key, grid_of(past, period))
        shown = {one.label: one.values for one in graph.lines}
        assert set(shown) == set(queries), (key, graph.reason)
        assert bool(graph.reason) == (not queries) and graph.warning == ""
        for label, text in queries.items():
            query = fill(text, pods, times[2])
            expected = values_on(past.url, query, times)
            assert any(one is not None for one in expected), query
            assert same(shown[label], expected), (key, label, query)


@a_period
@serving
async def test_the_figures_are_the_answers_of_prometheus(
    past: Past, source: PrometheusSource, written: Written, period: str
):
    pods: list[Pod] = getattr(past.day, written.pods)
    start, end, _ = range_of(past.present, period)
    figures = await metrics_of(written, past, source).figures(end - start, past.present)
    assert figures.window == window_of(0)
    shown = {
        **dict(zip(("P50", "P95", "P99"), figures.quantiles, strict=True)),
        **{name: getattr(figures, name) for name in written.figures if name[0] != "P"},
    }
    for name, text in written.figures.items():
        query = fill(text, pods, 0, end - start)
        expected = value_at(past.url, query, past.present)
        assert same([shown[name]], [expected]), (name, query, shown[name], expected)


@pytest.mark.parametrize("key", [GraphKey.REQUESTS, GraphKey.LATENCY, GraphKey.QUEUE])
async def test_the_lines_of_each_pod(past: Past, source: PrometheusSource, key: GraphKey):
    by_hand = {
        GraphKey.REQUESTS: LLAMA.graphs[GraphKey.REQUESTS]["requests"],
        GraphKey.LATENCY: LATENCY["P95"],
        GraphKey.QUEUE: "sum($A(vllm:num_requests_waiting{$S}$g))",
    }
    times = range_of(past.present, "24h")
    graph = await metrics_of(LLAMA, past, source).graph(key, grid_of(past, "24h"), by_pod=True)
    assert [one.label for one in graph.lines] == sorted(one.name for one in past.day.llama)
    for pod in past.day.llama:
        [shown] = [one.values for one in graph.lines if one.label == pod.name]
        expected = values_on(past.url, fill(by_hand[key], [pod], times[2]), times)
        assert same(shown, expected), pod.name


async def test_a_gateway_is_no_pod(past: Past, source: PrometheusSource):
    for written, labels in ((FRONT, ["front-84c5f9d6b-bbbbb"]), (GATED, [])):
        graph = await metrics_of(written, past, source).graph(
            GraphKey.REQUESTS, grid_of(past, "1h"), by_pod=True
        )
        assert [one.label for one in graph.lines] == labels


async def test_a_continued_graph_is_the_same_as_one_asked_anew(
    past: Past, source: PrometheusSource
):
    metrics = metrics_of(LLAMA, past, source)
    for key in (GraphKey.LATENCY, GraphKey.ERRORS, GraphKey.QUEUE):
        before = await metrics.graph(key, make_grid(past.present - 900, 6 * HOUR, MAX_POINTS))
        grid = grid_of(past, "6h")
        continued = await metrics.graph(key, grid, previous=before)
        assert continued == await metrics.graph(key, grid)


# -- the same as the requests of the day --------------------------------------------------------


def is_undisturbed(time: float, window: int, pods: Sequence[Pod]) -> bool:
    """Whether each Pod lived and was scraped in the whole window, or in none of it."""
    begin, end = time - window, time
    edges = [GAP[0], GAP[1], *(edge for pod in pods for edge in (pod.begin, pod.end))]
    return not any(begin - INTERVAL <= one <= end + INTERVAL for one in edges) and not (
        GAP[0] < end <= GAP[1] + window
    )


@a_period
@serving
async def test_the_graphs_are_what_has_happened(
    past: Past, source: PrometheusSource, written: Written, period: str
):
    pods: list[Pod] = getattr(past.day, written.pods)
    metrics, grid = metrics_of(written, past, source), grid_of(past, period)
    window = window_of(int(grid.step))
    rates = (await metrics.graph(GraphKey.REQUESTS, grid)).lines[0].values
    latency = (await metrics.graph(GraphKey.LATENCY, grid)).lines[1]
    assert latency.label == "P95"
    compared = 0
    for at, rate, p95 in zip(grid.times(), rates, latency.values, strict=True):
        time = at - past.present
        if GAP[0] + window <= time < GAP[1]:
            assert rate is p95 is None  # nothing is known, which is not 0
        # a time between two scrapes has the requests until the last one
        if time % INTERVAL or not is_undisturbed(time, window, pods):
            continue
        happened = requests_of(pods, time - window, time)
        assert rate == pytest.approx(len(happened) / window, rel=1e-6, abs=2 / window)
        if len(happened) >= 20 and written is not FRONT and written is not GATED:
            low, high = bucket_of(0.95, [one.latency for one in happened], LATENCY_BUCKETS)
            assert p95 is not None and low <= p95 <= high
            compared += 1
    if period == "24h" and written in (LLAMA, FURIOSA, HIDDEN):
        assert compared > 100


@a_period
@serving
async def test_the_figures_are_what_has_happened(
    past: Past, source: PrometheusSource, written: Written, period: str
):
    pods: list[Pod] = getattr(past.day, written.pods)
    start, end, _ = range_of(past.present, period)
    figures = await metrics_of(written, past, source).figures(end - start, past.present)
    # what was scraped is all that happened, but for what is extrapolated at the ends of Pods
    total = len(requests_of(pods, start - end, 0))
    assert figures.total_requests == pytest.approx(total, rel=0.02)
    now = requests_of(pods, -window_of(0), 0)
    assert figures.request_rate == pytest.approx(len(now) / window_of(0), abs=4 / window_of(0))
    if not figures.ttft:
        return
    for share, found in zip((0.5, 0.95, 0.99), figures.quantiles, strict=True):
        low, high = bucket_of(share, [one.latency for one in now], LATENCY_BUCKETS)
        assert found is not None and low <= found <= high
    low, high = bucket_of(0.95, [one.ttft for one in now], TTFT_BUCKETS)
    assert low <= figures.ttft <= high
    living = [one for one in pods if one.end > 0]
    assert figures.running == sum(one.running(0) for one in living)
    assert figures.kv_cache == pytest.approx(max(one.cache(0) for one in living))


async def test_the_histogram_of_the_mesh_is_in_milliseconds(past: Past, source: PrometheusSource):
    figures = await metrics_of(FRONT, past, source).figures(24 * HOUR, past.present)
    happened = [one.latency for one in requests_of(past.day.front, -window_of(0), 0)]
    [median, p95, _] = figures.quantiles
    assert median is not None and p95 is not None and median < p95
    low, high = bucket_of(0.5, happened, LATENCY_BUCKETS)
    assert low <= median <= high
    assert 0.2 < statistics.median(happened) < 5  # of seconds


async def test_a_rollout_has_both_versions(past: Past, source: PrometheusSource):
    metrics, grid = metrics_of(LLAMA, past, source), grid_of(past, "24h")
    for key, label in ((GraphKey.ITL, "P95"), (GraphKey.KV_CACHE, "fullest Pod")):
        graph = await metrics.graph(key, grid)
        [values] = [one.values for one in graph.lines if one.label == label]
        for at, value in zip(grid.times(), values, strict=True):
            time = at - past.present
            if is_undisturbed(time, 2 * window_of(360), past.day.llama):
                assert value is not None and value > 0, time - NOON
    ready = (await metrics.graph(GraphKey.REPLICAS, grid)).lines
    assert {one.label: min(v for v in one.values if v is not None) for one in ready} == {
        "wanted": 2,
        "ready": 1,
    }


async def test_a_restart_is_no_negative_rate_and_no_jump(past: Past, source: PrometheusSource):
    metrics, grid = metrics_of(LLAMA, past, source), grid_of(past, "6h")
    values = (await metrics.graph(GraphKey.REQUESTS, grid)).lines[0].values
    near = [
        value
        for at, value in zip(grid.times(), values, strict=True)
        if abs(at - past.present - RESET) <= 600
    ]
    assert len(near) > 10
    assert all(value is not None and 0 <= value < 2 for value in near)


async def test_an_idle_serving_has_no_latency_and_no_requests(past: Past, source: PrometheusSource):
    metrics = ServingMetrics(source, target_of("idle", "vllm", past.day.idle))
    figures = await metrics.figures(HOUR, past.present)
    assert figures.quantiles == (None, None, None) and figures.ttft is None
    assert (figures.total_requests, figures.request_rate) == (0, 0)
    graph = await metrics.graph(GraphKey.LATENCY, grid_of(past, "1h"))
    assert graph.lines == ()
    assert graph.reason == (
        "No values in this time: there were no requests, or they were not recorded."
    )
    requests = (await metrics.graph(GraphKey.REQUESTS, grid_of(past, "1h"))).lines[0].values
    assert set(requests) == {0.0}


# -- what is known ------------------------------------------------------------------------------


async def test_the_names_and_the_interval_are_those_of_the_pods(
    past: Past, source: PrometheusSource
):
    names = await source.known_names(target_of("hidden", "custom", past.day.hidden))
    assert names == {
        "up",
        "sglang:num_requests_total",
        "sglang:num_running_reqs",
        "sglang:num_queue_reqs",
        *(f"sglang:e2e_request_latency_seconds_{one}" for one in ("bucket", "sum", "count")),
    }
    llama = await source.known_names(target_of("llama", "vllm", past.day.llama))
    assert llama is not None and "vllm:gpu_cache_usage_perc" in llama
    assert "vllm:ancient" not in llama  # of a time that no graph shows
    assert await source.known_names(target_of("none", "vllm", ())) == frozenset()
    # of the names, two have the same labels
    for written in (HIDDEN, LLAMA, FURIOSA):
        pods = getattr(past.day, written.pods)
        target = target_of(written.name, written.template, pods)
        assert await source.scrape_interval(target) == INTERVAL
        one = target_of(written.name, "sglang", pods)
        assert await source.scrape_interval(one) == INTERVAL
    assert await source.scrape_interval(target_of("none", "vllm", ())) is None


async def test_a_serving_that_prometheus_does_not_know_has_a_reason(
    past: Past, source: PrometheusSource
):
    metrics = ServingMetrics(source, target_of("none", "vllm", ()))
    host = past.url.removeprefix("http://")
    graph = await metrics.graph(GraphKey.QUEUE, grid_of(past, "1h"))
    assert graph.reason == (
        f"Prometheus at {host} has no record of running requests "
        "(vllm:num_requests_running, vllm:num_requests_waiting)."
    )
    figures = await metrics.figures(HOUR, past.present)
    assert figures.total_requests is figures.request_rate is figures.running is None


async def test_every_query_of_every_server_is_valid(past: Past, source: PrometheusSource):
    """Prometheus refuses a query that is none."""
    graphs: list[ShownGraph] = []
    for template in ("vllm", "sglang", "tgi", "tei", "triton", "tensorrt-llm", "nim", "custom"):
        metrics = ServingMetrics(source, target_of("llama", template, past.day.llama))
        for key in GraphKey:
            for by_pod in (False, True):
                graphs.append(await metrics.graph(key, grid_of(past, "1h"), by_pod=by_pod))
        await metrics.figures(HOUR, past.present)
    assert any(one.lines for one in graphs)


async def test_a_part_that_prometheus_does_not_reach_is_said():
    """A storage behind Prometheus that does not answer: the rest is shown, with a warning."""
    port = ReservedPort()
    try:
        away = {"url": f"http://127.0.0.1:{port.number}/read", "read_recent": True}
        with run_configured({"remote_read": [away]}) as url:
            source = open_source(url)
            metrics = ServingMetrics(source, target_of("llama", "vllm", ()))
            now = time.time()
            graph = await metrics.graph(GraphKey.QUEUE, make_grid(now, HOUR, MAX_POINTS))
            figures = await metrics.figures(HOUR, now)
            await source.close()
    finally:
        port.close()
    assert graph.lines == () and graph.reason
    assert "remote_read" in graph.warning and "refused" in graph.warning
    assert "remote_read" in figures.warning
