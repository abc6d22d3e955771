"""A small API server on loopback with scripted errors: one collection, lists and watches."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection

FaultHandler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_pod(name: str, phase: str = "Running", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": phase},
        **more,
    }


def make_status(code: int, reason: str = "", message: str = "", **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message or f"{code} it is",
        "details": details,
    }


def respond_with_status(
    code: int, reason: str = "", message: str = "", **headers: str
) -> RequestHandler:
    """A handler that responds with this Status."""

    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(make_status(code, reason, message), status=code, headers=named)

    return handler


class FakeApiServer:
    """`faults["list"]` and `faults["watch"]` contain handlers for the next requests of that kind.
    Each is used once, in order; a handler that returns None lets the request through."""

    def __init__(self, path: str = "/api/v1/pods") -> None:
        self.path = path
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.compacted_version = 0
        self.history: list[tuple[int, bytes]] = []
        self.faults: dict[str, list[FaultHandler]] = {"list": [], "watch": [], "other": []}
        self.requests: list[web.Request] = []
        self.minor_version = 33
        self.supports_watch_list = True
        self.open_watches: set[web.StreamResponse] = set()
        self.url = ""
        self._changed = asyncio.Condition()
        self._routes: dict[str, FaultHandler] = {}

    # -- the cluster's side ----------------------------------------------------------------------

    async def put(self, obj: dict[str, Any]) -> None:
        uid = obj["metadata"]["uid"]
        await self._record("MODIFIED" if uid in self.objects else "ADDED", obj)
        self.objects[uid] = obj

    async def delete(self, name: str) -> None:
        await self._record("DELETED", self.objects.pop(f"uid-{name}"))

    async def _record(self, type_: str, obj: dict[str, Any]) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, encode_event(type_, obj)))
        await self.notify_watches()

    async def notify_watches(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def compact(self) -> None:
        """Discard all events so far: a watch from an older version gets 410."""
        self.compacted_version = self.version
        self.history.clear()

    async def reset_watches(self) -> None:
        """Reset the connection of every open watch."""
        for response in list(self.open_watches):
            transport = response._req.transport if response._req else None
            if transport is not None:
                transport.abort()

    @property
    def resource_versions(self) -> dict[str, str]:
        return {uid: obj["metadata"]["resourceVersion"] for uid, obj in self.objects.items()}

    def add_route(self, path: str, handler: FaultHandler) -> None:
        """Handle requests for `path` with `handler`; with a * at its end, for all that begin so."""
        self._routes[path] = handler

    def _find_route(self, path: str) -> FaultHandler | None:
        if path in self._routes:
            return self._routes[path]
        for known, handler in self._routes.items():
            if known.endswith("*") and path.startswith(known[:-1]):
                return handler
        return None

    def count_requests(self, kind: str) -> int:
        return sum(request_kind(request) == kind for request in self.requests)

    # -- the server's side -----------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        kind = request_kind(request) if request.path == self.path else "other"
        if self.faults[kind]:
            answer = await self.faults[kind].pop(0)(request)
            if answer is not None:
                return answer
        if (handler := self._find_route(request.path)) is not None:
            answer = await handler(request)
            assert answer is not None
            return answer
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": f"{self.minor_version}+"})
        if request.path != self.path:
            return web.json_response(make_status(404, "NotFound", "not here"), status=404)
        return await (self._watch(request) if kind == "watch" else self._list(request))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        wanted = int(request.query.get("resourceVersion") or 0)
        if wanted > self.version:
            message = f"Timeout: Too large resource version: {wanted}, current: {self.version}"
            return web.json_response(make_status(504, "Timeout", message), status=504)
        items = list(self.objects.values())
        begin = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit") or 0) or len(items)
        meta: dict[str, Any] = {"resourceVersion": str(self.version)}
        if begin + limit < len(items):
            meta |= {
                "continue": str(begin + limit),
                "remainingItemCount": len(items) - begin - limit,
            }
        return web.json_response({"metadata": meta, "items": items[begin : begin + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        sent = int(query.get("resourceVersion") or 0)
        response = web.StreamResponse()
        if query.get("sendInitialEvents") == "true" and not self.supports_watch_list:
            rejection = make_status(422, "Invalid", "sendInitialEvents is forbidden for watch")
            return web.json_response(rejection, status=422)
        await response.prepare(request)
        self.open_watches.add(response)
        try:
            if query.get("sendInitialEvents") == "true":
                for obj in list(self.objects.values()):
                    await response.write(encode_event("ADDED", obj))
                sent = self.version
                await response.write(encode_bookmark(sent, {"k8s.io/initial-events-end": "true"}))
            elif sent < self.compacted_version:
                await response.write(encode_event("ERROR", make_status(410, "Expired", "too old")))
                return response
            elif sent > self.version:
                await asyncio.sleep(3600)  # as real servers do: send nothing
            async with asyncio.timeout(float(query["timeoutSeconds"])):
                while True:
                    new = [line for version, line in self.history if version > sent]
                    sent = max(sent, self.version)
                    if new:
                        await response.write(b"".join(new))
                    async with self._changed:
                        while self.version <= sent:
                            await self._changed.wait()
        except (TimeoutError, ConnectionError):
            return response
        finally:
            self.open_watches.discard(response)


def request_kind(request: web.Request) -> str:
    return "watch" if request.query.get("watch") == "true" else "list"


def encode_event(type_: str, obj: Any) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def encode_bookmark(version: int, annotations: dict[str, str] | None = None) -> bytes:
    meta = {"resourceVersion": str(version), "annotations": annotations}
    return encode_event("BOOKMARK", {"metadata": meta, "spec": {"containers": None}, "status": {}})


async def stream_chunks(
    request: web.Request, *chunks: bytes, end: bool = True
) -> web.StreamResponse:
    """A response of these chunks; without `end` it stays open and idle."""
    response = web.StreamResponse()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    if not end:
        await asyncio.sleep(3600)
    return response


def bind_port() -> socket.socket:
    """A socket bound to a free loopback port, not listening: connections to it are refused, and no
    other program can bind it."""
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    return found


@asynccontextmanager
async def serve(
    api: FakeApiServer, tls: ssl.SSLContext | None = None, held: socket.socket | None = None
) -> AsyncIterator[int]:
    """Serve on loopback, on a new port or on that of the bound socket `held`. Yields the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    listening = held or bind_port()
    port: int = listening.getsockname()[1]
    await web.SockSite(runner, listening, ssl_context=tls).start()
    api.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield port
    finally:
        await runner.cleanup()


def write_kubeconfig(
    file: Path, server: str, user: Mapping[str, Any] | None = None, **cluster: Any
) -> Path:
    """A kubeconfig with one context, `here`."""
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "cluster", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "me", "user": dict(user or {})}],
                "contexts": [{"name": "here", "context": {"cluster": "cluster", "user": "me"}}],
            }
        )
    )
    return file


async def open_connection(
    file: Path, environ: dict[str, str] | None = None, **target: Any
) -> Connection:
    return await Connection.open(ConnectionOptions((file,), **target), environ or {})
