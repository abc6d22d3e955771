"""Keeps a draft on disk while it is written, so that it survives a closed terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import Shelf, Slot

PAUSE = 0.4
"""Seconds after a key until the draft is written; what is typed meanwhile is joined."""

PATIENCE = 2.0
"""Seconds until a disk that does not answer counts as one that takes nothing."""


class Keeper:
    """Writes dumps of a draft, one after the other, the last one for certain."""

    def __init__(
        self, draft: Draft, shelf: Callable[[], Shelf | None], slot: Slot | None = None
    ) -> None:
        """`slot` is where the draft was left; one that is new gets a place with its first key."""
        self._draft = draft
        self._shelf = shelf
        self._slot = slot
        self._written = self._dump()
        self._lock = asyncio.Lock()
        self._writing: asyncio.Task[bool] | None = None
        self._done = False

    def _place(self) -> Slot | None:
        if self._slot is None and (shelf := self._shelf()) is not None:
            self._slot = shelf.slot()
        return self._slot

    def _dump(self) -> tuple[dict[str, Any], int, str]:
        return self._draft.dump(), self._draft.step, self._draft.field

    def _differs(self, dump: tuple[dict[str, Any], int, str]) -> bool:
        """Whether there is something to write: what nobody changed need not be kept, and where a
        form was left only says something of a draft that is."""
        return dump[0] != self._written[0] or (self._slot is not None and dump != self._written)

    @property
    def keeps(self) -> bool:
        """Whether the draft lies on disk as it is now."""
        return not self._done and self._slot is not None and not self._differs(self._dump())

    async def save(self, *, needed: bool = False) -> str:
        """Write the draft where it is other than on disk; returns why it could not be, "" where it
        could. While there is no place for it yet that is told only where it is `needed` now."""
        slot = None
        try:
            async with asyncio.timeout(PATIENCE), self._lock:
                if self._writing is not None:  # a write that its own save did not wait for
                    await asyncio.wait({self._writing})
                dump = self._dump()
                if self._done or not self._differs(dump):
                    return ""
                if (slot := self._place()) is None:
                    return "The draft cannot be kept: no API server was reached." if needed else ""
                write = slot.writer(self._draft.saved())
                self._writing = asyncio.create_task(asyncio.to_thread(write))
                self._writing.add_done_callback(lambda task: task.cancelled() or task.exception())
                if await asyncio.shield(self._writing):
                    self._written = dump
                return ""
        except TimeoutError:
            return "The draft is not kept yet: the disk does not answer."
        except OSError as error:
            assert slot is not None
            return f"The draft cannot be kept in {slot.path.parent}: {error.strerror}."

    def write(self) -> None:
        """Write it at once, the program ends; nobody could read what goes wrong."""
        dump = self._dump()
        if not self._done and self._differs(dump) and (slot := self._place()) is not None:
            with suppress(OSError):
                slot.write(self._draft.saved())
                self._written = dump

    def close(self) -> None:
        """Write it for the last time, and let others have it."""
        self.write()
        if self._slot is not None:
            self._slot.release()

    async def clear(self) -> None:
        """The draft was deployed or given up."""
        async with self._lock:
            self._done = True
            if self._slot is not None:
                with suppress(OSError):  # it is offered again next time, and can be given up then
                    await asyncio.to_thread(self._slot.clear)
