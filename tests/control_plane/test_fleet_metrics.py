"""One query for many servings, as a real Prometheus answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from servedeck.metrics.fleet_metrics import FleetKey, ServingFigures, read_figures
from servedeck.metrics.fleet_queries import Rate, figures_expression, rates_expression
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.target import MetricsTarget
from servedeck.metrics.transports import MAX_QUERY_LENGTH, PrometheusOptions, UrlTransport
from servedeck.promql.expressions import format_expression
from tests.control_plane.prometheus import SCRAPE_INTERVAL, Exporter, run_prometheus
from tests.metrics.targets import target
from tests.waiting import WAIT_SECONDS

RATE = Rate(4.0)
"""Twenty scrapes."""
TOLERANCE = 0.1
"""What a scrape that is late by a tenth of the window makes of a rate."""
VLLM = "vllm:request_success_total"
BUCKET = "vllm:e2e_request_latency_seconds_bucket"
LONG = "a" * 55
"""A name of which the Pods do not have the whole hash."""
PODS = {
    f"/{namespace}/{pod}": {"namespace": namespace, "pod": pod}
    for namespace, pod in (
        ("chat", "llama-6d4f8b7c9-x7k2p"),
        ("chat", "llama-6d4f8b7c9-bbbbb"),
        ("chat", "llama-v2-6d4f8b7c9-x7k2p"),
        ("other", "llama-6d4f8b7c9-x7k2p"),
        ("other", "sgl-6d4f8b7c9-ccccc"),
        ("chat", "mesh-6d4f8b7c9-ccccc"),
        ("chat", f"{LONG}-6dx7k2p"),
    )
}
TARGETS = [
    target(),
    target(namespace="other"),
    target("sglang", namespace="other", name="sgl", pods=["sgl-6d4f8b7c9-ccccc"]),
    target("custom", name="mesh", pods=["mesh-6d4f8b7c9-ccccc"]),
    target(name=LONG, pods=[f"{LONG}-6dx7k2p"]),
    target(name="none", pods=["none-6d4f8b7c9-ccccc"]),
]
WANTED_RATES: dict[FleetKey, float] = {
    ("chat", "llama"): 600.0,
    ("other", "llama"): 40.0,
    ("other", "sgl"): 70.0,
    ("chat", "mesh"): 20.0,
    ("chat", LONG): 8.0,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    exporter = Exporter()
    stop, length = f'{VLLM}{{finished_reason="stop"}}', f'{VLLM}{{finished_reason="length"}}'
    workload = 'destination_workload="mesh",destination_workload_namespace="chat"'
    exporter.counters = {
        "/chat/llama-6d4f8b7c9-x7k2p": {
            stop: 300,
            length: 100,
            **{f'{BUCKET}{{le="{bound}"}}': 90 for bound in ("1", "10", "+Inf")},
        },
        "/chat/llama-6d4f8b7c9-bbbbb": {
            stop: 200,
            **{f'{BUCKET}{{le="{bound}"}}': 10 for bound in ("10", "+Inf")},
            f'{BUCKET}{{le="1"}}': 0,
        },
        "/chat/llama-v2-6d4f8b7c9-x7k2p": {stop: 5000},
        "/other/llama-6d4f8b7c9-x7k2p": {stop: 40},
        "/other/sgl-6d4f8b7c9-ccccc": {
            "sglang:num_requests_total": 70,
            "sglang:e2e_request_latency_seconds_count": 70,
        },
        "/chat/mesh-6d4f8b7c9-ccccc": {
            f'istio_requests_total{{reporter="destination",{workload}}}': 20,
            f'istio_requests_total{{reporter="source",{workload}}}': 20,
        },
        f"/chat/{LONG}-6dx7k2p": {stop: 8},
    }
    exporter.lines["/chat/llama-6d4f8b7c9-x7k2p"] = "vllm:num_requests_waiting 3"
    exporter.lines["/chat/llama-6d4f8b7c9-bbbbb"] = "vllm:num_requests_waiting 4"
    with exporter.serve(), run_prometheus(exporter, PODS) as found:
        yield found


@pytest.fixture
async def source(url: str) -> AsyncIterator[PrometheusSource]:
    made = PrometheusSource(PrometheusClient(UrlTransport(PrometheusOptions(url))))
    yield made
    await made.close()


Figures = dict[FleetKey, ServingFigures]


async def wait_for_figures(
    source: PrometheusSource, targets: list[MetricsTarget], condition: Callable[[Figures], bool]
) -> Figures:
    """Ask until all figures are right at once: of a Pod whose last scrape was late or failed, some
    are not."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition(found := (await read_figures(source, targets, time.time(), RATE)).figures):
        assert time.monotonic() < end, found
        await asyncio.sleep(SCRAPE_INTERVAL)
    return found


def is_right(found: Figures) -> bool:
    rates = {key: one.rate for key, one in found.items()}
    if rates != pytest.approx(WANTED_RATES, rel=TOLERANCE):
        return False
    llama = found["chat", "llama"]
    # of 100 requests 90 took up to 1 s, and the 95th is in the middle of the others
    return llama.waiting == 7.0 and llama.p95 == pytest.approx(5.5, rel=TOLERANCE)


async def test_each_serving_has_its_own_figures(source: PrometheusSource):
    found = await wait_for_figures(source, TARGETS, is_right)
    assert found["other", "sgl"].p95 is None


async def test_a_query_of_hundreds_is_answered(source: PrometheusSource):
    many = [target("custom", name=f"serving-{number:03}") for number in range(500)]
    expression = figures_expression([*many, *TARGETS], RATE)
    assert len(format_expression(expression)) > 50 * MAX_QUERY_LENGTH

    def is_read(found: Figures) -> bool:
        llama = found.get(("chat", "llama"))
        return llama is not None and llama.waiting == 7.0

    await wait_for_figures(source, [*many, *TARGETS], is_read)


@pytest.mark.parametrize("name", ['a"b', "a{b}", "$1", "a\\", "(", "a|b"])
async def test_hostile_names_are_no_other_query(source: PrometheusSource, name: str):
    targets = [target(name=name, namespace=name, pods=[f"{name}-b-bbbbb"])]
    expression = rates_expression(targets, RATE)
    assert (await source.query(expression)).series == ()
