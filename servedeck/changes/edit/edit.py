"""An edit of an existing serving, without a screen: what is wanted, merged with what others changed
since it began, and the plan of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from servedeck.changes.edit.admitted import admission_issues, find_admitted
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import LiveObjects, ServingNotFoundError, fetch_live_objects
from servedeck.changes.object_lists import list_autoscalers, unknown_owner_texts
from servedeck.changes.plan import ChangePlan, make_plan
from servedeck.cluster.apply import ObjectRef, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.rejection import RejectionReason
from servedeck.serving.edit.changed_by import find_changed_by
from servedeck.serving.edit.differences import (
    FieldDifference,
    entry_label,
    format_path,
    format_shown,
)
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.edit.restart_forecast import (
    RestartForecast,
)
from servedeck.serving.objects.change import ObjectChange, object_uid
from servedeck.serving.objects.earlier_objects import EarlierObject
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.owners import (
    Owner,
    OwnerKind,
    find_controller,
    find_gitops_owner,
    find_replicas_owner,
)
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.objects.update_merge import find_changes_since
from servedeck.serving.spec.absent_defaults import keep_asked_defaults
from servedeck.serving.spec.issues import Issue, error, errors, warning
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.status.revisions import FieldManager
from servedeck.serving.status.rollout_status import desired_replicas

_MAX_PLANS = 3


class ServingReplacedError(ClusterError):
    """The Deployment was deleted and created again since the edit began."""


@dataclass(frozen=True)
class Edit:
    """An edit of one serving. Immutable; `dataclasses.replace` makes the next one."""

    base: ImportedServing
    """The serving as it was read when the edit began."""
    wanted: ServingSpec
    choices: Mapping[MergeConflict, Side] = field(default_factory=dict)
    """Decided conflicts."""
    unwritten: Mapping[str, JsonObject] = field(default_factory=dict)
    """The objects that a save of this edit was to write after the Deployment and did not, by uid,
    each with the Deployment before that save, which it fits."""
    earlier: tuple[EarlierObject, ...] = ()
    """Of an undo: the autoscalers, policies and HTTPRoutes that are to be as they were."""
    warnings: tuple[Issue, ...] = ()
    """What no plan finds out: of the form about wanted values, such as how an endpoint answers; of
    an undo, what it cannot take away, at no field."""
    conflicts: tuple[MergeConflict, ...] = ()
    """Values of `base` that others had changed already, and that it is meant to change: `wanted`
    has theirs. Nothing is saved while there are any."""


class EditConflict(NamedTuple):
    """A value that somebody else changed since the edit began, and the edit changes too. Text is
    sanitized, on one line, and secrets are masked."""

    conflict: MergeConflict
    """The key of a choice."""
    name: str
    """As in a document: "settings.maxModelLen"."""
    label: str
    base: str
    theirs: str
    mine: str
    changed_by: tuple[FieldManager, ...]
    """Who changed it, the last one first; () if it is not known."""


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What saving an edit would do now."""

    edit: Edit
    current: ImportedServing
    """The serving that the plan was made from."""
    change_plan: ChangePlan
    conflicts: tuple[EditConflict, ...]
    """Undecided ones; until they are decided their values stay theirs and nothing is saved."""
    fields: tuple[FieldDifference, ...]
    """What changes, from `current` to `spec`."""
    issues: tuple[Issue, ...]
    """Errors and warnings, each at the field that fixes it; "" for none."""
    forecast: RestartForecast | None
    """The rollout; None if no Pods restart."""
    owner: Owner | None
    """Who manages the Deployment by a definition of its own."""
    replicas_owner: Owner | None
    """Who sets the replicas; looked up only where they change."""
    related: RelatedObjects = field(default_factory=RelatedObjects)
    """What is known about the objects beside `current`."""
    admitted: ServingSpec | None = None
    """The serving after saving as admission webhooks and policies change it; None if they do
    not."""

    @property
    def spec(self) -> ServingSpec:
        """The serving after saving."""
        return self.change_plan.spec

    @property
    def change(self) -> ObjectChange:
        change = self.change_plan.change
        assert change is not None  # the serving exists
        return change

    @property
    def errors(self) -> list[Issue]:
        return errors(self.issues)

    @property
    def is_unchanged(self) -> bool:
        """Whether there is nothing to send, or admission puts back all of it."""
        changes_fields = bool(self.fields) and self.admitted is None
        return not (self.conflicts or changes_fields) and all(
            one.action is PreviewAction.UNCHANGED for one in self.change_plan.previews
        )

    @property
    def can_save(self) -> bool:
        return not (self.conflicts or self.errors or self.is_unchanged)

    @property
    def restarts_pods(self) -> bool:
        """Whether the change begins a rollout that replaces Pods, according to the API server's dry
        run."""
        return self.forecast is not None and not self.forecast.continues

    @property
    def replaces_pods(self) -> bool:
        """Whether Pods are replaced: by a new rollout, or by one that waits and then goes on."""
        return self.forecast is not None

    @property
    def marks_restarts(self) -> bool:
        """Whether fields are marked that restart Pods: not if those of an earlier revision go
        on."""
        return self.forecast is not None and self.forecast.pods > 0

    @property
    def no_restart_sentence(self) -> str:
        """That no Pods restart, and why not if a field of theirs changes."""
        if any(one.restarts for one in self.fields):
            if as_mapping(self.change.changed[0], "spec").get("paused"):
                return "No Pod restarts: the Deployment is paused."
            if not desired_replicas(self.change.live[0]):
                return "No Pod restarts: the serving has 0 replicas."
        return "No Pod restarts."

    @property
    def deleted_objects(self) -> tuple[ObjectRef, ...]:
        """The objects that it deletes, such as the autoscaler when auto scaling is turned off."""
        previews = self.change_plan.previews
        return tuple(one.ref for one in previews if one.action is PreviewAction.DELETE)

    @property
    def stops_serving(self) -> bool:
        """Whether it scales to 0."""
        before, after = (
            desired_replicas(one[0]) for one in (self.change.live, self.change.changed)
        )
        return bool(before) and not after

    @property
    def allows_zero(self) -> bool:
        """Whether the autoscaler may scale it to 0 from then on."""
        return self.spec.min_replicas == 0 and self.current.spec.min_replicas != 0

    @property
    def ends_pods(self) -> bool:
        """Whether Pods that may run now are replaced or scaled away."""
        before, after = (
            desired_replicas(one[0]) for one in (self.change.live, self.change.changed)
        )
        return bool(before) and (self.replaces_pods or after < before)


async def begin_edit(
    connection: Connection, namespace: str, name: str, *, prometheus_url: str = ""
) -> Edit:
    """An edit of the serving as it is now, that changes nothing. `prometheus_url` is where Pods
    reach Prometheus, if the settings say it. Raises ServingNotFoundError and other
    ClusterErrors."""
    live = await _fetch(connection, namespace, name)
    base = live.import_serving(prometheus_url)
    return Edit(base, base.spec)


async def plan_edit(
    connection: Connection,
    edit: Edit,
    inventory: ClusterInventory,
    *,
    force: bool = False,
    earlier: EditPlan | None = None,
) -> EditPlan:
    """Read the serving again, merge the edit with what others changed, and run all checks. With
    `force`, fields of other managers are overwritten; conflicts of the edit must be decided all the
    same. `earlier` is a plan that was made just now, without `force`: the serving is not read a
    second time. A dry run that conflicts because somebody changed the serving meanwhile, as an
    autoscaler does, is tried again. Raises ClusterError if the API server cannot be reached or the
    serving is gone."""
    for _ in range(_MAX_PLANS - 1):
        plan = await _make_edit_plan(connection, edit, inventory, force=force, earlier=earlier)
        if not _has_conflict(plan) or not await _has_changed_since(connection, plan):
            return plan
        earlier = None
    return await _make_edit_plan(connection, edit, inventory, force=force)


def _has_conflict(plan: EditPlan) -> bool:
    return any(
        one.rejection is not None and one.rejection.reason is RejectionReason.CONFLICT
        for one in plan.change_plan.previews
    )


async def _has_changed_since(connection: Connection, plan: EditPlan) -> bool:
    """Whether somebody changed an object of the serving, and not its status alone, since the plan
    was made."""
    spec = plan.edit.base.spec
    live = await _fetch(connection, spec.namespace, spec.name)
    current = {object_uid(one): one for one in live.objects}
    return any(
        find_changes_since(one, current.get(object_uid(one), {})) for one in plan.change.live
    )


async def _make_edit_plan(
    connection: Connection,
    edit: Edit,
    inventory: ClusterInventory,
    *,
    force: bool,
    earlier: EditPlan | None = None,
) -> EditPlan:
    spec = edit.base.spec
    if earlier is not None:
        current, related = earlier.current, earlier.related
    else:
        live = await _fetch(connection, spec.namespace, spec.name)
        if object_uid(live.objects[0]) != object_uid(edit.base.objects.deployment):
            raise ServingReplacedError(
                f"Deployment {spec.namespace}/{spec.name} was deleted and created again since the "
                "edit began; begin again."
            )
        url = edit.base.objects.engines.prometheus_url
        current, related = live.import_serving(url), live.related
    merge = merge_fields(spec, edit.wanted, current.spec, edit.choices)
    merge = replace(merge, spec=keep_asked_defaults(spec, edit.wanted, merge.spec))
    uid = object_uid(current.objects.deployment)
    change_plan = await make_plan(
        connection,
        merge.spec,
        PlatformSettings(),
        inventory,
        existing=current,
        related=related,
        force=force,
        create_missing=False,
        # what fitted a Deployment that was replaced since is not known to fit this one
        unwritten={key: one for key, one in edit.unwritten.items() if object_uid(one) == uid},
        earlier=edit.earlier,
    )
    change = change_plan.change
    assert change is not None  # the serving exists
    fields = find_edited_fields(current, merge.spec)
    owner = find_gitops_owner(change.live[0]) or find_controller(change.live[0])
    replicas_owner: Owner | None = None
    unchecked: list[str] = []
    if any(one.field == "replicas" for one in fields):
        replicas_owner, unchecked = await _find_replicas_owner(connection, change.live[0])
    changed = {one.field for one in fields}
    own = [one for one in edit.warnings if one.field in changed or (fields and not one.field)]
    issues = [*change_plan.issues, *own]
    if fields and owner is not None:
        issues.append(warning("", owner.revert_warning))
    is_same_scaler = current.spec.auto_scaling == merge.spec.auto_scaling
    if replicas_owner is not None and is_same_scaler:
        issues.append(_replicas_issue(replicas_owner, current.spec.replicas, merge.spec.replicas))
    issues += [warning("replicas", sentence) for sentence in unchecked]
    admitted = find_admitted(current, change.live, change_plan.previews)
    if admitted is not None:
        issues += admission_issues(fields, merge.spec, admitted)
    return EditPlan(
        edit=edit,
        current=current,
        change_plan=change_plan,
        conflicts=tuple(
            _describe(edit.base, current, one) for one in (*edit.conflicts, *merge.conflicts)
        ),
        fields=fields,
        issues=tuple(issues),
        forecast=change_plan.forecast,
        owner=owner,
        replicas_owner=replicas_owner,
        related=related,
        admitted=admitted,
    )


async def _fetch(connection: Connection, namespace: str, name: str) -> LiveObjects:
    live = await fetch_live_objects(connection, namespace, name)
    if not live.objects:
        raise ServingNotFoundError(f"There is no Deployment {name} in namespace {namespace}.")
    return live


def _describe(
    base: ImportedServing, current: ImportedServing, conflict: MergeConflict
) -> EditConflict:
    path = conflict.path
    base_text, theirs, mine = (
        format_shown(current.spec, path, value)
        for value in (conflict.base, conflict.theirs, conflict.mine)
    )
    return EditConflict(
        conflict,
        format_path(path),
        entry_label(current.spec, path),
        base_text,
        theirs,
        mine,
        find_changed_by(base, current, path),
    )


def _replicas_issue(owner: Owner, now: int, wanted: int) -> Issue:
    """What the autoscaler of a serving does with another number of replicas. A
    HorizontalPodAutoscaler leaves a workload of 0 replicas alone (kubernetes
    pkg/controller/podautoscaler/horizontal.go, ScalingDisabled); KEDA scales it up again."""
    if owner.kind is OwnerKind.SCALED_OBJECT or (now and wanted):
        return error("replicas", owner.replicas_error)
    if wanted:
        return warning("replicas", f"{owner.name} sets the replicas from then on.")
    return warning("replicas", f"{owner.name} is off while the serving has 0 replicas.")


async def _find_replicas_owner(
    connection: Connection, deployment: JsonObject
) -> tuple[Owner | None, list[str]]:
    """The autoscaler of the Deployment, and why it may not be known, in sentences."""
    namespace = str(as_mapping(deployment, "metadata").get("namespace"))
    found, unlisted = await list_autoscalers(connection, namespace)
    owner = find_replicas_owner(deployment, found)
    if owner is not None:
        return owner, []
    return None, unknown_owner_texts(unlisted)
