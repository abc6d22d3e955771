"""Operations from the list, a serving's page or a Pod's page: permission, dialog, result, undo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationResult,
    Outcome,
)
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.status import Status
from tui.actions import ACTIONS_BY_ID
from tui.log_permission import PERMISSION_MAX_AGE

if TYPE_CHECKING:
    from tui.screens.base import ActionScreen

PERMISSION_TIMEOUT = 3.0
"""Timeout in seconds of the permission check before a dialog opens."""

OPERATION_ACTIONS = {
    "scale": OperationKind.SCALE,
    "restart": OperationKind.RESTART,
    "stop": OperationKind.STOP,
    "pause": OperationKind.PAUSE,
    "rollback": OperationKind.ROLLBACK,
    "delete": OperationKind.DELETE,
    "adopt": OperationKind.ADOPT,
}
"""Names of the actions of the list and the page; stop also starts, pause also resumes."""


class OperationFlow:
    """Opens the dialog of an operation over a screen, and shows its result there."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        *,
        on_done: Callable[[Sequence[Operation]], None] = lambda operations: None,
    ) -> None:
        """`on_done` is called with the operations that were done together."""
        self._screen = screen
        self._on_done = on_done
        self._requested_permissions: dict[tuple[str, ...], float] = {}
        """When the permission of an operation was last asked for."""

    # -- whether it can be done ---------------------------------------------------------------

    def serving_disabled_reason(self, kind: OperationKind, view: ServingView | None) -> str:
        """Why the operation is not possible on a serving, in a sentence; "" if it is, as far as
        known without a request."""
        if view is None:
            return "There is no serving under the cursor."
        if view.readonly_reason:
            return view.readonly_reason
        if kind is OperationKind.ADOPT and (reason := _adoption_blocks(view)):
            return reason
        return self.disabled_reason(Operation(kind, view.key.namespace, view.key.name))

    def targets_disabled_reason(self, kind: OperationKind, views: Sequence[ServingView]) -> str:
        """The same for several servings: "" if it is possible on one of them."""
        reason = ""
        for view in views:
            if not (found := self.serving_disabled_reason(kind, view)):
                return ""
            reason = reason or found
        return reason or self.serving_disabled_reason(kind, None)

    def disabled_reason(self, operation: Operation) -> str:
        """Why the operation is not possible: --readonly, no connection, or a missing permission."""
        app = self._screen.app_context
        if app.readonly:
            return "servedeck runs with --readonly; restart it without that option to make changes."
        change_service = app.change_service
        if change_service is None or not change_service.is_connected:
            return "Not connected to the API server."
        asked: tuple[str, ...]
        asked = (app.source.context, *operation.required_permission, operation.namespace)
        if not operation.namespace:
            asked = (*asked, operation.name)  # of a node, which no review of a namespace covers
        requested_at = self._requested_permissions.get(asked)
        if requested_at is None or monotonic() - requested_at > PERMISSION_MAX_AGE:
            self._requested_permissions[asked] = monotonic()
            self._screen.start_worker(self._refresh_permission(operation), f"permission {asked}")
        return change_service.operation_disabled_reason(operation)

    async def _refresh_permission(self, operation: Operation) -> None:
        change_service = self._screen.app_context.change_service
        if change_service is not None:
            with suppress(ClusterError):  # then the dry run reports it
                await change_service.refresh_operation_permission(operation)
        if self._screen.is_attached:
            self._screen.update_footer()

    # -- the dialog ---------------------------------------------------------------------------

    def start(
        self, kind: OperationKind, views: Sequence[ServingView], *, revision: int = 0
    ) -> None:
        """Open the dialog for servings, of which the first one decides what a key that has two
        meanings does."""
        if not views:
            return
        kind = _resolve_kind(kind, views[0])
        if kind is OperationKind.ADOPT:
            self.open([Adoption.make(one.key.namespace, one.key.name) for one in views])
            return
        asks_replicas = kind is OperationKind.SCALE
        # One number is proposed where all have it: enter changes nothing then.
        desired = {one.desired for one in views} if asks_replicas else set()
        replicas = desired.pop() if len(desired) == 1 else None
        self.open(
            [Operation(kind, one.key.namespace, one.key.name, replicas, revision) for one in views],
            asks_replicas=asks_replicas,
        )

    def open(
        self,
        operations: Sequence[Operation],
        *,
        asks_replicas: bool = False,
        undone: Sequence[OperationResult] = (),
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the dialog as soon as the permissions are known. `undone` are the results that the
        operations put back; `on_left` is called if the dialog is closed and nothing was done."""
        self._screen.start_worker(
            self._open(operations, asks_replicas, undone, on_left),
            "operation",
            busy_label="Checking your permissions",
        )

    async def _open(
        self,
        operations: Sequence[Operation],
        asks_replicas: bool,
        undone: Sequence[OperationResult],
        on_left: Callable[[], None],
    ) -> None:
        from tui.screens.operation_dialog import OperationDialog
        from tui.screens.operation_input import TypedName

        app = self._screen.app_context
        change_service = app.change_service
        if change_service is None:
            return
        with suppress(TimeoutError):  # then the dry run reports it
            async with asyncio.timeout(PERMISSION_TIMEOUT):
                for namespace in dict.fromkeys(one.namespace for one in operations):
                    first = next(one for one in operations if one.namespace == namespace)
                    await self._refresh_permission(first)
        reasons = [self.disabled_reason(one) for one in operations]
        if all(reasons):
            self._screen.show_message(reasons[0], "warning")
            return
        typed = None
        if app.is_production and operations[0].kind is OperationKind.DELETE:
            name = operations[0].name if len(operations) == 1 else f"{len(operations)} servings"
            typed = TypedName(name, f"{app.source.context} is a production context")
        dialog_class = OperationDialog
        if all(isinstance(one, Adoption) for one in operations):
            from tui.screens.adoption_dialog import AdoptionDialog

            dialog_class = AdoptionDialog
        dialog = dialog_class(
            operations,
            change_service,
            context=app.source.context,
            typed_name=typed,
            asks_replicas=asks_replicas,
            undone=undone,
        )
        on_closed = partial(self._on_closed, is_undo=bool(undone), on_left=on_left)
        self._screen.app.push_screen(dialog, on_closed)

    def _on_closed(
        self,
        results: tuple[OperationResult, ...] | None,
        *,
        is_undo: bool,
        on_left: Callable[[], None],
    ) -> None:
        done = [one for one in results or () if one.outcome is Outcome.DONE]
        app = self._screen.app_context
        unclear = any(one.outcome is Outcome.UNKNOWN for one in results or ())
        if not (done or unclear or app.exiting):
            on_left()
        if not results or app.exiting or (len(results) == 1 and not done):
            return
        from tui.operation_text import LABELS, UNDO_LABEL, summary

        if len(results) == 1:
            text, style_name = done[0].message, "ready"
        else:
            label = UNDO_LABEL if is_undo else LABELS[results[0].operation.kind]
            text, style_name = summary(results, label)
        if done:
            app.undoable = app.undoable.after(app.source.context, done)
            undo_action = f"{self._screen.SCOPE}.undo"
            if not app.undoable.is_empty and undo_action in ACTIONS_BY_ID:
                is_undone = any(one.undo is not None for one in done)
                what = "it" if is_undone else "the change before it"
                text = f"{text} {app.key_display_for(undo_action)} undoes {what}."
            self._on_done([one.operation for one in done])
        self._screen.show_message(text, style_name, 20)

    # -- undo ---------------------------------------------------------------------------------

    def undo_disabled_reason(self) -> str:
        """Why nothing can be undone, in a sentence; "" if something can."""
        app = self._screen.app_context
        context, results, edit, limits = app.undoable
        if not results and edit is None and limits is None:
            return "Nothing was changed here that can be undone."
        if context != app.source.context:
            return f"The last change was made in context {context}; switch to it to undo it."
        if limits is not None:
            from tui.async_queue.change_reason import turn_on_disabled_reason

            return turn_on_disabled_reason(app, limits.key)
        if edit is not None:
            return self.disabled_reason(
                Operation(OperationKind.RESTART, edit.after.namespace, edit.after.name)
            )
        if app.undoable.is_empty:
            from tui.operation_text import LABELS  # the first frame needs none of it

            what = LABELS[results[0].operation.kind].lower()
            return f"The last change, {what}, cannot be undone."
        reason = ""
        for one in results:
            if one.undo is None:
                continue
            if not (found := self.disabled_reason(one.undo) or self._changed_text(one)):
                return ""
            reason = reason or found
        return reason

    def _changed_text(self, result: OperationResult) -> str:
        """That somebody else has changed the Deployment since the operation, in a sentence; "" if
        nobody has, as far as the watch shows it."""
        operation = result.operation
        if operation.resource.kind != "Deployment" or result.generation is None:
            return ""
        key = NamespacedName(operation.namespace, operation.name)
        now = self._screen.app_context.source.fleet.deployment(key)
        # One that is not in the list is looked up when the plan is made.
        if now is None or now.metadata.generation <= result.generation:
            return ""
        from tui.operation_targets import changed_since_text  # the first frame needs none of it

        return changed_since_text(operation)

    def undo(self) -> None:
        """Open the dialog that puts back what the last operation changed."""
        undone = [one for one in self._screen.app_context.undoable.results if one.undo is not None]
        self.open([one.undo for one in undone if one.undo is not None], undone=undone)


def _resolve_kind(kind: OperationKind, view: ServingView) -> OperationKind:
    """STOP of a stopped serving starts it; PAUSE of a paused one resumes it."""
    if kind is OperationKind.STOP and view.status is Status.SCALED_DOWN:
        return OperationKind.START
    if kind is OperationKind.PAUSE and view.rollout == "paused":
        return OperationKind.RESUME
    return kind


def _adoption_blocks(view: ServingView) -> str:
    """Why there is nothing to adopt, in a sentence; "" if there is, as far as the list knows."""
    if view.managed:
        return "servedeck made this serving; there is nothing to adopt."
    if view.owner:
        return f"{view.owner} owns this Deployment, so it is not adopted; change the {view.owner}."
    if view.is_adopted and view.endpoint.service_name:
        return "It is adopted already."
    return ""
