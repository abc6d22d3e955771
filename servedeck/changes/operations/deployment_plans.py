"""What an operation on a serving would do now, from its objects as the cluster has them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.operation import (
    DISRUPTIVE_KINDS,
    ObjectPatch,
    Operation,
    OperationKind,
    OperationPlan,
    merge_patch,
)
from servedeck.serving.objects.owners import (
    Owner,
    OwnerKind,
    find_controller,
    find_gitops_owner,
    find_replicas_owner,
)
from servedeck.serving.objects.template_changes import (
    POD_TEMPLATE_HASH_LABEL,
    RESTARTED_AT_ANNOTATION,
    find_template_changes,
    normalize_template,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    child_mapping,
)
from servedeck.serving.status.revisions import Revision, count, read_revisions
from servedeck.serving.status.rollout_status import Strategy, desired_replicas, read_strategy
from servedeck.serving.text import format_count

STOPPED_REPLICAS_ANNOTATION = "servedeck.dev/replicas-before-stop"
"""Number of replicas that a stopped serving had, for its start."""

MAX_REPLICAS = 100_000
"""Far more than a cluster can run (kubernetes.io/docs/setup/best-practices/cluster-large: 150,000
Pods in all); a larger number is a typing error."""

REPLICA_KINDS = (OperationKind.SCALE, OperationKind.STOP, OperationKind.START)
"""Operations that change the number of replicas."""


def plan_deployment_operation(
    operation: Operation,
    deployment: JsonObject,
    *,
    autoscalers: Sequence[JsonObject] = (),
    replicasets: Sequence[JsonObject] = (),
    now: datetime,
) -> OperationPlan:
    """The plan of an operation that patches a Deployment. `autoscalers` are the
    HorizontalPodAutoscalers and ScaledObjects of its namespace, `replicasets` the ReplicaSets, of
    which others' are ignored; `now` is the time that a restart writes into the Pod template."""
    plan = OperationPlan(
        operation,
        command=kubectl_command(operation),
        replicas=desired_replicas(deployment),
        needs_confirmation=operation.kind in DISRUPTIVE_KINDS,
    )
    if (controller := find_controller(deployment)) is not None:
        return replace(plan, blocked=controller.revert_warning)
    if operation.kind in REPLICA_KINDS:
        plan = _plan_replicas(plan, deployment, find_replicas_owner(deployment, autoscalers))
    elif operation.kind is OperationKind.ROLLBACK:
        plan = _plan_rollback(plan, deployment, replicasets)
    elif operation.kind is OperationKind.RESTART:
        plan = _plan_restart(plan, deployment, now)
    else:
        plan = _plan_pause(plan, deployment)
    return with_gitops_warning(plan, deployment)


def with_gitops_warning(plan: OperationPlan, deployment: Mapping[str, Any]) -> OperationPlan:
    """The plan with a warning if another tool may take the change back."""
    owner = find_gitops_owner(deployment)
    if owner is None or not plan.is_possible:
        return plan
    return replace(plan, warnings=(*plan.warnings, owner.revert_warning))


def _patched(plan: OperationPlan, deployment: JsonObject, wanted: JsonObject) -> OperationPlan:
    patch = ObjectPatch(plan.operation.path, deployment, merge_patch(deployment, wanted))
    return replace(plan, patch=patch, wanted=wanted)


# -- replicas -----------------------------------------------------------------------------------


def _plan_replicas(
    plan: OperationPlan, deployment: JsonObject, autoscaler: Owner | None
) -> OperationPlan:
    operation, now = plan.operation, plan.replicas
    note = as_mapping(deployment, "metadata", "annotations").get(STOPPED_REPLICAS_ANNOTATION)
    before_stop = as_int(note) or 0
    if operation.kind is OperationKind.STOP:
        wanted = 0
    elif operation.kind is OperationKind.SCALE:
        wanted = operation.replicas if operation.replicas is not None else -1
    else:
        wanted = operation.replicas or before_stop or 1
    if not 0 <= wanted <= MAX_REPLICAS:
        return replace(plan, blocked=f"Replicas must be a number from 0 to {MAX_REPLICAS:,}.")
    if operation.kind is OperationKind.START and now:
        return replace(plan, unchanged=f"It is started already: {format_count(now, 'replica')}.")
    if wanted == now:
        return replace(plan, unchanged=f"It has {format_count(now, 'replica')} already.")
    if autoscaler is not None and (blocked := _autoscaler_blocks(operation, autoscaler, now)):
        return replace(plan, blocked=blocked)
    changed = copy.deepcopy(deployment)
    child_mapping(changed, "spec")["replicas"] = wanted
    annotations = dict(as_mapping(changed, "metadata", "annotations"))
    if operation.kind is OperationKind.STOP:
        annotations[STOPPED_REPLICAS_ANNOTATION] = str(now)
    else:
        annotations.pop(STOPPED_REPLICAS_ANNOTATION, None)
    if annotations or "annotations" in child_mapping(changed, "metadata"):
        changed["metadata"]["annotations"] = annotations
    plan = replace(
        _patched(plan, deployment, changed),
        effects=_replica_effects(deployment, now, wanted),
        needs_confirmation=not wanted,
        new_pods=max(wanted - now, 0),
        undo=_replica_undo(operation, now, wanted),
        command=kubectl_command(replace(operation, replicas=wanted)),
    )
    warnings = list(plan.warnings)
    if operation.kind is OperationKind.START and not (operation.replicas or before_stop):
        warnings.append("How many replicas it had before is not known; it starts with 1.")
    if autoscaler is not None and not wanted:
        warnings.append(f"{autoscaler.name} is off while the serving has 0 replicas.")
    return replace(plan, warnings=tuple(warnings))


def _autoscaler_blocks(operation: Operation, autoscaler: Owner, now: int) -> str:
    """Why the autoscaler prevents the change, in a sentence; "" if it does not. A
    HorizontalPodAutoscaler leaves a workload of 0 replicas alone (kubernetes
    pkg/controller/podautoscaler/horizontal.go, ScalingDisabled); KEDA scales it up again, unless it
    is paused (KEDA documentation, Pause autoscaling)."""
    if autoscaler.kind is OwnerKind.SCALED_OBJECT:
        name = autoscaler.name.split()[-1]
        return (
            f"{autoscaler.name} sets the replicas and would change them again; pause it first: "
            f"kubectl annotate -n {operation.namespace} scaledobject {name} "
            "autoscaling.keda.sh/paused=true"
        )
    if operation.kind is OperationKind.SCALE and operation.replicas and now:
        return autoscaler.replicas_error
    return ""


def _replica_effects(deployment: JsonObject, now: int, wanted: int) -> tuple[str, ...]:
    ready = count(as_mapping(deployment, "status").get("readyReplicas"))
    if not wanted:
        pods = "Its Pod stops" if now == 1 else f"All {now} Pods stop"
        return (f"{pods} ({ready} ready now); nothing is served until it is started.",)
    if wanted < now:
        stop = "Pods stop" if now - wanted > 1 else "Pod stops"
        return (f"{now - wanted} {stop}: {now} → {format_count(wanted, 'replica')}.",)
    return (f"{wanted - now} more: {now} → {format_count(wanted, 'replica')}.",)


def _replica_undo(operation: Operation, now: int, wanted: int) -> Operation:
    if not wanted:
        return replace(operation, kind=OperationKind.START, replicas=now)
    kind = OperationKind.SCALE if now else OperationKind.STOP
    return replace(operation, kind=kind, replicas=now or None)


# -- Pod template -------------------------------------------------------------------------------


def _plan_restart(plan: OperationPlan, deployment: JsonObject, now: datetime) -> OperationPlan:
    """As `kubectl rollout restart` does it (kubectl pkg/polymorphichelpers/objectrestarter.go)."""
    if as_mapping(deployment, "spec").get("paused") is True:
        return replace(plan, blocked="Its rollout is paused; resume it first.")
    if not plan.replicas:
        return replace(plan, unchanged="It has 0 replicas: there is no Pod to restart.")
    changed = copy.deepcopy(deployment)
    metadata = child_mapping(child_mapping(child_mapping(changed, "spec"), "template"), "metadata")
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    child_mapping(metadata, "annotations")[RESTARTED_AT_ANNOTATION] = time
    return _with_replacement(_patched(plan, deployment, changed), deployment)


def _plan_rollback(
    plan: OperationPlan, deployment: JsonObject, replicasets: Sequence[JsonObject]
) -> OperationPlan:
    """As `kubectl rollout undo` does it: the Pod template of a ReplicaSet becomes that of the
    Deployment (kubectl pkg/polymorphichelpers/rollback.go)."""
    if as_mapping(deployment, "spec").get("paused") is True:
        return replace(plan, blocked="Its rollout is paused; resume it first.")
    revisions = read_revisions(deployment, replicasets)
    target, problem = _find_revision(plan.operation, revisions)
    if target is None:
        return replace(plan, blocked=problem)
    current = revisions[0]
    if target.is_current:
        return replace(plan, unchanged=f"It has {target.name} already.")
    changed = copy.deepcopy(deployment)
    source = next(
        one for one in replicasets if as_mapping(one, "metadata").get("uid") == target.uid
    )
    template = copy.deepcopy(dict(as_mapping(source, "spec", "template")))
    metadata = dict(as_mapping(template, "metadata"))
    labels = dict(as_mapping(metadata, "labels"))
    labels.pop(POD_TEMPLATE_HASH_LABEL, None)
    template["metadata"] = {**metadata, "labels": labels}
    changed["spec"]["template"] = template
    operation = replace(plan.operation, revision=target.number)
    plan = replace(
        _patched(plan, deployment, changed),
        operation=operation,
        command=kubectl_command(operation),
        differences=tuple(find_template_changes(current.template, normalize_template(template))),
        undo=replace(operation, revision=current.number) if current.number else None,
        effects=(f"The Pod template becomes that of {target.name} ({target.image}).",),
    )
    return _with_replacement(plan, deployment)


def _find_revision(
    operation: Operation, revisions: Sequence[Revision]
) -> tuple[Revision | None, str]:
    """The wanted revision, or why there is none."""
    earlier = [one for one in revisions if one.uid and not one.is_current]
    if not operation.revision:
        if not earlier:
            return None, "There is no earlier revision."
        return earlier[0], ""
    wanted = [one for one in revisions if one.number == operation.revision and one.uid]
    if wanted:
        return wanted[0], ""
    known = ", ".join(str(one.number) for one in revisions if one.number)
    return None, f"There is no revision {operation.revision}; it has {known or 'none'}."


def _plan_pause(plan: OperationPlan, deployment: JsonObject) -> OperationPlan:
    pauses = plan.operation.kind is OperationKind.PAUSE
    is_paused = as_mapping(deployment, "spec").get("paused") is True
    if pauses is is_paused:
        text = "Its rollout is paused already." if pauses else "Its rollout is not paused."
        return replace(plan, unchanged=text)
    changed = copy.deepcopy(deployment)
    if pauses:
        changed["spec"]["paused"] = True
    else:
        changed["spec"].pop("paused", None)
    other = OperationKind.RESUME if pauses else OperationKind.PAUSE
    effects = (
        "Changes of the Pod template are not rolled out until it is resumed; Pods that run go on.",
    )
    if not pauses:
        effects = ("A Pod template that was changed meanwhile is rolled out.",)
    return replace(
        _patched(plan, deployment, changed),
        effects=effects,
        undo=replace(plan.operation, kind=other),
    )


# -- replacing Pods -----------------------------------------------------------------------------


def _with_replacement(plan: OperationPlan, deployment: JsonObject) -> OperationPlan:
    """The plan of a changed Pod template, with how its Pods are replaced."""
    desired = plan.replicas
    strategy = read_strategy(deployment)
    effects = (*plan.effects, *replacement_effects(desired, strategy))
    rolls = strategy.type != "Recreate" and desired > 0
    return replace(
        plan,
        effects=effects,
        new_pods=strategy.surge_pods if rolls else 0,
        needs_room=rolls and not strategy.unavailable_pods,
    )


def replacement_effects(desired: int, strategy: Strategy) -> tuple[str, ...]:
    """How a rollout replaces the Pods, in sentences."""
    if not desired:
        return ("It has 0 replicas, so no Pod restarts.",)
    pods = "Its Pod is" if desired == 1 else f"Its {desired} Pods are"
    if strategy.type == "Recreate":
        return (f"{pods} stopped before new ones start (Recreate): nothing is served meanwhile.",)
    surge, unavailable = strategy.surge_pods, strategy.unavailable_pods
    stays = desired - unavailable
    sentence = f"{pods} replaced, at most {surge} more and {unavailable} fewer at a time."
    if not unavailable:
        return (sentence, f"All {desired} stay available: an old Pod stops after a new is ready.")
    if stays:
        return (sentence, f"At least {stays} of {desired} stay available.")
    return (sentence, "Nothing is served from the stop of the old Pod until the new one is ready.")
