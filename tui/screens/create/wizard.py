"""Creating a serving in three steps: basic information, detailed settings, review and deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one

from servedeck.changes.deployer import Deployer
from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import DraftFile
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import SchedulingResult, scheduling_requirements
from servedeck.serving.objects.manifests import SystemVolume, system_volumes
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import ServingSpec
from tui.actions import ACTIONS_BY_ID, Action, scope_bindings
from tui.plan_view import PlanView
from tui.ports.change_service import ChangeService
from tui.screens.base import MESSAGE_SECONDS, Overlay
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.create import field_options, review_text, steps
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.file_transfer import FileTransfer
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.create.option_picker import OptionPicker
from tui.screens.create.step_bar import step_bar_line
from tui.screens.create.undo_history import UndoHistory
from widgets.form_parts import FormButton
from widgets.review_list import ReviewEntry, ReviewList
from widgets.styled_line import wrap
from widgets.text_view import StatusLine

INVENTORY_UPDATE_SECONDS = 0.25
"""Seconds between two updates of nodes, PVCs and namespaces."""

MAX_MESSAGE_LINES = 4
"""Maximum number of lines of a message."""

DEPLOYING_MESSAGE = "Deployment is in progress; wait for its result."


class CreateScreen(Overlay[NamespacedName | None]):
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

    step_bar = query_one("#steps", StatusLine)
    form = query_one(FormView)
    plan_view = query_one(PlanView)
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
        super().__init__()
        self.draft = draft
        self.step = 1
        self._change_service = change_service
        self._not_copied = not_copied
        self._initial_message = message
        self._initial_dump = draft.to_dict() if draft_file is None else None
        self._reveal = False
        self._last_valid_spec: ServingSpec | None = None
        """The last version of the draft that could be parsed."""
        self._exit_after_write = False
        """Whether quitting was requested while something was written to the cluster."""
        self.inventory_watch = InventoryWatch(change_service.watch_inventory)
        self.deployer = Deployer(
            make_plan=self._make_plan,
            apply_plan=lambda plan, own_objects, on_created: change_service.deploy(
                plan.manifests, own_objects, on_created
            ),
            roll_back=lambda created: change_service.rollback_created(created),
            check_scheduling=self._check_scheduling,
            on_change=self._on_deployer_change,
        )
        self.autosave = DraftAutosave(
            draft,
            lambda: change_service.draft_store,
            draft_file,
            lambda problem: self.show_message(problem, "warning"),
        )
        self.undo_history = UndoHistory(draft)
        self._files = FileTransfer(
            ask=lambda dialog, on_path: self.app.push_screen(dialog, on_path),
            start_worker=lambda work, label: self.start_worker(work, "file", busy_label=label),
            show_message=self.show_message,
        )

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="steps")
        yield FormView(self.draft)
        yield PlanView(
            self.deployer,
            build_details=self._build_section_entries,
            get_platform=lambda: self._change_service.platform,
            notes=self._not_copied,
            id="review",
        )
        yield StatusLine(id="fieldhelp")

    def on_mount(self) -> None:
        super().on_mount()
        self.plan_view.display = False
        self.validate_draft()
        self._watch_inventory()
        self.set_interval(INVENTORY_UPDATE_SECONDS, self._update_inventory)
        self._update_form_inventory()
        self.call_later(self.show_step, self.draft.step, self.draft.focused_field)
        if self._initial_message:
            self.show_message(self._initial_message, seconds=20)

    def save_on_exit(self) -> None:
        self.autosave.write_now()

    async def on_unmount(self) -> None:
        self.autosave.close()
        self.deployer.close()
        await self.inventory_watch.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self.help_bar.styles.height = 2 if size.height >= 16 else 1
        self.help_bar.display = size.height >= 10
        self.update_field_help(self._focused_path())
        self._update_review()

    def show_message(
        self, text: str, style_name: str = "", seconds: float = MESSAGE_SECONDS
    ) -> None:
        """Show a sentence, on several lines if it is long."""
        super().show_message(text, style_name, seconds)
        lines = wrap(((" ", ""), (text, style_name)), self.size.width - 1, 1)[:MAX_MESSAGE_LINES]
        self.message_line.styles.height = max(1, len(lines))
        self.message_line.set_lines(*lines)

    def update_message(self) -> None:
        if not self.has_message:
            self.message_line.styles.height = 1
        super().update_message()

    # -- the cluster ----------------------------------------------------------------------------

    def _watch_inventory(self) -> None:
        """Watch nodes, PVCs and namespaces as soon as there is a connection."""
        self.inventory_watch.start(self.draft.texts["namespace"])

    def _update_inventory(self) -> None:
        if self.inventory_watch.inventory is None:
            self._watch_inventory()
        connection_namespace = self._change_service.namespace
        if self.step == 1 and not self.draft.texts["namespace"] and connection_namespace:
            # it was opened before the connection
            self.form.select_value("namespace", connection_namespace)
        if self.inventory_watch.take_change():
            self._update_form_inventory()
            self.deployer.update_scheduling()

    def _update_form_inventory(self) -> None:
        self.form.set_inventory(self.inventory_watch.inventory, self._system_volumes())

    def _system_volumes(self) -> Sequence[SystemVolume]:
        """The system's volumes for the draft, or for its last version that could be parsed."""
        spec = self._last_valid_spec or Draft(self.draft.template.id).validate()[0]
        return system_volumes(spec, self._change_service.platform) if spec else ()

    async def _make_plan(self, spec: ServingSpec, own_objects: Sequence[ObjectRef]) -> ChangePlan:
        if self.inventory_watch.inventory is None:
            self._watch_inventory()
        if (inventory := self.inventory_watch.inventory) is None:
            raise ClusterError("Not connected to the API server yet.")
        return await self._change_service.make_plan(spec, inventory, own_objects)

    def _check_scheduling(self, plan: ChangePlan) -> SchedulingResult | None:
        inventory = self.inventory_watch.inventory
        if inventory is None or not plan.manifests:
            return None
        asked, tolerations = scheduling_requirements(plan.manifests[0])
        return inventory.check_scheduling(asked, plan.spec.replicas, tolerations)

    def validate_draft(self) -> None:
        """Validate the draft as it is now."""
        spec, issues = self.draft.validate()
        self.deployer.set_spec(spec, issues)
        self._last_valid_spec = spec or self._last_valid_spec

    def _validate_form(self) -> None:
        """Validate the draft, and show the result in the form."""
        self.validate_draft()
        self.form.set_issues(self.deployer.issues)

    # -- steps ----------------------------------------------------------------------------------

    async def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""
        self.step = self.draft.step = step
        self.draft.focused_field = focus
        self.schedule_save()
        reviews = step == 3
        self.form.display = not reviews
        self.plan_view.display = reviews
        self.form.remove_blank_rows()
        self.validate_draft()
        if reviews:
            self.plan_view.focus()
            self.deployer.start_dry_run()
            self._update_review(reset=True)
        else:
            self.plan_view.cancel_deploy_request()
            self._update_form_inventory()
            await self.form.show_step(step, focus)
            self.form.set_issues(self.deployer.issues)
        self._update_steps()
        self.update_field_help(self._focused_path())
        self.update_footer()

    async def do_next(self) -> None:
        if self.step == 3:
            self.show_message("This is the last step; ctrl+s deploys.")
            return
        self._validate_form()
        self.form.mark_all_touched()
        self.form.remove_blank_rows()
        self.validate_draft()
        found = errors(self.deployer.issues)
        wrong = [one for one in found if steps.step_of(one.field) == self.step]
        if not wrong:
            if self.step == 1:
                await self.inventory_watch.watch_namespace(self.draft.texts["namespace"])
            await self.show_step(self.step + 1)
            return
        await self.form.rebuild(*(one.field for one in wrong))
        self.form.set_issues(self.deployer.issues)
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
        if path := self.plan_view.path:
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

    def _on_deployer_change(self) -> None:
        if self.is_attached and not self.deployer.deploy_state.deployed:  # then the form closes
            self._update_review()
            self.update_footer()

    def _update_review(self, *, reset: bool = False) -> None:
        if self.is_attached and self.step == 3:
            self.plan_view.update(reset=reset)
        self._update_steps()

    def _build_section_entries(self, reveal: bool) -> Sequence[ReviewEntry]:
        plan = self.deployer.dry_run.plan
        return review_text.section_entries(
            self.draft,
            self._system_volumes(),
            plan.issues if plan is not None else self.deployer.issues,
            reveal=reveal,
            width=self.size.width,
        )

    @property
    def shows_yaml(self) -> bool:
        """Whether the third step shows YAML instead of the review."""
        return self.step == 3 and self.plan_view.shows_yaml

    def _update_steps(self) -> None:
        plan = self.deployer.dry_run.plan
        wrong = plan.errors if plan is not None else errors(self.deployer.issues)
        self.step_bar.set_lines(step_bar_line(self.step, len(wrong), self.size.width))

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
        self._validate_form()
        if message.path in ("memory", "settings.tensor_parallel_size", "template"):
            self._update_form_inventory()
        self._update_steps()

    def on_form_view_notice(self, message: FormView.Notice) -> None:
        self.show_message(message.text, message.style_name, 20)

    def on_form_view_env_file_requested(self, message: FormView.EnvFileRequested) -> None:
        self._files.load_env_file(lambda text: self.form.import_lines(message.path, text))

    # -- choosing -------------------------------------------------------------------------------

    def on_form_view_choices_requested(self, message: FormView.ChoicesRequested) -> None:
        path = message.path
        if isinstance(self.app.screen, OptionPicker):
            self.app.screen.insert_text(
                message.typed
            )  # a second letter, typed before the list opened
            return
        offered = field_options.field_choices(path, self.draft, self.inventory_watch.inventory)

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
        state = self.deployer.deploy_state
        deploying = state.running or state.deployed
        match action.name:
            case "deploy" if self.step != 3:
                return "Step 3 deploys; ctrl+n goes to the next step."
            case "deploy" if not deploying:
                return self.plan_view.deploy_disabled_reason()
            case "remove_created" if not state.created:
                return "Nothing to remove: nothing was created."
            case (
                "deploy"
                | "remove_created"
                | "dry_run"
                | "close"
                | "previous"
                | "load"
                | "edit"
                | "section"
            ) if deploying:
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
        self._update_form_inventory()
        await self.form.show_step(steps.step_of(path) if path else 1, path, f"add.{head}")
        self.step = self.draft.step = self.form.step
        self.form.set_issues(self.deployer.issues)
        self._update_steps()
        self.update_footer()
        self.show_message(message)

    async def do_source(self) -> None:
        self.show_message(
            await self.form.change_source() or "Only a variable's value has a source."
        )

    def do_reveal(self) -> None:
        self._reveal = not self._reveal
        self.form.set_reveal(self._reveal)
        self.plan_view.set_reveal(self._reveal)
        self.show_message(
            "Secret values are shown." if self._reveal else "Secret values are masked."
        )

    def do_help(self) -> None:
        self.app_context.do_help()

    # -- files ----------------------------------------------------------------------------------

    def do_save(self) -> None:
        self.validate_draft()
        if (spec := self.deployer.spec) is None:
            first = errors(self.deployer.issues)[0].message
            self.show_message(f"It cannot be saved as YAML yet: {first}", "warning")
        else:
            self._files.save_spec(spec, private=review_text.has_masked_values(self.draft))

    def do_load(self) -> None:
        self._files.load_spec(self._replace_draft)

    async def _replace_draft(self, spec: ServingSpec) -> None:
        loaded = Draft.from_spec(spec)
        loaded.texts["namespace"] = loaded.texts["namespace"] or self.draft.texts["namespace"]
        self.draft.texts, self.draft.rows = loaded.texts, loaded.rows
        self.form.touched.clear()
        self.schedule_save()
        await self.show_step(1, "name")

    # -- the plan -------------------------------------------------------------------------------

    def do_deploy(self) -> None:
        self.plan_view.deploy()

    def do_dry_run(self) -> None:
        self.validate_draft()
        self.deployer.start_dry_run()

    def do_remove_created(self) -> None:
        self.plan_view.confirm_removal()

    def do_yaml(self) -> None:
        self.plan_view.show_next_view()
        self._on_view_changed()

    def _on_view_changed(self) -> None:
        self.update_field_help("")
        self.update_footer()

    def on_plan_view_notice(self, message: PlanView.Notice) -> None:
        self.show_message(message.text, message.style_name, message.seconds)

    def on_plan_view_deployed(self, message: PlanView.Deployed) -> None:
        self.start_worker(self._close_deployed(message.key), "close")

    async def _close_deployed(self, key: NamespacedName) -> None:
        await self.autosave.delete_draft()
        self.dismiss(key)
        if self._exit_after_write:
            self.app.exit(message=Text(f"{key} was created."))

    async def on_plan_view_write_ended(self, message: PlanView.WriteEnded) -> None:
        wanted, self._exit_after_write = self._exit_after_write, False
        if wanted and message.succeeded:  # otherwise the refusal must be read first
            await self.app_context.do_quit()

    # -- keeping and leaving --------------------------------------------------------------------

    def schedule_save(self, path: str = "") -> None:
        """The draft was changed at `path`: save it shortly after the last key."""
        self.undo_history.record(
            path, typed=bool(path) and not field_options.is_choice_field(path, self.draft)
        )
        self.autosave.schedule()

    def help_key(self) -> str:
        return self.app_context.key_display_for("create.help")

    async def exit_blocker(self) -> str:
        if pending := self.deployer.pending_write:
            self._exit_after_write = True
            again = self.app_context.key_display_for("app.quit")
            return f"{pending}: it is finished first; {again} again quits at once."
        if self.step != 3:
            await self.form.flush_typed_text()
        if problem := await self.autosave.save_now():
            again, saves = map(self.app_context.key_display_for, ("app.quit", "create.save"))
            return f"{problem} {saves} saves it as YAML; {again} again quits without it."
        return ""

    def exit_notice(self) -> str:
        if pending := self.deployer.pending_write:
            made = self._created_names()
            known = f"created: {made}" if made else "no object was confirmed"
            return (
                f"{pending} was not finished: {known}. "
                "The form is saved as a draft; n opens it again."
            )
        return (
            "The form is saved as a draft; n in servedeck opens it again."
            if self.autosave.is_saved
            else ""
        )

    def _created_names(self) -> str:
        return ", ".join(str(one.ref) for one in self.deployer.deploy_state.created)

    def do_close(self) -> None:
        if self.shows_yaml:
            self.plan_view.show_plan()
            self._on_view_changed()
            return
        made = self._created_names()
        if self.draft.to_dict() == self._initial_dump and not made:
            self.dismiss(None)  # nothing was typed that could be lost
            return
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
        if problem := await self.autosave.save_now():
            self.show_message(f"{problem} Keep editing, or save it as YAML.", "error", 20)
        else:
            self.autosave.close()  # before the list can offer the drafts
            self.dismiss(None)

    async def _discard_draft(self) -> None:
        await self.autosave.delete_draft()
        self.dismiss(None)
