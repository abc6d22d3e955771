"""An edit of a whole object, as it comes from an editor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from servedeck.changes.operations.deployment_plans import with_gitops_warning
from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.merge_patch import make_merge_patch
from servedeck.changes.operations.operation import (
    ObjectPatch,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.changes.operations.rollout_plans import with_replacement
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.resources import RESOURCES_BY_KIND, Resource
from servedeck.serving.objects.diff import Difference, find_differences
from servedeck.serving.objects.field_changes import format_differences
from servedeck.serving.objects.object_document import editable_part, with_metadata_maps
from servedeck.serving.objects.object_merge import ObjectConflict, ObjectMerge, merge_objects
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.status.rollout_status import desired_replicas

EDITABLE_KINDS = (
    "Deployment",
    "Service",
    "HTTPRoute",
    "VirtualService",
    "Ingress",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "PersistentVolumeClaim",
)
"""Kinds that can be edited: those that no controller writes."""


@dataclass(frozen=True, slots=True)
class ObjectEdit(Operation):
    """The object as it was read, and as it is wanted, both without what the API server sets."""

    base: JsonObject = field(default_factory=dict, hash=False)
    wanted: JsonObject = field(default_factory=dict, hash=False)

    @classmethod
    def make(cls, base: JsonObject, wanted: JsonObject) -> ObjectEdit:
        """The edit of a live object, whose `editable_part` is to become `wanted`."""
        metadata = as_mapping(base, "metadata")
        return cls(
            OperationKind.EDIT,
            as_str(metadata.get("namespace")),
            as_str(metadata.get("name")),
            base=base,
            wanted=wanted,
        )

    @property
    def resource(self) -> Resource:
        return RESOURCES_BY_KIND[as_str(self.base.get("kind"))]

    @property
    def path(self) -> str:
        return ObjectRef.from_manifest(self.base).path


def find_conflicts(operation: ObjectEdit, current: JsonObject) -> tuple[ObjectConflict, ...]:
    """The values that others have changed since the object was read, and the edit changes too."""
    return _merge(operation, current).conflicts


def rebase(operation: ObjectEdit, current: JsonObject) -> JsonObject:
    """The wanted object on top of what others have changed; of a conflict, mine."""
    return editable_part(_merge(operation, current).merged)


def _merge(operation: ObjectEdit, current: JsonObject) -> ObjectMerge:
    base, mine, theirs = (
        with_metadata_maps(one)
        for one in (editable_part(operation.base), operation.wanted, editable_part(current))
    )
    return merge_objects(base, mine, theirs)


def describe_conflict(conflict: ObjectConflict) -> str:
    """What both sides made of a value, in one sentence, with secrets masked."""
    theirs, mine = (
        ", ".join(
            f"{one.path.lstrip('.')} {one.old} → {one.new}"
            for one in format_differences([Difference(conflict.path, conflict.base, value)])
        )
        for value in (conflict.theirs, conflict.mine)
    )
    return f"Others changed {theirs}; you changed {mine}."


def plan_object_edit(operation: ObjectEdit, current: JsonObject) -> OperationPlan:
    """Merge the edit with what others have changed since; a conflict blocks it."""
    plan = OperationPlan(
        operation,
        command=kubectl_command(operation),
        needs_confirmation=False,
    )
    uids = {as_str(as_mapping(one, "metadata").get("uid")) for one in (operation.base, current)}
    if len(uids) > 1:
        return replace(
            plan, blocked="It was deleted and created again by somebody else; edit it again."
        )
    merged, conflicts = _merge(operation, current)
    if conflicts:
        return replace(plan, blocked=" ".join(describe_conflict(one) for one in conflicts))
    now = with_metadata_maps(editable_part(current))
    patch = make_merge_patch(now, merged)
    if not patch:
        return replace(plan, unchanged="Nothing is changed.")
    metadata = {**as_mapping(current, "metadata"), **as_mapping(merged, "metadata")}
    wanted = {**current, **merged, "metadata": metadata}
    plan = replace(
        plan,
        patch=ObjectPatch(operation.path, current, patch),
        differences=tuple(format_differences(find_differences(now, merged))),
        undo=ObjectEdit.make(wanted, now),
    )
    if operation.resource.kind != "Deployment":
        return with_gitops_warning(plan, current)
    plan = replace(plan, wanted=wanted, replicas=desired_replicas(current))
    templates = [as_mapping(one, "spec").get("template") for one in (current, wanted)]
    stops = plan.replicas and not desired_replicas(wanted)
    if stops:
        plan = replace(plan, effects=("It scales to 0: nothing is served until it is started.",))
    elif templates[0] != templates[1] and plan.replicas:
        plan = with_replacement(plan, wanted)
    else:
        plan = replace(plan, effects=("No Pod restarts.",))
    restarts = templates[0] != templates[1] and plan.replicas > 0
    plan = replace(plan, needs_confirmation=bool(restarts or stops))
    return with_gitops_warning(plan, current)
