"""The client of Prometheus' API, and the two ways to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.metrics import prometheus as client_module
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import Answer, Point, PrometheusClient, Series, single_value
from servedeck.metrics.transports import PrometheusOptions, UrlTransport, open_transport
from tests.cluster.certificates import (
    create_authority,
    issue_certificate,
    make_server_context,
)
from tests.cluster.fake_api_server import FakeApiServer, bind_port, make_status
from tests.metrics.fake_prometheus import (
    FakePrometheus,
    answer_with,
    error_body,
    serve_prometheus,
)


@asynccontextmanager
async def open_client(options: PrometheusOptions) -> AsyncIterator[PrometheusClient]:
    transport = UrlTransport(options)
    try:
        yield PrometheusClient(transport)
    finally:
        await transport.close()


async def failure(options: PrometheusOptions) -> str:
    """Why a query fails, without the address of Prometheus."""
    with pytest.raises(MetricsError) as raised:
        async with open_client(options) as client:
            await client.query("up")
    address = options.url.partition("://")[2].rpartition("@")[2]
    return str(raised.value).replace(address, "HOST")


# -- answers ------------------------------------------------------------------------------------


async def test_an_instant_query(prometheus: FakePrometheus):
    prometheus.values["up"] = [({"pod": "a"}, "1"), ({"pod": "b"}, "NaN"), ({}, "+Inf")]
    async with open_client(PrometheusOptions(prometheus.url + "/")) as client:
        answer = await client.query('up{a="+ &"}', 1700000000.25)
    at = 1700000000.5
    assert answer.series == (
        Series({"pod": "a"}, (Point(at, 1.0),)),
        Series({"pod": "b"}, (Point(at, None),)),
        Series({}, (Point(at, None),)),
    )
    assert answer.warning == ""
    assert dict(prometheus.requests[0].query) == {
        "query": 'up{a="+ &"}',
        "time": "1700000000.250",
    }
    assert single_value(answer) == 1.0
    assert single_value(Answer(())) is None


async def test_a_range_query(prometheus: FakePrometheus):
    result = [{"metric": {"pod": "a"}, "values": [[10, "1"], [40, "NaN"], [55.5, "2.5e3"]]}]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    prometheus.handler = answer_with(200, body)
    async with open_client(PrometheusOptions(prometheus.url)) as client:
        answer = await client.query_range("up", 10, 60, 15)
    points = (Point(10, 1.0), Point(40, None), Point(55.5, 2500.0))
    assert answer == Answer((Series({"pod": "a"}, points),), "")
    assert prometheus.requests[0].path == "/api/v1/query_range"
    asked = {"query": "up", "start": "10.000", "end": "60.000", "step": "15.000"}
    assert dict(prometheus.requests[0].query) == asked


async def test_a_scalar(prometheus: FakePrometheus):
    body = {"status": "success", "data": {"resultType": "scalar", "result": [10, "4"]}}
    prometheus.handler = answer_with(200, body)
    async with open_client(PrometheusOptions(prometheus.url)) as client:
        assert single_value(await client.query("4")) == 4.0


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, None, "requires a login (401); check the token or the headers in the settings."),
        (403, error_body("forbidden", "no org id"), "forbids the query (403: no org id)."),
        (302, None, "answers with a redirect (302), as a login does."),
        (404, None, "has no query API at this address (404); check its path."),
        (
            400,
            error_body("bad_data", "1:3: parse error"),
            "cannot run the query: 1:3: parse error.",
        ),
        (
            422,
            error_body("execution", "too many samples"),
            "cannot run the query: too many samples.",
        ),
        (503, error_body("timeout", "query timed out"), "gave up: query timed out."),
        (503, None, "is not available (503)."),
        (429, None, "limits the request rate (429)."),
        (200, error_body("internal", "no"), "refused the query (200: no)."),
        (200, {"kind": "Status"}, "does not answer as Prometheus; check its address."),
        (200, [], "does not answer as Prometheus; check its address."),
        (
            200,
            {"status": "success", "data": {"resultType": "vector", "result": 5}},
            "answers with a result that is not one of Prometheus.",
        ),
        (400, error_body("bad_data", "a\x1b[31m\u202eb\nc"), "cannot run the query: ab c."),
    ],
)
async def test_an_error_is_a_clear_sentence(
    prometheus: FakePrometheus, status: int, body: Any, said: str
):
    prometheus.handler = answer_with(status, body, text="no")
    assert await failure(PrometheusOptions(prometheus.url)) == f"Prometheus at HOST {said}"


async def test_a_web_page_is_no_answer(prometheus: FakePrometheus):
    prometheus.handler = answer_with(200, text="<html>log in</html>", Content_Type="text/html")
    said = await failure(PrometheusOptions(prometheus.url))
    assert said == "Prometheus at HOST answers with a web page, as a login or another program does."


async def test_nothing_listens():
    with bind_port() as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert await failure(PrometheusOptions(url)) == "Prometheus at HOST refused the connection."


async def test_the_answer_ends_in_the_middle(prometheus: FakePrometheus):
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"status"')
        assert request.transport is not None
        request.transport.close()
        return response

    prometheus.handler = cut
    said = await failure(PrometheusOptions(prometheus.url))
    assert said == "Prometheus at HOST closed the connection in the middle of an answer."


async def test_a_huge_answer_is_not_read(prometheus: FakePrometheus, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 2 << 20)
    prometheus.handler = answer_with(200, text="[" * (3 << 20))
    said = await failure(PrometheusOptions(prometheus.url))
    assert said == "Prometheus at HOST answers with more than 2 MiB."


@pytest.mark.parametrize(
    "url", ["prometheus:9090", "ftp://a", "http://", "http://a:b", "http://[1"]
)
def test_an_address_that_is_none(url: str):
    with pytest.raises(MetricsError, match="prometheus_url is not an http"):
        UrlTransport(PrometheusOptions(url))


# -- credentials --------------------------------------------------------------------------------


def explicit(**values: Any) -> Settings:
    return Settings(**values, explicit_keys=frozenset(values))


async def test_token_and_headers_are_sent(prometheus: FakePrometheus, tmp_path: Path):
    (tmp_path / "token").write_text("first\n")
    options = PrometheusOptions.from_settings(
        explicit(
            prometheus_url=prometheus.url,
            prometheus_token_file=str(tmp_path / "token"),
            prometheus_headers={"X-Scope-OrgID": "team-a"},
        )
    )
    async with open_client(options) as client:
        await client.query("up")
        (tmp_path / "token").write_text("second")  # it is renewed by another program
        await client.query("up")
    sent: list[Mapping[str, str]] = [one.headers for one in prometheus.requests]
    assert [one["Authorization"] for one in sent] == ["Bearer first", "Bearer second"]
    assert sent[0]["X-Scope-OrgID"] == "team-a"
    assert "second" not in repr(options) and "team-a" not in repr(options)


@pytest.mark.parametrize("setting", ["prometheus_token_file", "prometheus_ca_file"])
async def test_a_pipe_in_place_of_a_file_is_an_error(
    prometheus: FakePrometheus, tmp_path: Path, setting: str
):
    os.mkfifo(tmp_path / "pipe")
    files = {setting: str(tmp_path / "pipe")}
    options = PrometheusOptions.from_settings(explicit(prometheus_url=prometheus.url, **files))
    assert await failure(options) == f"{setting} cannot be read: it is not a regular file."


async def test_a_password_in_the_address_is_sent_and_not_shown(prometheus: FakePrometheus):
    url = prometheus.url.replace("://", "://me:secret@")
    prometheus.handler = answer_with(503)
    assert await failure(PrometheusOptions(url)) == "Prometheus at HOST is not available (503)."
    assert prometheus.requests[0].headers["Authorization"].startswith("Basic ")


def test_the_address_of_the_configmap_gets_no_token():
    settings = explicit(
        prometheus_token_file="/token", prometheus_headers={"a": "b"}, prometheus_ca_file="/ca"
    )
    settings, _ = settings.with_platform_configmap({"prometheus_url": "http://other"})
    assert PrometheusOptions.from_settings(settings) == PrometheusOptions("http://other")


def test_what_the_operator_names_comes_before_the_configmap():
    own = explicit(prometheus_service="own/prometheus:9090")
    settings, _ = own.with_platform_configmap({"prometheus_url": "http://other"})
    assert PrometheusOptions.from_settings(settings) == PrometheusOptions(
        service="own/prometheus:9090"
    )
    own = explicit(prometheus_url="http://own")
    settings, _ = own.with_platform_configmap({"prometheus_service": "other/prometheus:9090"})
    assert PrometheusOptions.from_settings(settings) == PrometheusOptions("http://own")
    own = explicit(prometheus_url="")  # turned off
    settings, _ = own.with_platform_configmap({"prometheus_url": "http://other"})
    assert not PrometheusOptions.from_settings(settings).is_configured


async def test_files_that_cannot_be_read(prometheus: FakePrometheus, tmp_path: Path):
    options = PrometheusOptions(prometheus.url, token_file=tmp_path / "no")
    said = await failure(options)
    assert said == "prometheus_token_file cannot be read: No such file or directory."
    options = PrometheusOptions(prometheus.url, ca_file=tmp_path / "no")
    said = await failure(options)
    assert said == "prometheus_ca_file cannot be read: No such file or directory."
    (tmp_path / "ca").write_text("no certificate")
    said = await failure(PrometheusOptions("https://127.0.0.1:1", ca_file=tmp_path / "ca"))
    assert said == "prometheus_ca_file contains no certificate in PEM format."


async def test_tls_with_a_ca_of_its_own(tmp_path: Path):
    authority = create_authority(tmp_path)
    issue_certificate(tmp_path, "server")
    context = make_server_context(tmp_path, "server")
    async with serve_prometheus(context) as fake:
        options = PrometheusOptions(fake.url, ca_file=authority)
        async with open_client(options) as client:
            assert await client.query("up") == Answer(())
        said = await failure(replace(options, ca_file=None))
        assert said.startswith("Prometheus at HOST has a certificate that is not trusted (")


# -- through the API server ---------------------------------------------------------------------

SERVICE = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query"


async def ask_service(connection: Connection, service: str = "monitoring/prometheus:9090") -> Any:
    transport = open_transport(connection, PrometheusOptions(service=service))
    return await PrometheusClient(transport).query("up")


async def test_a_service_of_the_cluster(api: FakeApiServer, connection: Connection):
    body = {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}
    api.add_route(SERVICE, answer_with(200, body))
    assert single_value(await ask_service(connection)) == 2.0
    assert api.requests[0].query["query"] == "up"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            403,
            make_status(403, "Forbidden", "services is forbidden"),
            "Prometheus in Service monitoring/prometheus needs get on services/proxy in namespace "
            "monitoring.",
        ),
        (
            404,
            make_status(404, "NotFound", "not found"),
            "There is no Service monitoring/prometheus, or it leads to no Pod.",
        ),
        (
            503,
            make_status(503, "ServiceUnavailable", "no endpoints available"),
            "Service monitoring/prometheus leads to no Ready Pod.",
        ),
        (
            404,
            make_status(404, "NotFound", "not found", kind="endpoints"),
            "Service monitoring/prometheus leads to no Ready Pod.",
        ),
        (
            503,
            make_status(503, "ServiceUnavailable", "error trying to reach service: EOF"),
            "Prometheus in Service monitoring/prometheus does not answer (503: error trying to "
            "reach service: EOF).",
        ),
        (
            422,
            error_body("execution", "too many samples"),
            "Prometheus in Service monitoring/prometheus cannot run the query: too many samples.",
        ),
        (
            401,
            None,
            "Prometheus in Service monitoring/prometheus requires a login (401) that the API "
            "server does not pass on; set prometheus_url.",
        ),
    ],
)
async def test_an_error_through_the_api_server(
    api: FakeApiServer, connection: Connection, status: int, body: Any, said: str
):
    api.add_route(SERVICE, answer_with(status, body, text="no"))
    with pytest.raises(MetricsError) as raised:
        await ask_service(connection)
    assert str(raised.value) == said


@pytest.mark.parametrize("service", ["prometheus:9090", "a/b", "a/b:c/d", "a/../b:1", "a/b:1?x=y"])
async def test_a_service_that_is_none(connection: Connection, service: str):
    with pytest.raises(MetricsError, match="prometheus_service is not namespace/name:port"):
        await ask_service(connection, service)


async def test_a_query_that_begins_while_the_session_is_closed_fails_in_words(
    prometheus: FakePrometheus,
):
    transport = UrlTransport(PrometheusOptions(prometheus.url))
    client = PrometheusClient(transport)
    prometheus.handler = answer_with(
        200, {"status": "success", "data": {"resultType": "vector", "result": []}}
    )
    await client.query("up")
    asked = asyncio.create_task(client.query("up"))
    await asyncio.sleep(0)  # it waits for its headers
    await client.close()
    with pytest.raises(MetricsError, match="is not asked any more"):
        await asked
    await client.close()


async def test_an_address_of_the_cluster_cannot_control_the_terminal():
    transport = UrlTransport(PrometheusOptions("http://host\x1bc\x07\x9b2Jx:9090"))
    assert transport.display_name.isprintable()
    with pytest.raises(MetricsError) as raised:
        await transport.get("/api/v1/query", [], 100)
    assert str(raised.value).isprintable()
    await transport.close()
