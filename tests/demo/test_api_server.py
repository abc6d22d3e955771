"""Logs and proxy requests, users and rights of the demo's API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.demo.api.kubelet_api import LogOptions, ProxyResponse
from servedeck.demo.resources import SERVICES
from tests.demo.api_fixture import RUNNING, Api, place_pod

Json = dict[str, Any]


async def test_applying_the_same_a_second_later_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/namespaces/a/configmaps/c?fieldManager=f"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {}}}
    responses = []
    for second in (1, 2, 3):
        monkeypatch.setattr(api.store, "timestamp", lambda at=second: f"2026-01-01T00:00:0{at}Z")
        code, text = await api.send(
            "PATCH", path, json.dumps(body).encode(), Content_Type="application/apply-patch+yaml"
        )
        responses.append((code, json.loads(text)))
    first = responses[0][1]
    assert responses == [(201, first), (200, first), (200, first)]
    body["data"] = {"k": "v"}
    _, text = await api.send(
        "PATCH", path, json.dumps(body).encode(), Content_Type="application/apply-patch+yaml"
    )
    (owner,) = json.loads(text)["metadata"]["managedFields"]
    assert owner["time"] == "2026-01-01T00:00:03Z"


LOG = "/api/v1/namespaces/a/pods/p/log"


async def test_log_options_reach_the_kubelet(api: Api) -> None:
    place_pod(api, last={"terminated": {"exitCode": 1}})
    query = "follow=true&previous=1&tailLines=7&timestamps=true&sinceTime=2026-01-01T00:00:00.123Z"
    code, text = await api.send("GET", f"{LOG}?{query}")
    assert (code, text) == (200, b"one\ntwo\n")
    since = datetime(2026, 1, 1, microsecond=123000, tzinfo=UTC)
    assert api.kubelet.options == [LogOptions(True, True, since, 7, True)]
    before = datetime.now(UTC)
    await api.send("GET", f"{LOG}?sinceSeconds=60")
    since_then = api.kubelet.options[-1].since
    assert since_then is not None
    assert before <= since_then + timedelta(seconds=60) <= datetime.now(UTC)


async def test_a_log_is_cut_at_its_limit(api: Api) -> None:
    place_pod(api)
    assert (await api.send("GET", f"{LOG}?limitBytes=5"))[1] == b"one\nt"


@pytest.mark.parametrize(
    ("state", "last", "query", "message"),
    [
        (
            {"waiting": {"reason": "ContainerCreating"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            {"waiting": {"reason": "ImagePullBackOff"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        (
            {"waiting": {"reason": "ErrImagePull"}},
            {},
            "",
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            RUNNING,
            {},
            "?previous=true",
            'previous terminated container "c" in pod "p" not found',
        ),
    ],
)
async def test_a_container_without_a_log(
    api: Api, state: Json, last: Json, query: str, message: str
) -> None:
    place_pod(api, state, last)
    code, text = await api.send("GET", LOG + query)
    assert (code, json.loads(text)["message"]) == (400, message)


async def test_a_crashed_container_still_has_its_log(api: Api) -> None:
    place_pod(api, {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}})
    assert (await api.send("GET", LOG))[0] == 200


def place_service(api: Api) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"app": "x"}, "ports": ports}
    api.store.create(SERVICES, {"metadata": {"name": "s", "namespace": "a"}, "spec": spec})


@pytest.mark.parametrize(
    "name", ["pods/p:8000", "pods/http:p:8000", "pods/p", "services/s:80", "services/s:web"]
)
async def test_a_request_reaches_the_port(api: Api, name: str) -> None:
    place_pod(api)
    place_service(api)
    path = f"/api/v1/namespaces/a/{name}/proxy/v1/chat?stream=1&q=a%20b"
    code, text = await api.send("POST", path, b"{}", X_Async="true")
    assert (code, text) == (200, b"hello")
    pod, port, request = api.kubelet.requests[0]
    assert (pod, port) == ("p", 8000)
    assert (request.method, request.body) == ("POST", b"{}")
    assert request.path == "/v1/chat?stream=1&q=a%20b"
    assert request.headers["X-Async"] == "true"
    # the API server does not forward the client's credentials
    assert "Authorization" not in request.headers


async def test_a_stream_comes_chunk_by_chunk(api: Api) -> None:
    place_pod(api)
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await more.wait()
        yield b"data: 2\n\n"

    api.kubelet.answer = ProxyResponse(200, {"Content-Type": "text/event-stream"}, body())
    url = f"{api.server.url}/api/v1/namespaces/a/pods/p:8000/proxy/x"
    headers = {"Authorization": f"Bearer {api.user.token}"}
    async with api.session.get(url, headers=headers) as answer:
        assert await answer.content.readany() == b"data: 1\n\n"
        more.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_port_without_a_listener_is_unavailable(api: Api) -> None:
    place_pod(api)
    api.kubelet.answer = None
    code, text = await api.send("GET", "/api/v1/namespaces/a/pods/p:9/proxy/")
    assert code == 503
    assert json.loads(text)["message"] == (
        "error trying to reach service: dial tcp 10.0.0.1:9: connect: connection refused"
    )


# -- who --------------------------------------------------------------------------------------


async def test_a_token_is_needed(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic eDp5"}):
        async with api.session.get(f"{api.server.url}/api/v1/pods", headers=headers) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"
    async with api.session.get(f"{api.server.url}/nope/api/v1/pods") as answer:
        assert answer.status == 401


async def test_the_token_may_be_in_the_path(api: Api) -> None:
    config = api.server.kubeconfig()
    assert config["current-context"] == "demo"
    servers = [entry["cluster"]["server"] for entry in config["clusters"]]
    assert len(servers) == 3
    async with api.session.get(f"{servers[0]}/api/v1/pods") as answer:
        assert answer.status == 200
    async with api.session.get(f"{servers[1]}/api/v1/pods") as answer:
        assert answer.status == 403
    assert config["contexts"][1]["context"]["namespace"] == "a"


async def test_a_namespace_admin_is_limited_to_the_namespace(api: Api) -> None:
    token = api.member.token
    assert (await api.send("GET", "/api/v1/namespaces/a/pods", token=token))[0] == 200
    assert (await api.send("GET", "/api/v1/pods", token=token))[0] == 403
    assert (await api.send("GET", "/api/v1/namespaces/b/pods", token=token))[0] == 403
    gateways = "/apis/gateway.networking.k8s.io/v1/gateways"
    assert (await api.send("GET", gateways, token=token))[0] == 200
    other = "/apis/gateway.networking.k8s.io/v1/namespaces/b/gateways/x"
    assert (await api.send("DELETE", other, token=token))[0] == 403
    routes = "/apis/gateway.networking.k8s.io/v1/httproutes"
    assert (await api.send("GET", routes, token=token))[0] == 403
    assert (await api.send("GET", "/apis", token=token))[0] == 200
    assert (await api.send("GET", "/foo", token=token))[0] == 403


async def test_every_user_may_discover(api: Api) -> None:
    for path in ("/api", "/apis", "/version", "/openapi/v3"):
        url = f"{api.server.url}/{api.viewer.token}{path}"
        async with api.session.get(url) as answer:
            assert answer.status == 200


def test_it_only_listens_on_loopback() -> None:
    from servedeck.demo.api import server

    assert server.HOST == "127.0.0.1"
