"""An edit of a whole object, as it comes from an editor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from servedeck.changes.operations.deployment_plans import find_block, with_gitops_warning
from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.merge_patch import make_merge_patch
from servedeck.changes.operations.operation import (
    ObjectPatch,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.changes.operations.replica_plans import plan_replicas
from servedeck.changes.operations.rollout_plans import with_replacement
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.resources import DEPLOYMENT, RESOURCES_BY_KIND, Resource
from servedeck.serving.edit.restart_forecast import restarts_pods
from servedeck.serving.objects.diff import Difference, find_differences
from servedeck.serving.objects.field_changes import format_differences
from servedeck.serving.objects.object_document import editable_part, with_metadata_maps
from servedeck.serving.objects.object_merge import ObjectConflict, ObjectMerge, merge_objects
from servedeck.serving.objects.owners import Owner, find_replicas_owner
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

    @property
    def changes_replicas(self) -> bool:
        """Whether it scales a Deployment."""
        is_scaled = desired_replicas(self.base) != desired_replicas(self.wanted)
        return self.resource is DEPLOYMENT and is_scaled


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


def plan_object_edit(
    operation: ObjectEdit, current: JsonObject, autoscalers: Sequence[JsonObject] = ()
) -> OperationPlan:
    """Merge the edit with what others have changed since; a conflict blocks it. `autoscalers` are
    the HorizontalPodAutoscalers and ScaledObjects of the namespace, if it `changes_replicas`. A dry
    run shows better what the change does: see `describe_change`."""
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
    if blocked := find_block(current):
        return replace(plan, blocked=blocked)
    merged, conflicts = _merge(operation, current)
    if conflicts:
        return replace(plan, blocked=" ".join(describe_conflict(one) for one in conflicts))
    patch = make_merge_patch(with_metadata_maps(editable_part(current)), merged)
    if not patch:
        return replace(plan, unchanged="Nothing is changed.")
    plan = replace(plan, patch=ObjectPatch(operation.path, current, patch))
    if operation.resource is DEPLOYMENT:
        plan = _with_scaling(plan, find_replicas_owner(current, autoscalers))
    return with_gitops_warning(describe_change(plan), current)


def _with_scaling(plan: OperationPlan, autoscaler: Owner | None) -> OperationPlan:
    """The plan with what SCALE, STOP and START check, warn of and note, if it changes the
    replicas."""
    scaling = _plan_scaling(plan, autoscaler)
    if scaling is None:
        return plan
    if scaling.patch is None:
        return replace(plan, blocked=scaling.blocked)
    assert plan.patch is not None
    patch = plan.patch.patch
    metadata = as_mapping(patch, "metadata")
    notes = as_mapping(scaling.patch.patch, "metadata", "annotations")
    if notes:
        annotations = {**notes, **as_mapping(metadata, "annotations")}
        patch = {**patch, "metadata": {**metadata, "annotations": annotations}}
    return replace(
        plan, patch=replace(plan.patch, patch=patch), warnings=(*plan.warnings, *scaling.warnings)
    )


def _plan_scaling(plan: OperationPlan, autoscaler: Owner | None) -> OperationPlan | None:
    """The plan of scaling the Deployment as the edit does; None if it keeps the replicas."""
    assert plan.patch is not None
    now, wanted = (desired_replicas(one) for one in (plan.patch.live, plan.patch.expected))
    if now == wanted:
        return None
    kind = OperationKind.SCALE if wanted and now else OperationKind.START
    operation = Operation(
        kind if wanted else OperationKind.STOP,
        plan.operation.namespace,
        plan.operation.name,
        wanted or None,
    )
    return plan_replicas(OperationPlan(operation, replicas=now), plan.patch.live, autoscaler)


# -- what it does -------------------------------------------------------------------------------


def describe_change(plan: OperationPlan) -> OperationPlan:
    """The plan of an `ObjectEdit` with the fields that its patch changes and what follows from
    them, and how it is undone: after a dry run, as the API server would store it."""
    if plan.patch is None or not plan.is_possible:
        return plan
    live, expected = plan.patch.live, plan.patch.expected
    before, after = (with_metadata_maps(editable_part(one)) for one in (live, expected))
    differences = tuple(format_differences(find_differences(before, after)))
    if not differences:
        text = "Nothing is changed: the API server sets the same values again."
        return replace(plan, unchanged=text, patch=None, command="")
    undo = ObjectEdit.make(expected, editable_part(live))
    plan = replace(plan, differences=differences, undo=undo)
    return _describe_pods(plan) if plan.operation.resource is DEPLOYMENT else plan


def _describe_pods(plan: OperationPlan) -> OperationPlan:
    """The plan of an edit of a Deployment, with what happens to its Pods."""
    assert plan.patch is not None
    live, expected = plan.patch.live, plan.patch.expected
    now, wanted = desired_replicas(live), desired_replicas(expected)
    scaling = _plan_scaling(plan, None)
    effects = scaling.effects if scaling is not None else ()
    added = scaling.new_pods if scaling is not None else 0
    plan = replace(plan, wanted=expected, effects=effects, new_pods=added, needs_room=False)
    restarts, resumes = restarts_pods(live, expected), _is_paused(live) > _is_paused(expected)
    if restarts:
        if wanted > now:  # it is scaled first, see `RestartForecast.scaled_by`
            they = "It starts" if wanted - now == 1 else "They start"
            text = f"{they} with the old Pod template before Pods are replaced."
            plan = replace(plan, effects=(*plan.effects, text))
        replaced = with_replacement(replace(plan, replicas=wanted), expected)
        plan = replace(replaced, new_pods=replaced.new_pods + added)
    elif resumes and now and wanted:
        text = "Its rollout is resumed: Pods of an earlier Pod template are replaced."
        plan = replace(plan, effects=(*effects, text))
    elif not effects:
        paused = " while its rollout is paused" if _is_paused(expected) else ""
        plan = replace(plan, effects=(f"No Pod restarts{paused}.",))
    stops = bool(now and not wanted)
    return replace(plan, replicas=now, needs_confirmation=restarts or resumes or stops)


def _is_paused(deployment: JsonObject) -> bool:
    return as_mapping(deployment, "spec").get("paused") is True
