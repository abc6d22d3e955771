"""A task's status and result, at once or when it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.gateway.asgi import (
    HttpError,
    Receive,
    Scope,
    Send,
    send_empty,
    send_json,
    send_parts,
    until_disconnect,
    valid_headers,
)
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import ResponseHead, end_to_end_headers
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.public_api.answers import (
    status_url,
    task_status,
    without_response,
)
from servedeck.gateway.public_api.caller import check_issued, gone
from servedeck.gateway.public_api.drain_rate import DrainRate
from servedeck.gateway.stores.store import Response, StoreError

_MIN_HELD_BYTES = 64 << 20
_OBJECT_BYTES = 2 << 20
"""What an object that is read in parts takes."""
_BUSY_SECONDS = 2

_log = logging.getLogger(__name__)


class ResultsBusyError(HttpError):
    """As many large results are being sent as may be in memory."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "Too many large results",
            "The gateway is sending as much as it can hold; try again in a moment.",
            retry_after=_BUSY_SECONDS,
        )


class Results:
    def __init__(
        self, context: GatewayContext, drain_rate: DrainRate, draining: asyncio.Event
    ) -> None:
        self._context = context
        self._drain_rate = drain_rate
        self._draining = draining
        self._held_bytes = 0
        """Of results that are being sent: a client may take its time."""
        self._max_held_bytes = max(_MIN_HELD_BYTES, 2 * context.settings.max_result_bytes)

    async def send_status(
        self, scope: Scope, receive: Receive, send: Send, id: str, wait: int
    ) -> None:
        """Raises HttpError, StoreError and ClientDisconnectedError."""
        check_issued(self._context, scope, id)
        task = await self._task(receive, id, wait)
        status = await task_status(self._context, task)
        headers = []
        if not task.state.is_final:
            headers.append(self._retry_after(status.position))
        if wait:
            headers.append((b"preference-applied", b"wait=%d" % wait))
        await send_json(send, 200, status, headers)

    async def send_result(
        self, scope: Scope, receive: Receive, send: Send, id: str, wait: int
    ) -> None:
        """The inference server's response, or 202 with the status while the task is open. Raises
        HttpError, StoreError and ClientDisconnectedError."""
        check_issued(self._context, scope, id)
        task = await self._task(receive, id, wait)
        if task.state.is_final:
            await self.send_response(scope, send, task)
            return
        status = await task_status(self._context, task)
        location = status_url(self._context.settings, id).encode()
        headers = [(b"location", location), self._retry_after(status.position)]
        await send_json(send, 202, status, headers)

    async def send_when_ended(
        self, scope: Scope, receive: Receive, send: Send, id: str, wait: int
    ) -> bool:
        """Send the result of a task that was accepted now, if it ends in time. False if it does
        not, or the store does not say. Raises HttpError for a task that ended without a
        response, and ClientDisconnectedError."""
        try:
            task = await self._task(receive, id, wait)
            if not task.state.is_final:
                return False
            await self.send_response(scope, send, task)
        except ResultsBusyError:
            return False
        except StoreError as error:
            _log.debug("The result of a task that is waited for cannot be read: %s", error)
            return False
        return True

    @contextmanager
    def holding(self, task: Task) -> Iterator[None]:
        """While its response is sent. Raises ResultsBusyError."""
        size = task.response_bytes
        if self._context.objects is not None and size > self._context.settings.inline_bytes:
            size = _OBJECT_BYTES
        if self._held_bytes and self._held_bytes + size > self._max_held_bytes:
            raise ResultsBusyError
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    async def send_response(self, scope: Scope, send: Send, task: Task) -> None:
        """The response of an ended task. Raises HttpError if it has none, and StoreError."""
        with self.holding(task):
            await self._send_response(scope, send, task)

    async def _send_response(self, scope: Scope, send: Send, task: Task) -> None:
        response = None
        if task.state is not TaskState.CANCELLED:
            response = await self._context.store.read_response(task.id)
        if response is None or not response.head:
            raise without_response(task)
        head = msgspec.json.decode(response.head, type=ResponseHead)
        headers = response_headers(head)
        headers += [
            (b"x-async-task", task.id.encode()),
            (b"x-async-state", task.state.encode()),
        ]
        if head.status in (204, 304):
            await send_empty(send, head.status, headers)
            return
        headers.append((b"content-length", b"%d" % response.body.size))
        try:
            await send_parts(scope, send, head.status, headers, self.read_body(response))
        except ObjectStoreError as error:
            _log.warning("A result cannot be read: %s", error)
            raise HttpError(
                503,
                "The object store is not available",
                "Try again in a moment.",
                retry_after=StoreError.retry_after,
                task=task.id,
            ) from None

    async def read_body(self, response: Response) -> AsyncIterator[bytes]:
        """Raises ObjectStoreError."""
        if not response.body.object:
            yield response.body.data
            return
        if self._context.objects is None:
            raise ObjectStoreError("This gateway has no object store.")
        async for part in self._context.objects.read(response.body.object):
            yield part

    async def wait_for_end(self, id: str, wait: float) -> Task | None:
        """The task, when it has ended, or after so many seconds, or when the gateway drains; None
        if it is not stored. Raises StoreError."""
        store = self._context.store
        deadline = asyncio.get_running_loop().time() + wait
        with self._context.hub.watching(id) as changed:
            while True:
                changed.clear()
                found = await store.find(id)
                if found is None or found.task.state.is_final or self._draining.is_set():
                    return found.task if found is not None else None
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return found.task
                await wait_for_either(changed, self._draining, left)

    async def _task(self, receive: Receive, id: str, wait: int) -> Task:
        if wait > 0:
            task = await until_disconnect(receive, self.wait_for_end(id, wait))
        else:
            found = await self._context.store.find(id)
            task = found.task if found is not None else None
        if task is None:
            raise gone(id)
        return task

    def _retry_after(self, position: int | None) -> tuple[bytes, bytes]:
        return b"retry-after", b"%d" % self._drain_rate.seconds((position or 0) + 1)


def response_headers(head: ResponseHead) -> list[tuple[bytes, bytes]]:
    """Without what belongs to the connection, or is set again."""
    headers = end_to_end_headers(head.headers)
    return valid_headers(one for one in headers if one[0] != "content-length")


async def wait_for_either(first: asyncio.Event, second: asyncio.Event, seconds: float) -> None:
    """Returns when one of the events is set, or after so many seconds."""
    tasks = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
