"""Changes of objects, a bounded log of them for each kind, and subscriptions to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from servedeck.demo.resources import Resource
from servedeck.demo.store.objects import Json


class StoreChange(NamedTuple):
    """One write. `object` is the new state, at DELETED the last state with the version of the
    deletion. `old` is the state before the write; None at ADDED."""

    type: str
    resource: Resource
    object: Json
    old: Json | None
    version: int


Listener = Callable[[StoreChange], None]


class ChangeLog:
    """The last changes of one kind; those up to `compacted_version` have been dropped."""

    def __init__(self, size: int, floor: int) -> None:
        self.changes: deque[StoreChange] = deque()
        self.capacity = size
        self.compacted_version = floor

    def append(self, change: StoreChange) -> None:
        self.changes.append(change)
        if len(self.changes) > self.capacity:
            self.compacted_version = self.changes.popleft().version


class Subscription:
    """A watch: the changes of one kind, or of all, in order. `overflowed`: the reader was too slow
    and has lost changes, so the watch must end."""

    MAX_PENDING = 20_000

    def __init__(
        self,
        resource: Resource | None,
        backlog: Iterable[StoreChange],
        forget: Callable[[Listener], None],
    ) -> None:
        self._unsubscribe = forget
        self.resource = resource
        self._pending: deque[StoreChange] = deque(backlog)
        self._available = asyncio.Event()
        self.overflowed = False

    def push(self, change: StoreChange) -> None:
        if len(self._pending) >= self.MAX_PENDING:
            self.overflowed = True
            self._pending.clear()
        if not self.overflowed:
            self._pending.append(change)
        self._available.set()

    async def next(self, limit: float | None = None) -> list[StoreChange]:
        """All pending changes; waits up to `limit` seconds for the first. [] after that time, and
        immediately where the subscription has overflowed."""
        if not self._pending and not self.overflowed:
            self._available.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._available.wait()
            except TimeoutError:
                return []
        changes = list(self._pending)
        self._pending.clear()
        return changes

    def close(self) -> None:
        self._unsubscribe(self.push)
