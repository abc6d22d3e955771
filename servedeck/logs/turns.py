"""Turns of tasks that process much data, so that not all of them run in one cycle of the event
loop: a key pressed meanwhile waits for one of them, not for eighty."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from servedeck.cluster.watch.debounce import MAX_HOLD_SECONDS

_HOLD_STEP_SECONDS = 0.005


class Turns:
    """Lets tasks pass in the order in which they come, in each cycle of the event loop as many as
    have no more than `bytes_per_cycle` to process, but at least one."""

    def __init__(
        self, bytes_per_cycle: int, *, is_held: Callable[[], bool] = lambda: False
    ) -> None:
        """While `is_held` returns true nothing passes, MAX_HOLD_SECONDS at most."""
        self._limit = bytes_per_cycle
        self._is_held = is_held
        self._held_since: float | None = None
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._is_scheduled = False

    async def wait(self, size: int) -> None:
        """Return when it is the caller's turn to process `size` bytes."""
        is_next = not self._waiting and (not self._used or self._used + size <= self._limit)
        if is_next and not self._must_wait():
            self._used += size
            self._schedule()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_cycle)

    def _begin_cycle(self) -> None:
        self._is_scheduled = False
        self._used = 0
        if self._waiting and self._must_wait():
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(_HOLD_STEP_SECONDS, self._begin_cycle)
            return
        while self._waiting and (not self._used or self._used + self._waiting[0][0] <= self._limit):
            size, turn = self._waiting.popleft()
            if not turn.done():  # it is cancelled with its task
                turn.set_result(None)
                self._used += size
        if self._used or self._waiting:
            self._schedule()

    def _must_wait(self) -> bool:
        if not self._is_held():
            self._held_since = None
            return False
        now = asyncio.get_running_loop().time()
        if self._held_since is None:
            self._held_since = now
        return now - self._held_since < MAX_HOLD_SECONDS
