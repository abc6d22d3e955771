"""Creating a serving in three steps: basic information, detailed settings, review and deploy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.geometry import Size
from textual.getters import query_one

from servedeck.changes.draft import Draft
from servedeck.changes.draft_store import DraftFile
from servedeck.fleet.views import NamespacedName
from servedeck.serving.spec.spec import ServingSpec
from tui.action_tables.action import Action
from tui.actions import ACTIONS_BY_ID
from tui.plan_view import PlanView
from tui.ports.change_service import ChangeService
from tui.screens.create import create_keys, review_buttons, review_text, steps
from tui.screens.create.create_deployer import make_create_deployer
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.edited_draft import EditedDraft
from tui.screens.create.file_transfer import FileTransfer
from tui.screens.create.form_closing import FormClosing
from tui.screens.create.form_editor import FormEditor
from tui.screens.create.form_screen import INVENTORY_UPDATE_SECONDS, FormScreen
from tui.screens.create.form_view import FormView
from tui.screens.create.inventory_watch import InventoryWatch
from tui.screens.create.step_bar import step_bar_line
from widgets.button_bar import BarButton, ButtonBar
from widgets.footer import KeyHint
from widgets.review_list import ReviewEntry, ReviewList
from widgets.text_view import StatusLine


class CreateScreen(FormScreen[NamespacedName | None]):
    """The form. Its result is the key of the serving that was deployed, None for none."""

    SCOPE = "create"
    BINDINGS: ClassVar[list[BindingType]] = create_keys.screen_bindings()

    step_bar = query_one("#steps", StatusLine)
    button_bar = query_one(ButtonBar)

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
        self._initial_message = message
        self._initial_dump = draft.to_dict() if draft_file is None else None
        self.inventory_watch = InventoryWatch(change_service.watch_inventory)
        self.deployer = make_create_deployer(
            change_service, self.inventory_watch, self._on_deployer_change, draft.revision_base
        )
        self.autosave = DraftAutosave(
            draft,
            lambda: change_service.draft_store,
            draft_file,
            lambda problem: self.show_message(problem, "warning"),
        )
        self._edited = EditedDraft(draft, self.autosave, self.deployer.set_spec)
        self.form = FormView(draft)
        self._editor = FormEditor(
            self.form,
            self._edited,
            self.inventory_watch,
            change_service,
            show_message=self.show_message,
            key_display=lambda action_id: self.app_context.key_display_for(action_id),
        )
        self.plan_view = PlanView(
            self.deployer,
            build_details=self._build_section_entries,
            get_platform=lambda: change_service.platform,
            notes=not_copied,
            id="review",
        )
        self._files = FileTransfer(
            ask=lambda dialog, on_path: self.app.push_screen(dialog, on_path),
            start_worker=lambda work, label: self.start_worker(work, "file", busy_label=label),
            show_message=self.show_message,
        )
        self._form_closing = FormClosing(
            self.autosave,
            ask=lambda dialog, on_answer: self.app.push_screen(dialog, on_answer),
            start_worker=lambda work, label: self.start_worker(work, "leave", busy_label=label),
            show_message=self.show_message,
            close_form=self.dismiss,
            quit_app=self._quit_app,
        )

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="steps")
        yield self.form
        yield self.plan_view
        with Horizontal(id="form-bottom"):
            yield StatusLine(id="field-help")
            yield ButtonBar(ReviewList.KEY_ACTIONS, id="buttons")

    def on_mount(self) -> None:
        super().on_mount()
        self.plan_view.display = False
        self._edited.validate()
        self._editor.watch_inventory()
        self.set_interval(INVENTORY_UPDATE_SECONDS, self._update_inventory)
        self.show_step(self.draft.step, self.draft.focused_field)
        if self._initial_message:
            self.show_message(self._initial_message, seconds=20)

    async def on_unmount(self) -> None:
        self.deployer.close()  # Textual calls that of FormScreen, too

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self._update_review()

    @property
    def shows_form(self) -> bool:
        return self.step != 3

    def _update_inventory(self) -> None:
        if self._editor.update_inventory():
            self.deployer.update_scheduling()

    # -- steps ----------------------------------------------------------------------------------

    def show_step(self, step: int, focus: str = "") -> None:
        """Go to a step, to one of its fields."""
        self.step = step
        self._edited.move_to(step, focus)
        reviews = step == 3
        self.form.display = not reviews
        self.plan_view.display = reviews
        self.form.remove_blank_rows()
        if reviews:
            self._edited.validate()
            self.plan_view.focus()
            self.deployer.start_dry_run()
            self._update_review(reset=True)
        else:
            self.plan_view.cancel_deploy_request()
            self._editor.show_step(step, focus)
        self._update_steps()
        self.update_footer()
        self.update_field_help(self._focused_path())

    async def do_next(self) -> None:
        if self.step == 3:
            self.show_message("This is the last step; ctrl+s deploys.")
        elif await self._editor.complete_step(self.step):
            self.show_step(self.step + 1)

    def do_previous(self) -> None:
        if self.step > 1:
            self.show_step(self.step - 1)
        else:
            self.show_message("This is the first step; esc closes the form.")

    async def do_next_field(self) -> None:
        if self.form.advance():
            await self.do_next()

    def edit_field(self, path: str) -> None:
        """Go from the review to a field."""
        self.form.touched.add(path)
        self.show_step(steps.step_of(path), path)

    def do_edit(self) -> None:
        if path := self.plan_view.path:
            self.edit_field(path)
        else:
            self.show_message("Choose a line with the arrows, or a section by its digit.")

    def do_buttons(self, key: str) -> None:
        """Move the focus from the review to its buttons, over them, and back."""
        bar, step = self.button_bar, 1 if key == "tab" else -1
        if not bar.has_focus:
            bar.choose(0 if step > 0 else -1)
            bar.focus()
        elif not bar.choose_next(step):
            self.plan_view.focus()

    async def on_button_bar_pressed(self, message: ButtonBar.Pressed) -> None:
        await self.action_do(self._pressed_action(message.action).id)

    def _pressed_action(self, name: str) -> Action:
        return review_buttons.pressed_action(
            name, path=self.plan_view.path, shows_yaml=self.shows_yaml
        )

    def on_button_bar_choice_changed(self) -> None:
        if self.is_attached:
            self._update_keys()

    async def on_button_bar_key_passed(self, message: ButtonBar.KeyPassed) -> None:
        await self.plan_view.press_key(message.key)

    def do_section(self, digit: str) -> None:
        if path := self._edited.section_path(int(digit)):
            self.edit_field(path)
        else:
            count = len(steps.review_sections(self.draft))
            self.show_message(f"The review has {count} sections.", "warning")

    async def on_review_list_entry_clicked(self, message: ReviewList.EntryClicked) -> None:
        if message.section:
            await self.action_do("review.section", message.section)
        elif reason := self.disabled_reason(ACTIONS_BY_ID["review.edit"]):
            self.show_message(reason, "warning")
        else:
            self.edit_field(message.path)

    # -- what it shows --------------------------------------------------------------------------

    def _on_deployer_change(self) -> None:
        if self.is_attached and not self.deployer.deploy_state.deployed:  # then the form closes
            self._update_review()
            self.update_footer()

    def _update_review(self, *, reset: bool = False) -> None:
        if self.is_attached and self.step == 3:
            self.plan_view.update(reset=reset)
            self.update_field_help("")  # it may say why a button cannot be pressed
        self._update_steps()

    def _build_section_entries(self, reveal: bool) -> Sequence[ReviewEntry]:
        plan = self.deployer.dry_run.plan
        return self._editor.review_entries(plan, reveal=reveal, width=self.size.width)

    @property
    def shows_yaml(self) -> bool:
        """Whether the third step shows YAML instead of the review."""
        return self.step == 3 and self.plan_view.shows_yaml

    def _update_steps(self) -> None:
        plan = self.deployer.dry_run.plan
        wrong = plan.errors if plan is not None else self._edited.errors
        self.step_bar.set_lines(step_bar_line(self.step, len(wrong), self.size.width))

    def update_footer(self) -> None:
        reviews = self.step == 3
        buttons = review_buttons.build_buttons(self.disabled_reason) if reviews else ()
        self.button_bar.set_buttons(buttons)
        super().update_footer()

    def footer_hints(self) -> list[KeyHint]:
        return review_buttons.with_chosen_button(super().footer_hints(), *self._chosen_button())

    def _chosen_button(self) -> tuple[BarButton, Action] | tuple[None, None]:
        """The button that enter presses, and what it does then."""
        chosen = self.button_bar.chosen
        return (chosen, self._pressed_action(chosen.action)) if chosen else (None, None)

    def show_help_text(self, text: str) -> None:
        super().show_help_text(text)
        height = self.help_bar.styles.height
        above = int(height.value) - 1 if self.help_bar.display and height is not None else 0
        self.button_bar.styles.margin = (max(above, 0), 0, 0, 0)  # on the last line of the help

    @property
    def help_width(self) -> int:
        return self.size.width - self.button_bar.width_of_buttons

    def update_field_help(self, path: str) -> None:
        if self.step != 3:
            super().update_field_help(path)
            return
        _, action = self._chosen_button()
        text = review_buttons.help_text(action, self.disabled_reason, shows_yaml=self.shows_yaml)
        self.show_help_text(text)

    def handle_draft_change(self, path: str = "") -> None:
        self._update_steps()

    # -- what the keys do -----------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        return create_keys.disabled_reason(
            action,
            step=self.step,
            shows_yaml=self.shows_yaml,
            deploy_state=self.deployer.deploy_state,
            deploy_disabled_reason=self.plan_view.deploy_disabled_reason,
        )

    def scopes(self) -> tuple[str, ...]:
        return create_keys.scopes(self.step)

    def in_footer(self, action: Action) -> bool:
        """Only actions of this step and view."""
        return create_keys.in_footer(action, step=self.step, shows_yaml=self.shows_yaml)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "do":
            return True
        wanted = ACTIONS_BY_ID[str(parameters[0])]
        return create_keys.applies(wanted, step=self.step, focused_path=self._focused_path())

    def handle_draft_restored(self) -> None:
        self.step = self.form.step
        super().handle_draft_restored()

    def do_reveal(self) -> None:
        super().do_reveal()
        self.plan_view.reveal = self._reveal
        self._update_review()

    # -- files ----------------------------------------------------------------------------------

    def do_save(self) -> None:
        self._edited.validate()
        if (spec := self._edited.spec) is None:
            first = self._edited.errors[0].message
            self.show_message(f"It cannot be saved as YAML yet: {first}", "warning")
        else:
            self._files.save_spec(spec, private=review_text.has_masked_values(self.draft))

    def do_load(self) -> None:
        self._files.load_spec(self._replace_draft)

    def _replace_draft(self, spec: ServingSpec) -> None:
        self._edited.replace(spec)
        self.form.touched.clear()
        self.show_step(1, "name")

    # -- the plan -------------------------------------------------------------------------------

    def do_deploy(self) -> None:
        self.plan_view.deploy()

    def do_dry_run(self) -> None:
        self._edited.validate()
        self.deployer.start_dry_run()

    def do_delete_created(self) -> None:
        self.plan_view.confirm_deletion()

    def do_yaml(self) -> None:
        self.plan_view.show_next_view()
        self._update_keys()

    def _update_keys(self) -> None:
        """What the keys do has changed."""
        self.update_field_help(self._focused_path())
        self.update_footer()

    def on_plan_view_notice(self, message: PlanView.Notice) -> None:
        self.show_message(message.text, message.style_name, message.seconds)

    def on_plan_view_deployed(self, message: PlanView.Deployed) -> None:
        self.start_worker(self._form_closing.close_deployed(message.key), "leave")

    async def on_plan_view_write_ended(self, message: PlanView.WriteEnded) -> None:
        await self._form_closing.handle_write_ended(succeeded=message.succeeded)

    # -- keeping and leaving --------------------------------------------------------------------

    def help_key(self) -> str:
        return self.app_context.key_display_for("create.help")

    async def exit_blocker(self) -> str:
        if self.step != 3:
            await self.form.flush_typed_text()
        keys = map(self.app_context.key_display_for, ("app.quit", "create.save"))
        return await self._form_closing.exit_blocker(self.deployer.pending_write, *keys)

    async def _quit_app(self, message: str) -> None:
        if message:
            self.app.exit(message=Text(message))
        else:
            await self.app_context.do_quit()

    def exit_notice(self) -> str:
        created = self.deployer.deploy_state.created
        return self._form_closing.exit_notice(self.deployer.pending_write, created)

    def do_close(self) -> None:
        created = self.deployer.deploy_state.created
        if self.shows_yaml:
            self.plan_view.show_plan()
            self._update_keys()
        elif self.draft.to_dict() == self._initial_dump and not created:
            self.dismiss(None)  # nothing was typed that could be lost
        else:
            self._form_closing.ask_and_close(created)
