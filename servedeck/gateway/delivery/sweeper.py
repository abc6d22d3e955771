"""Makes the store do what is due, and deletes what nothing refers to."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from servedeck.gateway.context import GatewayContext
from servedeck.gateway.objects import ObjectStore, ObjectStoreError
from servedeck.gateway.stores.store import StoreError, Swept

_MIN_INTERVAL, _MAX_INTERVAL = 0.5, 1.0
_MAX_RETRY = 5.0
_ORPHAN_INTERVAL = 3600.0
_ORPHAN_AGE = 3600.0
"""Seconds from the upload of a body to the record that refers to it: far more than either takes."""

_log = logging.getLogger(__name__)


class Sweeper:
    def __init__(
        self, context: GatewayContext, rng: random.Random, on_claimable: Callable[[], None]
    ) -> None:
        self._context = context
        self._rng = rng
        self._on_claimable = on_claimable
        """Called when tasks may be claimed that could not be before."""

    async def run(self) -> None:
        """Ends only when it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            if self._context.objects is not None:
                group.create_task(self._delete_orphans(self._context.objects))

    async def _sweep(self) -> None:
        longest = _MAX_INTERVAL
        while True:
            is_full = False
            try:
                swept = await self._context.store.sweep(self._context.settings.keep_failed)
                is_full, longest = swept.is_full, _MAX_INTERVAL
                await self._handle(swept)
            except StoreError as error:
                longest = min(_MAX_RETRY, 2 * longest)
                _log.warning("The store was not swept: %s", error)
            except Exception:
                longest = _MAX_RETRY
                _log.exception("The store was not swept.")
            await asyncio.sleep(0 if is_full else self._rng.uniform(_MIN_INTERVAL, longest))

    async def _handle(self, swept: Swept) -> None:
        self._context.metrics.reclaimed.inc(swept.lapsed)
        for reason, count in swept.ended.items():
            if count:
                self._context.metrics.ended.labels(reason).inc(count)
        if swept.due or swept.lapsed:
            self._on_claimable()
        if swept.objects and self._context.objects is not None:
            try:
                await self._context.objects.delete(swept.objects)
            except ObjectStoreError as error:
                # They are found again among those that no task refers to.
                _log.warning("Objects of deleted tasks are left for later: %s", error)

    async def _delete_orphans(self, objects: ObjectStore) -> None:
        while True:
            await asyncio.sleep(_ORPHAN_INTERVAL * self._rng.uniform(0.5, 1.5))
            try:
                count = await delete_orphans(self._context, objects, _ORPHAN_AGE)
                if count:
                    _log.info("%d objects that no task referred to were deleted.", count)
            except (StoreError, ObjectStoreError) as error:
                _log.warning("Objects that no task refers to were not deleted: %s", error)
            except Exception:
                _log.exception("Objects that no task refers to were not deleted.")


async def delete_orphans(context: GatewayContext, objects: ObjectStore, age: float) -> int:
    """Delete the objects of at least `age` seconds that no task refers to; returns how many. Those
    of a task that is not over are kept. Raises StoreError, ObjectStoreError."""
    count = 0
    async for name in objects.older(age):
        if not await _is_in_use(context, name):
            await objects.delete([name])
            count += 1
    return count


async def _is_in_use(context: GatewayContext, name: str) -> bool:
    id = name.partition("/")[0]
    found = await context.store.find(id)
    if found is None:
        return False
    if not found.task.state.is_final:
        return True
    request = await context.store.read_request(id)
    response = await context.store.read_response(id)
    in_use = {request.object if request else "", response.body.object if response else ""}
    return name in in_use
