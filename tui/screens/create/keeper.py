"""Keeps a draft on disk while it is written, so that it survives a closed terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from servedeck.deploy.draft import Draft, Shelf

PAUSE = 0.4
"""Seconds after a key until the draft is written; what is typed meanwhile is joined."""


class Keeper:
    """Writes dumps of a draft, one after the other, the last one for certain."""

    def __init__(self, draft: Draft, shelf: Callable[[], Shelf | None]) -> None:
        self._draft = draft
        self._shelf = shelf
        self._written: dict[str, Any] = draft.dump()  # what nobody changed need not be kept
        self._lock = asyncio.Lock()
        self._done = False

    async def save(self) -> str:
        """Write the draft where it is other than on disk; returns why it could not be, "" where it
        could."""
        async with self._lock:
            shelf, dump = self._shelf(), self._draft.dump()
            if self._done or shelf is None or dump == self._written:
                return ""
            try:
                await asyncio.to_thread(shelf.write, dump)
            except OSError as error:
                return f"The draft cannot be kept in {shelf.path.parent}: {error.strerror}."
            self._written = dump
            return ""

    def save_now(self) -> None:
        """Write it before the program ends; nobody could read what goes wrong."""
        shelf, dump = self._shelf(), self._draft.dump()
        if not self._done and shelf is not None and dump != self._written:
            try:
                shelf.write(dump)
            except OSError:
                return

    async def clear(self) -> None:
        """The draft was deployed or given up."""
        async with self._lock:
            self._done = True
            if (shelf := self._shelf()) is not None:
                try:
                    await asyncio.to_thread(shelf.clear)
                except OSError:
                    return  # it is offered again next time, and can be given up then
