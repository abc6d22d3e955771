"""Restarting, rolling back, pausing and resuming a serving: what changes its Pod template."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.changes.operations.patched_plan import patched
from servedeck.serving.objects.template_changes import (
    POD_TEMPLATE_HASH_LABEL,
    RESTARTED_AT_ANNOTATION,
    find_template_changes,
    normalize_template,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, child_mapping
from servedeck.serving.status.revisions import (
    CHANGE_CAUSE_ANNOTATION,
    Revision,
    count,
    read_revisions,
)
from servedeck.serving.status.rollout_status import read_strategy
from servedeck.serving.status.strategy import Strategy

_IS_PAUSED = "Its rollout is paused; resume it first."


def plan_restart(plan: OperationPlan, deployment: JsonObject, now: datetime) -> OperationPlan:
    """As `kubectl rollout restart` does it (kubectl pkg/polymorphichelpers/objectrestarter.go),
    except that the time is never the one of the last restart: with the same second, nothing would
    change."""
    if _is_paused(deployment):
        return replace(plan, blocked=_IS_PAUSED)
    if not plan.replicas:
        return replace(plan, unchanged="It has 0 replicas: there is no Pod to restart.")
    changed = copy.deepcopy(deployment)
    metadata = child_mapping(child_mapping(child_mapping(changed, "spec"), "template"), "metadata")
    annotations = child_mapping(metadata, "annotations")
    last = annotations.get(RESTARTED_AT_ANNOTATION)
    if _restart_time(now) == last:
        now += timedelta(seconds=1)
    annotations[RESTARTED_AT_ANNOTATION] = _restart_time(now)
    return with_replacement(patched(plan, deployment, changed), deployment)


def _restart_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plan_rollback(
    plan: OperationPlan, deployment: JsonObject, replicasets: Sequence[JsonObject]
) -> OperationPlan:
    """As `kubectl rollout undo` does it: the Pod template of a ReplicaSet becomes that of the
    Deployment (kubectl pkg/polymorphichelpers/rollback.go). kubectl also replaces all annotations
    of the Deployment by those of the ReplicaSet, which may be older than the revision; here the
    change cause alone goes back with the template."""
    if _is_paused(deployment):
        return replace(plan, blocked=_IS_PAUSED)
    revisions = read_revisions(deployment, replicasets)
    target, problem = find_revision(plan.operation.revision, revisions)
    if target is None:
        return replace(plan, blocked=problem)
    current = revisions[0]
    if target.is_current:
        return replace(plan, unchanged=f"It has {target.name} already.")
    source = next(
        one for one in replicasets if as_mapping(one, "metadata").get("uid") == target.uid
    )
    changed = with_template_of(deployment, source)
    operation = replace(plan.operation, revision=target.number)
    template = as_mapping(changed, "spec", "template")
    plan = replace(
        patched(plan, deployment, changed),
        operation=operation,
        command=kubectl_command(operation),
        differences=tuple(find_template_changes(current.template, normalize_template(template))),
        undo=replace(operation, revision=current.number) if current.number else None,
        effects=(f"The Pod template becomes that of {target.name} ({target.image}).",),
    )
    return with_replacement(plan, deployment)


def with_template_of(deployment: JsonObject, replicaset: JsonObject) -> JsonObject:
    """The Deployment with the Pod template and the change cause of a ReplicaSet."""
    changed = copy.deepcopy(deployment)
    template = copy.deepcopy(dict(as_mapping(replicaset, "spec", "template")))
    labels = dict(as_mapping(template, "metadata", "labels"))
    labels.pop(POD_TEMPLATE_HASH_LABEL, None)
    template["metadata"] = {**as_mapping(template, "metadata"), "labels": labels}
    changed["spec"]["template"] = template
    cause = as_mapping(replicaset, "metadata", "annotations").get(CHANGE_CAUSE_ANNOTATION)
    annotations = dict(as_mapping(changed, "metadata", "annotations"))
    annotations.pop(CHANGE_CAUSE_ANNOTATION, None)
    if cause is not None:
        annotations[CHANGE_CAUSE_ANNOTATION] = cause
    if annotations or "annotations" in changed["metadata"]:
        changed["metadata"]["annotations"] = annotations
    return changed


def find_revision(number: int, revisions: Sequence[Revision]) -> tuple[Revision | None, str]:
    """The revision of that number, 0 for the one before the current one, or why there is none."""
    stored = [one for one in revisions if one.uid]
    if not number:
        earlier = [one for one in stored if not one.is_current]
        return (earlier[0], "") if earlier else (None, "There is no earlier revision.")
    wanted = [one for one in stored if one.number == number]
    if wanted:
        return wanted[0], ""
    known = ", ".join(str(one.number) for one in stored if one.number)
    text = f"There is no revision {number}"
    return None, f"{text}; choose from {known}." if known else f"{text}, and no other one."


def plan_pause(plan: OperationPlan, deployment: JsonObject) -> OperationPlan:
    """Pause the rollouts of a Deployment, as `kubectl rollout pause` does it."""
    if _is_paused(deployment):
        return replace(plan, unchanged="Its rollout is paused already.")
    changed = copy.deepcopy(deployment)
    changed["spec"]["paused"] = True
    return replace(
        patched(plan, deployment, changed),
        effects=(
            "Changes of the Pod template are not rolled out until it is resumed; its Pods run on.",
        ),
        undo=replace(plan.operation, kind=OperationKind.RESUME),
    )


def plan_resume(
    plan: OperationPlan, deployment: JsonObject, replicasets: Sequence[JsonObject] | None
) -> OperationPlan:
    """Resume the rollouts of a Deployment, as `kubectl rollout resume` does it: Pods of earlier
    revisions are replaced."""
    if not _is_paused(deployment):
        return replace(plan, unchanged="Its rollout is not paused.")
    changed = copy.deepcopy(deployment)
    changed["spec"].pop("paused", None)
    plan = replace(
        patched(plan, deployment, changed),
        undo=replace(plan.operation, kind=OperationKind.PAUSE),
    )
    if replicasets is None:
        sentence = "If the Pod template was changed meanwhile, its Pods are replaced."
        return replace(plan, effects=(sentence,), needs_confirmation=True)
    current, *others = read_revisions(deployment, replicasets)
    running = [one for one in others if one.desired or one.current]
    if not plan.replicas or not running:
        return replace(plan, effects=("No Pod restarts: all have the current Pod template.",))
    plan = replace(
        plan,
        effects=(f"Pods of {running[0].name} are replaced by those of the current Pod template.",),
        differences=tuple(find_template_changes(running[0].template, current.template)),
        needs_confirmation=True,
    )
    return with_replacement(plan, deployment)


def _is_paused(deployment: JsonObject) -> bool:
    return as_mapping(deployment, "spec").get("paused") is True


# -- replacing Pods -----------------------------------------------------------------------------


def with_replacement(plan: OperationPlan, deployment: JsonObject) -> OperationPlan:
    """The plan of a changed Pod template, with how its Pods are replaced."""
    desired = plan.replicas
    strategy = read_strategy(deployment)
    available = count(as_mapping(deployment, "status").get("availableReplicas"))
    rolls = strategy.type != "Recreate" and desired > 0
    return replace(
        plan,
        effects=(*plan.effects, *replacement_effects(desired, strategy, available)),
        new_pods=strategy.surge_pods if rolls else 0,
        starts_pods=desired > 0,
        needs_room=rolls and not strategy.unavailable_pods,
    )


def replacement_effects(desired: int, strategy: Strategy, available: int) -> tuple[str, ...]:
    """How a rollout replaces the Pods, of which `available` are available now, in sentences."""
    if not desired:
        return ("It has 0 replicas, so no Pod restarts.",)
    pods = "Its Pod is" if desired == 1 else f"Its {desired:,} Pods are"
    if strategy.type == "Recreate":
        when = "meanwhile" if available else "now"
        return (f"{pods} stopped before new ones start (Recreate): nothing is served {when}.",)
    surge, unavailable = strategy.surge_pods, strategy.unavailable_pods
    sentence = f"{pods} replaced, at most {surge:,} more and {unavailable:,} fewer at a time."
    stays = desired - unavailable
    if not stays:
        return (sentence, "Nothing may be served until a new Pod is available.")
    if available < stays:
        # Available Pods are stopped only beyond the minimum (kubernetes
        # pkg/controller/deployment/rolling.go, reconcileOldReplicaSets).
        are = "is" if available == 1 else "are"
        text = f"{available:,} of {desired:,} {are} available now"
        if not unavailable:
            return (sentence, f"{text}; no available Pod stops before a new one is available.")
        return (sentence, f"{text}; available Pods stop only while more than {stays:,} are.")
    if unavailable:
        return (sentence, f"At least {stays:,} of {desired:,} stay available.")
    if desired == 1:
        return (sentence, "It stays available: the old Pod stops after the new one is available.")
    return (
        sentence,
        f"All {desired:,} stay available: an old Pod stops after a new one is available.",
    )
