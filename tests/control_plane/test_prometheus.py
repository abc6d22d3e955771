"""Queries that a real Prometheus answers, which scrapes exporters with known rates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.load import LoadReader
from servedeck.metrics.period import TimeGrid, make_grid
from servedeck.metrics.prometheus import Answer, PrometheusClient, single_value
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.queries import Metric, build_query
from servedeck.metrics.scaling_history import read_scaling_history, scraped_pods
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.transports import PrometheusOptions, UrlTransport
from servedeck.promql.expressions import format_expression
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from tests.control_plane.native_histogram import CONTENT_TYPE, native_histogram, upper_bound
from tests.control_plane.prometheus import SCRAPE_INTERVAL, Exporter, run_prometheus
from tests.metrics.targets import target
from tests.waiting import WAIT_SECONDS

WINDOW = 4
"""Seconds of the rates: twenty scrapes."""
TOLERANCE = 0.1
"""What a scrape that is late by a tenth of the window makes of a rate."""

VLLM = "vllm:request_success_total"
A, B = "llama-6d4f8b7c9-x7k2p", "llama-6d4f8b7c9-bbbbb"
ENDED = "llama-6d4f8b7c9-zzzzz"
PODS = {
    f"/chat/{name}": {"namespace": namespace, "pod": name}
    for namespace, name in (
        ("chat", A),
        ("chat", B),
        ("chat", ENDED),
        ("chat", "llama-v2-6d4f8b7c9-x7k2p"),
        ("other", "llama-55c7d8f6b-x7k2p"),
        ("chat", "sgl-6d4f8b7c9-ccccc"),
        ("chat", "sgl-6d4f8b7c9-ddddd"),
        ("chat", "idle-6d4f8b7c9-ccccc"),
    )
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    exporter = Exporter()
    stop, length = f'{VLLM}{{finished_reason="stop"}}', f'{VLLM}{{finished_reason="length"}}'
    exporter.counters = {
        f"/chat/{A}": {stop: 300, length: 100},
        f"/chat/{B}": {stop: 200, length: 0},
        # It is not among the Pods any more, and was until a moment ago.
        f"/chat/{ENDED}": {stop: 50},
        "/chat/llama-v2-6d4f8b7c9-x7k2p": {stop: 5000},
        "/chat/llama-55c7d8f6b-x7k2p": {stop: 5000},
        # Two versions of a server, of which the newer one has both names.
        "/chat/sgl-6d4f8b7c9-ccccc": {
            "sglang:num_requests_total": 70,
            "sglang:e2e_request_latency_seconds_count": 70,
        },
        "/chat/sgl-6d4f8b7c9-ddddd": {"sglang:e2e_request_latency_seconds_count": 30},
        "/chat/idle-6d4f8b7c9-ccccc": {stop: 0},
    }
    for pod, running in ((A, 7), (B, 4)):
        exporter.lines[f"/chat/{pod}"] = f"vllm:num_requests_running {running}"
    exporter.lines["/chat/idle-6d4f8b7c9-ccccc"] = (
        'vllm:e2e_request_latency_seconds_bucket{le="1"} 0\n'
        'vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 0\n'
        'istio_requests_total{reporter="source",destination_service_name="custom",'
        'destination_service_namespace="chat"} 0'
    )
    with exporter.serve(), run_prometheus(exporter, PODS) as found:
        yield found


@pytest.fixture
async def client(url: str) -> AsyncIterator[PrometheusClient]:
    transport = UrlTransport(PrometheusOptions(url))
    yield PrometheusClient(transport)
    await transport.close()


async def wait_for_value(
    client: PrometheusClient, query: str, wanted: float, tolerance: float = TOLERANCE
) -> None:
    """Ask until the value is the wanted one: of a Pod whose last scrape failed there is none."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        value = single_value(await client.query(query))
        if value is not None and value == pytest.approx(wanted, rel=tolerance):
            return
        assert time.monotonic() < end, f"{query} is {value} and not {wanted}"
        await asyncio.sleep(SCRAPE_INTERVAL)


async def test_the_rate_is_that_of_the_pods(client: PrometheusClient):
    wanted = target(pods=[A, B])
    # With the Pod that ended within the window, and without llama-v2 and the other namespace.
    await wait_for_value(client, build_query(Metric.REQUESTS, wanted, WINDOW), 650)
    await wait_for_value(client, build_query(Metric.RUNNING, wanted), 11, 0.0)


async def test_the_rate_of_one_pod_is_its_own(client: PrometheusClient):
    wanted = target(pods=[B], is_whole=False)
    await wait_for_value(client, build_query(Metric.REQUESTS, wanted, WINDOW), 200)


async def test_old_and_new_names_are_counted_once(client: PrometheusClient):
    pods = ["sgl-6d4f8b7c9-ccccc", "sgl-6d4f8b7c9-ddddd"]
    for template in ("sglang", "custom"):
        wanted = target(template, pods=pods, name="sgl")
        await wait_for_value(client, build_query(Metric.REQUESTS, wanted, WINDOW), 100)


async def test_no_requests_are_0_and_no_metrics_are_unknown(client: PrometheusClient):
    idle = target(pods=["idle-6d4f8b7c9-ccccc"], name="idle")
    await wait_for_value(client, build_query(Metric.REQUESTS, idle, WINDOW), 0)
    custom = target("custom", pods=["custom-6d4f8b7c9-ccccc"], name="custom")
    await wait_for_value(client, build_query(Metric.REQUESTS, custom, WINDOW), 0)
    unknown = target(pods=["none-6d4f8b7c9-ccccc"], name="none")
    assert await client.query(build_query(Metric.REQUESTS, unknown, WINDOW)) == Answer(())


async def test_a_quantile_without_requests_is_no_number(client: PrometheusClient):
    buckets = "sum by (le)(rate(vllm:e2e_request_latency_seconds_bucket[1h]))"
    await wait_for_value(client, f"sum({buckets})", 0)
    [series], _ = await client.query(f"histogram_quantile(0.95, {buckets})")
    assert series.points[0].value is None


async def test_a_range_has_gaps_where_there_is_nothing(client: PrometheusClient):
    await wait_for_value(client, f'{VLLM}{{pod="{A}"}} > bool 0', 1)
    now = time.time()
    [series], _ = await client.query_range(f'sum({VLLM}{{pod="{A}"}})', now - 3600, now, 1)
    assert 0 < len(series.points) < 3600
    times = [one.time for one in series.points]
    assert times == sorted(times) and all(now - 3600 <= one <= now + 0.001 for one in times)
    values = [one.value for one in series.points]
    assert all(one is not None for one in values)


async def test_a_native_histogram_has_quantiles():
    """Prometheus has those since version 2.40, with a flag until 3.8."""
    name, path = "vllm:time_to_first_token_seconds", f"/chat/{A}"
    exporter = Exporter()
    exporter.content_type = CONTENT_TYPE
    # nine of ten observations take up to 1 s, the others up to 4 s
    exporter.pages[path] = lambda seconds: native_histogram(
        name, {"model_name": "m"}, {0: 90 * int(seconds * 10), 16: 10 * int(seconds * 10)}
    )
    feature = "--enable-feature=native-histograms"
    pods = {path: PODS[path]}
    with exporter.serve(), run_prometheus(exporter, pods, "127.0.0.1", feature) as url:
        source = PrometheusSource(PrometheusClient(UrlTransport(PrometheusOptions(url))))
        end = time.monotonic() + WAIT_SECONDS
        while name not in (await source.known_names(target(pods=[A])) or ()):
            assert time.monotonic() < end, "no such name"
            await asyncio.sleep(SCRAPE_INTERVAL)
        metrics = ServingMetrics(source, target(pods=[A]))

        async def lines(*, by_pod: bool) -> dict[str, float | None]:
            grid = make_grid(time.time(), 60, 60, 1.0)
            graph = await metrics.graph(GraphKey.TTFT, grid, by_pod=by_pod)
            return {one.label: one.values[-1] for one in graph.lines}

        # a rate needs two samples
        while (shown := await lines(by_pod=False)).get("P95") is None:
            assert time.monotonic() < end, "no quantile"
            await asyncio.sleep(SCRAPE_INTERVAL)
        median, p95 = shown["P50"], shown["P95"]
        assert median is not None and upper_bound(-1) < median <= upper_bound(0) == 1
        assert p95 is not None and upper_bound(15) < p95 <= upper_bound(16) == 4
        [(pod, of_pod)] = (await lines(by_pod=True)).items()
        assert pod == A and of_pod is not None and upper_bound(15) < of_pod <= 4
        ttft = (await metrics.figures(3600)).ttft
        assert ttft is not None and upper_bound(15) < ttft <= 4
        await source.close()


async def test_the_pods_that_are_scraped_are_counted(client: PrometheusClient):
    counted = scraped_pods(target(pods=(A, B)))
    assert counted is not None
    # With the one that ended a moment ago, and without those of llama-v2 and of another namespace.
    await wait_for_value(client, format_expression(counted), 3)
    metrics = ServingMetrics(PrometheusSource(client), target(pods=(A, B)))
    end = time.monotonic() + WAIT_SECONDS
    while True:  # a scrape that fails counts a Pod less
        now = TimeGrid(time.time(), 1.0, 1)
        history = await read_scaling_history(metrics, ScaledBy.WAITING_REQUESTS, now)
        if history.replicas == (3,):
            break
        assert time.monotonic() < end, history
        await asyncio.sleep(SCRAPE_INTERVAL)
    assert history.is_counted_by_scrapes
    assert history.reason  # none of them tells of waiting requests


async def test_names_are_quoted(client: PrometheusClient):
    for name in ('a"b', "a\\b", "a\nb", "a}b", "a|.*", "(", "ü"):
        wanted = target(pods=[name], name=name, namespace=name)
        for metric in Metric:
            assert await client.query(build_query(metric, wanted)) == Answer(())


async def test_a_query_that_is_wrong_is_said(client: PrometheusClient):
    with pytest.raises(MetricsError, match=r"cannot run the query: .*parse error"):
        await client.query("sum(")
    with pytest.raises(MetricsError, match=r"cannot run the query: .*maximum resolution"):
        await client.query_range("up", 0, 1e9, 1)


async def test_the_load_of_a_serving(client: PrometheusClient, url: str):
    await wait_for_value(client, build_query(Metric.REQUESTS, target(pods=[A, B]), WINDOW), 650)
    settings = Settings(prometheus_url=url, explicit_keys=frozenset({"prometheus_url"}))
    reader = LoadReader(cast("Connection", None), settings)
    loads: list[Any] = []
    end = time.monotonic() + WAIT_SECONDS
    # of a Pod whose last scrape failed, the running requests are not known
    while not loads or loads[0].running_requests != 11:
        assert time.monotonic() < end, loads
        loads = [one async for one in reader.read(target(pods=[A, B]))]
    assert [one.source for one in loads] == ["prometheus"]
    assert 0 < loads[0].requests_per_second <= 650 * (1 + TOLERANCE)
    assert loads[0].sentence.endswith(
        "requests per second (in the last 2 minutes); 11 in progress."
    )
