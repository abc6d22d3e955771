"""A plan that patches a Deployment."""

from __future__ import annotations

from dataclasses import replace

from servedeck.changes.operations.merge_patch import make_merge_patch
from servedeck.changes.operations.operation import ObjectPatch, OperationPlan
from servedeck.serving.spec.mapping.json_values import JsonObject


def patched(plan: OperationPlan, deployment: JsonObject, wanted: JsonObject) -> OperationPlan:
    """The plan with the patch that turns the Deployment into `wanted`."""
    patch = ObjectPatch(plan.operation.path, deployment, make_merge_patch(deployment, wanted))
    return replace(plan, patch=patch, wanted=wanted)
