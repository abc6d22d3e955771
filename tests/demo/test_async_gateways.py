"""`X-Async: true` in the demo: a real gateway is behind the Pods of each simulated one."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from servedeck.demo.api.kubelet_api import ProxyRequest
from servedeck.demo.async_gateways import callers
from servedeck.demo.async_gateways.callers import Callers
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.process import DemoProcess
from servedeck.demo.resources import CONFIGMAPS, DEPLOYMENTS, HTTP_ROUTES, PODS, SECRETS
from servedeck.demo.scenario.async_gateways import ASYNC_SERVINGS
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.runtime import NodeRuntime
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.objects.detection import is_serving
from servedeck.serving.objects.records import Workload
from tests.demo.cluster_fixture import ClusterFixture
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout

Json = dict[str, Any]
NAMESPACE, NAME = "npu-lab", "exaone-35-78b"
CHAT = {"model": "model-name", "messages": [{"role": "user", "content": "Hello"}]}
ASYNC = {"X-Async": "true"}
WAIT = {"Prefer": "wait=50"}
SPEED = 60.0


class Caller:
    """Calls the gateway of one serving through the API server's proxy of Services."""

    def __init__(self, demo: DemoCluster, session: aiohttp.ClientSession) -> None:
        self.demo = demo
        self.session = session
        self.key = (NAMESPACE, NAME)

    def url(self, path: str, suffix: str = "") -> str:
        config = json.loads(self.demo.kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        namespace, name = self.key
        service = f"{name}-async{suffix}:80"
        return f"{server}/api/v1/namespaces/{namespace}/services/{service}/proxy{path}"

    async def send(
        self, method: str, path: str, *, suffix: str = "", body: Json | None = None, **headers: str
    ) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method, self.url(path, suffix), json=body, headers=sent
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def submit(self, **more: Any) -> str:
        status, accepted = await self.send(
            "POST", "/v1/chat/completions", body=CHAT | more, X_Async="true"
        )
        assert status == 202, accepted
        task: str = accepted["id"]
        return task

    async def state(self, task: str) -> str:
        status, found = await self.send("GET", f"/-/async/tasks/{task}")
        assert status == 200, found
        return str(found["status"])

    async def result(self, task: str) -> Json:
        """The result, waited for."""
        while True:
            status, found = await self.send(
                "GET", f"/-/async/tasks/{task}/result", Prefer="wait=50"
            )
            if status != 202:
                assert status == 200, found
                return dict(found)

    def scale(self, name: str, replicas: int) -> None:
        def write(obj: Json) -> None:
            obj["spec"]["replicas"] = replicas

        self.demo.store.mutate(DEPLOYMENTS, self.key[0], name, write)

    def pods(self, name: str, *, ready: bool = True) -> list[Json]:
        return [
            pod
            for pod in self.demo.store.list(PODS, self.key[0])
            if pod["metadata"]["name"].rsplit("-", 2)[0] == name and (not ready or is_ready(pod))
        ]


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """Without incidents, on a fast clock."""
    async with DemoCluster(live=False) as demo:
        demo.clock.start(SPEED)
        timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Caller(demo, session)


async def test_a_request_is_accepted_made_and_its_result_fetched(caller: Caller) -> None:
    async with caller.session.post(
        caller.url("/v1/chat/completions"), json=CHAT, headers=ASYNC
    ) as answer:
        assert answer.status == 202
        accepted = await answer.json()
        assert answer.headers["Location"] == accepted["status_url"]
    task = accepted["id"]
    assert accepted["status_url"] == f"/{NAMESPACE}/{NAME}/-/async/tasks/{task}"
    result = await caller.result(task)
    assert 'You asked: "Hello"' in result["choices"][0]["message"]["content"]
    assert await caller.state(task) == "completed"


async def test_a_request_without_the_header_passes_through(caller: Caller) -> None:
    status, answer = await caller.send("POST", "/v1/chat/completions", body=CHAT)
    assert status == 200 and answer["object"] == "chat.completion"
    status, models = await caller.send("GET", "/v1/models")
    assert status == 200 and "EXAONE" in models["data"][0]["id"]


async def test_a_stream_is_followed_while_it_runs(caller: Caller) -> None:
    caller.demo.clock.start(1.0)
    task = await caller.submit(stream=True)
    async with caller.session.get(caller.url(f"/-/async/tasks/{task}/stream")) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        parts = [part async for part in answer.content.iter_any()]
    text = b"".join(parts).decode()
    assert len(parts) > 1, "it came in pieces"
    assert "chat.completion.chunk" in text and text.rstrip().endswith("data: [DONE]")


async def test_tasks_wait_while_the_serving_has_no_replicas(caller: Caller) -> None:
    caller.scale(NAME, 0)
    await wait_until(lambda: not caller.pods(NAME, ready=False), "the Pods to be gone")
    task = await caller.submit()
    _, queue = await caller.send("GET", "/-/async/queue")
    assert queue["backlog"] == 1
    assert await caller.state(task) == "pending"
    caller.scale(NAME, 1)
    result = await caller.result(task)
    (pod,) = caller.pods(NAME)
    assert pod["metadata"]["name"] in result["choices"][0]["message"]["content"]
    _, found = await caller.send("GET", f"/-/async/tasks/{task}")
    assert found["attempt"] == 1, "no attempt was made in vain"


async def test_a_task_whose_pod_ends_is_made_again(caller: Caller) -> None:
    """The connection to a process that ends is reset."""
    caller.demo.clock.start(1.0)

    def slow_down(obj: Json) -> None:
        annotations = obj["spec"]["template"]["metadata"]["annotations"]
        annotations[failure_simulation.SLOWDOWN_ANNOTATION] = "1e6"
        obj["spec"]["replicas"] = 1

    caller.demo.store.mutate(DEPLOYMENTS, NAMESPACE, NAME, slow_down)
    caller.demo.clock.start(SPEED)
    before = {pod["metadata"]["uid"] for pod in caller.pods(NAME)}
    await wait_until(
        lambda: (
            len(found := caller.pods(NAME, ready=False)) == 1
            and is_ready(found[0])
            and found[0]["metadata"]["uid"] not in before
        ),
        "the slow Pod",
    )
    task = await caller.submit()
    status, _ = await caller.send("GET", f"/-/async/tasks/{task}")
    (pod,) = caller.pods(NAME)
    while await caller.state(task) != "processing":
        await asyncio.sleep(0.05)
    caller.demo.store.delete(PODS, NAMESPACE, pod["metadata"]["name"])

    async def wait_for_second_attempt() -> None:
        while (await caller.send("GET", f"/-/async/tasks/{task}"))[1]["attempt"] < 2:
            await asyncio.sleep(0.05)

    await with_timeout(wait_for_second_attempt())
    status, _ = await caller.send("POST", f"/-/async/tasks/{task}/cancel")
    assert status == 200


async def test_the_key_for_operators_is_in_the_secret(caller: Caller) -> None:
    status, _ = await caller.send("GET", "/-/async/queue", suffix="-admin")
    assert status == 401
    secret = caller.demo.store.get(SECRETS, NAMESPACE, f"{NAME}-async")
    key = base64.b64decode(secret["data"]["view-key"]).decode()
    task = await caller.submit()
    await caller.result(task)
    status, queue = await caller.send("GET", "/-/async/queue", suffix="-admin", X_Servedeck_Key=key)
    assert status == 200, queue
    status, page = await caller.send(
        "GET", "/-/async/tasks?state=completed", suffix="-admin", X_Servedeck_Key=key
    )
    assert status == 200 and [one["id"] for one in page["items"]] == [task]


async def test_tasks_outlive_the_pods_of_the_gateway_and_new_ones_read_new_settings(
    caller: Caller,
) -> None:
    gateway = f"{NAME}-async"
    caller.scale(NAME, 0)
    await wait_until(lambda: not caller.pods(NAME, ready=False), "the Pods to be gone")
    task = await caller.submit()
    caller.scale(gateway, 0)
    await wait_until(lambda: not caller.pods(gateway, ready=False), "its Pods to be gone")
    status, problem = await caller.send("GET", "/-/async/queue")
    assert status == 503 and "no endpoints available" in problem["message"]

    def accept_one(obj: Json) -> None:
        text = obj["data"]["gateway.yaml"]
        obj["data"]["gateway.yaml"] = text.replace("max_depth: 1000", "max_depth: 1")

    caller.demo.store.mutate(CONFIGMAPS, NAMESPACE, gateway, accept_one)
    caller.scale(gateway, 2)
    await wait_until(lambda: caller.pods(gateway), "a Ready Pod")
    assert await caller.state(task) == "pending"
    status, _ = await caller.send("POST", "/v1/chat/completions", body=CHAT, X_Async="true")
    assert status == 429


async def test_a_gateway_that_cannot_start_refuses_connections(caller: Caller) -> None:
    def break_settings(obj: Json) -> None:
        obj["data"]["gateway.yaml"] = "port: high"

    caller.demo.store.mutate(CONFIGMAPS, NAMESPACE, f"{NAME}-async", break_settings)
    status, problem = await caller.send("GET", "/-/async/queue")
    assert status == 503 and "connection refused" in problem["message"]


async def test_two_gateways_have_tasks_of_their_own(caller: Caller) -> None:
    task = await caller.submit()
    caller.key = ASYNC_SERVINGS[1]
    status, _ = await caller.send("GET", f"/-/async/tasks/{task}")
    assert status == 404
    assert caller.key == ("chat", "llama-33-70b")
    other = await caller.submit(model="meta-llama/Llama-3.3-70B-Instruct")
    status, _ = await caller.send("GET", f"/-/async/tasks/{other}")
    assert status == 200


# -- the scenario ---------------------------------------------------------------------------------


async def test_the_gateways_of_the_scenario_are_ready_and_no_servings() -> None:
    async with DemoCluster(live=False) as demo:
        for namespace, name in ASYNC_SERVINGS:
            gateway = demo.store.get(DEPLOYMENTS, namespace, f"{name}-async")
            assert gateway["status"]["readyReplicas"] == gateway["spec"]["replicas"] == 1
            assert not is_serving(msgspec.convert(gateway, Workload))
            route = demo.store.get(HTTP_ROUTES, namespace, name)
            assert has_async_rules({**route, "kind": "HTTPRoute"}, name)
            (parent,) = route["status"]["parents"]
            assert {c["type"]: c["status"] for c in parent["conditions"]}["ResolvedRefs"] == "True"
        slow = demo.store.get(DEPLOYMENTS, *ASYNC_SERVINGS[1])
        annotations = slow["spec"]["template"]["metadata"]["annotations"]
        assert float(annotations[failure_simulation.FAILING_ANNOTATION]) > 0


@pytest.mark.parametrize(("share", "statuses"), [("1", {503}), ("0", {200}), ("0.5", {200, 503})])
async def test_a_share_of_the_requests_fails(share: str, statuses: set[int]) -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(annotations={failure_simulation.FAILING_ANNOTATION: share})
    cluster.until(cluster.ready)
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    body = json.dumps({"messages": CHAT["messages"], "stream": True}).encode()
    request = ProxyRequest("POST", "/v1/chat/completions", {}, body)
    answers = [await runtime.proxy(cluster.pod(), 8000, request) for _ in range(40)]
    assert {one.status for one in answers} == statuses


# -- the callers of the demo ----------------------------------------------------------------------


async def test_the_first_requests_of_the_demo_come_to_each_state() -> None:
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS)
    async with DemoCluster() as demo, aiohttp.ClientSession(timeout=timeout) as session:
        caller = Caller(demo, session)
        secret = demo.store.get(SECRETS, NAMESPACE, f"{NAME}-async-view")
        key = base64.b64decode(secret["data"]["view-key"]).decode()
        seen: set[str] = set()
        reasons: set[str] = set()

        async def see_all() -> None:
            while len(seen) < 5 or len(reasons) < 2:
                status, page = await caller.send(
                    "GET", "/-/async/tasks", suffix="-admin", X_Servedeck_Key=key
                )
                assert status == 200, page
                seen.update(one["state"] for one in page["items"])
                reasons.update(one["reason"] for one in page["items"] if one["state"] == "failed")
                await asyncio.sleep(0.05)

        await with_timeout(see_all())
        assert seen == {"pending", "processing", "completed", "failed", "cancelled"}
        assert reasons == {"exhausted", "refused"}


@pytest.mark.parametrize("answer", [202, 429, 503])
async def test_a_wave_comes_while_few_tasks_wait(
    monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    monkeypatch.setattr(callers, "_WAVE_SECONDS", 0.0)
    backlog, paths = 0, list[str]()
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal backlog, asked
        if request.path == "/-/async/queue":
            asked += 1
            return web.json_response({"backlog": backlog})
        paths.append(request.path)
        backlog += request.path.startswith("/v1/")
        return web.json_response({"id": "a"}, status=answer)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    async with TestServer(app) as server:
        calling = asyncio.create_task(Callers("a", has_waves=True).call(str(server.make_url("/"))))
        await wait_until(lambda: asked > 20, "the waves")
        assert not calling.done()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    submitted = [one for one in paths if one.startswith("/v1/")]
    # The first requests alone, or with one wave: after that, enough wait.
    assert 7 <= len(submitted) <= 7 + 12
    assert paths.count("/-/async/tasks/a/cancel") == (answer == 202)


# -- the process ----------------------------------------------------------------------------------


def test_nothing_of_the_gateway_is_imported_before_it_is_asked() -> None:
    code = (
        "import sys, servedeck.demo.cluster\n"
        "found = [m for m in sys.modules if m.startswith(('servedeck.gateway', 'uvicorn'))]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT_SECONDS)


def test_a_gateway_ends_with_the_demo_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(home)
    demo = DemoProcess()
    try:
        kubeconfig = demo.kubeconfig()
        server = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        service = f"{server}/api/v1/namespaces/{NAMESPACE}/services/{NAME}-async:80"
        request = urllib.request.Request(
            f"{service}/proxy/v1/chat/completions",
            json.dumps(CHAT).encode(),
            {"Content-Type": "application/json", "X-Async": "true"},
        )
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            assert answer.status == 202
        folder = kubeconfig.parent / "async-gateways"
        assert {one.name for one in folder.iterdir()} == {f"{NAMESPACE}.{NAME}"}
        for file in folder.rglob("*"):
            assert file.stat().st_mode & 0o077 == 0 or file.parent != folder, file
    finally:
        demo.end()
    assert demo.exit_code == 0
    assert list(temporary.iterdir()) == [] and list(home.iterdir()) == []
