"""What an operation on a serving would do now, from its objects as the cluster has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.operation import (
    DISRUPTIVE_KINDS,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.changes.operations.replica_plans import plan_replicas
from servedeck.changes.operations.rollout_plans import (
    plan_pause,
    plan_restart,
    plan_resume,
    plan_rollback,
)
from servedeck.serving.objects.owners import (
    find_controller,
    find_gitops_owner,
    find_replicas_owner,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.status.rollout_status import desired_replicas

REPLICA_KINDS = (OperationKind.SCALE, OperationKind.STOP, OperationKind.START)
"""Operations that change the number of replicas."""

_UNDEFINED_KINDS = (OperationKind.RESTART, OperationKind.PAUSE, OperationKind.RESUME)
"""Operations that change fields which the definition of a Deployment in Git or a chart does not
have, so that nobody reverts them."""


def plan_deployment_operation(
    operation: Operation,
    deployment: JsonObject,
    *,
    autoscalers: Sequence[JsonObject] = (),
    replicasets: Sequence[JsonObject] | None = (),
    now: datetime,
) -> OperationPlan:
    """The plan of an operation that patches a Deployment. `autoscalers` are the
    HorizontalPodAutoscalers and ScaledObjects of its namespace, `replicasets` the ReplicaSets, of
    which others' are ignored, None if they may not be listed; `now` is the time that a restart
    writes into the Pod template. Raises ValueError for an operation of another kind."""
    plan = OperationPlan(
        operation,
        command=kubectl_command(operation),
        replicas=desired_replicas(deployment),
        needs_confirmation=operation.kind in DISRUPTIVE_KINDS,
    )
    if blocked := find_block(deployment):
        return replace(plan, blocked=blocked)
    match operation.kind:
        case OperationKind.ROLLBACK:
            plan = plan_rollback(plan, deployment, replicasets or ())
        case OperationKind.RESTART:
            plan = plan_restart(plan, deployment, now)
        case OperationKind.PAUSE:
            plan = plan_pause(plan, deployment)
        case OperationKind.RESUME:
            plan = plan_resume(plan, deployment, replicasets)
        case OperationKind.SCALE | OperationKind.STOP | OperationKind.START:
            plan = plan_replicas(plan, deployment, find_replicas_owner(deployment, autoscalers))
        case _:
            raise ValueError(f"{operation.kind} has a plan of its own, or none")
    return with_gitops_warning(plan, deployment)


def find_block(obj: Mapping[str, Any]) -> str:
    """Why no operation changes the object, one sentence: it is being deleted, or another object's
    controller owns it; "" if none of them."""
    if as_mapping(obj, "metadata").get("deletionTimestamp"):
        return "It is being deleted."
    controller = find_controller(obj)
    return controller.revert_warning if controller is not None else ""


def with_gitops_warning(plan: OperationPlan, deployment: Mapping[str, Any]) -> OperationPlan:
    """The plan with a warning if another tool may take the change back."""
    owner = find_gitops_owner(deployment)
    if owner is None or not plan.is_possible or plan.operation.kind in _UNDEFINED_KINDS:
        return plan
    return replace(plan, warnings=(*plan.warnings, owner.revert_warning))
