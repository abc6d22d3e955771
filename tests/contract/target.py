"""The two API servers that the contract tests run against, behind one interface."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx

from servedeck.demo.api import access
from servedeck.demo.api.server import ApiServer
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.resources import NAMESPACES
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.waiting import WAIT_SECONDS

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NODES = 2


@dataclass
class Reply:
    """A response: status code, headers, and body, parsed if it is JSON."""

    code: int
    headers: httpx.Headers
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Backend(Protocol):
    """What differs between the two servers."""

    name: str
    url: str
    tokens: dict[str, str]

    def compact(self) -> None: ...

    def grant_view(self) -> None: ...

    def revoke_view(self) -> None: ...

    def kubeconfig(self, user: str) -> Json: ...


class Target:
    """One API server with controllers. User "admin" may do everything, "viewer" may read, "nobody"
    may do nothing."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name = backend.name
        self._client = httpx.Client(base_url=backend.url, verify=False, timeout=WAIT_SECONDS)

    def close(self) -> None:
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = "admin",
        token: str = "",
        content_type: str = "application/json",
        accept: str = "application/json",
        agent: str = "contract/1.0",
    ) -> Reply:
        headers = {"Accept": accept, "User-Agent": agent}
        if user or token:
            headers["Authorization"] = f"Bearer {token or self.backend.tokens[user or '']}"
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._client.request(method, path, content=content, headers=headers)
        return Reply(answer.status_code, answer.headers, answer.text)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The parsed body of a response that must be successful."""
        reply = self.send(method, path, body, **options)
        assert reply.code < 300, reply.text
        return reply.json

    def rejected(self, code: int, method: str, path: str, body: Any = None, **options: Any) -> Json:
        """The Status of a response that must fail with this code."""
        reply = self.send(method, path, body, **options)
        assert reply.code == code, (reply.code, reply.text)
        status: Json = reply.json
        assert status["kind"] == "Status" and status["apiVersion"] == "v1"
        assert status["status"] == "Failure" and status["code"] == code
        return status

    def patch(self, path: str, body: Any, kind: str = MERGE, **options: Any) -> Any:
        return self.ok("PATCH", path, body, content_type=kind, **options)

    @contextmanager
    def watch(self, path: str, accept: str = "application/json") -> Iterator[Watch]:
        headers = {"Authorization": f"Bearer {self.backend.tokens['admin']}", "Accept": accept}
        with self._client.stream("GET", path, headers=headers, timeout=WAIT_SECONDS) as answer:
            assert answer.status_code == 200, answer.read()
            yield Watch(answer.iter_lines())


class Watch:
    """The events of a watch, one by one."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> tuple[str, Json]:
        event = json.loads(next(self._lines))
        return event["type"], event["object"]

    def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next changes; bookmarks may arrive at any time and are skipped."""
        changes: list[tuple[str, str]] = []
        while len(changes) < count:
            kind, obj = self.next()
            if kind != "BOOKMARK":
                changes.append((kind, obj["metadata"]["name"]))
        return changes

    def rest(self) -> list[tuple[str, Json]]:
        """All events until the server ends the watch."""
        events = (json.loads(line) for line in self._lines)
        return [(event["type"], event["object"]) for event in events]


class RealBackend:
    """The real control plane of tests/control_plane."""

    name = "real"

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.url = plane.url
        self.tokens = plane.tokens

    def compact(self) -> None:
        self.plane.compact_etcd()

    def grant_view(self) -> None:
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": "contract-viewer"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "viewer"}],
        }
        self.plane.create(f"/apis/{group}/v1/clusterrolebindings", binding)

    def revoke_view(self) -> None:
        """Other tests count on what this user may not do."""
        self.plane.revoke("contract", name="viewer")

    def kubeconfig(self, user: str) -> Json:
        found: Json = json.loads(self.plane.write_kubeconfig(user).read_text())
        return found


class DemoBackend:
    """The demo's API server and controllers, without its scenario, in a separate thread. Its clock
    runs fast, so that a Pod is ready within a second."""

    name = "demo"
    speed = 20.0

    def __init__(self) -> None:
        users = [access.admin(), access.viewer(), access.DemoUser("nobody", ())]
        self.tokens = {user.name: user.token for user in users}
        self._users = users
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: ApiServer
        self.url = self._run(self._start())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)

    async def _start(self) -> str:
        self.clock = Clock(time.time(), speed=self.speed)
        self.store = ObjectStore(self.clock, seed=7)
        controllers = ControllerManager(self.store, self.clock, 7)
        runtime = NodeRuntime(controllers.kubelet, self.clock)
        self._server = ApiServer(self.store, runtime, self._users)
        for name in ("default", "kube-system", "kube-public"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        self.clock.start()
        return await self._server.start()

    def close(self) -> None:
        async def stop() -> None:
            self.clock.stop()
            await self._server.stop()

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()

    def compact(self) -> None:
        async def forget() -> None:
            self.store.compact()

        self._run(forget())

    def grant_view(self) -> None:
        pass  # access.viewer() already has this permission

    def revoke_view(self) -> None:
        pass

    def kubeconfig(self, user: str) -> Json:
        config = self._server.kubeconfig()
        config["current-context"] = "demo" if user == "admin" else f"demo-{user}"
        return config


def add_nodes(target: Target) -> None:
    """Nodes with GPUs, ready when this returns."""
    for number in range(NODES):
        body = objects.node(f"contract-{number}", "nvidia.com/gpu")
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if target.name == "demo":
            body["status"]["conditions"] = [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "kubelet is posting ready status",
                    "lastHeartbeatTime": stamp,
                    "lastTransitionTime": stamp,
                }
            ]
        target.send("POST", "/api/v1/nodes", body)
        if target.name == "demo":
            path = f"/api/v1/nodes/contract-{number}/status"
            target.patch(path, {"status": body["status"]})


def eventually(condition: Callable[[], Any], what: str, limit: float = WAIT_SECONDS) -> Any:
    """The first truthy value of the condition."""
    return wait_for(condition, what, limit)


def fresh() -> str:
    return f"contract-{secrets.token_hex(4)}"


def deployment(name: str = "web", **spec: Any) -> Json:
    """A minimal valid Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "ghcr.io/contract/app:v0.10.0"}]},
            },
        }
        | spec,
    }


def scaled_down_deployment(name: str = "web", **spec: Any) -> Json:
    """A Deployment without Pods: only the test changes it."""
    return deployment(name, replicas=0, **spec)


def configmap(name: str, labels: Json | None = None, **data: str) -> Json:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}
