"""Taking a saved edit back: its fields, and the autoscalers, policies and rules of HTTPRoutes as
they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit
from servedeck.changes.setting_checks import setting_of
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.edit.merge import Side, merge_fields
from servedeck.serving.objects.change import object_uid
from servedeck.serving.objects.earlier_objects import EarlierObject, find_lost_rules
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.auto_scaling import is_scaler, read_prometheus_url
from servedeck.serving.spec.mapping.inference_pools import HTTP_ROUTE_KIND
from servedeck.serving.spec.mapping.json_values import JsonObject, as_int, as_mapping
from servedeck.serving.spec.scaling import OFF as AUTO_SCALING_OFF
from servedeck.serving.spec.spec import FIELDS, ServingSpec


class UndoExpiredError(ClusterError):
    """The Deployment was changed since the edit was saved."""


@dataclass(frozen=True, slots=True)
class UndoPoint:
    """A saved edit that can be taken back while nobody else changed the Deployment."""

    before: ServingSpec
    after: ServingSpec
    uid: str
    generation: int
    """metadata.generation of the Deployment that the write left."""
    prometheus_url: str = ""
    """Where Pods reach Prometheus, as the edit knew it, for an autoscaler that is created again."""
    earlier: tuple[EarlierObject, ...] = ()
    """The autoscalers, policies and HTTPRoutes that the edit changed or deleted."""


def make_undo_point(
    plan: EditPlan, saved: Mapping[ObjectRef, JsonObject], stored: ServingSpec | None = None
) -> UndoPoint | None:
    """The undo of a plan that was saved; `saved` are the objects after that, `stored` the serving
    if admission changed it. None where no field changes: the plan wrote the rest of an earlier
    save."""
    if not plan.fields:
        return None
    objects = plan.current.objects
    deployment = saved.get(ObjectRef.from_manifest(objects.deployment), objects.deployment)
    url = read_prometheus_url(objects) or objects.engines.prometheus_url
    before = plan.current.spec
    if stored is not None:
        # What admission changed beside the changed fields is not taken back.
        conflicts = merge_fields(plan.spec, before, stored).conflicts
        before = merge_fields(plan.spec, before, stored, dict.fromkeys(conflicts, Side.MINE)).spec
    return UndoPoint(
        before,
        stored or plan.spec,
        object_uid(deployment),
        _generation(deployment),
        url,
        tuple(_find_earlier(plan, saved)),
    )


def _find_earlier(plan: EditPlan, saved: Mapping[ObjectRef, JsonObject]) -> Iterator[EarlierObject]:
    for write in plan.change_plan.writes:
        is_setting = setting_of(write.ref.kind) or write.ref.kind == HTTP_ROUTE_KIND
        if write.live is None or not write.is_sent or not is_setting:
            continue
        after = None if write.deletes else saved.get(write.ref)
        if write.deletes or after is not None:
            yield EarlierObject(write.live, after)


async def begin_undo(connection: Connection, point: UndoPoint) -> Edit:
    """The edit that takes a saved one back. Raises UndoExpiredError if the Deployment was changed
    since, and other ClusterErrors."""
    edit = await begin_edit(
        connection,
        point.after.namespace,
        point.after.name,
        prometheus_url=point.prometheus_url,
    )
    deployment = edit.base.objects.deployment
    # An autoscaler changes the generation with each step, and KEDA when it puts the replicas back
    # after its ScaledObject was deleted.
    is_scaled = AUTO_SCALING_OFF not in (edit.base.spec.auto_scaling, point.after.auto_scaling)
    is_scaled = is_scaled or any(is_scaler(one.before) for one in point.earlier if not one.after)
    is_other = object_uid(deployment) != point.uid
    if is_other or (_generation(deployment) != point.generation and not is_scaled):
        raise UndoExpiredError(
            f"Deployment {point.after.namespace}/{point.after.name} was changed since; the change "
            "cannot be undone."
        )
    merge = merge_fields(point.after, point.before, edit.base.spec)
    if merge.conflicts:
        raise UndoExpiredError(
            f"The changed fields of {point.after.namespace}/{point.after.name} were changed since; "
            "the change cannot be undone."
        )
    if lost := find_lost_rules(edit.base.objects, point.earlier):
        raise UndoExpiredError(lost[0])
    warnings: tuple[Issue, ...] = ()
    if asked := find_asked_defaults(point.before, point.after):
        labels = ", ".join(FIELDS[name].label for name in asked)
        text = f"{labels} had no value before, which no field says; remove it in the Deployment."
        if merge.spec == edit.base.spec and not point.earlier:
            raise UndoExpiredError(text)
        warnings = (warning("", text),)
    return replace(edit, wanted=merge.spec, earlier=point.earlier, warnings=warnings)


def _generation(obj: JsonObject) -> int:
    return as_int(as_mapping(obj, "metadata").get("generation")) or 0
