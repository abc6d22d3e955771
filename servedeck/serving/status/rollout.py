"""The rollout state of a Deployment, as a badge."""

from __future__ import annotations

from servedeck.serving.objects.records import Condition, Workload

BLOCKED_BADGE = "blocked by old Pods"
"""Badge of a rollout that cannot go on, see `blocked_rollout`."""


def find_condition(deployment: Workload, kind: str) -> Condition | None:
    """The Deployment's condition of that type, None if it is not set."""
    for found in deployment.status.conditions:
        if found.type == kind:
            return found
    return None


def rollout_badge(deployment: Workload) -> str:
    """ "updating 1/3", "updating", "paused", "rollout failed", or "" if none is in progress.

    The order is kubectl rollout status's (kubernetes kubectl pkg/polymorphichelpers/
    rollout_status.go). Creation and scaling are not rollouts: the Deployment controller does not
    change the Progressing condition while it only scales (kubernetes
    pkg/controller/deployment/progress.go).
    """
    status = deployment.status
    desired = deployment.spec.replicas
    if deployment.spec.paused:
        return "paused"
    observed = deployment.metadata.generation <= status.observed_generation
    progressing = find_condition(deployment, "Progressing")
    reason = progressing.reason if progressing is not None else ""
    if observed and reason == "ProgressDeadlineExceeded":
        return "rollout failed"
    if desired == 0 or deployment.metadata.annotations.revision in ("0", "1"):
        return ""
    if not observed:
        return "updating"
    complete = reason == "NewReplicaSetAvailable" and status.replicas <= status.updated_replicas
    if complete:
        return ""
    done = min(status.updated_replicas, desired)
    if (
        status.updated_replicas < desired
        or status.replicas > status.updated_replicas
        or status.available_replicas < status.updated_replicas
    ):
        return f"updating {done}/{desired}"
    return ""
