"""From a serving to the division of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servedeck.fleet.views import ServingView

if TYPE_CHECKING:
    from tui.screens.base import ActionScreen


def traffic_disabled_reason(screen: ActionScreen[Any], view: ServingView) -> str:
    """Why the division cannot be shown, in a sentence; "" if it can."""
    if view.readonly_reason:
        return view.readonly_reason
    if screen.app_context.traffic_service is None:
        return "Not connected to a cluster."
    return ""


def open_traffic(screen: ActionScreen[Any], view: ServingView) -> None:
    """Show how the requests of the serving's endpoint are divided."""
    from tui.screens.traffic_split import TrafficSplitScreen

    app = screen.app_context
    if (service := app.traffic_service) is None:
        return
    context = app.source.context
    warning = f"{context} is a production context." if app.is_production else ""
    screen.app.push_screen(TrafficSplitScreen(view.key, service, context=context, warning=warning))


def start_revision(screen: ActionScreen[Any], view: ServingView, number: int) -> None:
    """Open the form of a second revision of the serving, with the Pods of one of its revisions."""
    from tui.revision_flow import RevisionFlow

    app = screen.app_context
    if (service := app.traffic_service) is None:
        return
    flow = RevisionFlow(screen, view.key, service)
    if reason := flow.start_disabled_reason():
        screen.show_message(reason, "warning")
    else:
        flow.start(number)
