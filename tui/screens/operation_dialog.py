"""The dialog of an operation: what it would do now, and the confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input

from servedeck.changes.operations.operation import (
    DISRUPTIVE_KINDS,
    Operation,
    OperationResult,
    Outcome,
)
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import scheduling_requirements
from servedeck.serving.spec.mapping.json_values import as_mapping
from tui import operation_text
from tui.actions import Action, bindings
from tui.clipboard import copy_with_message
from tui.operation_text import LABELS, TargetState
from tui.ports.change_service import ChangeService, Inventory
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from widgets.line_input import PlainInput
from widgets.styled_line import Line, line_width
from widgets.text_view import StatusLine, TextView

MAX_NAME_LENGTH = 253
"""Characters of the longest name of an object (RFC 1123 subdomain)."""

PLAN_DELAY = 0.2
"""Seconds from a change of the object to a new plan: several changes in quick succession are
planned once."""

CONCURRENT_PLANS = 4
"""Plans of several targets that are made at the same time."""


@dataclass(frozen=True, slots=True)
class TypedName:
    """A name that must be typed before anything is deleted."""

    name: str
    reason: str
    """ "prod is a production context"."""


class OperationDialog(Overlay[tuple[OperationResult, ...]]):
    """Plans the operations, and runs them once they are confirmed. Its result are those of the
    operations that were run, in their order."""

    SCOPE = "operation"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("operation")
    text_view = query_one(TextView)
    input = query_one(PlainInput)

    def __init__(
        self,
        operations: Sequence[Operation],
        change_service: ChangeService,
        *,
        typed_name: TypedName | None = None,
        initial_replicas: int | None = None,
    ) -> None:
        """`operations` are of one kind. `typed_name` is a name that must be typed first. With
        `initial_replicas`, the number of replicas is asked for, and this one is proposed."""
        super().__init__()
        self._change_service = change_service
        self._targets = [TargetState(one) for one in operations]
        self._kind = operations[0].kind
        self._typed_name = typed_name
        self._initial_replicas = initial_replicas
        self._confirms = self._kind not in DISRUPTIVE_KINDS
        """Whether the cursor is on the operation; otherwise on Cancel."""
        self._is_writing = False
        self._finished = False
        self._results: list[OperationResult] = []
        self._inventory: Inventory | None = None

    # -- widgets ------------------------------------------------------------------------------

    @property
    def has_input(self) -> bool:
        return self._typed_name is not None or self._initial_replicas is not None

    def compose_body(self) -> ComposeResult:
        name = StatusLine(id="title")
        operations = [one.operation for one in self._targets]
        name.set_lines(((" ", ""), (operation_text.title(operations), "title")))
        yield name
        if self.has_input:
            prompt = StatusLine(id="prompt")
            line = self._prompt()
            prompt.set_lines(line)
            prompt.styles.width = line_width(line)
            with Horizontal(id="operation-input"):
                yield prompt
                yield PlainInput(length_limit=MAX_NAME_LENGTH)
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view
        yield StatusLine(id="options")

    def on_mount(self) -> None:
        super().on_mount()
        if self.has_input:
            self.input.focus()
        if self._initial_replicas is not None:
            self.input.value = str(self._initial_replicas)
            self._targets = [
                TargetState(replace(one.operation, replicas=self._initial_replicas))
                for one in self._targets
            ]
        self._inventory = self._change_service.watch_inventory(
            self._targets[0].operation.namespace, self._on_inventory_change, nodes_only=True
        )
        self._start_planning()

    async def on_unmount(self) -> None:
        inventory, self._inventory = self._inventory, None
        if inventory is not None:
            await inventory.close()

    def _prompt(self) -> Line:
        if self._typed_name is not None:
            why = f"{self._typed_name.reason}: type {self._typed_name.name} to delete "
            return ((" ", ""), (why, "warning"))
        return ((" ", ""), ("Replicas ", "key"))

    # -- planning -----------------------------------------------------------------------------

    def _start_planning(self, delay: float = 0.0) -> None:
        for one in self._targets:
            one.plan, one.error = None, ""
        self._update()
        self.start_worker(self._make_plans(delay), "plan")

    async def _make_plans(self, delay: float) -> None:
        await asyncio.sleep(delay)
        slots = asyncio.Semaphore(CONCURRENT_PLANS)

        async def make_plan(target: TargetState) -> None:
            async with slots:
                try:
                    target.plan = await self._change_service.plan_operation(target.operation)
                except ClusterError as error:
                    target.error = str(error)
                self._update()

        await asyncio.gather(*(make_plan(one) for one in self._targets))

    def on_changes(self, changes: SourceChanges) -> None:
        """The plan is made again if an object is not as it was planned."""
        if self._is_writing or self._finished:
            return
        if any(self._is_outdated(one, changes) for one in self._targets):
            self._start_planning(PLAN_DELAY)

    def _is_outdated(self, target: TargetState, changes: SourceChanges) -> bool:
        operation = target.operation
        if target.error and changes.state_changed:
            return True  # the connection may be back
        if target.plan is None or operation.resource.kind != "Deployment":
            return False
        key = NamespacedName(operation.namespace, operation.name)
        if key not in changes.keys:
            return False
        now = self.app_context.source.fleet.deployment(key)
        patch = target.plan.patch
        if now is None or patch is None:
            return True
        planned = as_mapping(patch.live, "metadata")
        return (now.metadata.uid, now.metadata.generation) != (
            planned.get("uid"),
            planned.get("generation"),
        ) and (now.metadata.uid != planned.get("uid") or now.metadata.generation > _number(planned))

    def _on_inventory_change(self) -> None:
        if self.is_attached and not self._is_writing:
            self._update()

    def _find_room(self, target: TargetState) -> None:
        """Whether the nodes have room for the new Pods."""
        plan = target.plan
        target.room = None
        if plan is None or self._inventory is None or not plan.new_pods or plan.wanted is None:
            return
        requests, tolerations = scheduling_requirements(plan.wanted)
        target.room = self._inventory.check_scheduling(requests, plan.new_pods, tolerations)

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        if not self.is_attached:
            return
        if len(self._targets) == 1:
            self._find_room(self._targets[0])
        self.text_view.set_paragraphs(operation_text.build_paragraphs(self._targets))
        self._update_options()
        self.update_message()
        self.update_footer()

    def _update_options(self) -> None:
        options = self.query_one("#options", StatusLine)
        options.display = not self.has_input
        if self._finished:
            options.set_lines((("▌ ", "accent"), ("Close", "strong")))
            return
        label = LABELS[self._kind]
        chosen = ((f"y  {label}", self._confirms), ("n  Cancel", not self._confirms))
        options.set_lines(
            *(
                (("▌ " if here else "  ", "accent"), (text, "strong" if here else ""))
                for text, here in chosen
            )
        )

    def default_message(self) -> Line:
        if self._finished:
            text, style_name = operation_text.summary(self._results)
            return ((" ", ""), (text, style_name))
        if reason := self._confirm_disabled_reason():
            return ((" ", ""), (reason, "muted"))
        return ()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._typed_name is None and not self._is_writing:
            replicas = _read_replicas(self.input.value)
            for one in self._targets:
                one.operation = replace(one.operation, replicas=replicas)
            if replicas is not None:
                self._start_planning()
        self.update_message()
        self.update_footer()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("operation.confirm")

    async def on_key(self, event: events.Key) -> None:
        if self.has_input:
            if self._typed_name is None and event.key in ("up", "down"):
                event.stop()
                event.prevent_default()
                self._step_replicas(1 if event.key == "up" else -1)
            return
        if event.key in ("y", "n"):
            event.stop()
            event.prevent_default()
            self._confirms = event.key == "y"
            await self.action_do("operation.confirm")

    def _step_replicas(self, step: int) -> None:
        replicas = _read_replicas(self.input.value)
        self.input.value = str(max((replicas or 0) + step, 0))
        self.input.cursor_position = len(self.input.value)

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "confirm" and (self._confirms or self.has_input) and not self._finished:
            return self._confirm_disabled_reason()
        if action.name == "copy" and not self._commands():
            return "There is no command yet."
        return ""

    def _confirm_disabled_reason(self) -> str:
        """Why it cannot be confirmed now, in a sentence; "" if it can."""
        if self._is_writing:
            return "It is being done."
        if self._initial_replicas is not None and _read_replicas(self.input.value) is None:
            return "Enter the number of replicas, 0 or more."
        if self._typed_name is not None and self.input.value.strip() != self._typed_name.name:
            return f"Type {self._typed_name.name} to confirm."
        if any(one.plan is None and not one.error for one in self._targets):
            return "The API server is still asked; confirm when the plan is shown."
        if not any(one.is_ready for one in self._targets):
            first = self._targets[0]
            plan = first.plan
            reason = first.error or (plan.blocked or plan.unchanged if plan is not None else "")
            return reason if len(self._targets) == 1 else "None of them can be done."
        return ""

    def do_confirm(self) -> None:
        if self._finished:
            self.dismiss(tuple(self._results))
        elif not (self._confirms or self.has_input):
            self.do_close()
        else:
            self._is_writing = True
            self._update()
            self.start_worker(self._run(), "run", busy_label=LABELS[self._kind])

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text_view.scroll_pages(1 if key == "pagedown" else -1)
        elif not self.has_input:
            self._confirms = not self._confirms
            self._update_options()
            self.update_footer()

    async def do_copy(self) -> None:
        text = "\n".join(self._commands())
        self.show_message(
            *await copy_with_message(text, self.app_context.write_to_terminal, "The command")
        )

    def _commands(self) -> list[str]:
        return [one.plan.command for one in self._targets if one.plan and one.plan.is_possible]

    def do_close(self) -> None:
        if self._is_writing:
            self.show_message("It is being done and cannot be taken back here.", "warning")
        else:
            self.dismiss(tuple(self._results))

    async def exit_blocker(self) -> str:
        return f"{LABELS[self._kind]} is in progress." if self._is_writing else ""

    # -- running ------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Run what can be done, one after the other."""
        try:
            for target in self._targets:
                if target.is_ready:
                    await self._run_one(target)
        finally:
            self._is_writing = False
        if len(self._targets) > 1:
            self._finished = True
            self._update()
            self.update_message()
            return
        [target] = self._targets
        if target.result is not None and target.result.outcome is Outcome.DONE:
            self.dismiss(tuple(self._results))
        else:
            self._results.clear()
            self._start_planning()

    async def _run_one(self, target: TargetState) -> None:
        assert target.plan is not None
        target.is_running = True
        self._update()
        try:
            target.result = await self._change_service.run_operation(target.plan)
        except Exception as error:  # any error: it must be known what was done
            target.result = OperationResult(
                target.operation, Outcome.UNKNOWN, describe_error(error)
            )
        target.is_running = False
        self._results.append(target.result)
        self._update()


def _read_replicas(text: str) -> int | None:
    """A number of replicas as it is typed; None if it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _number(metadata: object) -> int:
    generation = metadata.get("generation") if isinstance(metadata, dict) else None
    return generation if isinstance(generation, int) else 0
