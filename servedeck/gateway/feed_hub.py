"""One reader of the feed for everything in a process that waits for a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from servedeck.async_queue.tasks import FeedEvent
from servedeck.gateway.stores.store import FeedTrimmedError, StoreError, TaskStore

_READ_LIMIT = 1000
_READ_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_PAUSE_SECONDS = 0.01
"""After events: else each task that is accepted or ends is read by itself, which at 1,500 a second
costs a quarter of the gateway's time."""

_log = logging.getLogger(__name__)

Listener = Callable[[list[FeedEvent]], None]
"""Is given events in order; an empty list says that some may have been missed."""


class FeedHub:
    """Follows the feed from its present end while `run` runs and there is somebody to tell: a
    process that only accepts does not read what all others do."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._listeners: list[tuple[Listener, float]] = []
        """With the pause that each can bear."""
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._is_wanted = asyncio.Event()

    async def run(self) -> None:
        """Ends only when it is cancelled: while the store is away, it tries again."""
        cursor = ""
        while True:
            if not self._listeners and not self._watched:
                cursor = ""
                self._is_wanted.clear()
                await self._is_wanted.wait()
            try:
                if not cursor:
                    cursor = await self._store.feed_end()
                    self._publish([])
                events = await self._store.read_feed(cursor, _READ_LIMIT, _READ_SECONDS)
            except FeedTrimmedError:
                cursor = ""
                continue
            except StoreError as error:
                _log.debug("the feed cannot be read: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if events:
                cursor = events[-1].cursor
                self._publish(events)
                await asyncio.sleep(self._pause())

    @contextmanager
    def listening(self, listener: Listener, pause: float = _PAUSE_SECONDS) -> Iterator[None]:
        """Call it with all events. `pause`: seconds after a read that gave some for which it can
        wait for more; the shortest one of all listeners counts."""
        one = (listener, pause)
        self._listeners.append(one)
        self._is_wanted.set()
        try:
            yield
        finally:
            self._listeners.remove(one)

    @contextmanager
    def watching(self, id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the task may have changed. Enter it before the task is read,
        so that no change is missed; clear it before it is read again."""
        changed = asyncio.Event()
        self._watched.setdefault(id, set()).add(changed)
        self._is_wanted.set()
        try:
            yield changed
        finally:
            watching = self._watched[id]
            watching.discard(changed)
            if not watching:
                del self._watched[id]

    def _pause(self) -> float:
        if self._watched:
            return _PAUSE_SECONDS
        return min((pause for _, pause in self._listeners), default=_PAUSE_SECONDS)

    def _publish(self, events: list[FeedEvent]) -> None:
        if self._watched:
            ids = [one.id for one in events] if events else list(self._watched)
            for id in ids:
                for changed in self._watched.get(id, ()):
                    changed.set()
        for listener, _ in tuple(self._listeners):
            listener(events)
