"""The state of the queue for those who follow it: read once a second for all of them together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from servedeck.async_queue.tasks import QueueStatus
from servedeck.gateway.admin_api.queue_status import read_queue_status
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.stores.store import StoreError

_SECONDS = 1.0

_log = logging.getLogger(__name__)


class QueueWatch:
    """Reads as long as somebody listens."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._listeners: list[Callable[[], None]] = []
        self._reading: asyncio.Task[None] | None = None
        self._status: QueueStatus | None = None
        """As it was read last."""
        self._problem = ""
        """Why it cannot be read, "" if it can."""
        self._event = ""
        """What both are as an event; "" until somebody asks for it."""
        self.number = 0
        """Of the last event; counts up."""

    @property
    def event(self) -> str:
        """The last server-sent event, with the times of the last read; "" before the first."""
        # Without an id, so that a client resumes after the last event that has changes of tasks.
        if not self._event and self._problem:
            self._event = _encode_event("store", {"message": self._problem})
        elif not self._event and self._status is not None:
            self._event = _encode_event("queue", self._status)
        return self._event

    @contextmanager
    def listening(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call it after each event."""
        self._listeners.append(wake)
        if self._reading is None:
            # What was read for those who have gone may be old.
            self._status, self._problem, self._event = None, "", ""
            self._reading = asyncio.create_task(self._read_always())
        try:
            yield
        finally:
            self._listeners.remove(wake)
            if not self._listeners:
                self._reading.cancel()
                self._reading = None

    async def _read_always(self) -> None:
        while True:
            try:
                await self._read()
            except Exception:
                _log.exception("The state of the queue was not read.")
            await asyncio.sleep(_SECONDS)

    async def _read(self) -> None:
        try:
            status = await read_queue_status(self._context.store, self._context.settings)
        except StoreError as error:
            if not self._problem:
                self._problem, self._event = str(error) or "no reason given", ""
                self._publish()
            return
        before = None if self._problem else self._status
        self._status, self._problem, self._event = status, "", ""
        if before is None or _without_times(status) != _without_times(before):
            self._publish()

    def _publish(self) -> None:
        self.number += 1
        for wake in tuple(self._listeners):
            wake()


def _encode_event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {msgspec.json.encode(data).decode()}\n\n"


def _without_times(status: QueueStatus) -> QueueStatus:
    """Without what changes by itself."""
    workers = [replace(one, time=0.0) for one in status.workers]
    return replace(status, time=None, oldest_seconds=None, workers=workers)
