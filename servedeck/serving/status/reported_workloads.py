"""The state of a serving by what its controller reports: DaemonSets, Rollouts, RayServices and
RayClusters. The rules are those for Deployments (`status.evaluate`), with counts for Pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from servedeck.serving.objects.records import Condition, Event
from servedeck.serving.objects.reported_records import (
    DaemonSet,
    RayCluster,
    RayClusterStatus,
    RayService,
    Rollout,
)
from servedeck.serving.status import reasons
from servedeck.serving.status.events import latest_distinct
from servedeck.serving.status.status import (
    WAITING_FOR_CONTROLLER,
    ServingStatus,
    Status,
    describe_creation_failure,
)

Failure = tuple[str, str]
"""Reason and message of what keeps it from being ready."""


def evaluate_daemon_set(record: DaemonSet, events: Sequence[Event]) -> ServingStatus:
    """The state of a DaemonSet; its Events say why no Pod can be created."""
    state = record.status
    desired, ready = state.desired_number_scheduled, state.number_ready
    if not record.is_observed:
        return _waiting("DaemonSet", ready)
    if not desired:
        message = "No node matches its node selector and tolerations"
        return ServingStatus(Status.PENDING, "No node", message, 0)
    failures = latest_distinct([one for one in events if one.reason == "FailedCreate"], 1)
    failure = None
    if failures and ready < desired:
        reason, message = failures[0].reason, failures[0].message
        failure = reasons.shorten(reason), describe_creation_failure(reason, message)
    return _by_counts(ready, desired, failure, "Pods")


def evaluate_rollout(record: Rollout) -> ServingStatus:
    """The state of a Rollout of Argo."""
    state = record.status
    if record.spec.replicas <= 0:
        return ServingStatus(Status.SCALED_DOWN, "", "", 0)
    if not record.is_observed:
        return _waiting("Rollout", state.ready_replicas)
    failure = None
    if state.phase == "Degraded":
        failed = _failed_condition(state.conditions)
        reason = failed.reason if failed is not None else ""
        message = state.message or (failed.message if failed is not None else "")
        failure = reason or "Degraded", message or "Argo Rollouts reports that it is degraded"
    found = _by_counts(state.ready_replicas, record.spec.replicas, failure, "Pods")
    if failure is None and found.status is Status.STARTING and state.message:
        return found._replace(message=reasons.shorten_message(state.message))
    return found


def rollout_badge(record: Rollout) -> str:
    """Badge of a Rollout that is not finished: as of a Deployment."""
    state = record.status
    desired = record.spec.replicas
    match state.phase:
        case "Degraded":
            return "rollout failed"
        case "Paused":
            return "paused"
        case "Progressing" if state.updated_replicas < desired:
            return f"updating {state.updated_replicas}/{desired}"
    return ""


def evaluate_ray_service(record: RayService) -> ServingStatus:
    """The state of a RayService: its applications are its replicas."""
    applications = record.current.application_statuses
    desired = max(1, len(applications))
    ready_condition = _find(record.status.conditions, "Ready")
    if ready_condition is not None:
        is_ready = ready_condition.status == "True"
    else:  # before KubeRay 1.3
        is_ready = record.status.service_status == "Running"
    running = sum(one.status == "RUNNING" for one in applications.values())
    ready = running if applications else int(is_ready)
    failed = {
        name: one
        for name, one in sorted(applications.items())
        if one.status in ("UNHEALTHY", "DEPLOY_FAILED")
    }
    failure: Failure | None = None
    for name, one in failed.items():
        why = f": {one.message}" if one.message.strip() else ""
        failure = one.status, f"Application {name} is {one.status}{why}"
        break
    failure = failure or _cluster_failure(record.current.ray_cluster_status)
    if not is_ready and failure is None and ready >= desired:
        ready = desired - 1  # the applications run, but nothing leads to them yet
    found = _by_counts(ready, desired, failure, "applications")
    if found.status is not Status.STARTING:
        return found
    waiting = next((name for name, one in applications.items() if one.status != "RUNNING"), "")
    if waiting:
        message = f"Application {waiting} is {applications[waiting].status or 'not started'}"
    elif ready_condition is not None and ready_condition.message:
        message = ready_condition.message
    else:
        message = f"KubeRay reports {record.status.service_status or 'nothing yet'}"
    return found._replace(message=reasons.shorten_message(message))


def evaluate_ray_cluster(record: RayCluster) -> ServingStatus:
    """The state of a RayCluster, which is one replica."""
    state = record.status
    if state.state == "suspended":
        return ServingStatus(Status.SCALED_DOWN, "", "", 0)
    wanted, there = state.desired_worker_replicas, state.ready_worker_replicas
    if state.state == "ready" and there >= wanted:
        return ServingStatus(Status.READY, "", "", 0, 1)
    found = _by_counts(0, 1, _cluster_failure(state), "clusters")
    if found.status is Status.STARTING:
        message = f"{there} of {wanted} workers are ready" if wanted else "Its head is not ready"
        return found._replace(message=message)
    return found


def _cluster_failure(state: RayClusterStatus) -> Failure | None:
    failed = _failed_condition(state.conditions)
    if failed is not None:
        return failed.reason or failed.type, failed.message or state.reason
    if state.state in ("failed", "unhealthy"):
        return "RayCluster failed", state.reason or f"KubeRay reports that it is {state.state}"
    return None


def _by_counts(ready: int, desired: int, failure: Failure | None, noun: str) -> ServingStatus:
    reason, message = failure or ("", "")
    reason, message = reasons.shorten(reason), reasons.shorten_message(message)
    failing = min(1, desired - ready) if failure is not None and ready < desired else 0
    if ready >= desired:
        return ServingStatus(Status.READY, reason, message, failing, ready)
    counts = f"{ready} of {desired} {noun} are ready"
    if ready:
        return ServingStatus(Status.DEGRADED, reason, message or counts, failing, ready)
    if failure is not None:
        return ServingStatus(Status.ERROR, reason, message, failing)
    return ServingStatus(Status.STARTING, "", counts, 0)


def _waiting(kind: str, ready: int) -> ServingStatus:
    message = f"The {kind} controller has not acted on the latest change yet"
    return ServingStatus(Status.STARTING, WAITING_FOR_CONTROLLER, message, 0, ready)


def _find(conditions: Iterable[Condition], name: str) -> Condition | None:
    return next((one for one in conditions if one.type == name), None)


_FAILURE_TYPES = ("InvalidSpec", "ReplicaFailure")
"""Conditions of a Rollout (ReplicaFailure also of a RayCluster) that are true when it fails."""


def _failed_condition(conditions: Iterable[Condition]) -> Condition | None:
    """The condition that says why it fails: one that means failure and is true, or a Progressing
    one that is false."""
    known = tuple(conditions)
    for name in _FAILURE_TYPES:
        if (found := _find(known, name)) is not None and found.status == "True":
            return found
    found = _find(known, "Progressing")
    return found if found is not None and found.status == "False" else None
