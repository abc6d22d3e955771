"""Metrics through a real API server: its proxy to Pods and Services, and what it forbids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.metrics import pod_scrape
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.load import LoadReader, ServingLoad
from servedeck.metrics.period import make_grid
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.target import fetch_target
from servedeck.metrics.transports import PrometheusOptions, open_transport
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.prometheus import SCRAPE_INTERVAL, Exporter, own_address, run_prometheus
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of
from tests.waiting import WAIT_SECONDS

T = TypeVar("T")

RATE = 400.0
COUNTER = 'vllm:request_success_total{finished_reason="stop"}'
RUNNING = "vllm:num_requests_running 7"


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter()
    exporter.counters["/metrics"] = {COUNTER: RATE}
    exporter.lines["/metrics"] = RUNNING
    with exporter.serve(own_address()):
        yield exporter


def create_serving(plane: ControlPlane, namespace: str, exporter: Exporter) -> str:
    """A serving with one Pod, whose server is the exporter; returns the name of the Pod."""
    host, _, port = exporter.url.partition(":")
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model", "org/model", "--port", port],
    }
    plane.create_deployment(namespace, "llama", hold=True, pod_spec={"containers": [container]})
    [pod] = plane.wait_for_pods(namespace, "llama", 1)
    status = pod_statuses.ready_status() | {"podIP": host, "podIPs": [{"ip": host}]}
    plane.set_pod_status(pod, status)
    name: str = pod["metadata"]["name"]
    return name


async def read(connection: Connection, namespace: str, **settings: Any) -> ServingLoad:
    values = Settings(**settings, explicit_keys=frozenset(settings))
    return await LoadReader(connection, values, (1.0,)).read_serving(namespace, "llama")


async def ask_until(ask: Callable[[], Awaitable[T]], condition: Callable[[T], bool]) -> T:
    """Ask until the condition holds: Prometheus has no value of a Pod that it did not scrape yet,
    or whose last scrape failed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(found := await ask()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(SCRAPE_INTERVAL)
    return found


async def test_an_operator_reads_the_pods(
    control_plane: ControlPlane,
    namespace: str,
    exporter: Exporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times: list[float] = []

    def page(seconds: float) -> bytes:
        times.append(seconds)
        return f"{COUNTER} {RATE * seconds}\n{RUNNING}\n".encode()

    exporter.pages["/metrics"] = page
    monkeypatch.setattr(pod_scrape, "POD_TIMEOUT", WAIT_SECONDS)
    create_serving(control_plane, namespace, exporter)
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        load = await read(connection, namespace)
        assert (load.source, load.pods, load.ready_pods, load.running_requests) == ("pods", 1, 1, 7)
        # of the two pages, of which each was a while on its way
        first, second = times
        assert load.requests_per_second is not None and load.seconds >= 0.99
        count = load.requests_per_second * load.seconds
        assert count == pytest.approx(RATE * (second - first), rel=1e-6)


async def test_a_viewer_is_told_the_permission(
    control_plane: ControlPlane, namespace: str, exporter: Exporter
) -> None:
    create_serving(control_plane, namespace, exporter)
    grant_role(control_plane, namespace, "member", rules_of("viewer"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        load = await read(connection, namespace, pod_metrics=True)
        assert load.sentence == (
            "Requests per second unknown: Reading metrics of Pods needs get on pods/proxy "
            f"in namespace {namespace}."
        )
        load = await read(connection, namespace, prometheus_service=f"{namespace}/prometheus:9090")
        assert load.reason == (
            f"Prometheus in Service {namespace}/prometheus needs get on services/proxy in "
            f"namespace {namespace}."
        )


async def test_prometheus_is_asked_through_its_service(
    control_plane: ControlPlane, namespace: str, exporter: Exporter
) -> None:
    pod = create_serving(control_plane, namespace, exporter)
    setting = {"prometheus_service": f"{namespace}/prometheus:9090"}
    async with open_connection(control_plane, namespace=namespace) as connection:
        load = await read(connection, namespace, **setting)
        service = f"Service {namespace}/prometheus"
        assert load.reason == f"There is no {service}, or it leads to no Pod."
        spec = {"ports": [{"port": 9090}]}
        path = f"/api/v1/namespaces/{namespace}"
        body = {"metadata": {"name": "prometheus"}, "spec": spec}
        control_plane.create(f"{path}/services", body)
        labels = {"/metrics": {"namespace": namespace, "pod": pod}}
        host = exporter.url.partition(":")[0]
        with run_prometheus(exporter, labels, host) as url:
            port = int(url.rpartition(":")[2])
            # The API server connects only to the addresses of Pods.
            reference = {"kind": "Pod", "namespace": namespace, "name": pod}
            endpoints = {
                "metadata": {"name": "prometheus"},
                "subsets": [
                    {
                        "addresses": [{"ip": host, "targetRef": reference}],
                        "ports": [{"port": port}],
                    }
                ],
            }
            control_plane.create(f"{path}/endpoints", endpoints)
            # Services and endpoints reach the API server's proxy by a watch.
            load = await ask_until(
                lambda: read(connection, namespace, **setting),
                lambda load: load.source == "prometheus" and load.running_requests == 7,
            )
            rate = load.requests_per_second
            assert rate is not None and 0 < rate <= 1.5 * RATE
            assert load.sentence.endswith("(in the last 2 minutes); 7 in progress.")
            await check_graphs(connection, namespace, **setting)


async def check_graphs(connection: Connection, namespace: str, prometheus_service: str) -> None:
    """A graph, the figures and the names of the Pod, through the API server's proxy."""
    target = await fetch_target(connection, namespace, "llama")
    assert target is not None
    options = PrometheusOptions(service=prometheus_service)
    source = PrometheusSource(PrometheusClient(open_transport(connection, options)))
    names = await source.known_names(target)
    assert names is not None and {"vllm:request_success_total", "up"} <= set(names)
    metrics = ServingMetrics(source, target)
    figures = await ask_until(lambda: metrics.figures(3600), lambda found: found.running == 7)
    assert (figures.waiting, figures.warning) == (None, "")
    graph = await ask_until(
        # the last of its times may be before the first scrape
        lambda: metrics.graph(GraphKey.QUEUE, make_grid(time.time(), 60, 60, 1.0)),
        lambda found: bool(found.lines) and found.lines[0].values[-1] == 7,
    )
    [_running, waiting] = graph.lines
    assert set(waiting.values) == {None}
    graph = await metrics.graph(GraphKey.TTFT, make_grid(time.time(), 60, 60, 1.0))
    service = prometheus_service.rpartition(":")[0]
    assert graph.reason == (
        f"Prometheus in Service {service} has no record of times to the first token "
        "(vllm:time_to_first_token_seconds_bucket)."
    )
