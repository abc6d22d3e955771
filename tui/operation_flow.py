"""Operations from the list, a serving's page or a Pod's page: permission, dialog, result, undo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationResult,
    Outcome,
)
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.status import Status
from tui.ports.app_context import Undoable

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
}
"""Names of the actions of the list and the page; stop also starts, pause also resumes."""


class OperationFlow:
    """Opens the dialog of an operation over a screen, and shows its result there."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        *,
        on_done: Callable[[Operation], None] = lambda operation: None,
    ) -> None:
        """`on_done` is called for each operation that was done."""
        self._screen = screen
        self._on_done = on_done
        self._requested_permissions: set[tuple[str, str, str]] = set()

    # -- whether it can be done ---------------------------------------------------------------

    def serving_disabled_reason(self, kind: OperationKind, view: ServingView | None) -> str:
        """Why the operation is not possible on a serving, in a sentence; "" if it is, as far as
        known without a request."""
        if view is None:
            return "There is no serving under the cursor."
        if view.readonly_reason:
            return view.readonly_reason
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
        _verb, resource = operation.required_permission
        asked = (app.source.context, operation.namespace, resource)
        if asked not in self._requested_permissions:
            self._requested_permissions.add(asked)
            self._screen.start_worker(self._refresh_permission(operation), f"permission {asked}")
        return change_service.operation_disabled_reason(operation)

    async def _refresh_permission(self, operation: Operation) -> None:
        change_service = self._screen.app_context.change_service
        if change_service is not None:
            with suppress(ClusterError):  # then the dry run reports it
                await change_service.refresh_operation_permission(operation)
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
        replicas = views[0].desired if kind is OperationKind.SCALE else None
        operations = [
            Operation(kind, one.key.namespace, one.key.name, revision=revision) for one in views
        ]
        self.open(operations, initial_replicas=replicas)

    def open(self, operations: Sequence[Operation], *, initial_replicas: int | None = None) -> None:
        """Open the dialog as soon as the permissions are known."""
        self._screen.start_worker(
            self._open(operations, initial_replicas),
            "operation",
            busy_label="Checking your permissions",
        )

    async def _open(self, operations: Sequence[Operation], initial_replicas: int | None) -> None:
        from tui.screens.operation_dialog import OperationDialog, TypedName

        app = self._screen.app_context
        change_service = app.change_service
        if change_service is None:
            return
        with suppress(TimeoutError):  # then the dry run reports it
            async with asyncio.timeout(PERMISSION_TIMEOUT):
                for namespace in dict.fromkeys(one.namespace for one in operations):
                    first = next(one for one in operations if one.namespace == namespace)
                    await self._refresh_permission(first)
        if len(operations) == 1 and (reason := self.disabled_reason(operations[0])):
            self._screen.show_message(reason, "warning")
            return
        typed = None
        if app.is_production and operations[0].kind is OperationKind.DELETE:
            name = operations[0].name if len(operations) == 1 else f"{len(operations)} servings"
            typed = TypedName(name, f"{app.source.context} is a production context")
        dialog = OperationDialog(
            operations,
            change_service,
            typed_name=typed,
            initial_replicas=initial_replicas,
        )
        self._screen.app.push_screen(dialog, self._on_closed)

    def _on_closed(self, results: tuple[OperationResult, ...] | None) -> None:
        done = [one for one in results or () if one.outcome is Outcome.DONE]
        if not results or self._screen.app_context.exiting:
            return
        from tui.operation_text import summary

        app = self._screen.app_context
        undoable = tuple(one for one in done if one.undo is not None)
        app.undoable = Undoable(app.source.context, undoable)
        text, style_name = (done[0].message, "ready") if len(results) == 1 else summary(results)
        if undoable:
            key = app.key_display_for("servings.undo")
            text = f"{text} {key} undoes it."
        self._screen.show_message(text, style_name, 20)
        for one in done:
            self._on_done(one.operation)

    # -- undo ---------------------------------------------------------------------------------

    def undo_disabled_reason(self) -> str:
        """Why nothing can be undone, in a sentence; "" if something can."""
        app = self._screen.app_context
        context, results, edit = app.undoable
        if edit is not None and context == app.source.context:
            return self.disabled_reason(
                Operation(OperationKind.RESTART, edit.after.namespace, edit.after.name)
            )
        if not results or context != app.source.context:
            return "Nothing was changed here that can be undone."
        for one in results:
            if one.undo is None:
                continue
            if reason := self.disabled_reason(one.undo):
                return reason
            if self._has_changed(one):
                return f"{one.operation.target} has changed since; it is not put back."
        return ""

    def _has_changed(self, result: OperationResult) -> bool:
        """Whether somebody else has changed the Deployment since the operation."""
        operation = result.operation
        if operation.resource.kind != "Deployment":
            return False
        key = NamespacedName(operation.namespace, operation.name)
        now = self._screen.app_context.source.fleet.deployment(key)
        # The watch may be behind our own write.
        return now is None or now.metadata.generation > (result.generation or 0)

    def undo(self) -> None:
        """Open the dialog that puts back what the last operation changed."""
        results = self._screen.app_context.undoable.results
        self.open([one.undo for one in results if one.undo is not None])


def _resolve_kind(kind: OperationKind, view: ServingView) -> OperationKind:
    """STOP of a stopped serving starts it; PAUSE of a paused one resumes it."""
    if kind is OperationKind.STOP and view.status is Status.SCALED_DOWN:
        return OperationKind.START
    if kind is OperationKind.PAUSE and view.rollout == "paused":
        return OperationKind.RESUME
    return kind
