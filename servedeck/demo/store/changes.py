"""What happens to objects: changes, the history of a kind, and subscriptions to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from servedeck.demo.resources import Resource
from servedeck.demo.store.objects import Json


class Change(NamedTuple):
    """One write. `object` is the new state (at DELETED the last one, with the version of the
    deletion), `old` the state before it, None at ADDED."""

    type: str
    resource: Resource
    object: Json
    old: Json | None
    version: int


Listener = Callable[[Change], None]


class History:
    """The last changes of one kind. What happened at or before `floor` is forgotten."""

    def __init__(self, size: int, floor: int) -> None:
        self.changes: deque[Change] = deque()
        self.size = size
        self.floor = floor

    def add(self, change: Change) -> None:
        self.changes.append(change)
        if len(self.changes) > self.size:
            self.floor = self.changes.popleft().version


class Subscription:
    """A watch: changes of one kind, or of all, in order. `await next()` gives those that came
    since; `overflowed` says that the reader was too slow and has lost some: end the watch."""

    LIMIT = 20_000

    def __init__(
        self,
        resource: Resource | None,
        backlog: Iterable[Change],
        forget: Callable[[Listener], None],
    ) -> None:
        self._forget = forget
        self.resource = resource
        self._pending: deque[Change] = deque(backlog)
        self._news = asyncio.Event()
        self.overflowed = False

    def push(self, change: Change) -> None:
        if len(self._pending) >= self.LIMIT:
            self.overflowed = True
            self._pending.clear()
        if not self.overflowed:
            self._pending.append(change)
        self._news.set()

    async def next(self, limit: float | None = None) -> list[Change]:
        """Every change that waits; waits up to `limit` seconds for the first. [] at the end of
        that time, and at once when the subscription has overflowed."""
        if not self._pending and not self.overflowed:
            self._news.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._news.wait()
            except TimeoutError:
                return []
        changes = list(self._pending)
        self._pending.clear()
        return changes

    def close(self) -> None:
        self._forget(self.push)
