"""Closing the create form: the draft is saved, discarded, or deployed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence

from servedeck.cluster.apply import AppliedObject
from servedeck.fleet.views import NamespacedName
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create.draft_autosave import NOT_KEPT, DraftAutosave


class FormClosing:
    """Asks what happens to the draft, and closes the form."""

    def __init__(
        self,
        autosave: DraftAutosave,
        *,
        ask: Callable[[ConfirmDialog, Callable[[str | None], None]], object],
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        show_message: Callable[[str, str, float], None],
        close_form: Callable[[NamespacedName | None], object],
        quit_app: Callable[[str], Awaitable[None]],
    ) -> None:
        """`ask` shows the dialog and calls its second argument with the answer; `start_worker` runs
        a coroutine in the background, with a label; `show_message` takes a sentence, a style name
        and seconds; `close_form` takes the serving that was deployed, None for none;
        `quit_app` takes the last sentence of the program, "" for the usual one."""
        self._autosave = autosave
        self._ask = ask
        self._start_worker = start_worker
        self._show_message = show_message
        self._close_form = close_form
        self._quit_app = quit_app
        self._quit_after_write = False
        """Whether quitting was requested while something was written to the cluster."""

    def ask_and_close(self, created: Sequence[AppliedObject]) -> None:
        """Ask whether to save or to discard the draft; `created` is what stays in the cluster."""
        lines = ["The draft is kept until you deploy or discard it."]
        if created:
            lines.insert(0, f"{names(created)} of the unfinished attempt stays in the cluster.")
        dialog = ConfirmDialog(
            "Close the form?",
            lines,
            [
                DialogOption("k", "Keep editing"),
                DialogOption("s", "Save draft and close", "n on the list opens the draft again"),
                DialogOption("d", "Discard", "delete the draft"),
            ],
        )
        self._ask(dialog, self._on_answer)

    def _on_answer(self, answer: str | None) -> None:
        if answer == "s":
            self._start_worker(self._save_and_close(), "Saving the draft")
        elif answer == "d":
            self._start_worker(self._discard_and_close(), "Deleting the draft")

    async def _save_and_close(self) -> None:
        if problem := await self._autosave.save_now():
            self._show_message(f"{problem} Keep editing, or save it as YAML.", "error", 20)
        else:
            self._autosave.close()  # before the list can offer the drafts
            self._close_form(None)

    async def _discard_and_close(self) -> None:
        await self._autosave.delete_draft()
        self._close_form(None)

    async def close_deployed(self, key: NamespacedName) -> None:
        """The draft was deployed as the serving `key`."""
        await self._autosave.delete_draft()
        self._close_form(key)
        if self._quit_after_write:
            await self._quit_app(f"{key} was created.")

    async def handle_write_ended(self, *, succeeded: bool) -> None:
        """Deploying was rejected, or what it created was removed."""
        wanted, self._quit_after_write = self._quit_after_write, False
        if wanted and succeeded:  # otherwise the rejection must be read first
            await self._quit_app("")

    # -- quitting -------------------------------------------------------------------------------

    async def exit_blocker(self, pending_write: str, quit_key: str, save_key: str) -> str:
        """Why the program should not exit yet, in a sentence; "" if it may."""
        if pending_write:
            self._quit_after_write = True
            return f"{pending_write}: it is finished first; press {quit_key} again to quit at once."
        if problem := await self._autosave.save_now():
            return (
                f"{problem} {save_key} saves it as YAML; press {quit_key} again to quit without it."
            )
        return ""

    def exit_notice(self, pending_write: str, created: Sequence[AppliedObject]) -> str:
        """What the operator must know when the program exits now, "" for nothing."""
        if pending_write:
            known = f"created: {names(created)}" if created else "no object was confirmed"
            draft = "saved as a draft; n opens it again."
            if self._autosave.is_temporary:
                draft = NOT_KEPT
            return f"{pending_write} was not finished: {known}. The form is {draft}"
        if self._autosave.is_saved:
            draft = "saved as a draft; n in servedeck opens it again."
            return f"The form is {NOT_KEPT if self._autosave.is_temporary else draft}"
        return ""


def names(created: Sequence[AppliedObject]) -> str:
    return ", ".join(str(one.ref) for one in created)
