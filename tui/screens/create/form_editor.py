"""Edits a draft in the form of the first two steps: validation, undo, rows, the inventory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.changes.draft import DraftRow
from servedeck.changes.plan import ChangePlan
from servedeck.serving.objects.manifests import SystemVolume
from servedeck.serving.spec.env_file import parse_env
from tui.ports.change_service import ChangeService
from tui.screens.base import MESSAGE_SECONDS
from tui.screens.create import env_rows, steps
from tui.screens.create.draft_values import get_row, set_text
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.create.review_text import section_entries
from widgets.review_list import ReviewEntry

NOTE_FIELDS = ("memory", "settings.tensor_parallel_size", "template")
"""Fields whose values appear in the notes of other fields."""


def list_words(text: str) -> list[str]:
    """What was typed into a field that has words."""
    return text.replace(",", " ").split()


class FormEditor:
    """Keeps the form and the draft consistent."""

    def __init__(
        self,
        form: FormView,
        edited: EditedDraft,
        inventory_watch: InventoryWatch,
        change_service: ChangeService,
        *,
        show_message: Callable[[str, str, float], None],
        key_display: Callable[[str], str],
    ) -> None:
        """`show_message` takes a sentence, a style name and seconds; `key_display` returns the key
        of an action as it is shown."""
        self._form = form
        self._edited = edited
        self._inventory_watch = inventory_watch
        self._change_service = change_service
        self._show_message = show_message
        self._key_display = key_display
        self._draft = edited.draft

    def _notify(self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS) -> None:
        self._show_message(text, style_name, seconds)

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

    def review_entries(
        self, plan: ChangePlan | None, *, reveal: bool, width: int
    ) -> list[ReviewEntry]:
        """The review's sections, with the issues of the plan, or without one those of the draft."""
        return section_entries(
            self._draft,
            self.system_volumes(),
            plan.issues if plan is not None else self._edited.issues,
            reveal=reveal,
            width=width,
        )

    # -- steps ----------------------------------------------------------------------------------

    def show_step(self, step: int, focus: str = "", *fallbacks: str) -> None:
        """Show the fields of a step with their issues."""
        self._edited.validate()
        self.show_inventory()
        self._form.show_step(step, focus, *fallbacks)
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
        self._form.rebuild(*(one.field for one in wrong))
        self._form.set_issues(self._edited.issues)
        fields = "the field" if len(wrong) == 1 else f"{len(wrong)} fields"
        self._notify(f"Fix {fields} with errors to continue.", "warning")
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
        elif path == "image":
            self._form.update_notes(path)

    def undo(self) -> bool:
        """Undo the last change; False for none."""
        again = self._key_display("form.redo")
        path = self._edited.undo_history.undo()
        return self._show_restored(path, f"Undone; {again} redoes it.", "Nothing to undo.")

    def redo(self) -> bool:
        """Redo the last undone change; False for none."""
        path = self._edited.undo_history.redo()
        return self._show_restored(path, "Redone.", "Nothing to redo.")

    def _show_restored(self, path: str | None, message: str, empty_message: str) -> bool:
        """Show the step of the change at `path`; None for no change."""
        if path is None:
            self._notify(empty_message)
            return False
        self._edited.record_change(path)
        head = path.rsplit(".", 1)[0] if path.rsplit(".", 1)[-1].isdigit() else path
        step = self._draft.step
        if step != steps.EDIT_STEP:
            step = steps.step_of(path) if path else 1
        self.show_step(step, path, f"add.{head}")
        self._draft.step = self._form.step
        self._notify(message)
        return True

    def remove_row(self) -> None:
        """Remove the focused volume or variable."""
        removed = self._form.remove_row()
        back = self._key_display("form.undo")
        text = f"Removed {removed}; {back} undoes it." if removed else ""
        self._notify(text or "Only volumes and variables can be removed.")

    def change_source(self) -> None:
        """Take the focused variable's value from the next source."""
        row, _, _ = self._form.path.rpartition(".")
        texts = get_row(self._draft, row)
        if "source" not in texts or not row.startswith(("env.", "transformer.env.")):
            self._notify("Only a variable's value has a source.")
            return
        sentence = env_rows.cycle_source(texts)
        editor = "ref" if texts["source"] in ("secret", "config_map") else "value"
        self._rebuild_and_record(f"{row}.{editor}", row)
        self._notify(sentence)

    def focused_variable(self) -> str:
        """Path of the focused variable, "env.0"; "" where the focus is on something else, or on a
        line that could not be read."""
        row, _, _ = self._form.path.rpartition(".")
        texts = get_row(self._draft, row)
        is_variable = row.startswith(("env.", "transformer.env.")) and "source" in texts
        return row if is_variable and texts["source"] != "line" else ""

    def fill_variable(self, row: str, texts: DraftRow, source: str, name: str, key: str) -> None:
        """Take the variable's value from a key of an object; `texts` is the row as it was when the
        choice began. What was typed as a value stays in the row."""
        if get_row(self._draft, row) is not texts:
            self._notify("The variable has been changed meanwhile; choose again.", "warning")
            return
        texts.update(source=source, ref=name, key=key)
        self._rebuild_and_record(f"{row}.key", row)

    def add_word(self, path: str, word: str) -> None:
        """Append a chosen word to a field that has words."""
        words = list_words(self._draft.texts[path])
        if word not in words:
            set_text(self._draft, path, " ".join((*words, word)))
            self._rebuild_and_record(path, path)

    # -- pasted lines and env files -------------------------------------------------------------

    def paste_lines(self, field: str, text: str) -> None:
        """Several lines were pasted into a field of a variable."""
        row, _, name = field.rpartition(".")
        path, _, index = row.rpartition(".")
        texts = get_row(self._draft, row)
        if self._reject_oversized(text):
            return
        if name == "value" and texts["name"] and not parse_env(text).assignments:
            # Lines that are no variables, after a name, such as a certificate: they are the value.
            texts["value"] = text.strip("\r\n")
            self._rebuild_and_record(field, row)
            return
        self.import_lines(path, text, int(index))

    def import_lines(self, path: str, text: str, row_index: int | None = None) -> None:
        """Add variables from pasted lines or a file."""
        if self._reject_oversized(text):
            return
        result = env_rows.import_env(self._draft, path, text, row_index)
        rows = self._draft.rows[path]
        self._form.touched |= {f"{path}.{number}" for number in range(len(rows))}
        invalid = [index for index, row in enumerate(rows) if row["source"] == "line"]
        self._rebuild_and_record(f"{path}.{invalid[0]}" if invalid else f"add.{path}", path)
        self._notify(result.summary, "warning" if result.invalid_lines else "", 20)

    def _reject_oversized(self, text: str) -> bool:
        """Whether the lines are too many or too long for the form; a message says so."""
        reason = env_rows.oversized_reason(text)
        if reason:
            self._notify(reason, "warning", 20)
        return bool(reason)

    def _rebuild_and_record(self, focus: str, path: str) -> None:
        """Show rows that changed at `path`."""
        self._form.rebuild(focus)
        self._form.post_message(FormView.Changed(path))

    # -- help -----------------------------------------------------------------------------------

    def field_help(self, path: str) -> str:
        """The help of a field; "" if it is shown beside the field."""
        text = steps.field_help(path, self._draft)
        return "" if self._form.show_hint(path, text) else text
