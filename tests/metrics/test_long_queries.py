"""A query that is too long for a URL."""

from __future__ import annotations

import pytest
from aiohttp import web

from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.transports import MAX_QUERY_LENGTH, PrometheusOptions, UrlTransport
from tests.metrics.fake_prometheus import FakePrometheus


@pytest.mark.parametrize(("length", "method"), [(1, "GET"), (MAX_QUERY_LENGTH, "POST")])
async def test_a_long_query_is_in_the_body(prometheus: FakePrometheus, length: int, method: str):
    sent: list[tuple[str, str, str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked = request.query if request.method == "GET" else await request.post()
        sent.append(
            (request.method, str(asked["query"]), str(asked["time"]), request.headers["X-Scope"])
        )
        return web.json_response(
            {"status": "success", "data": {"resultType": "vector", "result": []}}
        )

    prometheus.handler = handler
    headers = {"X-Scope": "team"}
    transport = UrlTransport(PrometheusOptions(prometheus.url, headers=headers))
    query = 'up{a="ä&=+ %"}' + " " * length
    await PrometheusClient(transport).query(query, 1.5)
    await transport.close()
    assert sent == [(method, query, "1.500", "team")]


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_where_only_get_is_allowed_a_long_query_is_in_the_url(
    prometheus: FakePrometheus, status: int
):
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=status)
        return web.json_response({"length": len(request.query["query"])})

    prometheus.handler = handler
    transport = UrlTransport(PrometheusOptions(prometheus.url))
    query = "x" * MAX_QUERY_LENGTH
    answer = await transport.get("/api/v1/query", [("query", query)], 1000)
    await transport.close()
    assert [one.method for one in prometheus.requests] == ["POST", "GET"]
    assert answer.status == 200 and str(MAX_QUERY_LENGTH).encode() in answer.body
