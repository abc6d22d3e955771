"""The ASGI application of the admin port: for operators, the dashboard, probes and Prometheus."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from servedeck.async_queue.tasks import TaskAction
from servedeck.gateway.admin_api.access import Access, AccessCheck
from servedeck.gateway.admin_api.actions import TaskActions
from servedeck.gateway.admin_api.answers import Call, Reply, send_reply
from servedeck.gateway.admin_api.feed import FeedServer
from servedeck.gateway.admin_api.health import Health, ProcessState
from servedeck.gateway.admin_api.queue import QueueRoutes
from servedeck.gateway.admin_api.tasks import TaskRoutes
from servedeck.gateway.asgi import (
    ClientDisconnectedError,
    HttpError,
    Receive,
    Response,
    Scope,
    Send,
    send_error,
)
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.openapi import openapi_document
from servedeck.gateway.stores.store import StoreError

PREFIX = "/-/async"

_log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Reply | None]]
"""None: it has answered by itself."""


class Route(NamedTuple):
    method: str
    """GET routes answer HEAD, too."""
    path: str
    """As in the OpenAPI description, with {id}."""
    needed: Access
    handler: Handler


class AdminApp:
    """Raises GatewaySettingsError if a key cannot be read. `state` is what the process says of
    itself to its probes."""

    def __init__(self, context: GatewayContext, state: ProcessState | None = None) -> None:
        self.state = state or ProcessState(not_ready="")
        self._access = AccessCheck(context.settings)
        self._feed = FeedServer(context)
        self.routes = self._make_routes(context)
        self._patterns = [
            (re.compile(re.sub(r"\{id\}", "([0-9a-zA-Z]{1,64})", one.path)), one)
            for one in self.routes
        ]

    def close(self) -> None:
        """End the streams, which else would hold up the end of the server."""
        self._feed.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = Response(scope, send)
        try:
            await self._answer(Call(scope, receive, response))
        except ClientDisconnectedError:
            return
        except Exception as error:
            if response.has_begun:
                # Too late for another answer: the server closes the connection.
                raise
            await send_error(receive, send, _as_http_error(error))

    async def _answer(self, call: Call) -> None:
        route, path = self._find_route(call)
        if route.needed is not Access.NONE:
            self._access.require(call.scope, route.needed)
        call = call._replace(path=path)
        reply = await route.handler(call)
        if reply is not None:
            await send_reply(call, reply)

    def _find_route(self, call: Call) -> tuple[Route, tuple[str, ...]]:
        """The route, and the parameters in its path. Raises HttpError."""
        path, method = call.scope["path"], call.scope["method"]
        wanted = "GET" if method == "HEAD" else method
        allowed: list[str] = []
        for pattern, route in self._patterns:
            if (match := pattern.fullmatch(path)) is None:
                continue
            if route.method == wanted:
                return route, match.groups()
            allowed += ["GET", "HEAD"] if route.method == "GET" else [route.method]
        if allowed:
            value = ", ".join(allowed).encode()
            raise HttpError(405, "Method not allowed", headers=[(b"allow", value)])
        raise HttpError(404, "Not found", "There is no such route.")

    def _make_routes(self, context: GatewayContext) -> list[Route]:
        health = Health(context, self.state)

        async def alive(_call: Call) -> Reply:
            return health.alive()

        async def ready(_call: Call) -> Reply:
            return await health.ready()

        async def metrics(_call: Call) -> Reply:
            return await health.metrics()

        async def openapi(_call: Call) -> Reply:
            return Reply(await asyncio.to_thread(openapi_document, public=False))

        probes = [
            Route("GET", "/healthz", Access.NONE, alive),
            Route("GET", "/readyz", Access.NONE, ready),
            Route("GET", "/metrics", Access.NONE, metrics),
        ]
        if context.settings.role == "deliver":
            return probes
        actions = TaskActions(context)
        tasks = TaskRoutes(context, actions)
        queue = QueueRoutes(context, actions)
        view, admin = Access.VIEW, Access.ADMIN
        one = f"{PREFIX}/tasks/{{id}}"
        return [
            *probes,
            Route("GET", f"{PREFIX}/openapi.json", view, openapi),
            Route("GET", f"{PREFIX}/tasks", view, tasks.page),
            # Before those of one task, whose id "actions" could be.
            *(
                Route("POST", f"{PREFIX}/tasks/actions/{action}", admin, _bind(tasks, action))
                for action in TaskAction
            ),
            Route("GET", one, view, tasks.detail),
            Route("GET", f"{one}/attempts", view, tasks.attempts),
            Route("GET", f"{one}/request/head", view, tasks.request_head),
            Route("GET", f"{one}/response/head", view, tasks.response_head),
            Route("GET", f"{one}/request", admin, tasks.request),
            Route("GET", f"{one}/response", admin, tasks.response),
            Route("POST", f"{one}/cancel", admin, tasks.cancel),
            Route("POST", f"{one}/retry", admin, tasks.retry),
            Route("POST", f"{one}/front", admin, tasks.front),
            Route("GET", f"{PREFIX}/feed", view, self._feed.serve),
            Route("GET", f"{PREFIX}/queue", view, queue.status),
            Route("POST", f"{PREFIX}/queue/pause", admin, queue.pause),
            Route("POST", f"{PREFIX}/queue/resume", admin, queue.resume),
            Route("POST", f"{PREFIX}/queue/close", admin, queue.close),
            Route("POST", f"{PREFIX}/queue/open", admin, queue.open),
            Route("GET", f"{PREFIX}/queue/control", view, queue.read_control),
            Route("POST", f"{PREFIX}/queue/control", admin, queue.set_control),
            Route("POST", f"{PREFIX}/queue/purge", admin, queue.purge),
            Route("POST", f"{PREFIX}/queue/redrive", admin, queue.redrive),
            Route("POST", f"{PREFIX}/queue/forget", admin, queue.forget),
        ]


def _bind(tasks: TaskRoutes, action: TaskAction) -> Handler:
    async def change_many(call: Call) -> Reply:
        return await tasks.change_many(action, call)

    return change_many


def _as_http_error(error: Exception) -> HttpError:
    if isinstance(error, HttpError):
        return error
    if isinstance(error, StoreError):
        return HttpError(
            503, "The store does not answer", str(error), retry_after=error.retry_after
        )
    # Its message may have a part of a request in it.
    _log.error("A request to the admin API failed because of %s.", type(error).__name__)
    _log.debug("The traceback of it:", exc_info=error)
    return HttpError(500, "Internal error", "The gateway could not answer this request.")
