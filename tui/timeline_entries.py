"""The timeline of a serving from both of its sources."""

from __future__ import annotations

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import ServingView
from servedeck.serving.status.timeline import TimelineEntry, merge_entries
from servedeck.serving.status.timeline_objects import derive_entries
from tui.ports.app_context import AppContext


def timeline_entries(
    app_context: AppContext, view: ServingView, watch: DeploymentWatch | None
) -> tuple[TimelineEntry, ...]:
    """The entries of a serving, the newest at the end: what servedeck observed, and what its
    Deployment, ReplicaSets and Pods tell. Without a `watch`, only the Pods tell something."""
    deployment = watch.deployment if watch is not None else None
    if deployment is None or watch is None or deployment.metadata.uid != view.uid:
        derived = derive_entries({"metadata": {"name": view.key.name}}, (), view.pods)
    else:
        replicasets = [one.value for one in watch.replicasets]
        derived = derive_entries(deployment.value, replicasets, view.pods)
    return merge_entries(derived, app_context.history.timeline.entries(view.uid))
