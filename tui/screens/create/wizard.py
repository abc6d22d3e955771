"""Creating a serving in three steps: basic information, detailed settings, review and deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.timer import Timer

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import DraftFile
from servedeck.fleet.views import NamespacedName
from servedeck.serving.spec.issues import errors
from servedeck.serving.text import format_count
from tui.actions import ACTIONS_BY_ID, Action, scope_bindings
from tui.ports.change_service import ChangeService
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create import field_options, steps
from tui.screens.create.draft_autosave import SAVE_DELAY, DraftAutosave
from tui.screens.create.form_view import FormView
from tui.screens.create.import_export import ImportExportScreen
from tui.screens.create.option_picker import OptionPicker
from tui.screens.create.review_text import REVIEW_VIEWS, DryRunResult
from tui.screens.create.undo_history import UndoHistory
from widgets.form_parts import FormButton
from widgets.review_list import ReviewList
from widgets.styled_line import Line, Span, align_left_right, wrap
from widgets.text_view import StatusLine

INVENTORY_UPDATE_SECONDS = 0.25
"""Seconds between two updates of nodes, PVCs and namespaces."""

DEPLOYING_MESSAGE = "Deployment is in progress; wait for its result."


class CreateScreen(ImportExportScreen):
    """The form. Its result is the key of the serving that was deployed, None for none."""

    SCOPE = "create"
    HAS_HELP = False
    """It has its own key for the help: the usual one is text here."""
    # Takes priority over the focused widget: text typed right after a key that moves the focus then
    # goes to the new focus, however fast it comes.
    BINDINGS: ClassVar[list[BindingType]] = [
        *(replace(one, priority=True) for one in scope_bindings("create", "form")),
        # Not the command line: it switches contexts, and letters are text here.
        *(
            one
            for one in scope_bindings("review", "app")
            if one.id not in ("app.command", "app.help")
        ),
    ]

    steps_bar = query_one("#steps", StatusLine)
    help_bar = query_one("#fieldhelp", StatusLine)

    def __init__(
        self,
        draft: Draft,
        change_service: ChangeService,
        not_copied: Sequence[str] = (),
        message: str = "",
        *,
        draft_file: DraftFile | None = None,
    ) -> None:
        """`not_copied` are sentences about what a clone does not copy; `message` is shown first;
        `draft_file` is the file of a saved draft."""
        super().__init__(draft, change_service, not_copied)
        self._initial_message = message
        self._initial_dump = draft.to_dict() if draft_file is None else None
        self._autosave = DraftAutosave(draft, lambda: change_service.draft_store, draft_file)
        self.undo_history = UndoHistory(draft)
        self._save_timer: Timer | None = None
        self._inventory_namespace = ""
        self._inventory_changed = False

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="steps")
        yield FormView(self.draft)
        yield ReviewList(id="review")
        yield StatusLine(id="fieldhelp")

    def on_mount(self) -> None:
        super().on_mount()
        self.review_list.display = False
        self.validate_draft()
        self.watch_inventory()
        self.set_interval(INVENTORY_UPDATE_SECONDS, self._update_inventory)
        self.form.set_inventory(self.inventory, self.get_system_volumes())
        self.call_later(self.show_step, self.draft.step, self.draft.focused_field)
        if self._initial_message:
            self.show_message(self._initial_message, seconds=20)

    def save_on_exit(self) -> None:
        self._autosave.write_now()

    async def on_unmount(self) -> None:
        self._autosave.close()
        if self.inventory is not None:
            around, self.inventory = self.inventory, None
            await around.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.help_bar.styles.height = 2 if size.height >= 16 else 1
        self.help_bar.display = size.height >= 10
        self.update_field_help(self._focused_path())
        self.update_review()

    # -- what surrounds it ----------------------------------------------------------------------

    def watch_inventory(self) -> None:
        """Watch nodes, PVCs and namespaces as soon as there is a connection."""
        namespace = self.draft.texts["namespace"]
        self.inventory = self.change_service.watch_inventory(namespace, self._on_inventory_changed)
        self._inventory_namespace = namespace
        self._inventory_changed = True

    def _on_inventory_changed(self) -> None:
        self._inventory_changed = True

    def _update_inventory(self) -> None:
        if self.inventory is None:
            self.watch_inventory()
        if self.step == 1 and not self.draft.texts["namespace"] and self.change_service.namespace:
            self.form.select_value(
                "namespace", self.change_service.namespace
            )  # it was opened before the connection
        if self._inventory_changed:
            self._inventory_changed = False
            self.form.set_inventory(self.inventory, self.get_system_volumes())
            self.update_scheduling()

    async def _watch_namespace_pvcs(self) -> None:
        """If PVCs can only be listed in one namespace, watch those of the chosen one."""
        namespace = self.draft.texts["namespace"]
        around = self.inventory
        if (
            around is None
            or namespace == self._inventory_namespace
            or around.pvcs(namespace) is not None
        ):
            return
        self.watch_inventory()
        await around.close()

    # -- steps ----------------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""
        self.step = self.draft.step = step
        self.draft.focused_field = focus
        self.schedule_save()
        reviews = step == 3
        self.form.display = not reviews
        self.review_list.display = reviews
        self.form.remove_blank_rows()
        if reviews:
            self.review_list.focus()
            self.start_dry_run()
        else:
            self.validate_draft()
            self.form.set_inventory(self.inventory, self.get_system_volumes())
            await self.form.show_step(step, focus)
            self.form.set_issues(self.issues)
        self._update_steps()
        self.update_field_help(self._focused_path())
        self.update_footer()

    async def do_next(self) -> None:
        if self.step == 3:
            self.show_message("This is the last step; ctrl+s deploys.")
            return
        self.validate_draft()
        self.form.set_issues(self.issues)
        self.form.mark_all_touched()
        self.form.remove_blank_rows()
        self.validate_draft()
        wrong = [one for one in errors(self.issues) if steps.step_of(one.field) == self.step]
        if not wrong:
            if self.step == 1:
                await self._watch_namespace_pvcs()
            await self.show_step(self.step + 1)
            return
        await self.form.rebuild(*(one.field for one in wrong))
        self.form.set_issues(self.issues)
        fields = "the field" if len(wrong) == 1 else f"{len(wrong)} fields"
        self.show_message(f"Fix {fields} with errors to continue.", "warning")

    async def do_previous(self) -> None:
        if self.step > 1:
            await self.show_step(self.step - 1)
        else:
            self.show_message("This is the first step; esc closes the form.")

    async def do_next_field(self) -> None:
        if await self.form.advance():
            await self.do_next()

    def do_assign(self) -> None:
        self.form.move_focus(1)

    async def edit_field(self, path: str) -> None:
        """Go from the review to a field."""
        self.form.touched.add(path)
        await self.show_step(steps.step_of(path), path)

    async def do_edit(self) -> None:
        if path := self.review_list.path:
            await self.edit_field(path)
        else:
            self.show_message("Choose a line with the arrows, or a section by its digit.")

    async def do_section(self, digit: str) -> None:
        sections = steps.review_sections(self.draft)
        if int(digit) <= len(sections):
            path = sections[int(digit) - 1].paths[0]
            path = f"add.{path}" if path in self.draft.rows and not self.draft.rows[path] else path
            await self.edit_field(path)
        else:
            self.show_message(f"The review has {len(sections)} sections.", "warning")

    async def on_review_list_entry_clicked(self, message: ReviewList.EntryClicked) -> None:
        await self.edit_field(message.path)

    # -- what it shows --------------------------------------------------------------------------

    def update_review(self, *, reset: bool = False) -> None:
        super().update_review(reset=reset)
        self._update_steps()

    def show_view(self, view: str) -> None:
        super().show_view(view)
        self.update_field_help("")
        self.update_footer()

    def _update_steps(self) -> None:
        spans: list[Span] = [(" Create a serving ", "title"), (" ", "")]
        wide = self.size.width >= 100
        for number, name in enumerate(steps.STEP_TITLES, 1):
            here = number == self.step
            tone = "strong" if here else "muted"
            spans += [(f" {number} ", "key" if here else "muted")]
            spans.append((name if here or wide else name.split(" ", 1)[0], tone))
            spans.append((" › " if number < len(steps.STEP_TITLES) else "", "muted"))
        review = self.dry_run_result.plan
        wrong = len(review.errors if review is not None else errors(self.issues))
        count = format_count(wrong, "error") if wrong else "✓ complete"
        right: Line = ((count, "warning" if wrong else "ready"), (" ", ""))
        self.steps_bar.set_lines(align_left_right(tuple(spans), right, max(self.size.width, 1)))

    def _focused_path(self) -> str:
        return getattr(self.focused, "path", "") if self.step != 3 else ""

    def update_field_help(self, path: str) -> None:
        """Show the help of the field at the bottom."""
        if self.shows_yaml:
            text = "Press ctrl+s to create. y shows objects, file and review in turn."
        elif self.step == 3:
            text = "Press ctrl+s to create. Enter on a line, or a section's digit, edits."
        elif isinstance(self.focused, FormButton):
            text = self.focused.help_text
        else:
            text = steps.field_help(path, self.draft)
            if self.form.show_hint(path, text):
                text = ""  # it is shown beside the field
        self.help_bar.set_lines(*wrap(((" ", ""), (text, "muted")), self.size.width - 1, 1))

    def on_form_view_focused(self, message: FormView.Focused) -> None:
        self.undo_history.end_typing()
        if self.step != 3 and message.path != self.draft.focused_field:
            self.draft.focused_field = message.path
            self.schedule_save()
        self.update_field_help(message.path)
        self.update_footer()

    def on_form_view_row_added(self, message: FormView.RowAdded) -> None:
        self.undo_history.record(message.path)

    def on_form_view_changed(self, message: FormView.Changed) -> None:
        self.schedule_save(message.path)
        if self.step == 3:
            return  # a late message; the text was stored before the step changed
        self.validate_draft()
        self.form.set_issues(self.issues)
        if message.path in ("memory", "settings.tensor_parallel_size", "template"):
            self.form.set_inventory(self.inventory, self.get_system_volumes())
        self.dry_run_result = DryRunResult()
        self._update_steps()

    def on_form_view_notice(self, message: FormView.Notice) -> None:
        self.show_message(message.text, message.style_name, 20)

    # -- choosing -------------------------------------------------------------------------------

    def on_form_view_choices_requested(self, message: FormView.ChoicesRequested) -> None:
        path = message.path
        if isinstance(self.app.screen, OptionPicker):
            self.app.screen.insert_text(
                message.typed
            )  # a second letter, typed before the list opened
            return
        offered = field_options.field_choices(path, self.draft, self.inventory)

        async def on_choice(key: str | None) -> None:
            if key is not None:
                self.form.select_value(path, key)
            elif path.endswith(".pvc"):
                await self.form.remove_row_if_blank(path)

        field = steps.fields_by_path(self.draft).get(path, steps.VOLUME_FIELDS[0])
        free = field_options.allows_custom_value(path, self.draft)
        screen = OptionPicker(
            field.label, offered, self.form.get_text(path), typed=message.typed, allow_custom=free
        )
        self.app.push_screen(screen, on_choice)

    # -- what the keys do -----------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        match action.name:
            case "deploy":
                if self.step != 3:
                    return "Step 3 deploys; ctrl+n goes to the next step."
                return (
                    self.deploy_disabled_reason()
                    if not self.deploy_state.running
                    else DEPLOYING_MESSAGE
                )
            case "remove_created":
                return (
                    "" if self.deploy_state.created else "Nothing to remove: nothing was created."
                )
            case "close" | "previous" | "load" | "edit" | "section" if self.deploy_state.running:
                return DEPLOYING_MESSAGE
            case "edit" if self.shows_yaml:
                return "The YAML is read-only; y returns to the review, where lines can be edited."
        return ""

    def scopes(self) -> tuple[str, ...]:
        return ("create", "review") if self.step == 3 else ("create", "form")

    def in_footer(self, action: Action) -> bool:
        """Only actions of this step and view."""
        if action.id == "create.deploy":
            return self.step == 3
        if action.id == "create.next":
            return self.step != 3
        if action.id in ("review.edit", "review.section"):
            return not self.shows_yaml
        return super().in_footer(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the fields do not apply in the review, nor those of the review in the fields."""
        if action != "do":
            return True
        wanted = ACTIONS_BY_ID[str(parameters[0])]
        if wanted.id == "form.assign":
            return self.step != 3 and self._focused_path().endswith(".name")
        return wanted.scope in (*self.scopes(), "app")

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if self.step != 3:
            await self.form.flush_typed_text()
        await super().action_do(action_id, *arguments)

    def do_move(self, key: str) -> None:
        self.form.move_focus(1 if key in ("down", "tab") else -1)

    def do_move_section(self, key: str) -> None:
        self.form.focus_section(1 if key == "pagedown" else -1)

    async def do_remove(self) -> None:
        gone = await self.form.remove_row()
        back = self.app_context.key_display_for("form.undo")
        if gone:
            self.show_message(f"Removed {gone}; {back} undoes it.")
        else:
            self.show_message("Only volumes and variables can be removed.")

    async def do_undo(self) -> None:
        again = self.app_context.key_display_for("form.redo")
        await self._show_restored(
            self.undo_history.undo(), f"Undone; {again} redoes it.", "Nothing to undo."
        )

    async def do_redo(self) -> None:
        await self._show_restored(self.undo_history.redo(), "Redone.", "Nothing to redo.")

    async def _show_restored(self, path: str | None, message: str, empty_message: str) -> None:
        """Show the draft after undo or redo of a change at `path`; None for no change."""
        if path is None:
            self.show_message(empty_message)
            return
        self.schedule_save(path)
        head = path.rsplit(".", 1)[0] if path.rsplit(".", 1)[-1].isdigit() else path
        self.validate_draft()
        self.form.set_inventory(self.inventory, self.get_system_volumes())
        await self.form.show_step(steps.step_of(path) if path else 1, path, f"add.{head}")
        self.step = self.draft.step = self.form.step
        self.form.set_issues(self.issues)
        self.dry_run_result = DryRunResult()
        self._update_steps()
        self.update_footer()
        self.show_message(message)

    async def do_source(self) -> None:
        self.show_message(
            await self.form.change_source() or "Only a variable's value has a source."
        )

    def do_reveal(self) -> None:
        self.reveal = not self.reveal
        self.form.set_reveal(self.reveal)
        self.update_review()
        self.show_message(
            "Secret values are shown." if self.reveal else "Secret values are masked."
        )

    def do_help(self) -> None:
        self.app_context.do_help()

    def do_dry_run(self) -> None:
        self.start_dry_run()

    # -- keeping and leaving --------------------------------------------------------------------

    def schedule_save(self, path: str = "") -> None:
        """The draft was changed at `path`: save it shortly after the last key."""
        self.undo_history.record(
            path, typed=bool(path) and not field_options.is_choice_field(path, self.draft)
        )
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.set_timer(SAVE_DELAY, self._start_save)

    def _start_save(self) -> None:
        # In a group of its own: it must cancel neither another save nor the closing.
        self.run_worker(self._save_draft(), group="keep", exit_on_error=False)

    async def _save_draft(self) -> None:
        if problem := await self._autosave.save():
            self.show_message(problem, "warning")

    async def _save_now(self) -> str:
        """Save it before the form closes; returns why that failed. The pending save is canceled, so
        that its message does not replace the caller's."""
        if self._save_timer is not None:
            self._save_timer.stop()
            self._save_timer = None
        self.workers.cancel_group(self, "keep")
        return await self._autosave.save(required=True)

    def help_key(self) -> str:
        return self.app_context.key_display_for("create.help")

    async def exit_blocker(self) -> str:
        if self.pending_write:
            self.exit_after_write = True
            again = self.app_context.key_display_for("app.quit")
            return f"{self.pending_write}: it is finished first; {again} again quits at once."
        if self.step != 3:
            await self.form.flush_typed_text()
        if problem := await self._save_now():
            again, saves = map(self.app_context.key_display_for, ("app.quit", "create.save"))
            return f"{problem} {saves} saves it as YAML; {again} again quits without it."
        return ""

    def exit_notice(self) -> str:
        if self.pending_write:
            made = ", ".join(str(one.ref) for one in self.deploy_state.created)
            known = f"created: {made}" if made else "no object was confirmed"
            return (
                f"{self.pending_write} was not finished: {known}. "
                "The form is saved as a draft; n opens it again."
            )
        return (
            "The form is saved as a draft; n in servedeck opens it again."
            if self._autosave.is_saved
            else ""
        )

    def do_close(self) -> None:
        if self.shows_yaml:
            self.show_view(REVIEW_VIEWS[0])
            self.update_footer()
            return
        if self.draft.to_dict() == self._initial_dump and not self.deploy_state.created:
            self.dismiss(None)  # nothing was typed that could be lost
            return
        made = ", ".join(str(one.ref) for one in self.deploy_state.created)
        lines = ["The draft is kept until you deploy or discard it."]
        if made:
            lines.insert(0, f"{made} of the unfinished attempt stays in the cluster.")
        ask = ConfirmDialog(
            "Close the form?",
            lines,
            [
                DialogOption("k", "Keep editing"),
                DialogOption("s", "Save draft and close", "n on the list opens the draft again"),
                DialogOption("d", "Discard", "delete the draft"),
            ],
        )
        self.app.push_screen(ask, self._on_leave_answer)

    def _on_leave_answer(self, answer: str | None) -> None:
        if answer == "s":
            self.start_worker(self._save_and_close(), "leave", busy_label="Saving the draft")
        elif answer == "d":
            self.start_worker(self._discard_draft(), "leave", busy_label="Removing the draft")

    async def _save_and_close(self) -> None:
        if problem := await self._save_now():
            self.show_message(f"{problem} Keep editing, or save it as YAML.", "error", 20)
        else:
            self._autosave.close()  # before the list can offer the drafts
            self.dismiss(None)

    async def _discard_draft(self) -> None:
        await self._autosave.delete_draft()
        self.dismiss(None)

    async def handle_deployed(self, key: NamespacedName) -> None:
        await self._autosave.delete_draft()
        self.dismiss(key)
