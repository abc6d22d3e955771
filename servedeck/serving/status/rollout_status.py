"""The rollout of a Deployment's Pod template: its progress, in the words of `kubectl rollout
status`, its strategy and its progress deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_time,
    mappings,
)
from servedeck.serving.status.revisions import Revision, count, is_observed
from servedeck.serving.status.strategy import Strategy, resolve_strategy
from servedeck.serving.text import one_line, sanitize

DEFAULT_PROGRESS_DEADLINE = 600
NO_PROGRESS_DEADLINE = 2**31 - 1
"""progressDeadlineSeconds that means that there is none (kubernetes
pkg/controller/deployment/util/deployment_util.go, HasProgressDeadline)."""


class RolloutPhase(StrEnum):
    COMPLETE = "complete"
    IN_PROGRESS = "in progress"
    PAUSED = "paused"
    FAILED = "failed"
    """It exceeded its progress deadline; the Deployment controller goes on all the same."""
    NOT_OBSERVED = "not observed"
    """The Deployment controller has not observed the last change."""


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How far the rollout of the current Pod template is. Counts are numbers of Pods."""

    phase: RolloutPhase
    message: str
    """One sentence, that of `kubectl rollout status` where it has one."""
    desired: int
    updated: int
    """Pods of the current revision."""
    ready: int
    """Ready Pods of the current revision."""
    available: int
    """Available Pods of all revisions, as the API counts them."""
    old: int
    """Pods of other revisions."""
    strategy: Strategy
    started_at: datetime | None
    """When the template was changed, or its ReplicaSet created; None if it is unknown, or if the
    rollout was complete before: it is paused, or was scaled, since."""
    deadline_at: datetime | None
    """When the controller reports it as failed unless it progresses; None where there is no
    deadline or no rollout in progress."""
    min_ready_seconds: int
    creation_error: str
    """Message of the condition ReplicaFailure; "" if Pods can be created."""


def read_rollout_status(deployment: JsonObject, current: Revision | None) -> RolloutStatus:
    """The rollout of a Deployment, as decoded and sanitized JSON; `current` is its current
    revision.

    The order of the messages is that of `kubectl rollout status` (kubernetes kubectl
    pkg/polymorphichelpers/rollout_status.go), except that a paused rollout says so. A complete
    rollout stays complete when a Pod fails later: the controller does not estimate its progress
    any more (pkg/controller/deployment/util/deployment_util.go, DeploymentTimedOut).
    """
    spec, status = as_mapping(deployment, "spec"), as_mapping(deployment, "status")
    name = one_line(sanitize(str(as_mapping(deployment, "metadata").get("name", ""))))
    desired = desired_replicas(deployment)
    updated = count(status.get("updatedReplicas"))
    replicas, available = (count(status.get(key)) for key in ("replicas", "availableReplicas"))
    has_replicaset = current is not None and bool(current.uid)
    progressing = find_condition(deployment, "Progressing")
    reason = progressing.get("reason")
    old = max(replicas - updated, 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    phase = RolloutPhase.IN_PROGRESS
    if not is_observed(deployment):
        phase = RolloutPhase.NOT_OBSERVED
        message = "Waiting for deployment spec update to be observed..."
    elif reason == "ProgressDeadlineExceeded":
        phase = RolloutPhase.FAILED
        message = f'deployment "{name}" exceeded its progress deadline'
    elif updated < desired:
        message = f"{waiting} {updated} out of {desired} new replicas have been updated..."
    elif replicas > updated:
        message = f"{waiting} {old} old replicas are pending termination..."
    elif available < updated:
        message = f"{waiting} {available} of {updated} updated replicas are available..."
        if reason == "NewReplicaSetAvailable":
            phase = RolloutPhase.COMPLETE
            message = f"{available} of {updated} updated replicas are available"
    else:
        phase = RolloutPhase.COMPLETE
        message = f'deployment "{name}" successfully rolled out'
    is_complete = phase is RolloutPhase.COMPLETE or reason == "NewReplicaSetAvailable"
    if spec.get("paused") is True and phase is not RolloutPhase.NOT_OBSERVED:
        phase, message = RolloutPhase.PAUSED, f'deployment "{name}" is paused'
    return RolloutStatus(
        phase=phase,
        message=message,
        desired=desired,
        updated=updated,
        ready=current.ready if current is not None else 0,
        available=available,
        old=old,
        strategy=read_strategy(deployment),
        started_at=None if is_complete and not old and has_replicaset else _started_at(current),
        deadline_at=_deadline(spec, progressing) if phase is RolloutPhase.IN_PROGRESS else None,
        min_ready_seconds=count(spec.get("minReadySeconds")),
        creation_error=_creation_error(deployment),
    )


def find_condition(value: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type; {} if it is not set."""
    conditions = mappings(as_mapping(value, "status").get("conditions"))
    return next((one for one in conditions if one.get("type") == kind), {})


def progress_deadline(deployment: JsonObject) -> int:
    """progressDeadlineSeconds; NO_PROGRESS_DEADLINE if there is none."""
    found = as_int(as_mapping(deployment, "spec").get("progressDeadlineSeconds"))
    return DEFAULT_PROGRESS_DEADLINE if found is None else found


def _started_at(current: Revision | None) -> datetime | None:
    """The creation of the ReplicaSet, or where an old one was made current again, the last write of
    the manager who owns the template, unless that was before."""
    if current is None:
        return None
    if current.created is not None and not current.is_reused:
        return current.created
    changed = current.changed_by.time if current.changed_by is not None else None
    after = current.reused_after
    return None if changed is not None and after is not None and changed < after else changed


_CONDITION_DELAY = timedelta(seconds=5)
"""The controller sets the condition Progressing after it has created a ReplicaSet."""


def was_interrupted(deployment: Mapping[str, Any], created: datetime) -> bool:
    """Whether the rollout of a ReplicaSet that was `created` then was paused, or exceeded its
    progress deadline, before the controller reported progress again: it sets Progressing to Unknown
    or False meanwhile, which nothing else does (kubernetes pkg/controller/deployment/progress.go
    and sync.go, checkPausedConditions)."""
    changed = as_time(find_condition(deployment, "Progressing").get("lastTransitionTime"))
    return changed is not None and changed > created + _CONDITION_DELAY


def _deadline(spec: Mapping[str, Any], progressing: Mapping[str, Any]) -> datetime | None:
    """The controller counts from the last progress (pkg/controller/deployment/progress.go)."""
    seconds = progress_deadline({"spec": spec})
    updated = as_time(progressing.get("lastUpdateTime"))
    if updated is None or not 0 < seconds < NO_PROGRESS_DEADLINE:
        return None
    if progressing.get("reason") == "NewReplicaSetAvailable":
        return None
    return updated + timedelta(seconds=seconds)


def _creation_error(deployment: JsonObject) -> str:
    failure = find_condition(deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return ""
    message = failure.get("message")
    return one_line(sanitize(message)) if isinstance(message, str) else "unknown"


def desired_replicas(deployment: Mapping[str, Any]) -> int:
    """spec.replicas; 1 if it is absent, as the API server sets it."""
    desired = as_int(as_mapping(deployment, "spec").get("replicas"))
    return 1 if desired is None else desired


def read_strategy(deployment: Mapping[str, Any]) -> Strategy:
    """How a Deployment replaces its Pods."""
    strategy = as_mapping(deployment, "spec", "strategy")
    rolling = as_mapping(strategy, "rollingUpdate")
    return resolve_strategy(
        strategy.get("type"),
        rolling.get("maxSurge", "25%"),
        rolling.get("maxUnavailable", "25%"),
        desired_replicas(deployment),
    )
