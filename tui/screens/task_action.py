"""The dialog of an action on tasks: the question, the progress, and what to do after an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.async_queue.bulk import BulkRun
from servedeck.async_queue.tasks import TaskAction
from servedeck.cluster.http.errors import describe_error
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.async_queue.action_text import run_paragraphs
from tui.screens.operation_input import OperationInput, TypedName
from tui.screens.plan_dialog import PlanDialog
from widgets.line_input import PlainInput
from widgets.styled_line import Line
from widgets.text_view import Paragraph, StatusLine

_DOING = {
    TaskAction.CANCEL: "Cancelling",
    TaskAction.RETRY: "Retrying",
    TaskAction.FRONT: "Moving to the front",
    TaskAction.FORGET: "Deleting",
}


class TaskActionDialog(PlanDialog[BulkRun]):
    """Runs the action once it is confirmed; its result is the run, None if nothing was asked for.
    The dialog closes at the end of a run, unless that was stopped or failed: it can be gone on with
    then."""

    SCOPE = "task_action"
    BINDINGS: ClassVar[list[BindingType]] = bindings("task_action")
    input = query_one(PlainInput)

    def __init__(
        self,
        title: str,
        label: str,
        paragraphs: Sequence[Paragraph],
        run: BulkRun,
        *,
        context: str = "",
        warning: str = "",
        asks_first: bool = False,
        typed_name: TypedName | None = None,
        error: str = "",
    ) -> None:
        """`label` is what is confirmed. `asks_first`: the cursor is on Back at first. `error` is
        why an earlier attempt was refused."""
        super().__init__()
        self._title = title
        self._label = label
        self._paragraphs = paragraphs
        self.bulk_run = run
        self._context_name = context
        self._warning = warning
        self._asks_first = asks_first
        self._typed_name = typed_name
        self._error = error
        self._was_run = False
        self._is_writing = False
        self._quits = False
        """Whether the program exits after the answer that it waits for."""

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        if self._typed_name is not None:
            yield StatusLine(id="prompt")
            yield OperationInput("Name")
        yield from self.compose_plan()

    def on_mount(self) -> None:
        super().on_mount()
        self.bulk_run.on_progress = self._update
        if self._typed_name is not None:
            self.input.focus()
        self._update()
        self.call_after_refresh(self.note_plan_shown)

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        where = f"  context {self._context_name}" if self._context_name else ""
        title: Line = ((" ", ""), (self._title, "title"), (where, "muted"))
        self.query_one("#title", StatusLine).set_text(title, max(size.height // 4, 1), 1)
        if self._typed_name is not None:
            prompt = f"Type {self._typed_name.name} to confirm; {self._typed_name.reason}."
            line: Line = ((" ", ""), (prompt, "warning"))
            self.query_one("#prompt", StatusLine).set_text(line, max(size.height // 4, 1), 1)

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        if not self.is_attached:
            return
        found = [Paragraph()]
        if self._was_run:
            doing = _DOING[self.bulk_run.action] if self._is_writing else ""
            found += [*run_paragraphs(self.bulk_run, doing), Paragraph()]
        if self._error and not self._was_run:
            found += [Paragraph((("  ✗ ", "error"), (self._error, "error")), 4), Paragraph()]
        if self._warning:
            found += [Paragraph((("  ! ", "warning"), (self._warning, "warning")), 4), Paragraph()]
        found += self._paragraphs
        if self._offers_bare:
            found += [Paragraph(), Paragraph(((" ", ""), (f" {self._credentials_text}", "")), 2)]
        self.text_view.set_paragraphs(found)
        self.update_controls()

    @property
    def _credentials_text(self) -> str:
        if self.bulk_run.is_bare:
            return "All are sent without credentials, even those that were submitted with some."
        key = self.app_context.key_display_for("task_action.credentials")
        return (
            "Credentials are deleted when a task ends: one that was submitted with some is refused,"
            f" unless the gateway has credentials of its own. {key} sends them without."
        )

    @property
    def _options(self) -> tuple[str, str]:
        """What y and n do."""
        return ("Go on", "Close") if self._was_run else (self._label, "Back")

    def update_controls(self) -> None:
        options = self.query_one("#options", StatusLine)
        options.display = not (self._has_input or self._is_writing)
        label, back = self._options
        self.set_options((f"y  {label}", self.confirms), (f"n  {back}", not self.confirms))
        self.update_message()
        self.update_footer()

    @property
    def confirms(self) -> bool:
        """Whether the cursor is on the action; otherwise on Back."""
        if self._choice is not None:
            return self._choice
        return not (self._asks_first or self._error or self._was_run)

    @property
    def _has_input(self) -> bool:
        return self._typed_name is not None and not self._was_run

    @property
    def _offers_bare(self) -> bool:
        return self.bulk_run.action is TaskAction.RETRY and not self._was_run

    def default_message(self) -> Line:
        reason = self.confirm_disabled_reason()
        return ((" ", ""), (reason, "muted")) if reason else ()

    def label_for(self, action: Action) -> str:
        if action.name == "close":
            return "stop" if self._is_writing else self._options[1].lower()
        if action.name == "confirm":
            return self._options[not (self.confirms or self._has_input)].lower()
        return action.label

    def in_footer(self, action: Action) -> bool:
        if action.name == "credentials":
            return self._offers_bare
        if action.name in ("confirm", "move"):
            return not self._is_writing and (action.name == "confirm" or not self._has_input)
        return True

    # -- keys ---------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        return self._is_writing

    @property
    def takes_letters(self) -> bool:
        return not self._has_input

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.update_controls()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("task_action.confirm")

    def disabled_reason(self, action: Action) -> str:
        if action.name == "confirm" and (self._is_writing or self.confirms or self._has_input):
            return self.confirm_disabled_reason()
        if action.name == "credentials" and not self._offers_bare:
            return "Only a retry sends tasks again."
        return ""

    def confirm_disabled_reason(self) -> str:
        if self._is_writing:
            return "It is being done; esc stops it after the tasks that were asked for."
        typed = self._typed_name if self._has_input else None
        if typed is not None and self.input.value.strip() != typed.name:
            return f"Type {typed.name} to confirm."
        return ""

    def do_confirm(self) -> None:
        if not (self.confirms or self._has_input):
            self.do_close()
        elif self.is_for_plan():
            self._is_writing, self._was_run = True, True
            if self._typed_name is not None:
                self.query_one(OperationInput).display = False
                self.query_one("#prompt", StatusLine).display = False
                self.set_focus(None)
            # Keys are not queued meanwhile: esc stops it.
            self.start_worker(self._run(), "run")
            self._update()

    async def _run(self) -> None:
        try:
            await self.bulk_run.run()
        except Exception as error:  # any error: it must be known what was done
            self.bulk_run.error = describe_error(error)
        self._is_writing, self._choice = False, None
        if self._quits:
            await self.app_context.do_quit()
        elif self.bulk_run.is_complete:
            self.dismiss(self.bulk_run)
        else:
            self._update()
            self.call_after_refresh(self.note_plan_shown)

    def do_move(self, key: str) -> None:
        if not self.scroll_pages(key) and self.has_choice and not self._has_input:
            self._choice = not self.confirms
            self.update_controls()

    def do_credentials(self) -> None:
        self.bulk_run.is_bare = not self.bulk_run.is_bare
        self._update()

    def do_close(self) -> None:
        if self._is_writing:
            self.bulk_run.stop()
            self.show_message("Stopping: the answer to what was asked for is waited for.")
        else:
            self.dismiss(self.bulk_run if self._was_run else None)

    async def exit_blocker(self) -> str:
        if not self._is_writing:
            return ""
        self._quits = True
        self.bulk_run.stop()
        key = self.app_context.key_display_for("app.quit")
        return f"It stops after the tasks that were asked for; press {key} again to quit at once."

    def exit_notice(self) -> str:
        if not self._was_run:
            return ""
        return f"{self._title}: {self.bulk_run.summary()}"
