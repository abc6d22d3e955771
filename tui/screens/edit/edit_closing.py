"""Closing the form of an existing serving: its changes are kept as a draft, or discarded."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import format_count
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create.draft_autosave import NOT_KEPT, DraftAutosave


class EditClosing:
    """Asks what happens to the changes, and closes the form."""

    def __init__(
        self,
        key: NamespacedName,
        autosave: DraftAutosave,
        *,
        ask: Callable[[ConfirmDialog, Callable[[str | None], None]], object],
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        show_message: Callable[[str, str, float], None],
        close_form: Callable[[str], object],
    ) -> None:
        """`ask` shows the dialog and calls its second argument with the answer; `start_worker` runs
        a coroutine in the background, with a label; `show_message` takes a sentence, a style name
        and seconds; `close_form` takes a sentence that is shown then, "" for none."""
        self._key = key
        self._autosave = autosave
        self._ask = ask
        self._start_worker = start_worker
        self._show_message = show_message
        self._close_form = close_form

    def close(self, change_count: int, *, is_deleted: bool = False) -> None:
        """Close the form; with changes, ask what happens to them. `is_deleted` if there is no
        serving to edit any more."""
        if not change_count:
            self._start_worker(self._discard(), "Closing the form")
            return
        what = format_count(change_count, "unsaved change")
        when = "when this name is created again" if is_deleted else "when you edit this serving"
        dialog = ConfirmDialog(
            "Leave the form?",
            [f"It has {what}."],
            [
                DialogOption("k", "Keep editing"),
                DialogOption("s", "Save draft and close", f"offered again {when}"),
                DialogOption("d", "Discard", "the changes are lost"),
            ],
        )
        self._ask(dialog, self._on_answer)

    def _on_answer(self, answer: str | None) -> None:
        if answer == "s":
            self._start_worker(self._keep_draft(), "Saving the draft")
        elif answer == "d":
            self._start_worker(self._discard(), "Deleting the draft")

    async def _keep_draft(self) -> None:
        if problem := await self._autosave.save_now():
            self._show_message(f"{problem} The form stays open.", "error", 20)
            return
        self._autosave.close()  # before it can be offered
        self._close_form(f"The draft of {self._key} is saved.")

    async def _discard(self) -> None:
        await self._autosave.delete_draft()
        self._close_form("")

    async def exit_blocker(self, change_count: int, quit_key: str) -> str:
        """Why the program should not exit yet, in a sentence; "" if it may."""
        if change_count and (problem := await self._autosave.save_now()):
            return f"{problem} Press {quit_key} again to quit without it."
        return ""

    def exit_notice(self, change_count: int, edit_key: str) -> str:
        """What the operator must know when the program exits now, "" for nothing."""
        if change_count and self._autosave.is_saved:
            draft = f"saved as a draft; {edit_key} offers it again."
            if self._autosave.is_temporary:
                draft = NOT_KEPT
            return f"The changes of {self._key} are {draft}"
        return ""
