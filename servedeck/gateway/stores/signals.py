"""Wakes those that wait for a change in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Signals:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watching(self, key: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of `key`. Enter it before the first look, and clear
        it before each, so that no change is missed."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[key]
            events.discard(event)
            if not events:
                del self._waiting[key]

    def notify(self, keys: Iterable[str]) -> None:
        if self._waiting:
            for key in keys:
                for event in self._waiting.get(key, ()):
                    event.set()

    def notify_all(self) -> None:
        self.notify(tuple(self._waiting))
