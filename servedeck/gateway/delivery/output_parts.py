"""Stores an event stream in parts while it arrives, so that it can be followed."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from servedeck.gateway.stores.store import StoreError, TaskStore

_INTERVAL = 0.05
_RETRY_SECONDS = 0.5
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_END = 4

_log = logging.getLogger(__name__)


class OutputParts:
    """Whole events go to the store, the first at once and later ones every 50 ms at most. What the
    store did not take is not lost: the response has all of it."""

    def __init__(
        self, store: TaskStore, id: str, attempt: int, on_lost: Callable[[], None]
    ) -> None:
        self._store, self._id, self._attempt = store, id, attempt
        self._on_lost = on_lost
        """Called when the attempt is no longer the present one."""
        self._data = bytearray()
        self._ready = 0
        """Bytes of `_data` that are whole events."""
        self._seen = 0
        self._arrived = asyncio.Event()
        self._stored = 0
        self._is_over = False

    def add(self, data: bytes) -> None:
        self._data += data
        start = max(self._ready, self._seen - _LONGEST_END + 1)
        for end in _EVENT_END.finditer(self._data, start):
            self._ready = end.end()
        self._seen = len(self._data)
        if self._ready:
            self._arrived.set()

    def end(self) -> None:
        """There is no more: `run` stores what is left, and returns."""
        self._is_over = True
        self._ready = len(self._data)
        self._arrived.set()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            is_last = self._is_over
            if self._ready and not await self._store_ready(is_last):
                return
            if is_last:
                return
            await asyncio.sleep(_INTERVAL)

    async def _store_ready(self, is_last: bool) -> bool:
        """False if it is of no use to go on."""
        size = self._ready
        data = bytes(self._data[:size])
        while True:
            try:
                is_ours = await self._store.append_output(self._id, self._attempt, data)
                break
            except StoreError as error:
                _log.debug("A part of a stream was not stored: %s", error)
                if is_last or self._is_over:
                    return False
                await asyncio.sleep(_RETRY_SECONDS)
                if await self._is_stored():
                    is_ours = True
                    break
        if not is_ours:
            self._on_lost()
            return False
        self._stored += 1
        del self._data[:size]
        self._ready -= size
        self._seen -= size
        return True

    async def _is_stored(self) -> bool:
        """Whether the part was stored though the store did not say so."""
        while not self._is_over:
            try:
                found = await self._store.read_outputs(self._id, self._attempt, self._stored, 0)
            except StoreError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            return found.attempt == self._attempt and bool(found.parts)
        return False
