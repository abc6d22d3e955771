"""The watch of a serving's Deployment as the screens open it."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import NamespacedName
from tui.ports.app_context import AppContext


def watch_deployment(
    app_context: AppContext, key: NamespacedName, on_change: Callable[[], None]
) -> DeploymentWatch:
    """An open `DeploymentWatch` that begins with the Deployment that the list has."""
    known = app_context.source.fleet.deployment(key)
    return DeploymentWatch(app_context.detail_service, key, on_change, known=known)
