"""The dialog that turns the async queue of a serving on, or on again: the plan, the confirmation
and the progress."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size

from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.apply import Preview
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.rejection import RejectionReason
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import truncate
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.ports.async_queue_service import AsyncQueueService
from tui.screens.plan_dialog import WAITING, PlanDialog
from tui.workers import Worker
from widgets.styled_line import Line
from widgets.text_view import Paragraph, StatusLine

RETRY_SECONDS = 2.0
"""Seconds until a plan that the API server did not answer is made again."""
_MAX_VALUE = 60
"""Cells of a value in a line."""
_MAX_CONFLICTS = 20


class AsyncQueueOnDialog(PlanDialog[AsyncQueueResult]):
    """Its result is that of turning it on, None if nothing was done."""

    SCOPE = "queue_on"
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue_on")

    def __init__(
        self,
        key: NamespacedName,
        service: AsyncQueueService,
        *,
        context: str = "",
        warning: str = "",
    ) -> None:
        """`warning` is said with the plan; enter alone does not confirm it then."""
        super().__init__()
        self._key = key
        self._service = service
        self._context_name = context
        self._warning = warning
        self._force = False
        self._plan: AsyncQueuePlan | None = None
        """None while it is made."""
        self._error = ""
        """Why no plan could be made."""
        self._result: AsyncQueueResult | None = None
        """Of the last attempt."""
        self._progress = ""
        self._run_worker: Worker[None] | None = None
        """While it is turned on."""
        self._is_leaving = False
        """Whether esc was pressed once while it is turned on."""

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield from self.compose_plan()

    def on_mount(self) -> None:
        super().on_mount()
        self._start_planning()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        where = f"  context {self._context_name}" if self._context_name else ""
        title = f"Turn the async queue of {self._key} on"
        line: Line = ((" ", ""), (title, "title"), (where, "muted"))
        self.query_one("#title", StatusLine).set_text(line, max(size.height // 4, 1), 1)

    # -- the plan -----------------------------------------------------------------------------

    def _start_planning(self) -> None:
        self._plan, self._error = None, ""
        self._choice, self._is_plan_shown = None, False
        self._update()
        self.start_worker(self._make_plan(), "plan")

    async def _make_plan(self) -> None:
        try:
            if self._result is not None and self._result.outcome is Outcome.UNKNOWN:
                self._result = await self._service.look_again(self._result)
                if self._result.outcome is Outcome.DONE:
                    self.dismiss(self._result)
                    return
            plan = await self._service.plan_on(self._key, force=self._force)
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

    def _note_painted(self, plan: AsyncQueuePlan | None) -> None:
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
            yield _marked("↻", "starting", self._progress or "It is being turned on…")
            return
        if self._result is not None:
            yield _marked("✗", "error", self._result.message)
            yield Paragraph()
        if self._error:
            yield _marked("✗", "error", self._error)
            return
        plan = self._plan
        if plan is None:
            yield _marked("↻", "starting", "Asking the API server…")
            return
        if self._warning and plan.is_possible:
            yield _marked("!", "warning", self._warning)
        yield from plan_paragraphs(plan)
        if self._has_conflict:
            yield Paragraph()
            key = self.app_context.key_display_for("queue_on.force")
            text = "  plans to overwrite them, as --force-conflicts of the command does."
            yield Paragraph(((f"  {key}", "key"), (text, "muted")), 2)

    @property
    def _has_conflict(self) -> bool:
        plan = self._plan
        return plan is not None and any(map(_is_conflict, plan.rejections))

    def update_controls(self) -> None:
        only_closes = self._only_closes
        self.query_one("#options", StatusLine).display = not self.is_writing
        if only_closes:
            self.set_options(("n  Close", True))
        else:
            self.set_options(("y  Turn on", self.confirms), ("n  Back", not self.confirms))
        self.update_message()
        self.update_footer()

    @property
    def _only_closes(self) -> bool:
        """Whether there is nothing that could be confirmed."""
        return self._plan is not None and not self._plan.is_possible

    @property
    def confirms(self) -> bool:
        """Whether the cursor is on Turn on: not at first if something is to be read."""
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
            or self._result is not None
        )

    def default_message(self) -> Line:
        reason = self.confirm_disabled_reason()
        return ((" ", ""), (reason, "muted")) if reason and not self._only_closes else ()

    def label_for(self, action: Action) -> str:
        if action.name == "close":
            return "leave" if self.is_writing else "close" if self._only_closes else "back"
        if action.name == "confirm":
            return "turn on" if self.confirms else "close" if self._only_closes else "back"
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
            return "It is being turned on."
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
            self._result, self._progress, self._is_leaving = None, "", False
            # Keys are not queued meanwhile: esc leaves it.
            self._run_worker = self.start_worker(self._run(self._plan), "run")
            self._update()

    async def _run(self, plan: AsyncQueuePlan) -> None:
        try:
            result = await self._service.run_on(plan, self._show_progress)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # any error: it must be known what was done
            result = AsyncQueueResult(plan.options, Outcome.REJECTED, describe_error(error))
        self._run_worker, self._result = None, result
        if result.outcome is Outcome.DONE:
            self.dismiss(result)
        else:
            self._start_planning()  # what is left to do; after a lost answer, what became of it

    def _show_progress(self, sentence: str) -> None:
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
        worker = self._run_worker
        if worker is None:
            self.dismiss(self._result)
        elif not self._is_leaving:
            self._is_leaving = True
            self.show_message(
                "What was sent cannot be taken back; press esc again to leave the rest undone.",
                "warning",
            )
        else:
            worker.cancel()
            assert self._plan is not None
            text = "It was left before its end; turn it on again for the rest."
            self.dismiss(AsyncQueueResult(self._plan.options, Outcome.UNKNOWN, text))

    async def exit_blocker(self) -> str:
        if not self.is_writing or self._is_leaving:
            return ""
        self._is_leaving = True
        key = self.app_context.key_display_for("app.quit")
        return f"The async queue is being turned on; press {key} again to leave the rest undone."

    def exit_notice(self) -> str:
        if not self.is_writing:
            return ""
        return (
            f"Turning the async queue of {self._key} on was left before its end; turn it on again "
            "for the rest."
        )


# -- text ---------------------------------------------------------------------------------------


def plan_paragraphs(plan: AsyncQueuePlan) -> Iterator[Paragraph]:
    """What the plan does, or why it does nothing."""
    if plan.unchanged:
        yield _marked("=", "muted", plan.unchanged)
        return
    if plan.blocked:
        conflicts = [one for one in plan.rejections if _is_conflict(one)]
        if not conflicts:
            yield _marked("✗", "error", plan.blocked)
        for one in conflicts:
            yield from _conflict_paragraphs(one)
        return
    for sentence in plan.effects:
        yield Paragraph((("  · ", "muted"), (sentence, "")), 4)
    for warning in plan.warnings:
        yield _marked("!", "warning", warning)
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


def _conflict_paragraphs(preview: Preview) -> Iterator[Paragraph]:
    assert preview.rejection is not None
    found = preview.rejection.conflicts
    if not found:
        yield _marked("✗", "error", preview.rejection.message)
        return
    yield _marked("✗", "error", f"{preview.ref} has fields that another manager set:")
    for one in found[:_MAX_CONFLICTS]:
        line: Line = (
            (f"    {one.path}  ", "muted"),
            (f"{one.manager} set ", ""),
            (truncate(one.current, _MAX_VALUE), "strong"),
            (", the async queue needs ", ""),
            (truncate(one.desired, _MAX_VALUE), "strong"),
        )
        yield Paragraph(line, 6)
    if len(found) > _MAX_CONFLICTS:
        yield Paragraph(((f"    … and {len(found) - _MAX_CONFLICTS} more", "muted"),))


def _is_conflict(preview: Preview) -> bool:
    rejection = preview.rejection
    return rejection is not None and rejection.reason is RejectionReason.CONFLICT


def _marked(mark: str, style_name: str, text: str) -> Paragraph:
    text_style = style_name if style_name in ("error", "warning", "muted") else ""
    return Paragraph(((f"  {mark} ", style_name), (text, text_style)), 4)
