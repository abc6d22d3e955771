"""The HTTP server of the gateway: it listens on the loopback addresses alone, without a token, as
what is behind it are the demo's inference servers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from servedeck.demo.api import pod_requests
from servedeck.demo.api.kubelet_api import KubeletApi, ProxyRequest
from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers.traffic_routing import balancing_of
from servedeck.demo.resources import GATEWAYS, HTTP_ROUTES, INFERENCE_POOLS, SERVICES
from servedeck.demo.route_gateway.matching import (
    MatchedRule,
    RoutedRequest,
    find_rule,
    modify_headers,
    rewrite_path,
)
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.text import one_line

_LOG = logging.getLogger(__name__)
_MAX_BODY_BYTES = 64 << 20
_BINDS = 20
"""Attempts to find a port that is free on both loopback addresses."""
_KNOWN_FILTERS = ("URLRewrite", "RequestHeaderModifier", "ResponseHeaderModifier")


class RouteGateway:
    """Serves the HTTPRoutes of the Gateway `key` on 127.0.0.1, and on ::1 where the machine has it.

    A request is answered by a ready Pod of the backend, chosen by weight; with 404 where no route
    matches it, 503 without a ready Pod, and 500 where the route cannot be followed.
    """

    def __init__(self, store: ObjectStore, kubelet: KubeletApi, key: Key) -> None:
        self.port = 0
        self._store = store
        self._kubelet = kubelet
        self._key = key
        self._runner: web.ServerRunner | None = None

    async def start(self) -> int:
        """Start to listen; the port. Raises OSError."""
        server = web.Server(
            self._handle, request_factory=_make_request, handler_cancellation=True, access_log=None
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.2)
        await self._runner.setup()
        sockets = _bind()
        self.port = sockets[0].getsockname()[1]
        for one in sockets:
            await web.SockSite(self._runner, one).start()
        return self.port

    async def close(self) -> None:
        """End all running requests."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._respond(request)
        except web.HTTPRequestEntityTooLarge:
            return _text(413, "The body is too large.")
        except StatusError as error:
            return _text(error.code, str(error))
        except ConnectionError:
            raise
        except Exception as error:
            # an unexpected error of one request must not end the demo
            _LOG.exception("%s %s", request.method, one_line(request.raw_path))
            return _text(500, f"{type(error).__name__}: {error}")

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        asked = RoutedRequest(
            _host_of(request), path, request.method, request.headers, request.query
        )
        gateway = self._store.find(GATEWAYS, *self._key) or {"metadata": {}}
        matched = find_rule(gateway, self.port, self._store.list(HTTP_ROUTES), asked)
        if matched is None:
            return _text(404, f"No HTTPRoute of the demo matches {asked.host}{path}.")
        kinds = [one.get("type") for one in matched.rule.get("filters") or ()]
        if unknown := next((one for one in kinds if one not in _KNOWN_FILTERS), None):
            return _text(500, f"The demo's gateway has no filter {unknown}.")
        target = self._choose_pod(matched, request)
        if isinstance(target, str):
            return _text(503 if target == _NO_POD else 500, target)
        await _continue(request)
        headers = pod_requests.end_to_end_headers(request.headers)
        sent = ProxyRequest(
            request.method,
            rewrite_path(path, matched) + (f"?{query}" if query else ""),
            modify_headers(headers, matched),
            await request.read(),
        )
        try:
            answer = await self._kubelet.proxy(*target, sent)
        except ConnectionRefusedError:
            return _text(503, "The Pod refuses the connection.")
        changed = modify_headers(answer.headers, matched, "responseHeaderModifier")
        return await pod_requests.forward_answer(replace(answer, headers=changed), request)

    def _choose_pod(
        self, matched: MatchedRule, request: web.BaseRequest
    ) -> tuple[dict[str, Any], int] | str:
        """A ready Pod of a backend, and its port; or why there is none."""
        references = matched.rule.get("backendRefs") or ()
        weights = [int(one.get("weight", 1)) for one in references]
        if not any(weights):
            return "The route has no backend."
        (reference,) = random.choices(references, weights)  # noqa: S311 - which of equal ones
        found = self._pods_of(matched.route, reference)
        if isinstance(found, str):
            return found
        pods = [(pod, port) for pod, port in found if port]
        if not pods:
            return _NO_POD
        balancing = balancing_of(self._store, matched.route)
        names = filter(None, balancing.header.split(","))
        caller = "\n".join(request.headers.get(one, "") for one in names)
        if not caller.strip():
            return random.choice(pods)  # noqa: S311 - which of equal ones
        return max(pods, key=lambda one: _rank(caller, one[0]))

    def _pods_of(self, route: Json, reference: Json) -> Sequence[tuple[dict[str, Any], int]] | str:
        """The ready Pods behind a backendRef, and the port of each, 0 for one without."""
        namespace = reference.get("namespace") or key_of(route)[0]
        name, kind = reference.get("name", ""), reference.get("kind", SERVICES.kind)
        resource = {one.kind: one for one in (SERVICES, INFERENCE_POOLS)}.get(kind)
        backend = None if resource is None else self._store.find(resource, namespace, name)
        if backend is None:
            return f"The backend {kind} {namespace}/{name} does not exist."
        spec = backend.get("spec") or {}
        if resource is INFERENCE_POOLS:
            labels = (spec.get("selector") or {}).get("matchLabels") or {}
            number = next((one.get("number", 0) for one in spec.get("targetPorts") or ()), 0)
            pods = pod_requests.ready_pods(self._store, namespace, labels) if labels else []
            return [(pod, number) for pod in pods]
        ports = spec.get("ports") or ()
        port = next((one for one in ports if one.get("port") == reference.get("port")), None)
        if port is None:
            return f"The Service {namespace}/{name} has no port {reference.get('port')}."
        selector = spec.get("selector") or {}
        pods = pod_requests.ready_pods(self._store, namespace, selector) if selector else []
        return [(pod, pod_requests.target_port(port, pod)) for pod in pods]


_NO_POD = "No Pod of the backend is ready."


def _rank(caller: str, pod: dict[str, Any]) -> int:
    """Requests of a caller go to the Pod of the highest one, so that few of them move when a Pod
    comes or goes."""
    return zlib.crc32(f"{caller}/{pod['metadata']['uid']}".encode())


def _bind() -> list[socket.socket]:
    """Sockets of one free port on each loopback address. Raises OSError."""
    for attempt in range(_BINDS):
        first = socket.create_server(("127.0.0.1", 0))
        try:
            address = ("::1", first.getsockname()[1])
            return [first, socket.create_server(address, family=socket.AF_INET6)]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return [first]  # the machine has no IPv6
            first.close()
            if attempt == _BINDS - 1:
                raise
    raise AssertionError


def _host_of(request: web.BaseRequest) -> str:
    """Without its port."""
    host = request.headers.get("Host", "")
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


async def _continue(request: web.BaseRequest) -> None:
    """A client that asks first sends its body now."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        with contextlib.suppress(ConnectionError):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0


def _text(code: int, text: str) -> web.Response:
    return web.Response(status=code, text=f"{one_line(text)}\n")


def _make_request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: Any
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES
    )
