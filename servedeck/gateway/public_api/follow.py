"""Following a streamed response while it is made, by `GET /-/async/tasks/{id}/stream`.

Each event gets an id `attempt-number`, where number counts the events of the attempt. It is found
again in what the store has of the attempt, be that the parts or the whole response, so a client
can resume after it as long as the task is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.gateway.asgi import (
    EVENT_STREAM,
    HttpError,
    Receive,
    Scope,
    Send,
    header_values,
    send_empty,
    send_parts,
    until_disconnect,
)
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.public_api.caller import find_task
from servedeck.gateway.public_api.results import Results, wait_for_either
from servedeck.gateway.public_api.sse import EventSplitter, with_id
from servedeck.gateway.stores.store import Outputs, StoreError

COMMENT_SECONDS = 15.0
"""Proxies close connections on which nothing comes, the first of them after 30 s."""

_COMMENT = b": waiting\n\n"
_EVENT_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,12})\Z", re.ASCII)
_HEADERS = (
    (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

_log = logging.getLogger(__name__)


class DrainingError(Exception):
    """The gateway drains: the client shall follow the task at another one."""


class Followers:
    def __init__(self, context: GatewayContext, results: Results, draining: asyncio.Event) -> None:
        self._context = context
        self._results = results
        self._draining = draining

    async def send_stream(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        """Raises HttpError, StoreError and ClientDisconnectedError."""
        found = await find_task(self._context, scope, id)
        task = found.task
        if task.state.is_final:
            if not await self._has_event_stream(task):
                await self._results.send_response(scope, send, task)
                return
        elif not msgspec.json.decode(found.head, type=RequestHead).is_stream:
            raise HttpError(
                409,
                "The task does not stream",
                'Its request does not have "stream": true; fetch its result.',
                task=id,
                state=task.state,
            )
        attempt, number = _last_event_id(scope)
        headers = [*_HEADERS, (b"x-async-task", id.encode())]
        if scope["method"] == "HEAD":
            await send_empty(send, 200, headers)
            return
        events = self._events(id, attempt, number)

        async def relay() -> None:
            async with contextlib.aclosing(events):
                await send_parts(scope, send, 200, headers, events)

        try:
            await until_disconnect(receive, relay())
        except DrainingError:
            _log.debug("A follower is sent to another gateway.")

    async def _has_event_stream(self, task: Task) -> bool:
        response = await self._context.store.read_response(task.id)
        if response is None or not response.head:
            return False
        return msgspec.json.decode(response.head, type=ResponseHead).is_event_stream

    async def _events(self, id: str, attempt: int, sent: int) -> AsyncGenerator[bytes, None]:
        """The events after number `sent` of the attempt, and those of later attempts. Ends with the
        task. Raises StoreError, ObjectStoreError and DrainingError."""
        store = self._context.store
        yield _COMMENT  # the headers go out at once
        with self._context.hub.watching(id) as changed:
            position = _Position(attempt, sent)
            while True:
                changed.clear()
                found = await store.find(id)
                if found is None:
                    return  # deleted while it was followed
                task = found.task
                if task.state.is_final:
                    with self._results.holding(task):
                        async for part in self._rest(task, position):
                            yield part
                    return
                outputs = await self._read_outputs(id, position)
                if outputs is None:
                    yield _COMMENT
                    continue
                for part in position.advance(outputs):
                    yield part
                if outputs.has_ended and not outputs.parts:
                    # It waits for its turn, or for its next attempt.
                    await wait_for_either(changed, self._draining, COMMENT_SECONDS)
                    if self._draining.is_set():
                        raise DrainingError
                    if not changed.is_set():
                        yield _COMMENT

    async def _read_outputs(self, id: str, position: _Position) -> Outputs | None:
        """None if nothing came for as long as a client may wait for a comment."""
        reading = asyncio.ensure_future(
            self._context.store.read_outputs(id, position.attempt, position.part, COMMENT_SECONDS)
        )
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise DrainingError
            outputs = reading.result()
        finally:
            draining.cancel()
            if not reading.done():
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, StoreError):
                    await reading
        is_same = outputs.attempt == position.attempt or not outputs.attempt
        return None if is_same and not outputs.parts and not outputs.has_ended else outputs

    async def _rest(self, task: Task, position: _Position) -> AsyncIterator[bytes]:
        """What the stored response has after the position."""
        if task.state is TaskState.CANCELLED:
            yield _error("The task was cancelled.", task.state)
            return
        response = await self._context.store.read_response(task.id)
        head = None
        if response is not None and response.head:
            head = msgspec.json.decode(response.head, type=ResponseHead)
        if response is None or head is None or not head.is_event_stream:
            yield _error(task.message or "The task failed.", task.reason or task.state)
            return
        if restart := position.move_to(task.attempt):
            yield restart
        position.reread()
        async for data in self._results.read_body(response):
            for event in position.feed(data):
                yield event
        if rest := position.rest():
            yield rest
        if task.state is TaskState.FAILED:
            yield _error(task.message or "The task failed.", task.reason)


class _Position:
    """How far a client has the events of an attempt."""

    def __init__(self, attempt: int, sent: int) -> None:
        self.attempt = attempt
        self.part = 0
        """Number of the last part that was read."""
        self._sent = sent
        self._seen = 0
        self._splitter = EventSplitter()

    def move_to(self, attempt: int) -> bytes:
        """The event that says that another attempt begins; b"" if it does not, or is the first that
        the client sees."""
        if attempt == self.attempt or not attempt:
            return b""
        restart = _restart(attempt) if self._sent else b""
        self.attempt = attempt
        self._sent = 0
        self.reread()
        return restart

    def reread(self) -> None:
        """What is fed next is the attempt from its beginning."""
        self.part = self._seen = 0
        self._splitter = EventSplitter()

    def advance(self, outputs: Outputs) -> list[bytes]:
        events: list[bytes] = []
        if restart := self.move_to(outputs.attempt):
            events.append(restart)
        for part in outputs.parts:
            self.part = part.number
            events += self.feed(part.data)
        return events

    def feed(self, data: bytes) -> list[bytes]:
        """The events that the client does not have."""
        events: list[bytes] = []
        for event in self._splitter.feed(data):
            self._seen += 1
            if self._seen > self._sent:
                self._sent = self._seen
                events.append(with_id(event, f"{self.attempt}-{self._seen}"))
        return events

    def rest(self) -> bytes:
        """What follows the last event: a server may leave out its last empty line."""
        rest = self._splitter.rest()
        if rest:
            self._seen += 1
        return rest if self._seen > self._sent else b""


def _last_event_id(scope: Scope) -> tuple[int, int]:
    """Attempt and number; raises HttpError."""
    values = header_values(scope, b"last-event-id")
    if not values or not values[0]:
        return 0, 0
    match = _EVENT_ID.match(values[0].decode("latin-1"))
    if match is None:
        raise HttpError(
            400, "Bad Last-Event-ID", "The header Last-Event-ID must be the id of an event here."
        )
    return int(match[1]), int(match[2])


def _restart(attempt: int) -> bytes:
    """Clients that know only OpenAI's streams take a member `error` for the failure of the stream:
    better than to join the texts of two attempts."""
    text = "Another attempt began: what came before it is void."
    data = {"error": {"message": text, "type": "restart", "code": "restart"}, "attempt": attempt}
    return b"event: restart\nid: %d-0\ndata: %s\n\n" % (attempt, msgspec.json.encode(data))


def _error(message: str, code: str) -> bytes:
    data = {"error": {"message": message, "type": "task_failed", "code": code}}
    return b"event: error\ndata: %s\n\n" % msgspec.json.encode(data)
