"""CPU and memory from metrics.k8s.io."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.metrics.platform_queries import CPU_CORES, MEMORY_BYTES
from servedeck.metrics.pod_resources import read_pod_resources
from servedeck.promql.exposition import Sample
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status
from tests.metrics.fake_prometheus import answer_with
from tests.metrics.targets import target

PATH = "/apis/metrics.k8s.io/v1beta1/namespaces/chat/pods"
A, B = "llama-6d4f8b7c9-aaaaa", "llama-6d4f8b7c9-bbbbb"


def pod(name: str, **usage: dict[str, Any]) -> dict[str, Any]:
    containers = [{"name": one, "usage": used} for one, used in usage.items()]
    return {"metadata": {"name": name}, "containers": containers}


async def test_the_containers_of_the_pods(api: FakeApiServer, connection: Connection):
    items = [
        pod(A, server={"cpu": "1500m", "memory": "2Gi"}, proxy={"cpu": "250000n", "memory": "1M"}),
        pod("other-1", server={"cpu": "1", "memory": "1"}),
        pod(B, server={"cpu": "odd", "memory": "4Ki"}),
    ]
    api.add_route(PATH, answer_with(200, {"items": items}))
    found = await read_pod_resources(connection, target(pods=[A], unready=[B]))
    server, proxy = (("container", "server"),), (("container", "proxy"),)
    assert found == {
        A: [
            Sample(CPU_CORES, server, 1.5),
            Sample(MEMORY_BYTES, server, 2.0**31),
            Sample(CPU_CORES, proxy, 0.00025),
            Sample(MEMORY_BYTES, proxy, 1e6),
        ],
        B: [Sample(MEMORY_BYTES, server, 4096.0)],
    }


@pytest.mark.parametrize("code", [403, 404, 503])
async def test_a_cluster_without_it(api: FakeApiServer, connection: Connection, code: int):
    api.add_route(PATH, respond_with_status(code, "Odd"))
    with pytest.raises(ApiError) as raised:
        await read_pod_resources(connection, target(pods=[A]))
    assert raised.value.code == code


@pytest.mark.parametrize("text", ["<html>", "[]", '{"items": [{"containers": 1}]}'])
async def test_an_answer_that_is_no_list(api: FakeApiServer, connection: Connection, text: str):
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    api.add_route(PATH, answer)
    with pytest.raises(InvalidResponseError, match="no list of PodMetrics"):
        await read_pod_resources(connection, target(pods=[A]))
