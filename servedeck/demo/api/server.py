"""The demo cluster's API server: HTTP on loopback, routing and authentication.

It serves plain HTTP: it listens only on 127.0.0.1 and requires a token that is generated at its
start, so a certificate would protect nothing more, and would need a key on disk and trust in it.
kubectl does not send its bearer token over plain HTTP (client-go clientcmd/client_config.go), so
the token may also be the first segment of the path: `http://127.0.0.1:6443/<token>/api/v1/pods`.
The kubeconfig has such an address.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from servedeck.demo.api import (
    access,
    admission,
    discovery,
    exec_handler,
    log_handler,
    openapi,
    patch_handler,
    port_forward_handler,
    proxy_handler,
    read_handlers,
    request_bodies,
    status,
    watch_handler,
    write_handlers,
)
from servedeck.demo.api.access import DemoUser
from servedeck.demo.api.kubelet_api import KubeletApi
from servedeck.demo.api.pod_metrics import read_pod_metrics
from servedeck.demo.api.request import JSON, ApiRequest
from servedeck.demo.api.routing import (
    STREAMED_SUBRESOURCES,
    RequestTarget,
    check_method,
    parse_target,
    request_verb,
)
from servedeck.demo.api.status import StatusError, bad_request, method_not_allowed
from servedeck.demo.api.write_handlers import HandlerResult
from servedeck.demo.resources import POD_METRICS
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.text import one_line

Json = dict[str, Any]
_LOG = logging.getLogger(__name__)

HOST = "127.0.0.1"
_HEALTH_PATHS = ("healthz", "livez", "readyz")


class ApiServer:
    """Serves a store on loopback.

    `users` are the authorized users; the kubeconfig holds their tokens. `port` 0 takes a free
    port; `url` is set by `start`.
    """

    def __init__(
        self, store: ObjectStore, kubelet: KubeletApi, users: Sequence[DemoUser], *, port: int = 0
    ) -> None:
        self.store = store
        self.url = ""
        self._kubelet = kubelet
        self._users = {user.token: user for user in users}
        self._port = port
        self._runner: web.ServerRunner | None = None
        store.admission.insert(0, admission.admit)

    async def start(self) -> str:
        """Starts to listen; the URL. OSError where the port is in use."""
        # handler_cancellation: the watch of a client that disconnects ends at once
        server = _HttpServer(
            self._handle,
            request_factory=_make_request,
            handler_cancellation=True,
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        try:
            await site.start()
        except OSError:
            await self.stop()
            raise
        self._port = self._runner.addresses[0][1]
        self.url = f"http://{HOST}:{self._port}"
        return self.url

    async def stop(self) -> None:
        """Ends all running requests, watches included."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, name: str = "demo", namespace: str = "default") -> Json:
        """A kubeconfig with a context for each user: `name` for the first, who is the current one,
        `name-<user>` for the others. It holds their tokens: only the owner may read it (0600)."""
        clusters, people, contexts = [], [], []
        for index, user in enumerate(self._users.values()):
            entry = f"{name}-{user.name}" if index else name
            server = f"{self.url}/{user.token}"
            clusters.append({"name": entry, "cluster": {"server": server}})
            people.append({"name": entry, "user": {"token": user.token}})
            context = {
                "cluster": entry,
                "user": entry,
                "namespace": user.default_namespace or namespace,
            }
            contexts.append({"name": entry, "context": context})
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters,
            "users": people,
            "contexts": contexts,
            "current-context": name,
        }

    # -- one request --------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except StatusError as error:
            return _error_response(error)
        except web.HTTPRequestEntityTooLarge:
            detail = f"Request entity too large: limit is {request_bodies.MAX_BODY_BYTES}"
            return _error_response(status.too_large(detail))
        except web.HTTPException as error:
            return _error_response(StatusError(error.status, "", error.reason))
        except ConnectionError:
            raise
        except Exception as error:
            # an unexpected error of one request must not end the demo
            _LOG.exception("%s %s", request.method, self._loggable_path(request))
            return _error_response(status.internal(f"{type(error).__name__}: {error}"))

    def _loggable_path(self, request: web.BaseRequest) -> str:
        """The path without the token that may be its first segment, on one line."""
        parts = _path_segments(request)
        if self._find_user(parts[0]) is not None:
            del parts[0]
        return one_line("/" + "/".join(parts))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        parts = _path_segments(request)
        while parts and not parts[-1]:
            parts.pop()
        if parts and parts[0] in _HEALTH_PATHS:
            return web.Response(text="ok")
        user = self._find_user(parts[0]) if parts else None
        if user is not None:
            parts = parts[1:]
        else:
            user = self._authenticate(request)
        target = parse_target(parts)
        if target is None:
            return self._serve_metadata(request, parts, user)
        return await self._serve_resource(request, target, user)

    def _authenticate(self, request: web.BaseRequest) -> DemoUser:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self._find_user(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise status.unauthorized()
        return user

    def _find_user(self, token: str) -> DemoUser | None:
        given = token.encode("utf-8", "replace")
        for known, user in self._users.items():
            if hmac.compare_digest(known.encode(), given):
                return user
        return None

    def _serve_metadata(
        self, request: web.BaseRequest, parts: list[str], user: DemoUser
    ) -> web.Response:
        """Serves paths that name no resource: discovery, OpenAPI and the version."""
        path = "/" + "/".join(parts)
        if not user.is_path_allowed(path):
            raise access.path_forbidden_error(user, request.method.lower(), path)
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        if parts == ["openapi", "v2"]:
            if "json" not in (accept := request.headers.get("Accept", "*/*")) and "*" not in accept:
                raise status.not_acceptable((JSON,))
            return web.Response(body=openapi.swagger(), content_type=JSON)
        accept = request.headers.get("Accept", "")
        if parts in (["api"], ["apis"]) and discovery.wants_aggregated(accept):
            body = msgspec.json.encode(discovery.aggregated(parts == ["api"]))
            return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED})
        found = self._metadata_document(parts)
        if found is None:
            raise status.resource_not_found()
        return _json_response(found)

    def _metadata_document(self, parts: list[str]) -> Json | None:
        if not parts:
            roots = ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]
            return {"paths": roots}
        if parts == ["version"]:
            return discovery.VERSION
        if parts == ["api"]:
            return discovery.api_versions(self.url.removeprefix("http://"))
        if parts == ["apis"]:
            return discovery.group_list()
        if parts[:2] == ["openapi", "v3"]:
            return openapi.document("/".join(parts[2:])) if parts[2:] else openapi.index()
        if parts[0] == "api" and len(parts) == 2:
            return discovery.resource_list("", parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.group(parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.resource_list(parts[1], parts[2])
        return None

    async def _serve_resource(
        self, request: web.BaseRequest, target: RequestTarget, user: DemoUser
    ) -> web.StreamResponse:
        query = {key: request.query[key] for key in request.query}
        verb = request_verb(request.method, target, query)
        path = f"{target.plural}/{target.subresource}".rstrip("/")
        name = target.name
        if not user.is_allowed(verb, target.group, path, target.namespace, name):
            raise access.forbidden_error(user, verb, target.group, path, name, target.namespace)
        if target.subresource in STREAMED_SUBRESOURCES and not user.is_allowed(
            "create", target.group, path, target.namespace, name
        ):  # from 1.35 on, also for the GET of a WebSocket
            raise access.forbidden_error(
                user, "create", target.group, path, target.name, target.namespace
            )
        if target.resource is None:
            raise status.resource_not_found()
        check_method(request.method, target)
        if (request.content_length or 0) > request_bodies.MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(
                request_bodies.MAX_BODY_BYTES, request.content_length or 0
            )
        call = ApiRequest(
            method=request.method,
            resource=target.resource,
            namespace=target.namespace,
            name=target.name,
            subresource=target.subresource,
            query=query,
            headers=request.headers,
            user=user,
            body=await request.read() if request.can_read_body else b"",
            proxy_path=target.rest,
        )
        if call.subresource == "proxy":
            return await proxy_handler.proxy_request(self.store, self._kubelet, call, request)
        if call.subresource == "portforward":
            return await port_forward_handler.forward_port(self.store, self._kubelet, call, request)
        if call.subresource == "exec":
            return await exec_handler.run_command(self.store, self._kubelet, call, request)
        if call.subresource == "log":
            return await log_handler.stream_log(self.store, self._kubelet, call, request)
        if verb == "watch":
            return await watch_handler.handle_watch(self.store, call, request)
        answer = self._run_handler(call)
        return _json_response(answer.body, answer.code, answer.warnings)

    def _run_handler(self, call: ApiRequest) -> HandlerResult:
        store = self.store
        if call.resource is POD_METRICS:
            return HandlerResult(200, read_pod_metrics(store, self._kubelet, call))
        if call.method == "GET":
            found = (
                read_handlers.get_object(store, call)
                if call.name
                else read_handlers.list_objects(store, call)
            )
            return HandlerResult(200, found)
        if call.method == "POST":
            return write_handlers.create_object(store, call)
        if call.method == "PUT":
            return write_handlers.replace_object(store, call)
        if call.method == "PATCH":
            return patch_handler.handle_patch(store, call)
        if call.name:
            return write_handlers.delete_object(store, call)
        return write_handlers.delete_collection(store, call)


def _path_segments(request: web.BaseRequest) -> list[str]:
    return [unquote(part) for part in request.rel_url.raw_path.split("/")[1:]] or [""]


class _ClientConnection(web.RequestHandler):
    """A client's connection. Invalid HTTP is also answered with a Status."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the response had already started")
        if message is not None and "method" in message.partition("\n")[0].lower():
            error = method_not_allowed()
        elif status == 400:
            error = bad_request(f"the request is not valid HTTP: {message or exc}".strip())
        else:
            error = StatusError(status, "", message or str(exc))
        response = _error_response(error)
        response.force_close()
        return response


MAX_LINE_BYTES = 1 << 20
"""Of a request line: net/http's DefaultMaxHeaderBytes, which a real API server has."""


class _HttpServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _ClientConnection(self, loop=self._loop, **self._kwargs)


def _make_request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: Any
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message,
        payload,
        protocol,
        writer,
        task,
        loop,
        client_max_size=request_bodies.MAX_BODY_BYTES,
    )


def _json_response(body: Json, code: int = 200, warnings: Sequence[str] = ()) -> web.Response:
    response = web.Response(status=code, body=msgspec.json.encode(body), content_type=JSON)
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        text = "".join(char if char.isprintable() else "?" for char in quoted)
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def _error_response(error: StatusError) -> web.Response:
    response = _json_response(error.body(), error.code)
    response.headers.update(error.headers)
    return response
