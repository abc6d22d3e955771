"""A limited number of places, given to the most urgent first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class SlotPool:
    """Places of which at most `limit` are taken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: list[tuple[Callable[[], int], asyncio.Future[None]]] = []

    @property
    def is_full(self) -> bool:
        return self._taken >= self._limit

    @asynccontextmanager
    async def slot(self, priority: Callable[[], int]) -> AsyncIterator[None]:
        """A place; waits for one. `priority` is called when one becomes free: that with the lowest
        number gets it, of equal ones that which has waited longest."""
        if self._taken < self._limit:
            self._taken += 1
        else:
            freed = asyncio.get_running_loop().create_future()
            self._waiting.append((priority, freed))
            try:
                await freed
            except asyncio.CancelledError:
                if freed.done() and not freed.cancelled():
                    self._release()
                self._waiting = [one for one in self._waiting if one[1] is not freed]
                raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        waiting = [one for one in self._waiting if not one[1].done()]
        if not waiting:
            self._waiting = []
            self._taken -= 1
            return
        _, freed = chosen = min(waiting, key=lambda one: one[0]())
        waiting.remove(chosen)
        self._waiting = waiting
        freed.set_result(None)
