"""The public port of the gateway: what callers of a serving reach."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.asgi import (
    JSON,
    ClientDisconnectedError,
    HttpError,
    Receive,
    Response,
    Scope,
    Send,
    close_connection,
    query_parameters,
    send_bytes,
    send_empty,
    send_error,
    send_json,
)
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.openapi import openapi_document
from servedeck.gateway.public_api.answers import PREFIX, status_url, store_problem, task_status
from servedeck.gateway.public_api.caller import check_issued, find_task, gone, stored_headers
from servedeck.gateway.public_api.drain_rate import DrainRate
from servedeck.gateway.public_api.follow import Followers
from servedeck.gateway.public_api.preferences import (
    asked_lifetime,
    parse_wait,
    preferred_wait,
    read_preferences,
)
from servedeck.gateway.public_api.results import Results
from servedeck.gateway.public_api.submit import METHODS, Submitter, count_rejected
from servedeck.gateway.stores.store import Change, StoreError

if TYPE_CHECKING:
    from servedeck.gateway.public_api.pass_through import PassThrough

_TASKS = f"{PREFIX}/tasks/"
_READ = ("GET", "HEAD")
_RECENT_SECONDS = 120.0
"""Between the beginnings of a minute and of the newest one, which is less than that for the newest
and the one before. By the store's clock alone, which may differ from that of the gateway; as its
sweeps record something in each minute, the newest is the present one."""

_log = logging.getLogger(__name__)

Handler = Callable[[Scope, Receive, Send, str], Awaitable[None]]


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What anybody may know of the queue, and KEDA scales by."""

    depth: int
    """Pending tasks."""
    processing: int
    backlog: int
    """Both: what has not ended."""
    recent: int
    """Tasks that were accepted in this minute or the one before, also those that have ended: what
    looks at the backlog now and then would not see short ones."""


class PublicApp:
    """An ASGI application. `FeedHub.run` has to run beside it."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._draining = asyncio.Event()
        self._drain_rate = DrainRate(context.store)
        self._results = Results(context, self._drain_rate, self._draining)
        self._submitter = Submitter(context, self._results, self._drain_rate)
        self._followers = Followers(context, self._results, self._draining)
        self._pass_through: PassThrough | None = None
        self._task_routes: dict[str, tuple[tuple[str, ...], Handler]] = {
            "": (_READ, self._status),
            "result": (_READ, self._result),
            "stream": (_READ, self._stream),
            "cancel": (("POST",), self._cancel),
            "retry": (("POST",), self._retry),
        }

    def drain(self) -> None:
        """End what waits: long waits are answered with the present state, and streams are closed,
        for their clients to resume them at another gateway. Everything else goes on."""
        self._draining.set()

    async def close(self) -> None:
        """Call it after the last request; the server does, by the lifespan events."""
        await self._submitter.close()
        await self._drain_rate.close()
        if self._pass_through is not None:
            await self._pass_through.close()
            self._pass_through = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        response = Response(scope, send)
        try:
            await self._answer(scope, receive, response)
        except ClientDisconnectedError:
            close_connection(scope)
            return
        except HttpError as raised:
            error = raised
        except StoreError as raised:
            error = store_problem(raised)
        except Exception as raised:
            # Where it was raised, not its message, which may have a part of the request in it.
            where = traceback.extract_tb(raised.__traceback__)[-1]
            _log.error(
                "A request was not answered: %s at %s:%s.",
                type(raised).__name__,
                where.filename,
                where.lineno,
            )
            error = HttpError(500, "Internal error", "The gateway could not answer this request.")
        else:
            return
        if response.has_begun:
            close_connection(scope)
        else:
            await send_error(receive, send, error)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if is_reserved(path):
            await self._answer_reserved(scope, receive, send, path)
            return
        try:
            preferences = read_preferences(scope, self._context.settings)
        except HttpError as error:
            count_rejected(self._context, error)
            raise
        # A preference may be ignored, and is where a method has nothing to wait for.
        if preferences.has_async_header or (
            preferences.respond_async and scope["method"] in METHODS
        ):
            await self._submitter.submit(scope, receive, send, preferences)
            return
        await (await self._get_pass_through()).forward(scope, receive, send)

    async def _get_pass_through(self) -> PassThrough:
        """Made for the first request that needs it: its client takes 10 MiB."""
        if self._pass_through is None:
            made_of = await asyncio.to_thread(_load_pass_through)
            if self._pass_through is None:  # another request may have waited, too
                self._pass_through = made_of(self._context)
        assert self._pass_through is not None
        return self._pass_through

    async def _answer_reserved(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        methods, handler, id = self._route(path)
        method = scope["method"]
        allow = [(b"allow", ", ".join((*methods, "OPTIONS")).encode())]
        if method == "OPTIONS":
            await send_empty(send, 204, allow)
        elif method not in methods:
            raise HttpError(
                405,
                "Method not allowed",
                f"This path takes {' and '.join(methods)}.",
                headers=allow,
            )
        else:
            await handler(scope, receive, send, id)

    def _route(self, path: str) -> tuple[tuple[str, ...], Handler, str]:
        if path == f"{PREFIX}/queue":
            return _READ, self._queue, ""
        if path == f"{PREFIX}/openapi.json":
            return _READ, self._openapi, ""
        if path.startswith(_TASKS):
            id, _, what = path.removeprefix(_TASKS).partition("/")
            if what in self._task_routes and not path.endswith("/"):
                return *self._task_routes[what], id
        raise HttpError(404, "No such path", f"There is nothing at this path under {PREFIX}.")

    def _wait(self, scope: Scope) -> int:
        value = query_parameters(scope).get("wait") if scope["query_string"] else None
        if value is not None:
            return parse_wait(value, self._context.settings)
        return preferred_wait(scope, self._context.settings) or 0

    async def _status(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        await self._results.send_status(scope, receive, send, id, self._wait(scope))

    async def _result(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        await self._results.send_result(scope, receive, send, id, self._wait(scope))

    async def _stream(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        await self._followers.send_stream(scope, receive, send, id)

    async def _cancel(self, scope: Scope, _receive: Receive, send: Send, id: str) -> None:
        check_issued(self._context, scope, id)
        change = await self._context.store.cancel(id, self._context.settings.keep_completed)
        if change.changed:
            self._context.metrics.ended.labels(TaskState.CANCELLED).inc()
        is_done = change.changed or change.state is TaskState.CANCELLED
        await self._send_change(send, id, change, is_done, "cancelled")

    async def _retry(self, scope: Scope, _receive: Receive, send: Send, id: str) -> None:
        context = self._context
        await find_task(context, scope, id)
        _, credentials = stored_headers(context, scope)
        encrypted = context.identity.encrypt(id, credentials)
        lifetime = asked_lifetime(scope, context.settings)
        change = await context.store.redrive(id, lifetime, encrypted)
        await self._send_change(send, id, change, change.changed, "tried again")

    async def _send_change(
        self, send: Send, id: str, change: Change, is_done: bool, done: str
    ) -> None:
        if change.state is None:
            raise gone(id)
        if not is_done:
            detail = change.refusal or f"It is {change.state}, and cannot be {done}."
            raise HttpError(409, f"The task was not {done}", detail, task=id, state=change.state)
        found = await self._context.store.find(id)
        if found is None:
            raise gone(id)
        location = status_url(self._context.settings, id).encode()
        status = await task_status(self._context, found.task)
        await send_json(send, 200, status, [(b"content-location", location)])

    async def _queue(self, _scope: Scope, _receive: Receive, send: Send, _id: str) -> None:
        store = self._context.store
        counts, minutes = await asyncio.gather(store.counts(), store.minutes())
        newest = max((one.time for one in minutes), default=0.0)
        body = QueueCounts(
            depth=counts.pending,
            processing=counts.processing,
            backlog=counts.backlog,
            recent=sum(one.submitted for one in minutes if newest - one.time < _RECENT_SECONDS),
        )
        await send_json(send, 200, body)

    async def _openapi(self, _scope: Scope, _receive: Receive, send: Send, _id: str) -> None:
        await send_bytes(send, 200, await asyncio.to_thread(openapi_document, public=True), JSON)


def _load_pass_through() -> type[PassThrough]:
    from servedeck.gateway.public_api.pass_through import PassThrough

    return PassThrough


def is_reserved(path: str) -> bool:
    """Whether a decoded path is the gateway's own, or could be for a server that resolves dots and
    repeated slashes: such a path is never forwarded."""
    if "async" not in path:
        return False
    resolved = "/" + posixpath.normpath(path).lstrip("/")
    return any(one == PREFIX or one.startswith(f"{PREFIX}/") for one in (path, resolved))
