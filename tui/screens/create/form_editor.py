"""Edits a draft in the form of the first two steps: validation, undo, rows, the inventory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.serving.objects.manifests import SystemVolume
from tui.ports.change_service import ChangeService
from tui.screens.create import steps
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch

NOTE_FIELDS = ("memory", "settings.tensor_parallel_size", "template")
"""Fields whose values appear in the notes of other fields."""


class FormEditor:
    """Keeps the form and the draft consistent."""

    def __init__(
        self,
        form: FormView,
        edited: EditedDraft,
        inventory_watch: InventoryWatch,
        change_service: ChangeService,
        *,
        show_message: Callable[[str, str], None],
        key_display: Callable[[str], str],
    ) -> None:
        """`show_message` takes a sentence and a style name; `key_display` returns the key of an
        action as it is shown."""
        self._form = form
        self._edited = edited
        self._inventory_watch = inventory_watch
        self._change_service = change_service
        self._show_message = show_message
        self._key_display = key_display
        self._draft = edited.draft

    def validate(self) -> None:
        """Validate the draft, and show the result in the form."""
        self._edited.validate()
        self._form.set_issues(self._edited.issues)

    # -- the cluster ----------------------------------------------------------------------------

    def watch_inventory(self) -> None:
        """Watch nodes, PVCs and namespaces as soon as there is a connection."""
        self._inventory_watch.start(self._draft.texts["namespace"])
        self.show_inventory()

    def update_inventory(self) -> bool:
        """Show what changed in the cluster; returns whether anything did."""
        if self._inventory_watch.inventory is None:
            self._inventory_watch.start(self._draft.texts["namespace"])
        namespace = self._change_service.namespace
        if self._draft.step == 1 and not self._draft.texts["namespace"] and namespace:
            self._form.select_value("namespace", namespace)  # it was opened before the connection
        changed = self._inventory_watch.take_change()
        if changed:
            self.show_inventory()
        return changed

    def show_inventory(self) -> None:
        self._form.set_inventory(self._inventory_watch.inventory, self.system_volumes())

    def system_volumes(self) -> Sequence[SystemVolume]:
        return self._edited.system_volumes(self._change_service.platform)

    # -- steps ----------------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "", *fallbacks: str) -> None:
        """Show the fields of a step with their issues."""
        self._edited.validate()
        self.show_inventory()
        await self._form.show_step(step, focus, *fallbacks)
        self._form.set_issues(self._edited.issues)

    async def complete_step(self, step: int) -> bool:
        """Whether the step has no errors; otherwise they are shown."""
        self.validate()
        self._form.mark_all_touched()
        self._form.remove_blank_rows()
        self._edited.validate()
        wrong = self._edited.errors_in_step(step)
        if not wrong:
            if step == 1:
                await self._inventory_watch.watch_namespace(self._draft.texts["namespace"])
            return True
        await self._form.rebuild(*(one.field for one in wrong))
        self._form.set_issues(self._edited.issues)
        fields = "the field" if len(wrong) == 1 else f"{len(wrong)} fields"
        self._show_message(f"Fix {fields} with errors to continue.", "warning")
        return False

    # -- changes --------------------------------------------------------------------------------

    def handle_focus(self, path: str) -> None:
        """The field at `path` has the focus."""
        self._edited.undo_history.end_typing()
        if self._draft.step != 3 and path != self._draft.focused_field:
            self._edited.move_to(self._draft.step, path)

    def handle_change(self, path: str) -> None:
        """The draft was changed at `path` in the form."""
        self._edited.record_change(path)
        if self._draft.step == 3:
            return  # a late message; the text was stored before the step changed
        self.validate()
        if path in NOTE_FIELDS:
            self.show_inventory()

    async def undo(self) -> bool:
        """Undo the last change; False for none."""
        again = self._key_display("form.redo")
        path = self._edited.undo_history.undo()
        return await self._show_restored(path, f"Undone; {again} redoes it.", "Nothing to undo.")

    async def redo(self) -> bool:
        """Redo the last undone change; False for none."""
        path = self._edited.undo_history.redo()
        return await self._show_restored(path, "Redone.", "Nothing to redo.")

    async def _show_restored(self, path: str | None, message: str, empty_message: str) -> bool:
        """Show the step of the change at `path`; None for no change."""
        if path is None:
            self._show_message(empty_message, "")
            return False
        self._edited.record_change(path)
        head = path.rsplit(".", 1)[0] if path.rsplit(".", 1)[-1].isdigit() else path
        await self.show_step(steps.step_of(path) if path else 1, path, f"add.{head}")
        self._draft.step = self._form.step
        self._show_message(message, "")
        return True

    async def remove_row(self) -> None:
        """Remove the focused volume or variable."""
        removed = await self._form.remove_row()
        back = self._key_display("form.undo")
        text = f"Removed {removed}; {back} undoes it." if removed else ""
        self._show_message(text or "Only volumes and variables can be removed.", "")

    async def change_source(self) -> None:
        """Take the focused variable's value from the next source."""
        text = await self._form.change_source()
        self._show_message(text or "Only a variable's value has a source.", "")
