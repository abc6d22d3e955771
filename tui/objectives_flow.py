"""From a serving to the dialog of its objectives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import ServingView
from servedeck.serving.objectives import ObjectiveKind
from tui.ports.app_context import Undoable

if TYPE_CHECKING:
    from servedeck.changes.edit.save import SaveResult
    from tui.operation_flow import OperationFlow
    from tui.screens.base import ActionScreen


def objectives_disabled_reason(operation_flow: OperationFlow, view: ServingView | None) -> str:
    """Why the objectives of a serving cannot be changed, in a sentence; "" if they can, as far as
    known without a request."""
    # Saving needs the permission of a restart: to patch the Deployment.
    return operation_flow.serving_disabled_reason(OperationKind.RESTART, view)


def open_objectives(
    screen: ActionScreen[Any],
    operation_flow: OperationFlow,
    view: ServingView,
    values: Mapping[ObjectiveKind, float | None] = MappingProxyType({}),
) -> None:
    """Read the serving, and open the dialog of its objectives. `values` are what they limit, at the
    moment: seconds, and a share of errors."""
    screen.start_worker(
        _open(screen, operation_flow, view, values),
        "objectives",
        busy_label=f"Reading {view.key}",
    )


async def _open(
    screen: ActionScreen[Any],
    operation_flow: OperationFlow,
    view: ServingView,
    values: Mapping[ObjectiveKind, float | None],
) -> None:
    from tui.screens.objectives import ObjectivesDialog

    key, app = view.key, screen.app_context
    change_service = app.change_service
    if change_service is not None:
        operation = Operation(OperationKind.RESTART, key.namespace, key.name)
        with suppress(ClusterError):  # then the dry run reports it
            await change_service.refresh_operation_permission(operation)
    reason = objectives_disabled_reason(operation_flow, view)
    if reason or change_service is None:
        screen.show_message(reason or "Not connected to the API server.", "warning")
        return
    try:
        read = await change_service.import_serving(key)
    except ClusterError as error:
        screen.show_message(f"The objectives of {key} cannot be read: {error}", "error", 20)
        return

    def closed(result: SaveResult | None) -> None:
        if result is None or app.exiting:
            return
        text = result.message
        app.undoable = Undoable()
        if result.undo is not None:
            app.undoable = Undoable(app.source.context, (), result.undo)
            text = f"{key}: {text} {app.key_display_for('serving.undo')} undoes it."
        screen.show_message(text, "ready", 20)

    screen.app.push_screen(ObjectivesDialog(key, read, change_service, values), closed)
