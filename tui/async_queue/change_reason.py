"""Whether an async queue can be changed, and what is said with each change."""

from __future__ import annotations

from tui.ports.app_context import AppContext


def change_disabled_reason(app: AppContext) -> str:
    """Why nothing of an async queue can be changed, in a sentence; "" if it can, as far as known
    without a request."""
    if app.readonly:
        return "servedeck runs with --readonly; restart it without that option to make changes."
    if app.async_queue_service is None:
        return "Not connected to the API server."
    return ""


def production_text(app: AppContext) -> str:
    """What is said with each change in a production context; "" elsewhere."""
    return f"{app.source.context} is a production context." if app.is_production else ""
