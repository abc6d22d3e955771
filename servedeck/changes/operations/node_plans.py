"""What cordoning a node would do."""

from __future__ import annotations

from dataclasses import replace

from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.operation import (
    ObjectPatch,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping


def plan_cordon(operation: Operation, node: JsonObject) -> OperationPlan:
    """Cordon or uncordon a node."""
    cordons = operation.kind is OperationKind.CORDON
    plan = OperationPlan(operation, command=kubectl_command(operation), needs_confirmation=False)
    if (as_mapping(node, "spec").get("unschedulable") is True) is cordons:
        text = "It is cordoned already." if cordons else "It is not cordoned."
        return replace(plan, unchanged=text)
    effect = (
        "No new Pod of any workload is scheduled on it; Pods that run there stay."
        if cordons
        else "New Pods may be scheduled on it again."
    )
    return replace(
        plan,
        patch=ObjectPatch(operation.path, node, {"spec": {"unschedulable": cordons or None}}),
        effects=(effect,),
        undo=replace(operation, kind=OperationKind.UNCORDON if cordons else OperationKind.CORDON),
    )
