"""The feed of changes as server-sent events, which can be resumed at any event, and beside it the
state of the queue.

One reader of the process follows the store (FeedHub) for all clients. A client that is behind (it
resumes, reads slowly, or the store was away) reads the store itself until it has caught up: nothing
is kept for it in memory beyond a bound.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from contextlib import nullcontext
from typing import NamedTuple

import msgspec

from servedeck.async_queue.tasks import FeedEvent
from servedeck.gateway.admin_api.answers import Call, bad_parameter, start
from servedeck.gateway.admin_api.queue_watch import QueueWatch
from servedeck.gateway.asgi import EVENT_STREAM, HttpError, Send, close_connection
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.stores.store import FeedTrimmedError, StoreError

MAX_CLIENTS = 200
_PAUSE_SECONDS = 0.04
"""Between reads of the store for clients alone, of which each costs as much as a hundred events."""
_BATCH_SECONDS = 0.02
_BATCH = 1000
_BUFFER = 5000
"""Events that wait for one client; with more it reads them from the store."""
_COMMENT_SECONDS = 5.0
_SEND_SECONDS = 30.0
"""A client that takes nothing for so long is cut."""
_RETRY_SECONDS = 0.5
_TASKS, _QUEUE = "tasks", "queue"
"""Of the parameter `events`."""
_CURSOR = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?\Z")

_log = logging.getLogger(__name__)


class FeedServer:
    """Serves the feed until `close`."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._queue = QueueWatch(context)
        self._clients: set[_Client] = set()
        self._is_closed = False

    def close(self) -> None:
        """End all streams: their clients resume at another gateway, or when this one is back."""
        self._is_closed = True
        for client in self._clients:
            client.wake()

    async def serve(self, call: Call) -> None:
        """Raises HttpError and StoreError before it has begun to answer."""
        given = call.parameters()
        events = _read_events(given.get("events", ""))
        after = call.header(b"last-event-id") or given.get("after", "")
        if after and not _CURSOR.match(after):
            raise bad_parameter("after", "after must be a cursor of the feed, as an event has it.")
        if len(self._clients) >= MAX_CLIENTS:
            raise HttpError(
                503,
                "Too many followers",
                f"{MAX_CLIENTS} clients follow the feed already.",
                retry_after=10,
            )
        client = _Client(self._context, call.send, self._queue if _QUEUE in events else None)
        self._clients.add(client)
        try:
            if _TASKS in events:
                await self._serve_tasks(call, client, after)
            else:
                await self._serve(call, client, _NO_TASKS)
        finally:
            self._clients.discard(client)

    async def _serve_tasks(self, call: Call, client: _Client, after: str) -> None:
        end = await self._context.store.feed_end()
        # A cursor from after the end is that of a store that was lost or replaced.
        is_reset = bool(after) and _order(after) > _order(end)
        begin = _Begin(after or end, end if is_reset else "")
        with self._context.hub.listening(client.take, _PAUSE_SECONDS):
            await self._serve(call, client, begin)

    async def _serve(self, call: Call, client: _Client, begin: _Begin) -> None:
        await start(
            call.send,
            200,
            [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")],
        )
        if call.is_head:
            await call.send({"type": "http.response.body"})
            return
        gone = asyncio.ensure_future(_wait_for_disconnect(call, client))
        try:
            with self._queue.listening(client.wake) if client.follows_queue else nullcontext():
                await client.begin(begin)
                while not (self._is_closed or gone.done()):
                    await client.step()
            if self._is_closed:
                await call.send({"type": "http.response.body"})
        except TimeoutError:
            _log.info("A client of the feed took nothing for %g s and was cut.", _SEND_SECONDS)
            close_connection(call.scope)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


class _Begin(NamedTuple):
    """Where a client begins."""

    cursor: str
    """Of the last event that it has; "" if it follows no tasks."""
    reset_to: str
    """The cursor from which it has to go on, as that one is of another store; "" if it is not."""


_NO_TASKS = _Begin("", "")


class _Client:
    def __init__(self, context: GatewayContext, send: Send, queue: QueueWatch | None) -> None:
        self._store = context.store
        self._send = send
        self._queue = queue
        self._queue_number = 0
        """Of the last event of the queue that was sent."""
        self.cursor = ""
        """Of the last event that was sent."""
        self._waiting: deque[FeedEvent] = deque()
        self._is_behind = False
        self._changed = asyncio.Event()

    @property
    def follows_queue(self) -> bool:
        return self._queue is not None

    def take(self, events: list[FeedEvent]) -> None:
        """Called by the hub."""
        self._changed.set()
        if not events or len(self._waiting) + len(events) > _BUFFER:
            self._waiting.clear()
            self._is_behind = True
        else:
            self._waiting.extend(events)

    def wake(self) -> None:
        self._changed.set()

    async def begin(self, begin: _Begin) -> None:
        self.cursor, self._is_behind = begin.cursor, bool(begin.cursor)
        if begin.reset_to:
            await self._reset(begin.reset_to)
            return
        # The cursor, so that a client without one can resume from here; no event is made of it.
        id = f"id: {self.cursor}\n" if self.cursor else ""
        await self._write(f"retry: 1000\n{id}\n")

    async def step(self) -> None:
        """Send what there is, or a comment after some time without anything."""
        if self._queue is not None and self._queue.number > self._queue_number:
            await self._send_queue(self._queue)
        elif self._is_behind:
            await self._catch_up()
        elif self._waiting:
            await self._send_waiting()
        else:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), _COMMENT_SECONDS)
            except TimeoutError:
                await self._write(": nothing has changed\n\n")
                return
            # What follows within a moment goes into the same event.
            await asyncio.sleep(_BATCH_SECONDS)

    async def _send_queue(self, queue: QueueWatch) -> None:
        self._queue_number = queue.number
        if queue.event:
            await self._write(queue.event)

    async def _catch_up(self) -> None:
        # Before the read: what the hub gives from here on is newer than what is read, or a part of
        # it, which its cursor tells.
        self._is_behind = False
        try:
            events = await self._store.read_feed(self.cursor, _BATCH, 0)
        except FeedTrimmedError:
            await self._try_to_reset()
            return
        except StoreError:
            self._is_behind = True
            await self._write(": the store does not answer\n\n")
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if len(events) >= _BATCH:
            self._is_behind = True
        await self._send_events(events)

    async def _try_to_reset(self) -> None:
        try:
            await self._reset(await self._store.feed_end())
        except StoreError:
            self._is_behind = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def _send_waiting(self) -> None:
        last, waiting = _order(self.cursor), self._waiting
        while waiting and _order(waiting[0].cursor) <= last:
            waiting.popleft()  # it was read from the store already
        count = min(len(waiting), _BATCH)
        await self._send_events([waiting.popleft() for _ in range(count)])

    async def _send_events(self, events: list[FeedEvent]) -> None:
        if not events:
            return
        self.cursor = events[-1].cursor
        await self._write(f"id: {self.cursor}\ndata: {msgspec.json.encode(events).decode()}\n\n")

    async def _reset(self, cursor: str) -> None:
        """The client has to read the tasks again: events that it does not have are gone."""
        self.cursor = cursor
        self._is_behind = True
        data = msgspec.json.encode({"feed": cursor}).decode()
        await self._write(f"event: reset\nid: {cursor}\ndata: {data}\n\n")

    async def _write(self, text: str) -> None:
        message = {"type": "http.response.body", "body": text.encode(), "more_body": True}
        await asyncio.wait_for(self._send(message), _SEND_SECONDS)


def _read_events(text: str) -> frozenset[str]:
    """Raises HttpError."""
    events = frozenset(text.split(",")) if text else frozenset({_TASKS})
    if not events <= {_TASKS, _QUEUE}:
        raise bad_parameter("events", f"events must be {_TASKS}, {_QUEUE}, or both with a comma.")
    return events


async def _wait_for_disconnect(call: Call, client: _Client) -> None:
    while (await call.receive())["type"] != "http.disconnect":
        pass
    client.wake()


def _order(cursor: str) -> tuple[int, ...]:
    """Cursors are numbers, joined by "-", that grow."""
    return tuple(map(int, cursor.split("-")))
