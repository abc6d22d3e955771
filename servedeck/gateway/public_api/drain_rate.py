"""How fast tasks end, for the Retry-After of callers."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from servedeck.gateway.public_api.answers import MAX_RETRY_SECONDS, MIN_RETRY_SECONDS
from servedeck.gateway.stores.store import StoreError, TaskStore

_MINUTES = 5
_REFRESH_SECONDS = 10.0
_UNKNOWN_SECONDS = 2

_log = logging.getLogger(__name__)


class DrainRate:
    """Tasks that end in a second, by the last minutes. It is read from the store now and then in
    the background: no request waits for it. Minutes in which nothing waited do not count: as many
    ended in them as came, however fast."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._rate = 0.0
        self._read_at = -math.inf
        self._reading: asyncio.Task[None] | None = None

    def seconds(self, tasks: int) -> int:
        """In about how many seconds so many tasks have ended, within 1 to 60; 2 if that is not
        known."""
        if time.monotonic() - self._read_at > _REFRESH_SECONDS and self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if not self._rate:
            return _UNKNOWN_SECONDS
        wanted = math.ceil(tasks / self._rate)
        return max(MIN_RETRY_SECONDS, min(MAX_RETRY_SECONDS, wanted))

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            minutes = [one for one in (await self._store.minutes())[-_MINUTES:] if one.depth]
            ended = sum(one.completed + one.failed + one.cancelled for one in minutes)
            # The last one is mostly not over.
            self._rate = ended / max(60.0, 60.0 * len(minutes) - 30.0)
        except StoreError as error:
            _log.debug("The drain rate cannot be read: %s", error)
        finally:
            self._read_at = time.monotonic()
            self._reading = None
