"""Keeps what a worker holds, aborts what it has lost, and gives back what it was given without
being told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import monotonic

from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.running import Abort, RunningAttempts
from servedeck.gateway.stores.store import StoreError

_BEATS_PER_LEASE = 3
_BATCH = 200
_MAX_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Leases:
    def __init__(self, context: GatewayContext, worker: str, running: RunningAttempts) -> None:
        self._store = context.store
        self._worker = worker
        self._running = running
        self._lease = context.settings.lease
        self._claim_age = 2 * context.settings.store_timeout
        """Seconds after which a claim has been answered, or never will be."""
        self._asked = asyncio.Event()

    def check_now(self) -> None:
        """Ask the store now which are still held: news of them may have been missed."""
        self._asked.set()

    async def run(self) -> None:
        """Ends only when it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._abort_overdue())

    async def _renew(self) -> None:
        interval = self._lease / _BEATS_PER_LEASE
        retry = min(interval / 2, _MAX_RETRY_SECONDS)
        while True:
            self._asked.clear()
            wait = interval
            try:
                await self._beat()
                await self._release()
            except StoreError as error:
                _log.warning("Leases were not renewed: %s", error)
                wait = retry
            except Exception:
                _log.exception("Leases were not renewed.")
                wait = retry
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()

    async def _beat(self) -> None:
        held = [one for one in self._running if not one.is_lost]
        for start in range(0, len(held), _BATCH):
            batch = held[start : start + _BATCH]
            before = monotonic()
            lost = set(await self._store.beat([one.key for one in batch], self._lease))
            for one in batch:
                if one.claimed.id in lost:
                    one.abort(Abort.LOST)
                else:
                    one.renewed = before

    async def _release(self) -> None:
        """A store that was too slow, or killed, may have done a claim whose answer never came. Its
        tasks would wait for their leases, and lose an attempt that was not made."""
        count = await self._store.release(self._worker, self._running.keys, self._claim_age)
        if count:
            _log.warning("%d tasks are given back whose claim was not answered.", count)

    async def _abort_overdue(self) -> None:
        """Apart from the renewal, which may wait for a store that does not answer."""
        while True:
            before = monotonic() - self._lease
            for one in self._running:
                if one.renewed < before and not one.is_lost:
                    # another worker may have it by now
                    _log.warning("An attempt is aborted, as its lease could not be renewed.")
                    one.abort(Abort.LOST)
            await asyncio.sleep(self._lease / _BEATS_PER_LEASE / 4)
