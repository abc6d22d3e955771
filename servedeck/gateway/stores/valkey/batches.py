"""Group commit: what comes while one batch is written is written together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_ITEMS = 256
_MAX_BYTES = 8 << 20


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    size: int
    result: asyncio.Future[Result]


class Batches(Generic[Item, Result]):
    """One batch is written at a time, without a timer: an item that comes alone does not wait."""

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._write = write
        self._waiting: list[_Waiting[Item, Result]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: Item, size: int) -> Result:
        """The result of `item`, of `size` bytes, or the error of its batch. It is written even if
        the caller is cancelled."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, size, result))
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        return await result

    async def close(self) -> None:
        """Returns when all that was added is written or has failed."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _run(self) -> None:
        try:
            while batch := self._take():
                await self._write_batch(batch)
        finally:
            self._writer = None

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
        try:
            results = await self._write([one.item for one in batch])
        except asyncio.CancelledError:
            for one in (*batch, *self._waiting):
                one.result.cancel()
            self._waiting = []
            raise
        except Exception as error:
            for one in batch:
                if not one.result.done():
                    # of its own for each: a caller's traceback is added to what it raises
                    one.result.set_exception(type(error)(*error.args))
            return
        for one, result in zip(batch, results, strict=True):
            if not one.result.done():
                one.result.set_result(result)
