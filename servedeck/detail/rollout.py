"""Everything that is known about the rollouts of a serving: its revisions, the rollout of the
current one, and what holds it up."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from servedeck.fleet.views import PodView, ServingView
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.revisions import Revision, RevisionReader, history_limit
from servedeck.serving.status.rollout_status import (
    NO_PROGRESS_DEADLINE,
    RolloutPhase,
    RolloutStatus,
    progress_deadline,
    read_rollout_status,
)
from servedeck.serving.status.status import describe_creation_failure
from servedeck.serving.text import format_count

UNSCHEDULABLE = "Unschedulable"
"""Failure reason of a Pod that no node has room for."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The revisions of a serving and the rollout of the current one."""

    status: RolloutStatus
    hold_up: str
    """What the rollout waits for, in one sentence; "" if it is complete, or nothing holds it up."""
    revisions: tuple[Revision, ...]
    """The newest first."""
    notes: tuple[str, ...]
    """What is not shown, and why, in a sentence each."""

    @property
    def current(self) -> Revision:
        """The revision of the Pod template that the Deployment has now."""
        return next(one for one in self.revisions if one.is_current)


def build_rollouts(
    deployment: JsonObject,
    replicasets: Sequence[JsonObject],
    view: ServingView | None,
    *,
    missing_permission: str = "",
    reader: RevisionReader | None = None,
) -> Rollouts:
    """Combine a Deployment and its ReplicaSets (decoded and sanitized JSON) with the Pods of the
    view, None if there is none. `missing_permission` says in one sentence why ReplicaSets cannot be
    listed. A `reader` that is used again reads only what has changed."""
    revisions = (reader or RevisionReader()).read(deployment, replicasets)
    current = next(one for one in revisions if one.is_current)
    status = read_rollout_status(deployment, current)
    notes = []
    if missing_permission:
        notes.append(f"{missing_permission} Earlier revisions are not shown.")
    elif history_limit(deployment) == 0:
        notes.append("revisionHistoryLimit is 0: Kubernetes keeps no earlier revisions.")
    hold_up = _describe_hold_up(
        deployment,
        status,
        current,
        view.pods if view is not None else (),
        has_replicaset=bool(current.uid or missing_permission),
        way_out=view.rollout_way_out if view is not None else "",
    )
    return Rollouts(status, hold_up, revisions, tuple(notes))


def _describe_hold_up(
    deployment: JsonObject,
    status: RolloutStatus,
    current: Revision,
    pods: Sequence[PodView],
    *,
    has_replicaset: bool,
    way_out: str,
) -> str:
    """The first that applies, the cause before the symptom. Without a ReplicaSet of the current
    template all Pods are old ones. `way_out` is the value of the field rollout with which a blocked
    rollout goes on."""
    if status.phase is RolloutPhase.NOT_OBSERVED:
        return "The Deployment controller has not observed the last change yet."
    if status.phase is RolloutPhase.PAUSED:
        return _describe_pause(current)
    if status.phase is RolloutPhase.COMPLETE:
        return ""
    if status.creation_error:
        return _sentence(describe_creation_failure("FailedCreate", status.creation_error))
    old = [one for one in pods if one.old_revision or not has_replicaset]
    new = [
        one
        for one in pods
        if has_replicaset and not one.old_revision and one.health is not PodHealth.TERMINATING
    ]
    failing = [one for one in new if one.health in (PodHealth.ERROR, PodHealth.PENDING)]
    leaving = [one for one in old if one.health is PodHealth.TERMINATING]
    stuck = [one for one in leaving if one.reason not in ("", "Terminating")]
    if failing:
        sentence = _describe_failure(failing, [one for one in old if _runs(one)], status)
        if way_out:
            sentence += f" With rollout={shlex.quote(way_out)} an old Pod stops first."
        if stuck and all(one.reason == UNSCHEDULABLE for one in failing):
            return f"{sentence} {_describe_stuck(stuck[0])}"  # it occupies the resources
        return sentence
    if status.strategy.type == "Recreate" and not new and old:
        waiting = f"Waiting for {format_count(len(old), 'old Pod')} to terminate (Recreate)"
        return _sentence(f"{waiting}: {stuck[0].name}: {stuck[0].message}" if stuck else waiting)
    if stuck and len(leaving) == len(old):
        return _describe_stuck(stuck[0])
    if waiting := _describe_waiting(new, status):
        return waiting
    if status.phase is RolloutPhase.FAILED:
        return _describe_deadline(progress_deadline(deployment))
    return ""


def _describe_stuck(pod: PodView) -> str:
    return _sentence(f"Old Pod {pod.name}: {pod.message}")


def _describe_pause(current: Revision) -> str:
    if current.uid:
        return "It is paused: a change of the Pod template is not rolled out until it is resumed."
    return "It is paused: the changed Pod template is not rolled out until it is resumed."


def _describe_failure(
    failing: Sequence[PodView], running_old: Sequence[PodView], status: RolloutStatus
) -> str:
    """The most common failure reason of the new Pods, and if no node has room for one while old
    Pods run, that it needs room beside them."""
    shared = Counter(one.reason for one in failing)
    pod = max(failing, key=lambda one: (shared[one.reason], one.reason, one.name))
    message = pod.message or pod.reason or pod.status
    if pod.reason == UNSCHEDULABLE and running_old and status.strategy.type == "RollingUpdate":
        beside = (
            f"No node has room for a new Pod beside {format_count(len(running_old), 'old Pod')}"
        )
        keeps = ""
        if not status.strategy.unavailable_pods:
            keeps = " maxUnavailable of 0 keeps each old Pod until a new one is available."
        return f"{_sentence(f'{beside}: {message}')}{keeps}"
    subject = f"New Pod {pod.name}" if len(failing) == 1 else f"{len(failing)} new Pods"
    return _sentence(f"{subject}: {message}")


def _describe_waiting(new: Sequence[PodView], status: RolloutStatus) -> str:
    """What the new Pods still need before they are available."""
    starting = [one for one in new if not one.is_ready]
    if starting:
        waiting = f"Waiting for {format_count(len(starting), 'new Pod')} to become ready"
        message = next((one.message for one in starting if one.message), "")
        return _sentence(f"{waiting}: {message}" if message else waiting)
    ready = status.ready
    if status.min_ready_seconds and ready and status.available < ready + status.old:
        return f"Ready Pods become available after minReadySeconds ({status.min_ready_seconds} s)."
    return ""


def _describe_deadline(seconds: int) -> str:
    if not 0 < seconds < NO_PROGRESS_DEADLINE:
        return "It exceeded its progress deadline."
    return f"It made no progress within progressDeadlineSeconds ({seconds} s)."


def _runs(pod: PodView) -> bool:
    return bool(pod.node) and pod.health is not PodHealth.TERMINATING


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
