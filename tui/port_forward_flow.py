"""From a serving or a Pod to its port-forward, and to the list of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.fleet.views import NamespacedName, PodView, ServingView
from tui.ports.app_context import AppContext
from widgets.styled_line import Line

if TYPE_CHECKING:
    from servedeck.forwarding.port_forward import PortForward
    from tui.operation_flow import OperationFlow
    from tui.screens.base import ActionScreen


def forward_operation(view: ServingView) -> Operation:
    """Says which permission it needs; of no certain Pod, as that one changes."""
    return Operation(OperationKind.PORT_FORWARD, view.key.namespace, "")


def forward_disabled_reason(
    screen: ActionScreen[Any], operation_flow: OperationFlow, view: ServingView | None
) -> str:
    """Why no port can be forwarded to the serving, in a sentence; "" if one can."""
    if view is None:
        return "There is no serving under the cursor."
    if screen.app_context.port_forwards is None:
        return "Not connected to a cluster."
    return operation_flow.disabled_reason(forward_operation(view))


def start_forward(
    screen: ActionScreen[Any], view: ServingView, *, pod: PodView | None = None
) -> None:
    """Ask for the ports, and start a port-forward; `pod` is the one to begin with."""
    from tui.screens.port_forward import PortForwardDialog

    app = screen.app_context
    port_forwards = app.port_forwards
    if port_forwards is None:
        return

    def started(forward: PortForward | None) -> None:
        if forward is not None:
            url = view.endpoint.local_url(forward.address, forward.local_port)
            listed = app.key_display_for("servings.forwards")
            text = f"{url} is forwarded to {forward.key}; {listed} in the list shows all."
            screen.show_message(text, "ready", 20)

    screen.app.push_screen(PortForwardDialog(port_forwards, view, pod), started)


def open_forwards(screen: ActionScreen[Any], selected: PortForward | None = None) -> None:
    """List all port-forwards."""
    from tui.screens.port_forwards import PortForwardsScreen

    app = screen.app_context
    if app.port_forwards is None:
        return

    def closed(key: NamespacedName | None) -> None:
        view = app.source.fleet.view(key) if key is not None else None
        if view is not None:
            start_forward(screen, view)

    screen.app.push_screen(PortForwardsScreen(app.port_forwards, selected), closed)


def forwards_text(app: AppContext, key: NamespacedName | None = None) -> str:
    """ "forward 127.0.0.1:8000", "2 forwards": those of a serving, or all; "" for none."""
    if app.port_forwards is None:
        return ""
    found = app.port_forwards.forwards if key is None else app.port_forwards.of(key)
    if len(found) > 1:
        return f"{len(found)} forwards"
    return f"forward {found[0].where}" if found else ""


def forwards_mark(app: AppContext, key: NamespacedName) -> Line:
    """The same after the title of a serving."""
    text = forwards_text(app, key)
    return (("  ", ""), (text, "accent")) if text else ()
