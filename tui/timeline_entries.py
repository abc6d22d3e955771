"""The timeline of a serving from both of its sources."""

from __future__ import annotations

from typing import Any

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import ServingView
from servedeck.serving.status.status_start import find_status_start
from servedeck.serving.status.timeline import StatusStart, TimelineEntry, merge_entries
from servedeck.serving.status.timeline_objects import derive_entries
from tui.ports.app_context import AppContext


def timeline_entries(
    app_context: AppContext, view: ServingView, watch: DeploymentWatch | None
) -> tuple[TimelineEntry, ...]:
    """The entries of a serving, the newest at the end: what servedeck observed, and what its
    Deployment, ReplicaSets and Pods tell. Without a `watch`, only the Pods tell something."""
    deployment = _deployment(view, watch)
    if deployment is None or watch is None:
        derived = derive_entries({"metadata": {"name": view.key.name}}, (), view.pods)
    else:
        replicasets = [one.value for one in watch.replicasets]
        derived = derive_entries(deployment, replicasets, view.pods)
    return merge_entries(derived, app_context.history.timeline.entries(view.uid))


def status_start(view: ServingView, watch: DeploymentWatch | None) -> StatusStart | None:
    """Since when the serving has its status, as its objects tell; None if they do not."""
    deployment = _deployment(view, watch)
    if deployment is None or watch is None:
        named = {"metadata": {"name": view.key.name}}
        return find_status_start(view.status, view.pods, named)
    replicasets = [one.value for one in watch.replicasets]
    return find_status_start(view.status, view.pods, deployment, replicasets)


def _deployment(view: ServingView, watch: DeploymentWatch | None) -> dict[str, Any] | None:
    """The serving's own Deployment: not one that was made again under the same name."""
    deployment = watch.deployment if watch is not None else None
    return (
        deployment.value if deployment is not None and deployment.metadata.uid == view.uid else None
    )
