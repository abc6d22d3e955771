"""The dialog of one change that is planned with what the cluster has now: its plan, conflicts, the
confirmation and the result. What is changed, and how, a subclass says."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from textual.app import ComposeResult
from textual.geometry import Size

from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.apply import Preview
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.rejection import RejectionReason
from servedeck.cluster.write_log import WriteLog
from servedeck.serving.objects.field_changes import FieldChange
from servedeck.serving.text import truncate
from tui.action_tables.action import Action
from tui.screens.plan_dialog import WAITING, PlanDialog
from tui.workers import Worker
from widgets.styled_line import Line
from widgets.text_view import Paragraph, StatusLine

DO_AGAIN = "Do it again for the rest."
"""What the program says that ends before all was written."""
RETRY_SECONDS = 2.0
"""Seconds until a plan that the API server did not answer is made again."""
_MAX_VALUE = 60
"""Cells of a value in a line."""
_MAX_CONFLICTS = 20


class ShownPlan(Protocol):
    """What the dialog shows of a plan. All sentences are sanitized."""

    @property
    def blocked(self) -> str: ...

    @property
    def unchanged(self) -> str: ...

    @property
    def effects(self) -> Sequence[str]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def differences(self) -> Sequence[FieldChange]: ...

    @property
    def rejections(self) -> Sequence[Preview]: ...

    @property
    def is_possible(self) -> bool: ...


class ShownResult(Protocol):
    @property
    def outcome(self) -> Outcome: ...

    @property
    def message(self) -> str: ...


Plan = TypeVar("Plan", bound=ShownPlan)
Result = TypeVar("Result", bound=ShownResult)


class PlannedChangeDialog(PlanDialog[Result], Generic[Plan, Result]):
    """Its result is that of the change, None if nothing was done."""

    def __init__(self, *, context: str = "", warning: str = "") -> None:
        """`warning` is said with the plan; enter alone does not confirm it then."""
        super().__init__()
        self._context_name = context
        self._warning = warning
        self._force = False
        self._plan: Plan | None = None
        """None while it is made."""
        self._error = ""
        """Why no plan could be made."""
        self.last_result: Result | None = None
        """Of the last attempt."""
        self._progress = ""
        self.write_log = WriteLog(DO_AGAIN)
        """Of the last attempt."""
        self.quits = False
        """Whether the program is to end when it is done."""
        self._run_worker: Worker[None] | None = None
        """While it is done."""

    # -- for a subclass -----------------------------------------------------------------------

    @property
    @abstractmethod
    def change_title(self) -> str:
        """What is done, "Turn the async queue of chat/llama on"."""

    @property
    @abstractmethod
    def confirm_label(self) -> str:
        """The option that confirms, "Turn on"."""

    @property
    @abstractmethod
    def busy_sentence(self) -> str:
        """That it is being done, "It is being turned on"."""

    @property
    @abstractmethod
    def wanting(self) -> str:
        """Who wants the other value of a conflict, "the async queue needs"."""

    @abstractmethod
    async def make_plan(self, *, force: bool) -> Plan:
        """Raises ClusterError."""

    @abstractmethod
    async def run_plan(self, plan: Plan) -> Result: ...

    async def look_again(self, result: Result) -> Result:
        """The result after a lost response, as far as it is known now. Raises ClusterError."""
        return result

    @abstractmethod
    def failed_result(self, plan: Plan, message: str) -> Result:
        """The result where something unexpected went wrong."""

    # -- widgets ------------------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield from self.compose_plan()

    def on_mount(self) -> None:
        super().on_mount()
        self._start_planning()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        where = f"  context {self._context_name}" if self._context_name else ""
        line: Line = ((" ", ""), (self.change_title, "title"), (where, "muted"))
        self.query_one("#title", StatusLine).set_text(line, max(size.height // 4, 1), 1)

    # -- the plan -----------------------------------------------------------------------------

    def _start_planning(self) -> None:
        self._plan, self._error = None, ""
        self._choice, self._is_plan_shown = None, False
        self._update()
        self.start_worker(self._make_plan(), "plan")

    async def _make_plan(self) -> None:
        try:
            if self.last_result is not None and self.last_result.outcome is Outcome.UNKNOWN:
                self.last_result = await self.look_again(self.last_result)
                if self.last_result.outcome is Outcome.DONE:
                    self.dismiss(self.last_result)
                    return
            plan = await self.make_plan(force=self._force)
            if self._error:
                # What was chosen while the error was shown does not refer to this plan.
                self._choice, self._is_plan_shown = None, False
            self._plan, self._error = plan, ""
        except ClusterError as error:
            self._error = str(error)
            self.set_timer(RETRY_SECONDS, self._retry)
        except Exception as error:  # any error: else the dialog would wait for ever
            self._error = describe_error(error)
        self._update()
        self.call_after_refresh(self._note_painted, self._plan)

    def _note_painted(self, plan: Plan | None) -> None:
        if plan is self._plan:
            self.note_plan_shown()
            self.update_controls()

    def _retry(self) -> None:
        """Plan again: the API server may answer by now. The error is shown until then."""
        if self.is_attached and self._error and not self.is_writing:
            self.start_worker(self._make_plan(), "plan")

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        if self.is_attached:
            self.text_view.set_paragraphs([Paragraph(), *self._build_paragraphs()])
            self.update_controls()

    def _build_paragraphs(self) -> Iterator[Paragraph]:
        if self.is_writing:
            yield marked("↻", "starting", self._progress or f"{self.busy_sentence}…")
            return
        if self.last_result is not None:
            yield marked("✗", "error", self.last_result.message)
            yield Paragraph()
        if self._error:
            yield marked("✗", "error", self._error)
            return
        plan = self._plan
        if plan is None:
            yield marked("↻", "starting", "Asking the API server…")
            return
        if self._warning and plan.is_possible:
            yield marked("!", "warning", self._warning)
        yield from plan_paragraphs(plan, self.wanting)
        if self._has_conflict:
            yield Paragraph()
            key = self.app_context.key_display_for(f"{self.SCOPE}.force")
            text = "  plans to overwrite them, as --force-conflicts of the command does."
            yield Paragraph(((f"  {key}", "key"), (text, "muted")), 2)

    @property
    def _has_conflict(self) -> bool:
        plan = self._plan
        return plan is not None and any(map(_is_conflict, plan.rejections))

    def update_controls(self) -> None:
        self.query_one("#options", StatusLine).display = not self.is_writing
        if self._only_closes:
            self.set_options(("n  Close", True))
        else:
            confirms = self.confirms
            self.set_options((f"y  {self.confirm_label}", confirms), ("n  Back", not confirms))
        self.update_message()
        self.update_footer()

    @property
    def _only_closes(self) -> bool:
        """Whether there is nothing that could be confirmed."""
        return self._plan is not None and not self._plan.is_possible

    @property
    def confirms(self) -> bool:
        """Whether the cursor is on what confirms: not at first if something is to be read."""
        if self._only_closes:
            return False
        if self._choice is not None:
            return self._choice
        plan = self._plan
        return not (
            plan is None
            or plan.warnings
            or self._warning
            or self._force
            or self.last_result is not None
        )

    def default_message(self) -> Line:
        reason = self.confirm_disabled_reason()
        return ((" ", ""), (reason, "muted")) if reason and not self._only_closes else ()

    def label_for(self, action: Action) -> str:
        if action.name == "close":
            return "leave" if self.is_writing else "close" if self._only_closes else "back"
        if action.name == "confirm":
            if self.confirms:
                return self.confirm_label.lower()
            return "close" if self._only_closes else "back"
        return action.label

    def in_footer(self, action: Action) -> bool:
        if action.name == "force":
            return self._has_conflict and not self.is_writing
        if action.name == "confirm":
            return not self.is_writing
        if action.name == "move":
            return self.has_choice
        return True

    # -- keys ---------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        return self._run_worker is not None

    @property
    def has_choice(self) -> bool:
        return not (self.is_writing or self._only_closes)

    def disabled_reason(self, action: Action) -> str:
        if action.name == "force" and not self._has_conflict:
            return "There is no conflict with other managers."
        if action.name == "confirm" and (self.confirms or self.is_writing):
            return self.confirm_disabled_reason()
        return ""

    def confirm_disabled_reason(self) -> str:
        if self.is_writing:
            return f"{self.busy_sentence}."
        if self._error:
            return "There is no plan yet."
        if self._plan is None or not self._is_plan_shown:
            return WAITING
        return self._plan.blocked or self._plan.unchanged

    def do_confirm(self) -> None:
        if not self.confirms:
            self.do_close()
        elif self.is_for_plan():
            assert self._plan is not None
            self.last_result, self._progress = None, ""
            # Keys are not queued meanwhile: esc leaves it.
            self._run_worker = self.start_worker(self._run(self._plan), "run")
            self._update()

    async def _run(self, plan: Plan) -> None:
        self.write_log = WriteLog(DO_AGAIN)
        self.write_log.begin()
        try:
            result = await self.run_plan(plan)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # any error: it must be known what was done
            result = self.failed_result(plan, describe_error(error))
        self._run_worker, self.last_result = None, result
        if result.outcome is Outcome.DONE and self.quits:
            await self.app_context.do_quit()
        elif result.outcome is Outcome.DONE:
            self.dismiss(result)
        else:
            self.quits = False  # what was not done must be read first
            self._start_planning()  # what is left to do; after a lost answer, what became of it

    def show_progress(self, sentence: str) -> None:
        """What it is waiting for, while it is done."""
        self._progress = sentence
        self._update()

    def do_move(self, key: str) -> None:
        if not self.scroll_pages(key) and self.has_choice and self.is_for_plan():
            self._choice = not self.confirms
            self.update_controls()

    def do_force(self) -> None:
        self._force = True
        self._start_planning()

    def do_close(self) -> None:
        if self.is_writing:
            self.show_message("The request was sent and cannot be canceled.", "warning")
        else:
            self.dismiss(self.last_result)


# -- text ---------------------------------------------------------------------------------------


def plan_paragraphs(plan: ShownPlan, wanting: str) -> Iterator[Paragraph]:
    """What the plan does, or why it does nothing. `wanting` says who wants the other value of a
    conflict."""
    if plan.unchanged:
        yield marked("=", "muted", plan.unchanged)
        return
    if plan.blocked:
        conflicts = [one for one in plan.rejections if _is_conflict(one)]
        if not conflicts:
            yield marked("✗", "error", plan.blocked)
        for one in conflicts:
            yield from _conflict_paragraphs(one, wanting)
        return
    for sentence in plan.effects:
        yield Paragraph((("  · ", "muted"), (sentence, "")), 4)
    for warning in plan.warnings:
        yield marked("!", "warning", warning)
    if plan.differences:
        yield Paragraph()
    for change in plan.differences:
        line: Line = (
            (f"  {change.path}  ", "muted"),
            (truncate(change.old, _MAX_VALUE), ""),
            (" → ", "muted"),
            (truncate(change.new, _MAX_VALUE), "strong"),
        )
        yield Paragraph(line, 4)


def _conflict_paragraphs(preview: Preview, wanting: str) -> Iterator[Paragraph]:
    assert preview.rejection is not None
    found = preview.rejection.conflicts
    if not found:
        yield marked("✗", "error", preview.rejection.message)
        return
    yield marked("✗", "error", f"{preview.ref} has fields that another manager set:")
    for one in found[:_MAX_CONFLICTS]:
        line: Line = (
            (f"    {one.path}  ", "muted"),
            (f"{one.manager} set ", ""),
            (truncate(one.current, _MAX_VALUE), "strong"),
            (f", {wanting} ", ""),
            (truncate(one.desired, _MAX_VALUE), "strong"),
        )
        yield Paragraph(line, 6)
    if len(found) > _MAX_CONFLICTS:
        yield Paragraph(((f"    … and {len(found) - _MAX_CONFLICTS} more", "muted"),))


def _is_conflict(preview: Preview) -> bool:
    rejection = preview.rejection
    return rejection is not None and rejection.reason is RejectionReason.CONFLICT


def marked(mark: str, style_name: str, text: str) -> Paragraph:
    """A sentence after a mark."""
    text_style = style_name if style_name in ("error", "warning", "muted") else ""
    return Paragraph(((f"  {mark} ", style_name), (text, text_style)), 4)
