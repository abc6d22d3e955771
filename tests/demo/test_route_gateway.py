"""The gateway of a live demo: requests reach the Pods that the routes lead to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servedeck.demo.api.kubelet_api import ProxyResponse
from servedeck.demo.api.status import bad_request
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CONFIGMAPS,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    NAMESPACES,
    PODS,
    SERVICES,
)
from servedeck.demo.route_gateway.server import RouteGateway
from servedeck.demo.store.store import ObjectStore
from tests.demo.api_fixture import FakeKubelet
from tests.waiting import with_timeout

Json = dict[str, Any]
KEY = ("platform", "gateway")


class Rig:
    """A gateway over a store and a kubelet that a test controls."""

    def __init__(self) -> None:
        self.store = ObjectStore()
        for name in (KEY[0], "lab"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        self.kubelet = FakeKubelet()
        self.gateway = RouteGateway(self.store, self.kubelet, KEY)
        self.session: aiohttp.ClientSession

    def add_route(self, *references: Json, **rule: Any) -> None:
        parent = {"namespace": KEY[0], "name": KEY[1]}
        full = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/a"}}],
            "backendRefs": list(references),
            **rule,
        }
        meta = {"namespace": "lab", "name": "one"}
        spec = {"parentRefs": [parent], "hostnames": ["localhost"], "rules": [full]}
        self.store.create(HTTP_ROUTES, {"metadata": meta, "spec": spec})

    def add_service(self, name: str) -> Json:
        """A Service with the Pods of its label; the backendRef to it."""
        spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}
        meta = {"namespace": "lab", "name": name}
        self.store.create(SERVICES, {"metadata": meta, "spec": spec})
        return {"name": name, "port": 80}

    def add_pod(self, name: str, app: str, *, ready: bool = True) -> None:
        port = {"name": "http", "containerPort": 8000}
        self.store.create(
            PODS,
            {
                "metadata": {"namespace": "lab", "name": name, "labels": {"app": app}},
                "spec": {"containers": [{"name": "c", "ports": [port]}]},
                "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
            },
        )

    async def send(
        self, path: str = "/a/v1", method: str = "GET", **options: Any
    ) -> tuple[int, str]:
        url = f"http://localhost:{self.gateway.port}{path}"
        async with self.session.request(method, url, **options) as answer:
            return answer.status, await answer.text()

    @property
    def asked(self) -> Counter[str]:
        """How many requests each Pod has had."""
        return Counter(pod for pod, _, _ in self.kubelet.requests)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    port = await made.gateway.start()
    listener = {"name": "http", "port": port, "protocol": "HTTP"}
    meta = {"namespace": KEY[0], "name": KEY[1]}
    made.store.create(GATEWAYS, {"metadata": meta, "spec": {"listeners": [listener]}})
    async with aiohttp.ClientSession() as made.session:
        yield made
    await made.gateway.close()


REWRITE = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
}


async def test_a_request_reaches_the_pod_with_its_body_and_without_the_prefix(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"), filters=[REWRITE])
    rig.add_pod("p", "x")
    headers = {"Authorization": "Bearer mine", "Connection": "keep-alive"}
    answer = await rig.send("/a/v1?q=%20x", "POST", data=b"body" * 100_000, headers=headers)
    assert answer == (200, "hello")
    [(pod, port, sent)] = rig.kubelet.requests
    assert (pod, port, sent.method, sent.path) == ("p", 8000, "POST", "/v1?q=%20x")
    assert sent.body == b"body" * 100_000
    assert sent.headers["Authorization"] == "Bearer mine" and "Connection" not in sent.headers


async def test_a_client_that_asks_before_it_sends_its_body(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"))
    rig.add_pod("p", "x")
    assert await rig.send(method="POST", data=b"body", expect100=True) == (200, "hello")
    assert rig.kubelet.requests[0][2].body == b"body"


async def test_a_stream_arrives_as_it_is_sent(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"))
    rig.add_pod("p", "x")
    go_on = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await go_on.wait()
        yield b"data: 2\n\n"

    rig.kubelet.answer = ProxyResponse(200, {"Content-Type": "text/event-stream"}, parts())
    async with rig.session.get(f"http://localhost:{rig.gateway.port}/a") as answer:
        assert await with_timeout(answer.content.readuntil(b"\n\n")) == b"data: 1\n\n"
        go_on.set()
        assert await with_timeout(answer.read()) == b"data: 2\n\n"


async def test_a_client_that_goes_ends_its_stream(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"))
    rig.add_pod("p", "x")
    ended = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await asyncio.Event().wait()
        finally:
            ended.set()

    rig.kubelet.answer = ProxyResponse(200, {}, parts())
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://localhost:{rig.gateway.port}/a")
        await with_timeout(answer.content.readexactly(1))
    await with_timeout(ended.wait())


async def test_without_a_route_it_is_404(rig: Rig) -> None:
    assert await rig.send() == (404, "No HTTPRoute of the demo matches localhost/a/v1.\n")
    rig.add_route(rig.add_service("x"))
    rig.add_pod("p", "x")
    assert (await rig.send("/b"))[0] == 404
    assert (await rig.send(headers={"Host": "serving.example"}))[0] == 404
    rig.store.delete(GATEWAYS, *KEY)
    assert (await rig.send())[0] == 404


async def test_without_a_ready_pod_it_is_503(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"))
    assert await rig.send() == (503, "No Pod of the backend is ready.\n")
    rig.add_pod("p", "x", ready=False)
    rig.add_pod("q", "other")
    assert (await rig.send())[0] == 503
    rig.add_pod("r", "x")
    assert (await rig.send())[0] == 200
    rig.kubelet.answer = None
    assert await rig.send() == (503, "The Pod refuses the connection.\n")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"name": "gone", "port": 80}, "The backend Service lab/gone does not exist."),
        ({"name": "x", "port": 81}, "The Service lab/x has no port 81."),
        ({"name": "x", "kind": "Backend"}, "The backend Backend lab/x does not exist."),
        ({"name": "x", "port": 80, "weight": 0}, "The route has no backend."),
    ],
)
async def test_a_route_that_leads_nowhere_is_500(rig: Rig, reference: Json, said: str) -> None:
    rig.add_service("x")
    rig.add_pod("p", "x")
    rig.add_route(reference)
    assert await rig.send() == (500, f"{said}\n")


async def test_a_filter_that_is_not_known_is_500(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"), filters=[{"type": "RequestRedirect"}])
    rig.add_pod("p", "x")
    assert await rig.send() == (500, "The demo's gateway has no filter RequestRedirect.\n")


async def test_backends_get_their_shares(rig: Rig) -> None:
    old, new, none = (rig.add_service(one) for one in ("old", "new", "none"))
    rig.add_route({**old, "weight": 1}, {**new, "weight": 1}, {**none, "weight": 0})
    for one in ("old", "new", "none"):
        rig.add_pod(one, one)
    # By chance: one of the two gets none of 60 requests once in 5e17 runs.
    for _ in range(60):
        assert (await rig.send())[0] == 200
    assert rig.asked.keys() == {"old", "new"}


async def test_an_inference_pool_is_a_backend(rig: Rig) -> None:
    pool = {"selector": {"matchLabels": {"app": "x"}}, "targetPorts": [{"number": 8001}]}
    meta = {"namespace": "lab", "name": "pool"}
    rig.store.create(INFERENCE_POOLS, {"metadata": meta, "spec": pool})
    rig.add_pod("p", "x")
    rig.add_route({"group": INFERENCE_POOLS.group, "kind": "InferencePool", "name": "pool"})
    assert (await rig.send())[0] == 200
    assert [(pod, port) for pod, port, _ in rig.kubelet.requests] == [("p", 8001)]


async def test_a_caller_stays_with_a_pod_where_a_header_is_hashed(rig: Rig) -> None:
    rig.add_route(rig.add_service("x"))
    for number in range(4):
        rig.add_pod(f"p{number}", "x")
    spec = {
        "targetRefs": [{"kind": "HTTPRoute", "name": "one"}],
        "loadBalancer": {
            "type": "ConsistentHash",
            "consistentHash": {"type": "Header", "header": {"name": "X-User"}},
        },
    }
    meta = {"namespace": "lab", "name": "policy"}
    rig.store.create(BACKEND_TRAFFIC_POLICIES, {"metadata": meta, "spec": spec})
    for _ in range(20):
        await rig.send(headers={"X-User": "me"})
    assert len(rig.asked) == 1
    # Each of 40 callers would have to meet the same of four Pods: once in 1e24 runs.
    for number in range(40):
        await rig.send(headers={"X-User": f"caller {number}"})
    assert len(rig.asked) > 1


async def test_an_error_of_a_pod_and_one_of_the_demo_are_answers(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.add_route(rig.add_service("x"))
    rig.add_pod("p", "x")

    async def reject(*_: object) -> ProxyResponse:
        raise bad_request("no")

    monkeypatch.setattr(rig.kubelet, "proxy", reject)
    assert await rig.send() == (400, "no\n")

    async def fail(*_: object) -> ProxyResponse:
        raise ValueError("odd\nbytes")

    monkeypatch.setattr(rig.kubelet, "proxy", fail)
    code, said = await rig.send()
    assert code == 500 and said.startswith("ValueError: odd") and said.count("\n") == 1


# -- in the demo ----------------------------------------------------------------------------------


async def fetch(demo: DemoCluster, path: str) -> Any:
    url = f"{demo.endpoints_url}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return json.loads(await answer.text())


def hosts(demo: DemoCluster) -> set[str]:
    return {one for route in demo.store.list(HTTP_ROUTES) for one in route["spec"]["hostnames"]}


def listeners(demo: DemoCluster) -> list[tuple[str, int]]:
    [gateway] = demo.store.list(GATEWAYS)
    return [(one["protocol"], one["port"]) for one in gateway["spec"]["listeners"]]


async def test_a_resumed_demo_has_the_port_that_it_listens_on_now(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    async with DemoCluster(live=False, serves_endpoints=True, state=state) as first:
        port = int(first.endpoints_url.rpartition(":")[2])
        assert listeners(first) == [("HTTP", port)]
        with_own = {"spec": {"hostnames": ["localhost", "own.example"]}}
        first.store.mutate(HTTP_ROUTES, "search", "bge-m3", lambda route: _update(route, with_own))
        async with DemoCluster(live=False, serves_endpoints=True) as other:
            assert other.endpoints_url != first.endpoints_url
    async with DemoCluster(live=False, serves_endpoints=True, state=state) as second:
        assert second.endpoints_url and second.store.list(HTTP_ROUTES)
        assert listeners(second) == [("HTTP", int(second.endpoints_url.rpartition(":")[2]))]
        assert hosts(second) == {"localhost", "own.example"}
        settings = second.store.get(CONFIGMAPS, "servedeck-system", "servedeck")["data"]
        assert settings["endpoint_host"] == "localhost"
        found = await fetch(second, "/chat/llama-31-8b/v1/models")
        assert found["data"][0]["id"] == "meta-llama/Llama-3.1-8B-Instruct"


def _update(route: Json, more: Json) -> None:
    route["spec"] |= more["spec"]


async def test_a_state_of_a_demo_without_a_gateway_gets_one(tmp_path: Path) -> None:
    """As one that an earlier version has saved."""
    state = tmp_path / "state.json"
    async with DemoCluster(live=False, state=state) as first:
        assert (first.endpoints_url, hosts(first)) == ("", {"serving.acme.example"})
        assert listeners(first) == [("HTTPS", 443)]
    async with DemoCluster(live=False, serves_endpoints=True, state=state) as second:
        assert hosts(second) == {"localhost"}
        assert await fetch(second, "/search/bge-m3/v1/models")
