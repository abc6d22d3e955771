"""The source of the metrics of a cluster: Prometheus, or the Pods in its place."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.metrics.cluster_metrics import ClusterMetrics
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.fleet_reader import RETRY_SECONDS
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import MetricsTarget
from tests.cluster.fake_api_server import FakeApiServer, make_status, respond_with_status
from tests.metrics.fake_prometheus import FakePrometheus, Handler, answer_with
from tests.metrics.targets import target
from tests.waiting import wait_until

POD = "llama-6d4f8b7c9-bbbbb"
WANTED = target(pods=[POD], wanted_replicas=1)
KNOWN = ["vllm:num_requests_running", "vllm:request_success_total"]


def cluster_metrics(connection: Connection, **settings: Any) -> ClusterMetrics:
    return ClusterMetrics(connection, Settings(**settings), SampleRing())


def prometheus_settings(prometheus: FakePrometheus) -> dict[str, Any]:
    return {
        "prometheus_url": prometheus.url,
        "explicit_keys": frozenset({"prometheus_url"}),
    }


def answer_names(prometheus: FakePrometheus, *names: str) -> None:
    """What Prometheus knows of the Pods; it computes nothing."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if "/label/" in request.path:
            return web.json_response({"status": "success", "data": list(names)})
        data = {"resultType": "matrix", "result": []}
        if request.path.endswith("/query"):
            data = {"resultType": "vector", "result": []}
        return web.json_response({"status": "success", "data": data})

    prometheus.handler = handler


@pytest.fixture
def pods(api: FakeApiServer) -> FakeApiServer:
    """The API server, with a Pod that has metrics."""
    path = f"/api/v1/namespaces/chat/pods/{POD}:8000/proxy/metrics"
    api.add_route(path, answer_with(200, text="vllm:num_requests_running 3\n"))
    api.add_route("/api/v1/services", answer_with(200, {"items": []}))
    return api


async def test_prometheus_where_it_knows_the_serving(
    prometheus: FakePrometheus, pods: FakeApiServer, connection: Connection
):
    answer_names(prometheus, *KNOWN)
    metrics = cluster_metrics(connection, **prometheus_settings(prometheus))
    opened = await metrics.open(lambda: WANTED)
    assert not opened.is_live and opened.problem == ""
    assert isinstance(opened.metrics.source, PrometheusSource)
    again = await metrics.open(lambda: WANTED)
    assert again.metrics.source is opened.metrics.source, "it is found once"
    assert pods.requests == [], "the Pods are not read"
    await opened.close()
    await metrics.close()


async def test_the_pods_where_prometheus_does_not_know_the_serving(
    prometheus: FakePrometheus, pods: FakeApiServer, connection: Connection
):
    answer_names(prometheus)
    read: list[int] = []
    metrics = cluster_metrics(connection, **prometheus_settings(prometheus))
    opened = await metrics.open(lambda: WANTED, lambda: read.append(1))
    assert opened.is_live
    assert opened.problem.startswith("Prometheus at 127.0.0.1:")
    assert opened.problem.endswith(" has no metrics of it.")
    await wait_until(lambda: read, "a reading of the Pods")
    figures = await opened.metrics.figures(3600.0)
    assert figures.running == 3
    await opened.close()
    await metrics.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answer_with(503, text="no"), "is not available (503)"),
        (answer_with(302, text="", Location="/login"), "answers with a redirect (302)"),
        (answer_with(200, text="<html>"), "answers with a web page"),
        (answer_with(401, text=""), "requires a login (401)"),
    ],
)
async def test_the_pods_and_the_reason_where_prometheus_does_not_answer(
    prometheus: FakePrometheus,
    pods: FakeApiServer,
    connection: Connection,
    answer: Any,
    reason: str,
):
    prometheus.handler = answer
    metrics = cluster_metrics(connection, **prometheus_settings(prometheus))
    opened = await metrics.open(lambda: WANTED)
    assert opened.is_live and reason in opened.problem
    answer_names(prometheus, *KNOWN)
    again = await metrics.open(lambda: WANTED)
    assert not again.is_live, "it is asked again the next time"
    await opened.close()
    await again.close()
    await metrics.close()


async def test_what_of_the_pods_cannot_be_read_is_said_first(
    pods: FakeApiServer, connection: Connection
):
    path = f"/api/v1/namespaces/chat/pods/{POD}:8000/proxy/metrics"
    pods.add_route(path, answer_with(403, make_status(403, "Forbidden", "pods is forbidden")))
    metrics = cluster_metrics(connection)
    read: list[int] = []
    opened = await metrics.open(lambda: WANTED, lambda: read.append(1))
    await wait_until(lambda: read, "a reading of the Pods")
    assert opened.problem == (
        "Reading metrics of Pods needs get on pods/proxy in namespace chat. "
        "No Prometheus was found among the Services of the cluster."
    )
    await opened.close()


async def test_nothing_is_read_where_the_settings_forbid_it(
    pods: FakeApiServer, connection: Connection
):
    metrics = cluster_metrics(connection, pod_metrics=False)
    with pytest.raises(MetricsError) as raised:
        await metrics.open(lambda: WANTED)
    assert str(raised.value) == (
        "No Prometheus was found among the Services of the cluster. "
        "Its Pods are not read: pod_metrics is false."
    )
    assert not any("/proxy/" in one.path for one in pods.requests)


async def test_no_service_is_looked_for_where_the_settings_forbid_it(
    pods: FakeApiServer, connection: Connection
):
    metrics = cluster_metrics(connection, prometheus_discovery=False)
    opened = await metrics.open(lambda: WANTED)
    assert opened.is_live and opened.problem == "The settings name no Prometheus."
    assert not any(one.path == "/api/v1/services" for one in pods.requests)
    await opened.close()


async def test_a_prometheus_that_is_found(pods: FakeApiServer, connection: Connection):
    service = {
        "metadata": {"name": "prom", "namespace": "monitoring"},
        "spec": {"ports": [{"name": "web", "port": 9090}]},
    }
    pods.add_route("/api/v1/services", answer_with(200, {"items": [service]}))
    base = "/api/v1/namespaces/monitoring/services/prom:9090/proxy/api/v1"
    empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
    pods.add_route(f"{base}/query", answer_with(200, empty))
    names = answer_with(200, {"status": "success", "data": KNOWN})
    pods.add_route(f"{base}/label/__name__/values", names)
    metrics = cluster_metrics(connection)
    opened = await metrics.open(lambda: WANTED)
    assert opened.metrics.source.display_name == "Prometheus in Service monitoring/prom"
    assert not opened.is_live
    await metrics.close()


async def test_a_deleted_serving(pods: FakeApiServer, connection: Connection):
    with pytest.raises(MetricsError, match=r"^The serving does not exist any more\.$"):
        await cluster_metrics(connection).open(lambda: None)
    assert pods.requests == []


async def test_closing_ends_the_reading_of_the_pods(pods: FakeApiServer, connection: Connection):
    metrics = cluster_metrics(connection)
    asked: list[int] = []

    def get_target() -> MetricsTarget:
        asked.append(1)
        return WANTED

    opened = await metrics.open(get_target)
    assert opened.scraper is not None
    await wait_until(lambda: len(asked) > 1, "a reading")
    await opened.close()
    assert opened.scraper._task is None
    await opened.close()


async def test_the_api_server_that_does_not_list_services(
    pods: FakeApiServer, connection: Connection
):
    pods.add_route("/api/v1/services", respond_with_status(500, "InternalError", "etcd"))
    opened = await cluster_metrics(connection).open(lambda: WANTED)
    assert opened.problem.startswith("Services cannot be listed: ")
    await opened.close()


async def test_a_list_looks_for_another_prometheus_where_the_one_that_was_found_fails(
    api: FakeApiServer, connection: Connection
):
    now = [1_700_000_000.0]
    found = answer_with(200, {"status": "success", "data": {"resultType": "vector", "result": []}})
    add_prometheus(api, "old", found)
    metrics = ClusterMetrics(connection, Settings(pod_metrics=False), SampleRing())
    reader = metrics.fleet_reader()
    reader._clock = lambda: now[0]
    assert (await reader.read([target()], with_recent=False)).problem == ""
    add_prometheus(api, "old", answer_with(404, make_status(404, "NotFound", "gone")))
    failed = await reader.read([target()], with_recent=False)
    assert failed.problem == "There is no Service monitoring/old, or it leads to no Pod."
    add_prometheus(api, "new", found)
    now[0] += RETRY_SECONDS
    assert (await reader.read([target()], with_recent=False)).problem == ""
    assert (await metrics.prometheus()).display_name == "Prometheus in Service monitoring/new"


def add_prometheus(api: FakeApiServer, name: str, handler: Handler) -> None:
    """The only Service that is one, and what it answers."""
    service = {
        "metadata": {"name": name, "namespace": "monitoring"},
        "spec": {"ports": [{"name": "web", "port": 9090}]},
    }
    api.add_route("/api/v1/services", answer_with(200, {"items": [service]}))
    path = f"/api/v1/namespaces/monitoring/services/{name}:9090/proxy/api/v1/query"
    api.add_route(path, handler)
