"""Edit mode: the fields of an existing serving as inputs, with a save bar."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.geometry import Size
from textual.getters import query_one
from textual.timer import Timer

from servedeck.changes.draft_merge import moved_path, rebase_version
from servedeck.changes.draft_store import DraftFile
from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult
from servedeck.changes.edit.undo import UndoPoint
from servedeck.changes.edit_draft import EditDraft
from servedeck.changes.form_fields import applies, switch_of
from servedeck.cluster.apply import ObjectRef
from servedeck.detail.endpoint_try import (
    EndpointTarget,
    EndpointTryError,
    find_endpoint_target,
)
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.edit.changed_by import find_changed_by
from servedeck.serving.edit.differences import FieldDifference
from servedeck.serving.edit.merge import MergeConflict, Side
from servedeck.serving.objects.change import object_uid
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.owners import find_controller, find_gitops_owner
from servedeck.serving.objects.probe_text import PROBES_BY_FIELD, other_probe_text
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import format_count
from tui import status_text
from tui.action_tables.action import Action
from tui.actions import ACTIONS_BY_ID, scope_bindings
from tui.ports.change_service import ChangeService
from tui.ports.serving_source import SourceChanges
from tui.screens.create import steps
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.file_transfer import FileTransfer
from tui.screens.create.form_editor import FormEditor
from tui.screens.create.form_screen import INVENTORY_UPDATE_SECONDS, FormScreen
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.edit import edit_lines
from tui.screens.edit.edit_closing import EditClosing
from tui.screens.edit.probe_fields import ProbeFields
from tui.screens.edit.related_objects import find_related_changes
from tui.screens.edit.serving_follower import ServingFollower, is_replaced
from widgets.button_bar import BarButton, ButtonBar
from widgets.status_paragraphs import title_line
from widgets.styled_line import Line, fit_line, plain_text
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from tui.screens.edit.edit_dialog import EditDialog

MAX_SHOWN_CHANGES = 3
"""Changes of others, and lines of them, that are shown."""

MIN_WIDTH_OF_BUTTON = 60
"""Cells of a terminal in which the save bar has a button beside its keys."""

MIN_HEIGHT_OF_BANNER = 16
"""Lines of a terminal in which the banner and the save bar may take more than one."""


class EditResult(NamedTuple):
    """What was saved when the screen closed."""

    message: str
    style_name: str = "ready"
    undo: UndoPoint | None = None
    restarts_pods: bool = False


class EditScreen(FormScreen[EditResult | None]):
    """The form of one serving. While it is open, it follows the serving: what others change is
    shown at once, and merged where only one side changed a field.

    An installed screen can be opened again, which takes a fraction of the time of mounting another
    one. While it is closed, it watches, requests and paints nothing.
    """

    SCOPE = "edit"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Over the focused widget, as in the create form.
        *(replace(one, priority=True) for one in scope_bindings("edit", "form")),
        *(one for one in scope_bindings("app") if one.id not in ("app.command", "app.help")),
    ]
    title_view = query_one("#serving-title", StatusLine)
    banner = query_one("#banner", StatusLine)
    save_bar = query_one("#save-bar", StatusLine)
    button_bar = query_one(ButtonBar)

    def __init__(self, change_service: ChangeService) -> None:
        """It edits nothing until `open` is called."""
        super().__init__()
        self._change_service = change_service
        self._files = FileTransfer(
            ask=lambda dialog, on_path: self.app.push_screen(dialog, on_path),
            start_worker=lambda work, label: self.start_worker(work, "file", busy_label=label),
            show_message=self.show_message,
        )
        self._view: ServingView | None = None
        """The serving as it was last; None before the first one is opened."""
        self._inventory_ticker: Timer | None = None
        """None before it is mounted."""
        self._is_watching = False
        nothing = import_objects(())
        self.edit = EditDraft(nothing.spec)
        self.form = FormView(self.edit.draft)
        self.form.step = steps.EDIT_STEP
        self.form.masks_texts = True
        self.form.extra_note = self._field_note
        self._begin(NamespacedName("", ""), nothing, None)

    def open(
        self,
        view: ServingView,
        read: ImportedServing,
        *,
        edit: EditDraft | None = None,
        draft_file: DraftFile | None = None,
        find_obstacle: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Edit a serving: the screen is shown after this, for the first time or again. `read` is
        the serving as it is now; `edit` a saved draft on top of it. `find_obstacle` is asked before
        it is saved why it must not be, in a sentence, "" if it may."""
        self._view = view
        self.edit = edit or EditDraft(read.spec, read.mounts)
        self.form.reset(self.edit.draft)
        self._begin(view.key, read, draft_file, find_obstacle)
        if self._inventory_ticker is not None:
            self._reveal = False
            self.clear_message()
            self._show()

    def begin_at(self, field: str, texts: Mapping[str, str]) -> None:
        """Type texts into fields, by their paths, and put the cursor on a field, or on the switch
        on which it depends; "" leaves it where it is. To be called after `open`."""
        draft = self.edit.draft
        for path, text in texts.items():
            draft.texts[path] = text
            self._edited.record_change(path)
        if field:
            draft.focused_field = field if applies(field, draft.texts) else switch_of(field)
        if (field or texts) and self._inventory_ticker is not None:
            self._show()

    def shows(self, read: ImportedServing) -> bool:
        """Whether it was opened with this, and not shown since: then it need not be opened
        again."""
        return self._follower.read is read and not self._was_shown

    def _begin(
        self,
        key: NamespacedName,
        read: ImportedServing,
        draft_file: DraftFile | None,
        find_obstacle: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Make what belongs to the edit of one serving."""
        self.key = key
        self._was_shown = False
        """Whether it was shown since it was opened."""
        self._dialog: EditDialog | None = None
        """The dialog with the plan, while it is open."""
        self._others: list[str] = []
        """What others have changed since the form was opened, in words, the latest last."""
        self._is_deleted = False
        self._find_obstacle = find_obstacle
        self._wanted: ServingSpec | None = None
        self._issues: Sequence[Issue] = ()
        self.differences: tuple[FieldDifference, ...] = ()
        self._unread_count = 0
        """Number of changed fields that cannot be read yet."""
        self._unwritten: Mapping[str, JsonObject] = {}
        """As of an `Edit`: what the last save did not write."""
        self._admitted: set[MergeConflict] = set()
        """What admission made of values that were sent."""
        self._follower = ServingFollower(
            key,
            read,
            self._change_service,
            get_deployment=lambda: self.app_context.source.fleet.deployment(key),
            watch_objects=lambda query, on_change: self.app_context.detail_service.watch_objects(
                query, on_change
            ),
            start_worker=lambda work: self.start_worker(work, "read"),
            # Handled as a message of the screen, so that keys wait for it.
            on_read=lambda now: self.call_later(self.take_over, now),
            on_error=lambda text: self.show_message(text, "error"),
        )
        self._probe_fields = ProbeFields(
            get_text=lambda name: self.edit.draft.texts.get(name, ""),
            set_text=self._enter_text,
            find_error=lambda name: next(
                (one.message for one in errors(self._issues) if one.field == name), ""
            ),
            find_target=self._find_endpoint_target,
            try_endpoint=lambda target, path: self.app_context.detail_service.try_endpoint(
                target, path
            ),
            last_starts=lambda: self.app_context.history.starts.durations(
                self._view.uid if self._view is not None else ""
            ),
            find_other_probe=lambda name: other_probe_text(
                self._follower.read.objects.container, name
            ),
            start_worker=lambda work, name: self.start_worker(work, f"probe {name}"),
            on_change=self._show_probe_field,
        )
        draft = self.edit.draft
        draft.step = steps.EDIT_STEP
        self.inventory_watch = InventoryWatch(self._change_service.watch_inventory)
        self.autosave = DraftAutosave(
            draft,
            lambda: self._change_service.edit_draft_store(key),
            draft_file,
            lambda problem: self.show_message(problem, "warning"),
        )
        self._edited = EditedDraft(draft, self.autosave, self._on_validated, self._validate)
        self._editor = FormEditor(
            self.form,
            self._edited,
            self.inventory_watch,
            self._change_service,
            show_message=self.show_message,
            key_display=lambda action_id: self.app_context.key_display_for(action_id),
        )
        self._form_closing = EditClosing(
            key,
            self.autosave,
            ask=lambda dialog, on_answer: self.app.push_screen(dialog, on_answer),
            start_worker=lambda work, label: self.start_worker(work, "leave", busy_label=label),
            show_message=self.show_message,
            close_form=self._close_form,
        )

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="serving-title")
        yield StatusLine(id="banner")
        yield self.form
        with Horizontal(id="save-row"):
            yield StatusLine(id="save-bar")
            yield ButtonBar(id="buttons")
        yield StatusLine(id="field-help")

    def on_mount(self) -> None:
        super().on_mount()
        self.button_bar.can_focus = False  # a click leaves the focus in its field
        self._inventory_ticker = self.set_interval(
            INVENTORY_UPDATE_SECONDS, lambda: self._editor.update_inventory(), pause=True
        )
        if self._view is not None:
            self._show()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        # Textual calls that of the base class too.
        if not self._was_shown:
            self._was_shown = True
            self._update_serving()
            self.call_after_refresh(self._start_watches)  # the first paint does not wait for them

    def _show(self) -> None:
        """Show the serving that was opened."""
        self._update_serving()
        self.form.touched |= set(self.edit.changed_paths)
        self._editor.show_step(steps.EDIT_STEP, self.edit.draft.focused_field)
        self.handle_draft_change()
        self.update_field_help(self._focused_path())

    def _update_serving(self) -> None:
        """Show the serving's status in the title, and who manages it; it may have changed since the
        serving was read."""
        self._view = self.app_context.source.fleet.view(self.key) or self._view
        self._update_title()
        self._update_banner()

    def _start_watches(self) -> None:
        """Watch what the form needs of the cluster until it is closed."""
        if self._is_watching or self not in self.app.screen_stack:
            return
        self._is_watching = True
        self._editor.watch_inventory()
        self._follower.start()
        if self._inventory_ticker is not None:
            self._inventory_ticker.resume()

    def dismiss(self, result: EditResult | None = None) -> AwaitComplete:
        if self.is_active:
            self._end()
        return super().dismiss(result)

    def _end(self) -> None:
        """The form is closed: nothing goes on for its serving."""
        self._is_watching = False
        if self._inventory_ticker is not None:
            self._inventory_ticker.pause()
        self.workers.cancel_group(self, "read")
        for name in PROBES_BY_FIELD:
            self.workers.cancel_group(self, f"probe {name}")
        self.autosave.close()
        self.call_later(self.inventory_watch.close)
        self.call_later(self._follower.close)

    async def on_unmount(self) -> None:
        await self._follower.close()

    # -- the wanted serving -------------------------------------------------------------------

    def _validate(self) -> tuple[ServingSpec | None, Sequence[Issue]]:
        spec, issues = self.edit.validate()
        return spec, [*issues, *self._probe_fields.issues(spec)]

    def _on_validated(self, spec: ServingSpec | None, issues: Sequence[Issue]) -> None:
        self._wanted, self._issues = spec, issues
        shown, self._unread_count = (spec, 0) if spec is not None else self.edit.read_parts()
        self.differences = self.edit.differences(shown)

    @property
    def change_count(self) -> int:
        """Number of changes, with those that cannot be read yet."""
        return len(self.differences) + self._unread_count

    @property
    def conflicts(self) -> list[MergeConflict]:
        """Values that others have changed too, and that are not decided yet."""
        return self.edit.undecided(self._wanted)

    def handle_draft_change(self, path: str = "") -> None:
        self._keep_autoscaled_replicas()
        self.form.update_notes(path)
        self._update_save_bar()
        if self.edit.has_undecided:
            self._update_banner()
        self.update_footer()

    def _keep_autoscaled_replicas(self) -> None:
        """Take a change of the replicas that an autoscaler sets out of the edit: it would change
        them back. Stopping and starting have a key of their own."""
        autoscaler = self._view.autoscaler if self._view is not None else ""
        if not autoscaler or not self.edit.reset("replicas"):
            return
        self._edited.record_change("replicas")
        self.form.show_values("replicas")
        self._editor.validate()
        self.show_message(
            f"The autoscaler ({autoscaler}) sets the replicas; change its minimum and "
            "maximum instead.",
            "warning",
        )

    # -- what is shown ------------------------------------------------------------------------

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.query_one("#save-row").display = size.height >= 8
        self.title_view.styles.height = 1
        self.call_after_refresh(self._update_all_lines)

    def _update_all_lines(self) -> None:
        self._update_title()
        self._update_banner()
        self._update_save_bar()

    def _update_title(self) -> None:
        if self._view is None:
            return
        width = self.title_view.inner_width or self.app.size.width
        serving: Line = title_line(self._view)
        if self._is_deleted:
            serving = ((str(self.key), "strong"), ("  deleted", "error"))
        head: Line = ((" ", ""), ("Edit ", "accent"), *serving)
        source = self.app_context.source
        line = status_text.line_with_connection(head, source.state, width, source.context)
        if source.context in plain_text(line) and plain_text(head).rstrip() not in plain_text(line):
            line = status_text.line_with_connection(head, source.state, width)  # the context goes
        self.title_view.set_lines(line)

    def _update_banner(self) -> None:
        """What others have changed, and what is to be decided."""
        line = edit_lines.banner_line(
            self.edit,
            self.conflicts,
            self._others[-MAX_SHOWN_CHANGES:],
            self._owner_notice,
            is_deleted=self._is_deleted,
        )
        small = self.size.height < MIN_HEIGHT_OF_BANNER
        self.banner.set_text(line, max_lines=1 if small else MAX_SHOWN_CHANGES, indent=3)

    @property
    def _owner_notice(self) -> str:
        """Who manages the serving by a definition of its own and may take a change back."""
        deployment = self._follower.read.objects.deployment
        owner = find_gitops_owner(deployment) or find_controller(deployment)
        return owner.revert_warning if owner is not None else ""

    def _update_save_bar(self) -> None:
        has_changes = bool(self.change_count or self._unwritten)
        wide = self.app.size.width >= MIN_WIDTH_OF_BUTTON
        self.button_bar.set_buttons(
            [BarButton("edit.save", "Save Changes")] if has_changes and wide else []
        )
        width = self.app.size.width - self.button_bar.width_of_buttons
        lines = edit_lines.save_bar_lines(
            self.change_count,
            self.differences,
            self.form.shown_issues,
            width,
            is_partly_saved=bool(self._unwritten),
            save_key=self.app_context.key_display_for("edit.save"),
            close_key=self.app_context.key_display_for("edit.close"),
        )
        if self.app.size.height < MIN_HEIGHT_OF_BANNER:
            del lines[1:]
        self.save_bar.styles.height = len(lines)
        self.save_bar.set_lines(*(fit_line(one, width) for one in lines))

    async def on_button_bar_pressed(self, message: ButtonBar.Pressed) -> None:
        await self.action_do(message.action)

    def _field_note(self, path: str) -> Line:
        """What a changed field was before, and who else sets it."""
        key = self.app_context.key_display_for("edit.reset")
        note = edit_lines.note_line(self.edit, path, key, reveal=self._reveal)
        autoscaler = self._view.autoscaler if self._view is not None else ""
        if path == "replicas" and autoscaler:
            owner = f"set by the autoscaler ({autoscaler})"
            note = (*note, *((("  ", ""),) if note else ()), (owner, "warning"))
        if probe_note := self._probe_fields.note(path):
            note = (*note, *((("  ", ""),) if note else ()), *probe_note)
        return note

    # -- probes -------------------------------------------------------------------------------

    def _find_endpoint_target(self, name: str) -> EndpointTarget:
        """Where the endpoint of a field is tried. Raises EndpointTryError."""
        read = self._follower.read
        view = self.app_context.source.fleet.view(self.key)
        if view is None:
            raise EndpointTryError("The serving was deleted; there is no Pod to try it on.")
        return find_endpoint_target(name, view, read.objects, read.spec)

    def _enter_text(self, name: str, text: str) -> None:
        self._edited.undo_history.end_typing()  # it is undone alone
        self.form.select_value(name, text)

    def _show_probe_field(self, name: str) -> None:
        """More is known about a field of a probe."""
        self.form.touched.add(name)
        self._editor.validate()
        self.handle_draft_change(name)

    # -- what others change ---------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        if self.key not in changes.keys and not changes.state_changed:
            return
        view = self.app_context.source.fleet.view(self.key)
        if view is not None:
            before, self._view = self._view, view
            if before is None or view.autoscaler != before.autoscaler:
                self.handle_draft_change()
        # Nothing is known of a serving while the list is incomplete.
        is_complete = self.app_context.source.state.phase.name == "LIVE"
        if view is not None or is_complete:
            self._is_deleted = view is None
        self._update_title()
        self._update_banner()
        self.update_footer()
        self._follower.read_if_changed()

    async def take_over(self, read: ImportedServing) -> None:
        """Others have changed the serving: show it, merge it, and note conflicts."""
        await self.form.flush_typed_text()
        before = self._follower.advance(read)
        if before is None:
            return  # an answer that was overtaken
        if is_replaced(before, read):
            self._others.append("The serving was deleted and created again")
        self._others += edit_lines.find_others_changes(before, read)
        self._others += find_related_changes(before, read)
        self.edit.mounts = read.mounts
        if read.spec != self.edit.base:
            self._rebase(read.spec)
        self._update_banner()
        if self._dialog is not None:
            self._dialog.handle_read(read)
        self._follower.read_if_changed()

    def _rebase(self, spec: ServingSpec) -> None:
        """Move the form's changes on top of the serving as it is now."""
        path = self._focused_path()
        self._edited.record_change(path)  # what was typed last is a change of its own
        before, rows = self.edit.base_draft, copy.deepcopy(self.edit.draft.rows)
        if self._dialog is not None:
            self._admitted.update(self._dialog.admitted)
        self.edit.rebase(spec, self._admitted)
        now = self.edit.base_draft
        self._edited.undo_history.rebase(lambda version: rebase_version(version, before, now))
        self.form.show_values(moved_path(path, rows, self.edit.draft.rows))
        self._editor.validate()
        self.handle_draft_change()

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

    def in_footer(self, action: Action) -> bool:
        if action.name == "probe" and not self._probe_fields.handles(self._focused_path()):
            return False
        return super().in_footer(action)

    def label_for(self, action: Action) -> str:
        if action.name == "probe":
            return self._probe_fields.label(self._focused_path())
        return super().label_for(action)

    def disabled_reason(self, action: Action) -> str:
        if action.name == "probe":
            return self._probe_fields.disabled_reason(self._focused_path())
        if action.name == "reset" and not self.edit.is_changed(self._focused_path()):
            return edit_lines.unchanged_reason(self.edit, self._focused_path())
        if action.name == "save":
            return self._save_disabled_reason()
        return ""

    def _save_disabled_reason(self) -> str:
        if self._is_deleted:
            return "The serving was deleted; there is nothing to save to."
        if not (self.change_count or self._unwritten):
            return "Nothing is changed."
        return ""

    def do_next_field(self) -> None:
        if self.form.advance():
            self.form.move_focus(1)

    def do_reset(self) -> None:
        path = self._focused_path()
        if not self.edit.reset(path):
            return
        self._edited.undo_history.end_typing()  # it is undone alone
        self._edited.record_change(path)
        self._edited.undo_history.end_typing()
        self.form.rebuild(path, path.rpartition(".")[0])
        self._editor.validate()
        self.handle_draft_change()

    def do_probe(self) -> None:
        self._probe_fields.run(self._focused_path())

    def do_reveal(self) -> None:
        super().do_reveal()
        self.form.update_notes()

    async def do_save(self) -> None:
        """Plan the change; what is wrong is shown at its field first."""
        self._editor.validate()
        self.form.mark_all_touched()
        self._update_save_bar()
        wrong = errors(self._issues)
        if self._wanted is None or wrong:
            first = wrong[0]
            self.form.focus_path(first.field)
            self.show_message(
                f"Not saved, {format_count(len(wrong), 'error')}: {first.message}", "warning"
            )
            return
        if not (self.differences or self._unwritten):
            self.show_message("Nothing is changed.")
            return
        self._decide_next()

    def _decide_next(self) -> None:
        """Let the operator decide the first conflict; without one, plan the change."""
        if conflicts := self.conflicts:
            self._ask(conflicts[0])
            return
        self._start_watches()  # a key may be faster than the first paint
        inventory = self.inventory_watch.inventory
        if inventory is None or self._wanted is None:
            self.show_message("Not connected to the API server yet; the form is kept.", "warning")
            return
        from tui.screens.edit.edit_dialog import EditDialog

        edit = Edit(
            self._follower.read,
            self._wanted,
            unwritten=self._unwritten,
            warnings=tuple(self._probe_fields.issues(self._wanted)),
        )
        self._dialog = dialog = EditDialog(
            self.key, edit, self._change_service, inventory, find_obstacle=self._find_obstacle
        )

        async def on_closed(result: SaveResult | EditPlan | None) -> None:
            self._dialog = None
            self._unwritten = dialog.edit.unwritten
            self._admitted.update(dialog.admitted)
            await self._on_dialog_closed(result)
            await dialog.quit_if_requested()

        self.app.push_screen(dialog, on_closed)

    def _ask(self, conflict: MergeConflict) -> None:
        """Let the operator decide a conflict."""
        read = self._follower.read
        managers = find_changed_by(read, replace(read, spec=self.edit.began), conflict.path)
        dialog = edit_lines.conflict_dialog(self.edit, conflict, managers, self.app_context.clock())

        async def on_answer(answer: str | None) -> None:
            await self._decide(conflict, answer or "")

        self.app.push_screen(dialog, on_answer)

    async def _decide(self, conflict: MergeConflict, answer: str) -> None:
        if not answer:
            return
        if conflict not in self.conflicts:
            # It was changed again while the question was open.
            await self.do_save()
            return
        self.edit.decide(conflict, Side.THEIRS if answer == "t" else Side.MINE)
        self._edited.record_change()
        if answer == "t":
            self.form.show_values(self._focused_path())
            self._editor.validate()
        self.autosave.schedule()
        self.handle_draft_change()
        self._update_banner()
        if self.change_count:
            await self.do_save()
        else:
            self.show_message("Nothing is changed any more.")

    async def _on_dialog_closed(self, result: SaveResult | EditPlan | None) -> None:
        if isinstance(result, EditPlan):
            await self.take_over(result.current)
            await self.do_save()
        elif result is not None:
            await self.autosave.delete_draft()
            restarts = result.plan.replaces_pods
            self.dismiss(EditResult(result.message, "ready", result.undo, restarts))
        else:
            self._update_save_bar()
            self.update_footer()

    # -- closing ------------------------------------------------------------------------------

    def do_close(self) -> None:
        self._form_closing.close(self._unsaved_count, is_deleted=self._is_deleted)

    def _close_form(self, text: str) -> None:
        """Close it with a sentence, "" for none. What the last save did not write is known to this
        form alone: then that is the sentence."""
        rest = [
            one for one in self._follower.read.objects.all if object_uid(one) in self._unwritten
        ]
        if text:
            self.dismiss(EditResult(text, ""))
        elif rest and not self._unsaved_count:
            names = " and ".join(str(ObjectRef.from_manifest(one)) for one in rest)
            text = f"{names} was not saved with the last change; correct it with kubectl edit."
            self.dismiss(EditResult(text, "warning"))
        else:
            self.dismiss()

    @property
    def _unsaved_count(self) -> int:
        """Number of changes that would be lost."""
        return max(self.change_count, self.edit.unsaved_count)

    async def exit_blocker(self) -> str:
        await self.form.flush_typed_text()
        quit_key = self.app_context.key_display_for("app.quit")
        return await self._form_closing.exit_blocker(self._unsaved_count, quit_key)

    def exit_notice(self) -> str:
        edit_key = self.app_context.key_display_for("servings.edit")
        return self._form_closing.exit_notice(self._unsaved_count, edit_key)
