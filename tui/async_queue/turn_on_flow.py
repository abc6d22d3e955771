"""From a serving to the dialog that turns its async queue on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from servedeck.changes.operations.operation import Outcome
from servedeck.fleet.views import NamespacedName
from tui.async_queue.change_reason import production_text, turn_on_disabled_reason

if TYPE_CHECKING:
    from servedeck.changes.async_queue.plan import AsyncQueueResult
    from tui.screens.base import ActionScreen


def open_turn_on(
    screen: ActionScreen[Any], key: NamespacedName, on_done: Callable[[str, str], object]
) -> None:
    """Show what turning the queue on, or on again, would do, and do it if that is confirmed.
    `on_done` takes a message and its style name."""
    app = screen.app_context
    service = app.async_queue_service
    if reason := turn_on_disabled_reason(app, key):
        screen.show_message(reason, "warning")
    if service is None or reason:
        return
    from tui.screens.async_queue_on import AsyncQueueOnDialog

    def closed(result: AsyncQueueResult | None) -> None:
        if result is not None:
            is_done = result.outcome is Outcome.DONE
            on_done(result.message, "ready" if is_done else "error")

    dialog = AsyncQueueOnDialog(
        key, service, context=app.source.context, warning=production_text(app)
    )
    screen.app.push_screen(dialog, closed)
