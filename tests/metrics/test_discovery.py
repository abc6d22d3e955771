"""Prometheus is found among the Services of the cluster."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster import prometheus_services
from servedeck.cluster.http.connection import Connection
from servedeck.metrics import discovery
from servedeck.metrics.discovery import MAX_PROBED, find_prometheus
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import PrometheusClient
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status
from tests.waiting import TimeSkipper, wait_until, with_timeout

VECTOR = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]},
}
LABELS = "app.kubernetes.io/name"
LONG_TIMEOUT = 25.0
"""Seconds: less than those after which the connection itself gives a request up."""


class FakeServices:
    """Services by label, which the API server lists, and what each answers."""

    def __init__(self, api: FakeApiServer) -> None:
        self._api = api
        self._found: list[tuple[str, str, dict[str, Any]]] = []
        self.selectors: list[str] = []
        api.add_route("/api/v1/services", self._list)

    def add(
        self,
        name: str,
        label: str,
        namespace: str = "monitoring",
        ports: tuple[tuple[str, int], ...] = (("web", 9090),),
        answer: Any = VECTOR,
    ) -> None:
        """A Service with a label "key=value"; a text as an answer is a web page."""
        listed = [{"name": one, "port": number} for one, number in ports]
        service = {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": listed}}
        self._found.append((label, namespace, service))
        for _, port in ports:
            place = f"/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy/api/v1/query"
            self._api.add_route(place, answer if callable(answer) else _answer_with(answer))

    def allow(self, namespace: str) -> None:
        """Let the Services of a namespace be listed."""
        self._api.add_route(f"/api/v1/namespaces/{namespace}/services", self._list)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        selector = request.query["labelSelector"]
        self.selectors.append(selector)
        found = re.fullmatch(r"/api/v1/namespaces/([^/]+)/services", request.path)
        items = [
            service
            for label, namespace, service in self._found
            if _selects(selector, label) and (found is None or found[1] == namespace)
        ]
        return web.json_response({"items": items})

    @property
    def probed(self) -> list[str]:
        """The Services that were asked, as "name:port"."""
        return [one.path.split("/")[6] for one in self._api.requests if "/proxy/" in one.path]


def _selects(selector: str, label: str) -> bool:
    key, _, value = label.partition("=")
    if match := re.fullmatch(r"(\S+) in \((.*)\)", selector):
        return match[1] == key and value in match[2].split(",")
    return selector == label


def _answer_with(answer: Any) -> Any:
    async def handler(_: web.Request) -> web.StreamResponse:
        if isinstance(answer, str):
            return web.Response(text=answer, content_type="text/html")
        return web.json_response(answer)

    return handler


@pytest.fixture
def services(api: FakeApiServer) -> FakeServices:
    return FakeServices(api)


async def test_what_sees_all_comes_before_one_of_several(
    services: FakeServices, connection: Connection
):
    services.add("prometheus-operated", "operated-prometheus=true")
    services.add("prom", f"{LABELS}=prometheus")
    services.add("query", f"{LABELS}=thanos-query", ports=(("grpc", 10901), ("http", 10902)))
    client = await find_prometheus(connection)
    assert client.display_name == "Prometheus in Service monitoring/query"
    assert sorted(services.probed) == ["prom:9090", "prometheus-operated:9090", "query:10902"]


async def test_the_next_one_is_used_where_the_first_does_not_answer(
    services: FakeServices, connection: Connection
):
    services.add("a", f"{LABELS}=thanos-query", answer=respond_with_status(503, "Unavailable"))
    services.add("b", f"{LABELS}=prometheus", answer="<html>log in</html>")
    services.add("c", "app=prometheus")
    client = await find_prometheus(connection)
    assert client.display_name == "Prometheus in Service monitoring/c"


@pytest.mark.parametrize(
    ("ports", "chosen"),
    [
        ((("web", 9090), ("reloader-web", 8080)), 9090),
        ((("reloader-web", 8080), ("http", 80)), 80),
        ((("web", 19090),), 19090),
        ((("", 8428),), 8428),
        ((("grpc", 10901), ("http-query", 9000), ("", 9091)), 9091),
    ],
)
async def test_the_port_of_the_api(
    services: FakeServices,
    connection: Connection,
    ports: tuple[tuple[str, int], ...],
    chosen: int,
):
    services.add("prom", f"{LABELS}=prometheus", ports=ports)
    await find_prometheus(connection)
    assert services.probed == [f"prom:{chosen}"]


async def test_a_service_without_such_a_port_is_not_asked(
    services: FakeServices, connection: Connection
):
    services.add("prom", f"{LABELS}=prometheus", ports=(("grpc", 10901),))
    with pytest.raises(MetricsError, match="No Prometheus was found"):
        await find_prometheus(connection)
    assert services.probed == []


async def test_nothing_is_found(services: FakeServices, connection: Connection):
    with pytest.raises(MetricsError) as raised:
        await find_prometheus(connection)
    assert str(raised.value) == "No Prometheus was found among the Services of the cluster."
    assert len(services.selectors) == 4


async def test_a_web_page_is_no_prometheus(services: FakeServices, connection: Connection):
    services.add("prom", f"{LABELS}=prometheus", answer="<!doctype html><title>\x1b[31m</title>")
    with pytest.raises(MetricsError) as raised:
        await find_prometheus(connection)
    assert str(raised.value) == (
        "Prometheus in Service monitoring/prom answers with a web page, as a login or another "
        "program does."
    )


async def test_what_each_of_several_says(services: FakeServices, connection: Connection):
    services.add("a", f"{LABELS}=prometheus", answer=respond_with_status(403, "Forbidden"))
    services.add("b", f"{LABELS}=prometheus", answer={"status": "odd"})
    with pytest.raises(MetricsError) as raised:
        await find_prometheus(connection)
    assert str(raised.value) == (
        "Prometheus in Service monitoring/a needs get on services/proxy in namespace monitoring; "
        "Prometheus in Service monitoring/b does not answer as Prometheus; check its address."
    )


async def test_one_that_hangs_does_not_hold_up_another(
    services: FakeServices,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    skip_time: TimeSkipper,
):
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    probed: list[str] = []
    probe = discovery._probe

    async def note_probe(client: PrometheusClient) -> MetricsError | None:
        error = await probe(client)
        probed.append(client.display_name)
        return error

    monkeypatch.setattr(discovery, "_probe", note_probe)
    # long enough for the one that answers, on a busy machine too
    monkeypatch.setattr(discovery, "PROBE_TIMEOUT", LONG_TIMEOUT)
    services.add("a", f"{LABELS}=thanos-query", answer=hang)
    services.add("b", f"{LABELS}=prometheus")
    found = asyncio.create_task(find_prometheus(connection))
    await wait_until(lambda: probed, "the answer of b")
    skip_time(LONG_TIMEOUT + 1)
    client = await with_timeout(found)
    assert client.display_name == "Prometheus in Service monitoring/b"
    assert [one.rpartition("/")[2] for one in probed] == ["b", "a"]


async def test_few_of_many_services_are_asked(services: FakeServices, connection: Connection):
    for number in range(20):
        services.add(f"prom-{number:02}", f"{LABELS}=prometheus", answer="<html>")
    with pytest.raises(MetricsError):
        await find_prometheus(connection)
    assert len(services.probed) == MAX_PROBED


# -- permissions --------------------------------------------------------------------------------


async def test_without_the_permission_for_all_the_usual_namespaces_are_searched(
    api: FakeApiServer, services: FakeServices, connection: Connection
):
    forbidden = respond_with_status(403, "Forbidden", "services is forbidden")
    api.add_route("/api/v1/services", forbidden)
    for one in prometheus_services._USUAL_NAMESPACES:
        api.add_route(f"/api/v1/namespaces/{one}/services", forbidden)
    services.allow("observability")
    services.add("hidden", f"{LABELS}=prometheus", "monitoring")
    services.add("seen", f"{LABELS}=prometheus", "observability")
    client = await find_prometheus(connection)
    assert client.display_name == "Prometheus in Service observability/seen"
    assert services.probed == ["seen:9090"]


async def test_without_any_permission_nothing_is_found(api: FakeApiServer, connection: Connection):
    forbidden = respond_with_status(403, "Forbidden", "services is forbidden")
    api.add_route("/api/v1/services", forbidden)
    for one in prometheus_services._USUAL_NAMESPACES:
        api.add_route(f"/api/v1/namespaces/{one}/services", forbidden)
    with pytest.raises(MetricsError, match="needs list on services in all"):
        await find_prometheus(connection)


async def test_services_that_cannot_be_listed(api: FakeApiServer, connection: Connection):
    api.add_route("/api/v1/services", respond_with_status(500, "InternalError", "etcd is down"))
    with pytest.raises(MetricsError, match=r"^Services cannot be listed: .*etcd is down"):
        await find_prometheus(connection)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"items": 3}', '{"items": [{"spec": 1}]}'])
async def test_an_answer_that_is_no_list(api: FakeApiServer, connection: Connection, body: str):
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    api.add_route("/api/v1/services", answer)
    with pytest.raises(MetricsError, match="no list of Services"):
        await find_prometheus(connection)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("monitoring/prometheus:9090", "http://prometheus.monitoring:9090"),
        ("monitoring/https:thanos:9092", "https://thanos.monitoring:9092"),
        ("monitoring/prometheus", "http://prometheus.monitoring:9090"),
        ("monitoring/prometheus:web", ""),
        ("", ""),
        ("prometheus", ""),
    ],
)
def test_the_address_that_pods_reach(place: str, url: str) -> None:
    assert prometheus_services.service_url(place) == url
