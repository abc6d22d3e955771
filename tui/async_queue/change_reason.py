"""Whether an async queue can be changed, and what is said with each change."""

from __future__ import annotations

from contextlib import suppress

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from tui.ports.app_context import AppContext


def change_disabled_reason(app: AppContext) -> str:
    """Why nothing of an async queue can be changed, in a sentence; "" if it can, as far as known
    without a request."""
    if app.readonly:
        return "servedeck runs with --readonly; restart it without that option to make changes."
    if app.async_queue_service is None:
        return "Not connected to the API server."
    return ""


def turn_on_disabled_reason(app: AppContext, key: NamespacedName) -> str:
    """Why the queue of a serving cannot be turned on, nor its limits be changed, in a sentence; ""
    if that can be done, as far as known without a request."""
    if (reason := change_disabled_reason(app)) or app.async_queue_service is None:
        return reason
    return app.async_queue_service.disabled_reason(key)


async def refresh_permissions(app: AppContext, key: NamespacedName) -> None:
    """Fetch the permissions that `turn_on_disabled_reason` reports on, as far as they can be."""
    if app.async_queue_service is not None:
        with suppress(ClusterError):  # then the dry run reports it
            await app.async_queue_service.refresh_permissions(key)


def production_text(app: AppContext) -> str:
    """What is said with each change in a production context; "" elsewhere."""
    return f"{app.source.context} is a production context." if app.is_production else ""
