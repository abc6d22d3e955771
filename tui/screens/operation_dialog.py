"""The dialog of an operation: what it would do now, and the confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.changes.operations.operation import (
    DISRUPTIVE_KINDS,
    Operation,
    OperationKind,
    OperationResult,
)
from tui import operation_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.operation_run import OperationRun
from tui.operation_text import LABELS, UNDO_LABEL
from tui.ports.change_service import ChangeService, Inventory
from tui.ports.serving_source import SourceChanges
from tui.screens.operation_input import OperationInput, TypedName
from tui.screens.plan_dialog import WAITING, PlanDialog
from tui.serving_loads import ServingLoads
from tui.workers import Worker
from widgets.line_input import PlainInput
from widgets.styled_line import Line
from widgets.text_view import StatusLine

PLAN_DELAY = 0.2
"""Seconds from a change of the object to a new plan: several changes in quick succession are
planned once."""

_CONFIRM_AGAIN = "This is the plan as it is now; press enter again to confirm it."
_CONFIRM_STOP = "This stops the serving; press enter again to confirm it."

UPDATE_INTERVAL = 0.05
"""Seconds between two updates of the text of several targets."""


_CONFIRMED_KINDS = (OperationKind.EDIT, OperationKind.ADOPT, OperationKind.RELEASE)
"""Further operations that enter alone does not confirm."""


class OperationDialog(PlanDialog[tuple[OperationResult, ...]]):
    """Plans the operations, and runs them once they are confirmed. Its result are those of the
    operations that were run, in their order."""

    SCOPE = "operation"
    BINDINGS: ClassVar[list[BindingType]] = bindings("operation")
    input = query_one(PlainInput)
    input_line = query_one(OperationInput)

    def __init__(
        self,
        operations: Sequence[Operation],
        change_service: ChangeService,
        *,
        context: str = "",
        typed_name: TypedName | None = None,
        asks_replicas: bool = False,
        undone: Sequence[OperationResult] = (),
    ) -> None:
        """`operations` are of one kind, unless they put back what is `undone`, each one its result.
        `typed_name` is a name that must be typed first. With `asks_replicas`, the number of
        replicas is asked for; those of the first operation are proposed."""
        super().__init__()
        self._change_service = change_service
        self._context_name = context
        self._operations = OperationRun(
            operations, change_service, undone=undone, on_update=self._update_soon
        )
        self._is_undo = bool(undone)
        self._label = UNDO_LABEL if undone else LABELS[operations[0].kind]
        """What is confirmed, as the first option has it."""
        self._typed_name = typed_name
        self._asks_replicas = asks_replicas
        self._asks_first = any(
            one.kind in (*DISRUPTIVE_KINDS, *_CONFIRMED_KINDS) or one.replicas == 0
            for one in operations
        )
        """Whether the cursor is on Cancel at first, whatever the plan is."""
        self._is_stop_asked = False
        """Whether the number that stops the serving was confirmed once."""
        self._finished = False
        self._quits = False
        """Whether the program exits after the response that it waits for."""
        self._plan_worker: Worker[None] | None = None
        self._has_pending_update = False
        self._inventory: Inventory | None = None
        self._loads = ServingLoads(
            lambda: self.app_context.metrics_service, self.start_worker, self._update_soon
        )

    # -- widgets ------------------------------------------------------------------------------

    @property
    def _has_input(self) -> bool:
        return self._typed_name is not None or self._asks_replicas

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        if self._has_input:
            yield StatusLine(id="prompt")
            yield OperationInput("Replicas" if self._asks_replicas else "Name")
        yield from self.compose_plan()

    def on_mount(self) -> None:
        super().on_mount()
        if self._has_input:
            self.input.focus()
        replicas = self._operations.targets[0].operation.replicas
        if self._asks_replicas and replicas is not None:
            self.input_line.propose_replicas(replicas)
        self._inventory = self._change_service.watch_inventory(
            self._operations.targets[0].operation.namespace,
            self._on_inventory_change,
            nodes_only=True,
        )
        if self._asks_replicas and replicas is None:
            self._update()
        else:
            self._start_planning()

    async def on_unmount(self) -> None:
        inventory, self._inventory = self._inventory, None
        if inventory is not None:
            await inventory.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        operations = [one.operation for one in self._operations.targets]
        title = operation_text.title(operations, is_undo=self._is_undo)
        where = f"  context {self._context_name}" if self._context_name else ""
        title_line: Line = ((" ", ""), (title, "title"), (where, "muted"))
        self.query_one("#title", StatusLine).set_text(title_line, max(size.height // 4, 1), 1)
        if self._typed_name is not None:
            prompt = f"Type {self._typed_name.name} to delete; {self._typed_name.reason}."
            line: Line = ((" ", ""), (prompt, "warning"))
            self.query_one("#prompt", StatusLine).set_text(line, max(size.height // 3, 1), 1)

    # -- planning -----------------------------------------------------------------------------

    def _start_planning(self, delay: float = 0.0) -> None:
        self._is_plan_shown, self._choice, self._is_stop_asked = False, None, False
        self._operations.begin_plans(self.app_context.source.fleet)
        self._update()
        self._plan_worker = self.start_worker(self._make_plans(delay), "plan")

    async def _make_plans(self, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._operations.make_plans()
        # One whose response was lost turned out to be done.
        self._finished = all(one.is_done for one in self._operations.targets)
        self._update()

    def on_changes(self, changes: SourceChanges) -> None:
        """The plan is made again if an object is not as it was planned."""
        if self._operations.is_writing or self._finished:
            return
        if self._operations.is_outdated(changes, self.app_context.source.fleet):
            if not self._operations.has_error:
                self._notice = operation_text.changed_notice(self._operations.targets)
                if self._typed_name is not None:
                    self.input.value = ""  # it was for the plan that was shown
            self._start_planning(PLAN_DELAY)

    def _on_inventory_change(self) -> None:
        if self.is_attached and not self._operations.is_writing:
            self._update_soon()

    # -- what is shown ------------------------------------------------------------------------

    def _update_soon(self) -> None:
        """Update at once for one target, at intervals for several."""
        if self._operations.is_single:
            self._update()
        elif not self._has_pending_update:
            self._has_pending_update = True
            self.set_timer(UPDATE_INTERVAL, self._update)

    def _update(self) -> None:
        self._has_pending_update = False
        if not self.is_attached:
            return
        self._operations.find_room(self._inventory)
        if not (self._operations.is_writing or self._finished):
            self._operations.find_loads(self._loads.of_operation)
        notice = "" if self._operations.is_impossible or self._finished else self._notice
        self.text_view.set_paragraphs(
            operation_text.build_paragraphs(
                self._operations.targets, self._replicas_problem or notice
            )
        )
        if not (self._is_plan_shown or self._operations.is_planning):
            self.note_plan_shown()
        self.update_controls()

    def update_controls(self) -> None:
        self.query_one("#options", StatusLine).display = not self._has_input or self._finished
        if self._only_closes:
            self.set_options(("Close", True))
        else:
            confirms = self._confirms
            self.set_options((f"y  {self._label}", confirms), ("n  Cancel", not confirms))
        self.update_message()
        self.update_footer()

    @property
    def _confirms(self) -> bool:
        """Whether the cursor is on the operation; otherwise on Cancel."""
        if self._choice is not None:
            return self._choice
        operations = self._operations
        return not (
            self._asks_first or self._notice or operations.has_failed or operations.asks_first
        )

    @property
    def _only_closes(self) -> bool:
        """Whether there is nothing to choose, so that enter closes the dialog."""
        return self._finished or (self._operations.is_impossible and not self._has_input)

    def default_message(self) -> Line:
        if self._finished:
            if self._operations.is_single:
                return ()
            text, style_name = operation_text.summary(self._operations.results, self._label)
            return ((" ", ""), (text, style_name))
        if self._operations.is_writing and not self._operations.is_single:
            done = sum(one.result is not None for one in self._operations.targets)
            return ((" ", ""), (f"{done} of {len(self._operations.targets)} answered.", "muted"))
        if self._operations.is_writing or self._operations.is_impossible:
            return ()  # the text says it
        if self._replicas_problem:
            return ()
        return ((" ", ""), (self.confirm_disabled_reason(), "muted"))

    def label_for(self, action: Action) -> str:
        if action.name == "confirm":
            if self._only_closes:
                return "close"
            return self._label.lower() if self._confirms or self._has_input else "cancel"
        if action.name == "move":
            if self._only_closes:
                return "scroll"
            return "add or subtract 1" if self._asks_replicas else action.label
        if action.name == "close":
            if self._only_closes:
                return "close"
            return "stop" if self._operations.is_writing else action.label
        return action.label

    def in_footer(self, action: Action) -> bool:
        if action.name == "move":
            return self._typed_name is None
        if action.name == "close":
            return not self._operations.is_writing or not self._operations.is_single
        return True

    # -- keys ---------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._asks_replicas and not self._operations.is_writing:
            self._take_replicas()
        self.update_controls()

    def _take_replicas(self) -> None:
        """Plan for the number that is entered now, if it is another one."""
        replicas = self.input_line.replicas
        if not self._operations.set_replicas(replicas):
            if replicas is None:
                self._update()  # another text that is no number
            return
        if self._plan_worker is not None:
            self._plan_worker.cancel()  # it was for another number
        if replicas is not None:
            self._start_planning()
        else:
            self._update()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("operation.confirm")

    @property
    def is_writing(self) -> bool:
        return self._operations.is_writing

    @property
    def takes_letters(self) -> bool:
        return not self._has_input

    @property
    def has_choice(self) -> bool:
        return not (self._only_closes or self.is_writing)

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "confirm" and (
            self._operations.is_writing or not (self._only_closes or self._is_on_cancel)
        ):
            return self.confirm_disabled_reason()
        if action.name == "copy" and not self._operations.commands:
            return "There is no command yet."
        return ""

    @property
    def _replicas_problem(self) -> str:
        """Why the number that is entered cannot be used, in a sentence; the text says it."""
        entered = self._operations.targets[0].operation.replicas
        if entered is not None or not self._asks_replicas or self._finished:
            return ""
        return self.input_line.problem

    @property
    def _stops_by_number(self) -> bool:
        """Whether the number that is entered stops the serving."""
        return self._asks_replicas and self._operations.targets[0].operation.replicas == 0

    @property
    def _is_on_cancel(self) -> bool:
        return not self._confirms and not self._has_input

    def confirm_disabled_reason(self) -> str:
        if self._operations.is_writing:
            return "The request was sent; waiting for the API server."
        if self._replicas_problem:
            return self._replicas_problem
        if self._operations.is_impossible:
            return self._operations.impossible_reason
        if not self._is_plan_shown:
            return WAITING
        if self._typed_name is not None and self.input.value.strip() != self._typed_name.name:
            return f"Type {self._typed_name.name} to confirm."
        return ""

    def do_confirm(self) -> None:
        if self._is_on_cancel and not self._only_closes:
            self.do_close()
        elif not self.is_for_plan():
            return
        elif self._only_closes:
            self.do_close()
        elif self._has_input and self._notice:
            self._notice = ""  # it was for the plan before; without a cursor, it is asked once more
            self._update()
            self.show_message(_CONFIRM_AGAIN, "warning")
        elif self._stops_by_number and not self._is_stop_asked:
            self._is_stop_asked = True  # 0 may be the beginning of another number
            self.show_message(_CONFIRM_STOP, "warning")
        else:
            self._notice = ""
            self._operations.is_writing = True
            self._update()
            self.start_worker(self._run_and_close(), "run")

    def do_move(self, key: str) -> None:
        if self.scroll_pages(key):
            return
        if self._only_closes or self._operations.is_writing:
            if key in ("down", "up", "j", "k"):
                self.text_view.scroll_lines(1 if key in ("down", "j") else -1)
        elif self._asks_replicas:
            if key in ("down", "up"):
                self.input_line.step_replicas(1 if key == "up" else -1)
        elif not self._has_input and self.is_for_plan():
            self._choice = not self._confirms
            self.update_controls()

    async def do_copy(self) -> None:
        commands = self._operations.commands
        what = "The command" if len(commands) == 1 else "The commands"
        self.show_message(
            *await copy_with_message("\n".join(commands), self.app_context.write_to_terminal, what)
        )

    def do_close(self) -> None:
        if not self._operations.is_writing:
            self.dismiss(self._operations.results)
        elif self._operations.is_single:
            self.show_message("The request was sent and cannot be canceled.", "warning")
        else:
            self._operations.stop()
            self.show_message("Stopping: the request that was sent is waited for.", "warning")

    # -- running ------------------------------------------------------------------------------

    async def _run_and_close(self) -> None:
        await self._operations.run()
        self._shown_at, self._choice = monotonic(), None
        first = self._operations.targets[0]
        if self._quits and not self._operations.has_failed:
            await self.app_context.do_quit()
            return
        if not self._operations.is_single or (
            first.is_done and first.result and first.result.warnings
        ):
            self._finished = True
            self._update()
        elif first.is_done:
            self.dismiss(self._operations.results)
        elif not self._asks_replicas:
            self._start_planning()
        else:
            self._take_replicas()
            if first.operation.replicas is not None:
                self._start_planning()

    async def exit_blocker(self) -> str:
        if not self._operations.is_writing:
            return ""
        self._quits = True
        self._operations.stop()
        key = self.app_context.key_display_for("app.quit")
        return f"{self._label}: it is finished first; press {key} again to quit at once."

    def exit_notice(self) -> str:
        operations = self._operations
        return operation_text.exit_notice(
            operations.targets, operations.results, self._label, operations.write_log
        )
