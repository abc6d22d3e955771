"""Actions that change servings, for the list and the page of a serving alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from servedeck.changes.operations.operation import OperationKind
from servedeck.fleet.views import ServingView
from tui.action_tables.action import Action
from tui.bundle_flow import bundle_disabled_reason, save_bundle
from tui.operation_flow import OPERATION_ACTIONS, OperationFlow
from tui.port_forward_flow import forward_disabled_reason, open_forwards, start_forward
from tui.screens.base import ActionScreen
from tui.screens.edit.edit_flow import EditFlow

Result = TypeVar("Result")

WAY_OUT_ORDER = 2
"""Place in the footer of what the serving, or the tab, calls for: it fits into 80 columns."""


class ServingActionScreen(ActionScreen[Result]):
    """A screen with servings that can be changed. A subclass creates the two flows, and says which
    servings are meant."""

    operation_flow: OperationFlow
    edit_flow: EditFlow

    @property
    def selected_serving(self) -> ServingView | None:
        """The serving that is edited; None if there is none."""
        return None

    @property
    def operated_servings(self) -> Sequence[ServingView]:
        """The servings that an operation is done for."""
        return [view] if (view := self.selected_serving) is not None else []

    @property
    def edited_field(self) -> str:
        """Path of the field that the form begins with; "" for none in particular."""
        return ""

    def change_disabled_reason(self, action: Action) -> str:
        """Why an action of this class is not possible, in one sentence; "" if it is, and for other
        actions."""
        match action.name:
            case "edit":
                return self.edit_flow.disabled_reason(self.selected_serving)
            case "unblock":
                return self.edit_flow.unblock_disabled_reason(self.selected_serving)
            case "bundle":
                return bundle_disabled_reason(self, self.selected_serving)
            case "forward":
                return forward_disabled_reason(self, self.operation_flow, self.selected_serving)
            case "forwards":
                return "" if self.app_context.port_forwards else "Not connected to a cluster."
            case "undo":
                return self.operation_flow.undo_disabled_reason()
            case name if name in OPERATION_ACTIONS:
                return self.operation_flow.targets_disabled_reason(
                    OPERATION_ACTIONS[name], self.operated_servings
                )
        return ""

    def footer_order(self, action: Action) -> int:
        view = self.selected_serving
        if action.name == "unblock" and view is not None and view.is_rollout_blocked:
            return WAY_OUT_ORDER
        return super().footer_order(action)

    def do_scale(self) -> None:
        self.operation_flow.start(OperationKind.SCALE, self.operated_servings)

    def do_restart(self) -> None:
        self.operation_flow.start(OperationKind.RESTART, self.operated_servings)

    def do_stop(self) -> None:
        self.operation_flow.start(OperationKind.STOP, self.operated_servings)

    def do_pause(self) -> None:
        self.operation_flow.start(OperationKind.PAUSE, self.operated_servings)

    def do_delete(self) -> None:
        self.operation_flow.start(OperationKind.DELETE, self.operated_servings)

    def do_adopt(self) -> None:
        self.operation_flow.start(OperationKind.ADOPT, self.operated_servings)

    def do_edit(self) -> None:
        if (view := self.selected_serving) is not None:
            self.edit_flow.start(view, self.edited_field)

    def do_unblock(self) -> None:
        if (view := self.selected_serving) is not None:
            self.edit_flow.unblock(view)

    def do_bundle(self) -> None:
        if (view := self.selected_serving) is not None:
            save_bundle(self, view)

    def do_forward(self) -> None:
        if (view := self.selected_serving) is not None:
            start_forward(self, view)

    def do_forwards(self) -> None:
        open_forwards(self)

    def do_undo(self) -> None:
        """Put back what was changed last: operations, an edit, or limits of an async queue."""
        if self.app_context.undoable.limits is not None:
            from tui.async_queue.limits_flow import undo_limits

            undo_limits(self)
        elif self.app_context.undoable.edit is None:
            self.operation_flow.undo()
        else:
            self.edit_flow.undo()
