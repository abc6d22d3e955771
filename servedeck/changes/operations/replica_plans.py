"""Scaling, stopping and starting a serving."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servedeck.changes.operations.kubectl import kubectl_command, pause_scaled_object_command
from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from servedeck.changes.operations.patched_plan import patched
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.owners import Owner, OwnerKind
from servedeck.serving.objects.stopped_replicas import (
    STOPPED_REPLICAS_ANNOTATION,
    note_stopped_replicas,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    child_mapping,
    mappings,
)
from servedeck.serving.status.revisions import count
from servedeck.serving.text import format_count

MAX_REPLICAS = 100_000
"""Far more than a cluster can run (kubernetes.io/docs/setup/best-practices/cluster-large: 150,000
Pods in all); a larger number is a typing error."""


def plan_replicas(
    plan: OperationPlan, deployment: JsonObject, autoscaler: Owner | None
) -> OperationPlan:
    """The plan of SCALE, STOP or START; `autoscaler` sets the Deployment's replicas."""
    operation, now = plan.operation, plan.replicas
    before_stop = _read_noted_replicas(deployment)
    wanted = _wanted_replicas(operation, before_stop)
    least = 1 if operation.kind is OperationKind.START else 0
    if wanted is None or not least <= wanted <= MAX_REPLICAS:
        text = f"Replicas must be a number from {least} to {MAX_REPLICAS:,}."
        return replace(plan, blocked=text, command="")
    plan = replace(plan, command=kubectl_command(replace(operation, replicas=wanted)))
    if unchanged := _unchanged(operation, now, wanted):
        return replace(plan, unchanged=unchanged)
    if autoscaler is not None and (blocked := _autoscaler_blocks(operation, autoscaler, now)):
        return replace(plan, blocked=blocked)
    changed = copy.deepcopy(deployment)
    child_mapping(changed, "spec")["replicas"] = wanted
    note_stopped_replicas(changed, now, wanted)
    warnings = list(plan.warnings)
    if operation.kind is OperationKind.START and not (operation.replicas or before_stop):
        warnings.append("How many replicas it had before is not known; it starts with 1.")
    if autoscaler is not None and not wanted:
        warnings.append(f"{autoscaler.name} is off while the serving has 0 replicas.")
    elif autoscaler is not None:
        warnings.append(f"{autoscaler.name} sets the replicas from then on.")
    return replace(
        patched(plan, deployment, changed),
        effects=_replica_effects(deployment, now, wanted),
        needs_confirmation=not wanted,
        new_pods=max(wanted - now, 0),
        starts_pods=wanted > now,
        undo=_replica_undo(operation, now, wanted),
        warnings=tuple(warnings),
    )


def _wanted_replicas(operation: Operation, before_stop: int) -> int | None:
    if operation.kind is OperationKind.STOP:
        return 0
    if operation.kind is OperationKind.START and operation.replicas is None:
        return before_stop or 1
    return operation.replicas


def _read_noted_replicas(deployment: Mapping[str, Any]) -> int:
    """The number that was noted when it was stopped; 0 if there is none, or somebody else has
    scaled it since: then servedeck does not own the replicas any more. Nobody owns the 0 of
    `kubectl scale`."""
    entries = mappings(as_mapping(deployment, "metadata").get("managedFields"))
    if entries and not any(
        one.get("manager") == FIELD_MANAGER
        and "f:replicas" in as_mapping(one, "fieldsV1", "f:spec")
        for one in entries
    ):
        return 0
    note = as_mapping(deployment, "metadata", "annotations").get(STOPPED_REPLICAS_ANNOTATION)
    found = as_int(note) or 0
    return found if 0 < found <= MAX_REPLICAS else 0


def _unchanged(operation: Operation, now: int, wanted: int) -> str:
    """Why there is nothing to do, in a sentence; "" if there is something."""
    if operation.kind is OperationKind.START and now:
        text = f"It is started already, with {format_count(now, 'replica')}"
        is_other = operation.replicas is not None and operation.replicas != now
        return f"{text}; scale it to change their number." if is_other else f"{text}."
    if wanted != now:
        return ""
    if operation.kind is OperationKind.STOP:
        return "It is stopped already."
    return f"It has {format_count(now, 'replica')} already."


def _autoscaler_blocks(operation: Operation, autoscaler: Owner, now: int) -> str:
    """Why the autoscaler prevents the change, in a sentence; "" if it does not. A
    HorizontalPodAutoscaler leaves a workload of 0 replicas alone (kubernetes
    pkg/controller/podautoscaler/horizontal.go, ScalingDisabled); KEDA scales it up again, unless it
    is paused (KEDA documentation, Pause autoscaling)."""
    if autoscaler.kind is OwnerKind.SCALED_OBJECT:
        command = pause_scaled_object_command(operation.namespace, autoscaler.name.split()[-1])
        return (
            f"{autoscaler.name} sets the replicas and would change them again; pause it first: "
            f"{command}"
        )
    if operation.kind is OperationKind.SCALE and operation.replicas and now:
        return autoscaler.replicas_error
    return ""


def _replica_effects(deployment: JsonObject, now: int, wanted: int) -> tuple[str, ...]:
    status = as_mapping(deployment, "status")
    ready = count(status.get("readyReplicas"))
    if not wanted:
        existing = count(status.get("replicas"))  # not `now`: a quota may have rejected some
        if not existing:
            return ("It has no Pod now, and gets none until it is started.",)
        pods = "Its Pod stops" if existing == 1 else f"All {format_count(existing, 'Pod')} stop"
        return (f"{pods} ({ready:,} ready now); nothing is served until it is started.",)
    change = f"{now:,} → {format_count(wanted, 'replica')}"
    if wanted < now:
        # Not `now`: a quota may have rejected some.
        stopped = max(min(now, count(status.get("replicas", now))) - wanted, 0)
        if not stopped:
            return (f"No Pod stops: {change}.",)
        stop = "stops" if stopped == 1 else "stop"
        return (f"{format_count(stopped, 'Pod')} {stop}: {change}.",)
    return (f"{format_count(wanted - now, 'new Pod')}: {change}.",)


def _replica_undo(operation: Operation, now: int, wanted: int) -> Operation:
    if not wanted:
        return replace(operation, kind=OperationKind.START, replicas=now)
    kind = OperationKind.SCALE if now else OperationKind.STOP
    return replace(operation, kind=kind, replicas=now)
