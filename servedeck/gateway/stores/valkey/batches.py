"""Group commit: what comes while one batch is written is written together in the next."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from servedeck.gateway.stores.group_commit import (
    BATCH_INTERVAL_SECONDS,
    ENOUGH_ITEMS,
    CommitObserver,
    observe_nothing,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_ITEMS = 256
_MAX_BYTES = 8 << 20


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    size: int
    result: asyncio.Future[Result]


class Batches(Generic[Item, Result]):
    """One batch is written at a time. What comes alone, or one after the other, does not wait."""

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        observe: CommitObserver = observe_nothing,
    ) -> None:
        self._write = write
        self._observe = observe
        self._waiting: list[_Waiting[Item, Result]] = []
        self._writer: asyncio.Task[None] | None = None
        self._has_enough = asyncio.Event()
        self._next = -math.inf
        """When the next one may be written, by the loop's time."""

    async def add(self, item: Item, size: int) -> Result:
        """The result of `item`, of `size` bytes, or the error of its batch. It is written even if
        the caller is cancelled."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, size, result))
        if len(self._waiting) >= ENOUGH_ITEMS:
            self._has_enough.set()
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        return await result

    async def close(self) -> None:
        """Returns when all that was added is written or has failed."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await self._wait_for_more(self._next - loop.time())
                batch = self._take()
                self._next = loop.time() + BATCH_INTERVAL_SECONDS if len(batch) > 1 else -math.inf
                await self._write_batch(batch)
        except asyncio.CancelledError:
            for one in self._waiting:
                one.result.cancel()
            self._waiting = []
            raise
        finally:
            self._writer = None

    async def _wait_for_more(self, seconds: float) -> None:
        if seconds <= 0 or len(self._waiting) >= ENOUGH_ITEMS:
            return
        self._has_enough.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._has_enough.set)
        try:
            await self._has_enough.wait()
        finally:
            timer.cancel()

    def _take(self) -> list[_Waiting[Item, Result]]:
        size = count = 0
        for one in self._waiting[:_MAX_ITEMS]:
            size += one.size
            if count and size > _MAX_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _write_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        began = time.monotonic()
        try:
            results = await self._write([one.item for one in batch])
        except asyncio.CancelledError:
            for one in batch:
                one.result.cancel()
            raise
        except Exception as error:
            for one in batch:
                if not one.result.done():
                    # of its own for each: a caller's traceback is added to what it raises
                    one.result.set_exception(type(error)(*error.args))
            return
        self._observe(len(batch), time.monotonic() - began)
        for one, result in zip(batch, results, strict=True):
            if not one.result.done():
                one.result.set_result(result)
