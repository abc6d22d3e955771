"""The admin API of an async gateway, as far as turning the queue on and off uses it, behind the
Service that servedeck made for it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from servedeck.async_queue.tasks import ControlState, QueueStatus, StateCounts
from tests.control_plane import objects, pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.prometheus import own_address

_POD = {
    "metadata": {
        "name": "gateway-stub",
        "annotations": {objects.HOLD_ANNOTATION: "true"},
    },
    "spec": {"nodeName": "node-000", "containers": [{"name": "stub", "image": "stub"}]},
}


@dataclass
class GatewayStub:
    plane: ControlPlane
    namespace: str
    serving: str = "llama"
    pending: int = 0
    processing: int = 0
    completed: int = 0
    closed: bool = False
    is_old: bool = False
    """Of a version that cannot be closed, and deletes nothing."""
    forgotten: int = 0
    """How many tasks were deleted."""
    forget_status: int = 200
    keys: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    """What it was asked, "POST /-/async/queue/purge?state=pending"."""
    status: int = 200
    """Of its answers, if it has the right key."""
    body: bytes | None = None
    """In place of its answers."""
    control: ControlState | None = None
    """What operators have set, if that is asked for."""
    _port: int = 0

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Behind the Service, in place of the Pods of the gateway."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub._answer(self)

            def do_POST(self) -> None:
                stub._answer(self)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer((own_address(), 0), Handler)
        self._port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            self._take_service()
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        key = handler.headers.get("X-Servedeck-Key", "")
        if handler.path == "/probe":
            return self._send(handler, 200, b"{}")
        self.calls.append(f"{handler.command} {handler.path}")
        is_admin = key == self.keys["admin-key"]
        if not is_admin and (handler.command == "POST" or key != self.keys["view-key"]):
            problem = {"title": "The key is wrong", "status": 401}
            return self._send(handler, 401, json.dumps(problem).encode())
        if self.body is not None or self.status != 200:
            return self._send(handler, self.status, self.body or b"{}")
        parts = urlsplit(handler.path)
        what = parts.path.removeprefix("/-/async/queue/")
        if what == "forget" and not self.is_old:
            if self.forget_status != 200:
                body = b'{"title": "The object store is not available", "status": 503}'
                return self._send(handler, self.forget_status, body)
            self.forgotten, self.completed = self.completed, 0
            answer: Any = {"changed": self.forgotten, "refused": 0, "message": "", "next": ""}
            return self._send(handler, 200, msgspec.json.encode(answer))
        if what in ("close", "open", "forget"):
            if self.is_old:
                return self._send(handler, 404, b'{"title": "Not found", "status": 404}')
            changed, self.closed = int(self.closed != (what == "close")), what == "close"
            answer = {"changed": changed, "refused": 0, "message": "", "next": ""}
            return self._send(handler, 200, msgspec.json.encode(answer))
        if (handler.command, parts.path) == ("POST", "/-/async/queue/purge"):
            [state] = parse_qs(parts.query)["state"]
            changed = getattr(self, state)
            setattr(self, state, 0)
            answer = {"changed": changed, "refused": 0, "message": "", "next": ""}
        elif what == "control" and self.control is not None:
            answer = self.control
        else:
            answer = self._queue()
        return self._send(handler, 200, msgspec.json.encode(answer))

    def _queue(self) -> QueueStatus:
        counts = StateCounts(
            pending=self.pending, processing=self.processing, completed=self.completed
        )
        return QueueStatus(
            serving=f"{self.namespace}/{self.serving}",
            version="1",
            closed=self.closed,
            counts=counts,
            backlog=counts.backlog,
            concurrency=0,
            pod_concurrency=4,
            max_depth=1000,
        )

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _take_service(self) -> None:
        """Lead the Service for operators here: the Pods of the test are no programs."""
        core = f"/api/v1/namespaces/{self.namespace}"
        name = f"{self.serving}-async-admin"
        secret = self.plane.request("GET", f"{core}/secrets/{self.serving}-async")
        self.keys = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        self.plane.request("PATCH", f"{core}/services/{name}", {"spec": {"selector": None}})
        self.plane.create(f"{core}/pods", _POD)
        pod = self.plane.request("GET", f"{core}/pods/gateway-stub")
        address = {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}
        self.plane.set_pod_status(pod, pod_statuses.ready_status() | address)
        # The API server connects only to the addresses of Pods.
        reference = {"kind": "Pod", "namespace": self.namespace, "name": "gateway-stub"}
        subset = {
            "addresses": [{"ip": own_address(), "targetRef": reference}],
            "ports": [{"name": "http-admin", "port": self._port, "protocol": "TCP"}],
        }
        own = {"metadata": {"name": name}, "subsets": [subset]}

        def leads_here() -> bool:
            # Without a selector nothing writes them any more, but a last write may be on its way.
            found = self.plane.request("GET", f"{core}/endpoints/{name}")
            if found.get("subsets") != own["subsets"]:
                self.plane.request("PATCH", f"{core}/endpoints/{name}", own)
                return False
            self.plane.request("GET", f"{core}/services/{name}:80/proxy/probe")
            return True

        wait_for(leads_here, "the Service to lead to the stub")
