"""Edit mode: the fields of an existing serving as inputs, with a save bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one

from servedeck.changes.draft_store import DraftFile
from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult, UndoPoint
from servedeck.changes.edit_draft import EditDraft
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.edit.changed_by import find_changed_by
from servedeck.serving.edit.differences import (
    FieldDifference,
    entry_label,
    find_field_differences,
    format_entry,
)
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import MASK, format_count
from tui import status_text
from tui.actions import ACTIONS_BY_ID, Action, scope_bindings
from tui.ports.change_service import ChangeService
from tui.ports.serving_source import SourceChanges
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create import steps
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.file_transfer import FileTransfer
from tui.screens.create.form_editor import FormEditor
from tui.screens.create.form_screen import INVENTORY_UPDATE_SECONDS, FormScreen
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.create.review_text import is_masked
from widgets.form import SOURCE_KIND_NAMES, to_display
from widgets.status_paragraphs import title_line
from widgets.styled_line import Line, fit_line
from widgets.text_view import StatusLine


class EditResult(NamedTuple):
    """What was saved when the screen closed."""

    message: str
    style_name: str = "ready"
    undo: UndoPoint | None = None
    restarts_pods: bool = False


class EditScreen(FormScreen[EditResult | None]):
    """The form of one serving. While it is open, it follows the serving: what others change is
    shown at once, and merged where only one side changed a field."""

    SCOPE = "edit"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Over the focused widget, as in the create form.
        *(replace(one, priority=True) for one in scope_bindings("edit", "form")),
        *(one for one in scope_bindings("app") if one.id not in ("app.command", "app.help")),
    ]
    title_view = query_one("#serving-title", StatusLine)
    banner = query_one("#banner", StatusLine)
    save_bar = query_one("#save-bar", StatusLine)

    def __init__(
        self,
        view: ServingView,
        read: ImportedServing,
        change_service: ChangeService,
        *,
        edit: EditDraft | None = None,
        conflicts: Sequence[MergeConflict] = (),
        draft_file: DraftFile | None = None,
        message: str = "",
    ) -> None:
        """`read` is the serving as it is now; `edit` a saved draft on top of it, with the
        `conflicts` between the two; `message` is shown first."""
        super().__init__()
        self.key: NamespacedName = view.key
        self._view = view
        self._read = read
        """The serving as it was read last."""
        self._change_service = change_service
        self.edit = edit or EditDraft(read.spec)
        self.conflicts: list[MergeConflict] = list(conflicts)
        """Values that others have changed too, and that are not decided yet."""
        self._others: list[str] = []
        """What others have changed since the form was opened, in words, the latest last."""
        self._message = message
        self._is_deleted = False
        self._wanted: ServingSpec | None = None
        self._issues: Sequence[Issue] = ()
        self.differences: tuple[FieldDifference, ...] = ()
        self._update_base()
        draft = self.edit.draft
        draft.step = steps.EDIT_STEP
        self.inventory_watch = InventoryWatch(change_service.watch_inventory)
        self.autosave = DraftAutosave(
            draft,
            lambda: change_service.edit_draft_store(self.key),
            draft_file,
            lambda problem: self.show_message(problem, "warning"),
        )
        self._edited = EditedDraft(draft, self.autosave, self._on_validated, self.edit.validate)
        self.form = FormView(draft)
        self.form.step = steps.EDIT_STEP
        self.form.extra_note = self._field_note
        self._editor = FormEditor(
            self.form,
            self._edited,
            self.inventory_watch,
            change_service,
            show_message=self.show_message,
            key_display=lambda action_id: self.app_context.key_display_for(action_id),
        )
        self._files = FileTransfer(
            ask=lambda dialog, on_path: self.app.push_screen(dialog, on_path),
            start_worker=lambda work, label: self.start_worker(work, "file", busy_label=label),
            show_message=self.show_message,
        )

    def _update_base(self) -> None:
        """The draft's file has what was read, to find what was changed."""
        self.edit.draft.base = self.edit.base_draft

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="serving-title")
        yield StatusLine(id="banner")
        yield self.form
        yield StatusLine(id="save-bar")
        yield StatusLine(id="field-help")

    def on_mount(self) -> None:
        super().on_mount()
        self._editor.watch_inventory()
        self.set_interval(INVENTORY_UPDATE_SECONDS, self._editor.update_inventory)
        self.call_later(self._show_form)
        self._update_title()
        self._update_banner()
        if self._message:
            self.show_message(self._message, seconds=20)

    async def _show_form(self) -> None:
        await self._editor.show_step(steps.EDIT_STEP, self.edit.draft.focused_field)
        self.form.touched |= set(self.edit.changed_paths)
        self._editor.validate()
        self.handle_draft_change()
        self.update_field_help(self._focused_path())

    # -- the wanted serving -------------------------------------------------------------------

    def _on_validated(self, spec: ServingSpec | None, issues: Sequence[Issue]) -> None:
        self._wanted, self._issues = spec, issues
        self.differences = self.edit.differences(spec) if spec is not None else ()

    @property
    def change_count(self) -> int:
        """Number of changes; of a form with errors, of changed fields."""
        if self._wanted is not None:
            return len(self.differences)
        return len(self.edit.changed_paths)

    def handle_draft_change(self) -> None:
        self.form.update_notes()
        self._update_save_bar()

    # -- what is shown ------------------------------------------------------------------------

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.save_bar.display = size.height >= 8
        self.title_view.styles.height = 1
        self.call_after_refresh(self._update_all_lines)

    def _update_all_lines(self) -> None:
        self._update_title()
        self._update_banner()
        self._update_save_bar()

    def _update_title(self) -> None:
        width = self.title_view.inner_width or self.app.size.width
        head: Line = ((" ", ""), ("Edit ", "accent"), *title_line(self._view))
        source = self.app_context.source
        self.title_view.set_lines(
            status_text.line_with_connection(head, source.state, width, source.context)
        )

    def _update_banner(self) -> None:
        """What others have changed, and what is to be decided."""
        line: Line = ()
        if self._is_deleted:
            line = (
                (" ✗ ", "error"),
                ("The serving was deleted; the draft is kept until you discard it.", "error"),
            )
        elif self.conflicts:
            what = format_count(len(self.conflicts), "field")
            line = (
                (" ! ", "warning"),
                (f"Others changed {what} that you changed, too: ", "warning"),
                ("; ".join(self._describe_conflict(one) for one in self.conflicts), ""),
            )
        elif self._others:
            line = ((" · ", "accent"), ("; ".join(self._others[-3:]), ""))
        self.banner.set_text(line, max_lines=3, indent=3)

    def _describe_conflict(self, conflict: MergeConflict) -> str:
        label = entry_label(self.edit.base, conflict.path)
        now = format_entry(conflict.path, conflict.theirs)
        return f"{label} was {format_entry(conflict.path, conflict.base)}, is {now} now"

    def _update_save_bar(self) -> None:
        width = self.save_bar.inner_width or self.app.size.width
        count = self.change_count
        wrong = errors(self._issues)
        if not count:
            line: Line = ((" No changes", "muted"),)
        else:
            line = ((f" {format_count(count, 'change')}", "accent"), ("  ", ""))
            if wrong:
                line = (*line, (format_count(len(wrong), "error"), "error"), ("  ", ""))
            for at, one in enumerate(self.differences):
                line = (
                    *line,
                    ("  " if at else "", ""),
                    (f"{one.label} ", "muted"),
                    (one.old, ""),
                    (" → ", "muted"),
                    (one.new, "strong"),
                )
        self.save_bar.set_lines(fit_line(line, width))

    def _field_note(self, path: str) -> Line:
        """What a changed field was before; () for an unchanged one."""
        if not self.edit.is_changed(path):
            return ()
        key = self.app_context.key_display_for("edit.reset")
        before = self._base_text(path)
        text = f"was {before}" if before else "new"
        return ((text, "accent"), (f"  {key} resets", "muted"))

    def _base_text(self, path: str) -> str:
        """What a field, or the row of a list, was; "" for a new row."""
        row = self.edit.base_row(path)
        if row is None:
            return to_display(self.edit.base_text(path)) or "empty"
        if not row:
            return ""
        if "pvc" in row:
            how = ", read-only" if row["read_only"] == "true" else ""
            return f"{row['pvc']} at {to_display(row['mount_path'])}{how}"
        if row["source"]:
            return f"{SOURCE_KIND_NAMES.get(row['source'], '')} {row['ref']} key {row['key']}"
        return MASK if is_masked(row) and not self._reveal else to_display(row["value"]) or '""'

    # -- what others change ---------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key not in changes.keys and not changes.state_changed:
            return
        fleet = self.app_context.source.fleet
        view, deployment = fleet.view(self.key), fleet.deployment(self.key)
        if view is not None:
            self._view = view
        self._is_deleted = view is None
        self._update_title()
        self._update_banner()
        known = self._read.objects.deployment.get("metadata") or {}
        if deployment is not None and (
            deployment.metadata.uid != known.get("uid")
            or deployment.metadata.generation > known.get("generation", 0)
        ):
            self.start_worker(self._read_again(), "read")

    async def _read_again(self) -> None:
        try:
            read = await self._change_service.import_serving(self.key)
        except ClusterError as error:
            self.show_message(f"The serving changed and cannot be read: {error}", "error")
            return
        await self.form.flush_typed_text()
        await self.take_over(read)

    async def take_over(self, read: ImportedServing) -> None:
        """Others have changed the serving: show it, merge it, and note conflicts."""
        self._editor.validate()
        found = find_others_changes(self._read, read)
        self._read = read
        mine = self._wanted or self.edit.base
        merge = merge_fields(self.edit.base, mine, read.spec)
        keep = dict.fromkeys(merge.conflicts, Side.MINE)
        merged = merge_fields(self.edit.base, mine, read.spec, keep).spec
        self.conflicts = [
            *(
                one
                for one in self.conflicts
                if one.path not in {new.path for new in merge.conflicts}
            ),
            *merge.conflicts,
        ]
        self._others += found
        self.edit.set_base(read.spec, merged)
        self._update_base()
        self._edited.undo_history.forget()
        focused = self.form.focused_path
        await self.form.rebuild(focused)
        self._editor.validate()
        self.handle_draft_change()
        self.autosave.schedule()
        self._update_banner()

    # -- actions ------------------------------------------------------------------------------

    def help_key(self) -> str:
        return self.app_context.key_display_for("edit.help")

    def scopes(self) -> tuple[str, ...]:
        return ("edit", "form")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "do":
            return True
        if ACTIONS_BY_ID[str(parameters[0])].id == "form.edit_value":
            return self._focused_path().endswith(".name")
        return True

    def disabled_reason(self, action: Action) -> str:
        if action.name == "reset" and not self.edit.is_changed(self._focused_path()):
            return "The field under the cursor is unchanged."
        if action.name == "save":
            return self._save_disabled_reason()
        return ""

    def _save_disabled_reason(self) -> str:
        if self._is_deleted:
            return "The serving was deleted; there is nothing to save to."
        if not self.change_count:
            return "Nothing is changed."
        return ""

    async def do_next_field(self) -> None:
        if await self.form.advance():
            self.form.move_focus(1)

    async def do_reset(self) -> None:
        path = self._focused_path()
        if not self.edit.reset(path):
            return
        self._edited.record_change(path)
        await self.form.rebuild(path, path.rpartition(".")[0])
        self._editor.validate()
        self.handle_draft_change()

    def do_reveal(self) -> None:
        super().do_reveal()
        self.form.update_notes()

    async def do_save(self) -> None:
        """Plan the change; what is wrong is shown at its field first."""
        self._editor.validate()
        self.form.mark_all_touched()
        wrong = errors(self._issues)
        if self._wanted is None or wrong:
            first = wrong[0]
            self.form.focus_path(first.field)
            self.show_message(
                f"Not saved, {format_count(len(wrong), 'error')}: {first.message}", "warning"
            )
            return
        if not self.differences:
            self.show_message("Nothing is changed.")
            return
        self._decide_next()

    def _decide_next(self) -> None:
        """Let the operator decide the first conflict; without one, plan the change."""
        if self.conflicts:
            conflict = self.conflicts[0]
            label = entry_label(self.edit.base, conflict.path)
            base, theirs, mine = (
                format_entry(conflict.path, one)
                for one in (conflict.base, conflict.theirs, conflict.mine)
            )
            dialog = ConfirmDialog(
                f"{label} was changed by others, too",
                [f"When you began, it was {base}. Others made it {theirs}; you made it {mine}."],
                [DialogOption("m", "Keep mine", mine), DialogOption("t", "Take theirs", theirs)],
            )
            self.app.push_screen(dialog, self._on_conflict_answer)
            return
        inventory = self.inventory_watch.inventory
        if inventory is None or self._wanted is None:
            self.show_message("Not connected to the API server yet; the form is kept.", "warning")
            return
        from tui.screens.edit.edit_dialog import EditDialog

        edit = Edit(self._read, self._wanted)
        self.app.push_screen(
            EditDialog(self.key, edit, self._change_service, inventory), self._on_dialog_closed
        )

    async def _on_conflict_answer(self, answer: str | None) -> None:
        if not answer:
            return
        conflict = self.conflicts.pop(0)
        if answer == "t":
            self.edit.reset_value(conflict.path)
            self._edited.record_change()
            await self.form.rebuild(self.form.focused_path)
            self._editor.validate()
            self.handle_draft_change()
        self._update_banner()
        await self.do_save()

    async def _on_dialog_closed(self, result: SaveResult | EditPlan | None) -> None:
        if isinstance(result, EditPlan):
            await self.take_over(result.current)
            self._decide_next()
        elif result is not None:
            await self.autosave.delete_draft()
            restarts = result.plan.restarts_pods
            self.dismiss(EditResult(result.message, "ready", result.undo, restarts))

    # -- closing ------------------------------------------------------------------------------

    def do_close(self) -> None:
        if not self.edit.changed_paths:
            self.start_worker(self._discard(), "leave", busy_label="Deleting the draft")
            return
        what = format_count(self.change_count, "unsaved change")
        dialog = ConfirmDialog(
            "Leave the form?",
            [f"It has {what}. A draft is offered again when you edit this serving."],
            [
                DialogOption("k", "Keep editing"),
                DialogOption("s", "Save draft", "and close the form"),
                DialogOption("d", "Discard", "the changes are lost"),
            ],
        )
        self.app.push_screen(dialog, self._on_close_answer)

    def _on_close_answer(self, answer: str | None) -> None:
        if answer == "s":
            self.start_worker(self._keep_draft(), "leave", busy_label="Saving the draft")
        elif answer == "d":
            self.start_worker(self._discard(), "leave", busy_label="Deleting the draft")

    async def _keep_draft(self) -> None:
        if problem := await self.autosave.save_now():
            self.show_message(problem, "error", 20)
            return
        self.autosave.close()
        self.dismiss(EditResult(f"The draft of {self.key} is saved.", ""))

    async def _discard(self) -> None:
        await self.autosave.delete_draft()
        self.dismiss(None)

    async def exit_blocker(self) -> str:
        await self.form.flush_typed_text()
        if self.edit.changed_paths and (problem := await self.autosave.save_now()):
            return problem
        return ""

    def exit_notice(self) -> str:
        if self.edit.changed_paths and self.autosave.is_saved:
            return f"The changes of {self.key} are saved as a draft; e offers it again."
        return ""


def find_others_changes(before: ImportedServing, now: ImportedServing) -> list[str]:
    """What others have changed and who they are, each in a few words."""
    found: list[str] = []
    for one in find_field_differences(before.spec, now.spec):
        managers = find_changed_by(before, now, one.path)
        who = managers[0].name if managers else "Somebody else"
        found.append(f"{who} changed {one.label}: {one.old} → {one.new}")
    return found
