"""Saves a draft to disk while it is typed, so that it survives a closed terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import DraftFile, DraftStore

SAVE_DELAY = 0.4
"""Seconds after a key until the draft is saved; later keys within them are saved together."""

NOT_KEPT = "not kept: the drafts of the demo are deleted when it ends."
"""What becomes of a temporary draft, as the end of a sentence."""

WRITE_TIMEOUT = 2.0
"""Seconds until a disk that does not respond counts as failed."""


class DraftAutosave:
    """Saves versions of a draft one after the other; the last one is always saved."""

    def __init__(
        self,
        draft: Draft,
        get_draft_store: Callable[[], DraftStore | None],
        draft_file: DraftFile | None = None,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`draft_file` is the file of a saved draft; a new draft gets one with its first key.
        `on_error` is called with a sentence when a scheduled save fails."""
        self._draft = draft
        self._get_draft_store = get_draft_store
        self._draft_file = draft_file
        self._on_error = on_error
        self._last_written = self._dump()
        self._lock = asyncio.Lock()
        self._write_task: asyncio.Task[bool] | None = None
        self._deleted = False
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled_save: asyncio.Task[None] | None = None

    def schedule(self) -> None:
        """Save the draft shortly after the last key."""
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(SAVE_DELAY, self._start_save)

    def _start_save(self) -> None:
        self._cancel_scheduled()
        self._scheduled_save = asyncio.create_task(self._save_and_report())

    async def _save_and_report(self) -> None:
        if problem := await self.save():
            self._on_error(problem)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_scheduled(self) -> None:
        self._stop_timer()
        if self._scheduled_save is not None:
            self._scheduled_save.cancel()  # a write that has begun is finished
            self._scheduled_save = None

    async def save_now(self) -> str:
        """Save before the form closes; returns why that failed. The scheduled save is canceled, so
        that its message does not replace the caller's."""
        self._cancel_scheduled()
        return await self.save(required=True)

    def _ensure_draft_file(self) -> DraftFile | None:
        if self._draft_file is None and (store := self._get_draft_store()) is not None:
            self._draft_file = store.new_file()
        return self._draft_file

    def _dump(self) -> tuple[dict[str, Any], int, str]:
        return self._draft.to_dict(), self._draft.step, self._draft.focused_field

    def _needs_write(self, dump: tuple[dict[str, Any], int, str]) -> bool:
        """Whether there is something to save: an unchanged draft need not be saved, nor the
        position in it alone."""
        return dump[0] != self._last_written[0] or (
            self._draft_file is not None and dump != self._last_written
        )

    @property
    def is_saved(self) -> bool:
        """Whether the draft on disk is up to date."""
        return (
            not self._deleted
            and self._draft_file is not None
            and not self._needs_write(self._dump())
        )

    @property
    def is_temporary(self) -> bool:
        """Whether the draft is deleted when the program ends, as those of the demo are."""
        return self._draft_file is not None and self._draft_file.is_temporary

    async def save(self, *, required: bool = False) -> str:
        """Save the draft if it differs from the one on disk; returns why that failed, "" if it did
        not. While there is no file for it yet, that is reported only if it is `required`."""
        draft_file = None
        try:
            async with asyncio.timeout(WRITE_TIMEOUT), self._lock:
                if self._write_task is not None:  # a write that its save did not wait for
                    await asyncio.wait({self._write_task})
                dump = self._dump()
                if self._deleted or not self._needs_write(dump):
                    return ""
                if (draft_file := self._ensure_draft_file()) is None:
                    return (
                        "The draft cannot be saved: no API server was reached." if required else ""
                    )
                write = draft_file.prepare_write(self._draft.to_saved_dict())
                self._write_task = asyncio.create_task(asyncio.to_thread(write))
                self._write_task.add_done_callback(
                    lambda task: task.cancelled() or task.exception()
                )
                if await asyncio.shield(self._write_task):
                    self._last_written = dump
                return ""
        except TimeoutError:
            return "The draft is not saved yet: the disk does not respond."
        except OSError as error:
            assert draft_file is not None
            return f"The draft cannot be saved in {draft_file.path.parent}: {error.strerror}."

    def write_now(self) -> None:
        """Save at exit; errors are ignored, since nobody could read them."""
        dump = self._dump()
        if (
            not self._deleted
            and self._needs_write(dump)
            and (draft_file := self._ensure_draft_file()) is not None
        ):
            with suppress(OSError):
                draft_file.write(self._draft.to_saved_dict())
                self._last_written = dump

    def close(self) -> None:
        """Save it for the last time, and release it."""
        self._cancel_scheduled()
        self.write_now()
        if self._draft_file is not None:
            self._draft_file.release()

    async def delete_draft(self) -> None:
        """The draft was deployed or discarded."""
        async with self._lock:
            self._deleted = True
            if self._draft_file is not None:
                with suppress(OSError):  # it is offered again next time, and can be discarded then
                    await asyncio.to_thread(self._draft_file.delete)
