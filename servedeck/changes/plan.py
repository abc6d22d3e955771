"""What deploying a serving would do, according to the validation rules, the API server's dry run,
quota and the nodes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import find_pools
from servedeck.changes.object_writes import ObjectWrite, plan_writes, preview_writes
from servedeck.changes.pod_admission import check_pod_admission
from servedeck.changes.pod_reference_checks import find_missing_pod_objects
from servedeck.changes.revision_checks import begin_from, check_revision_of
from servedeck.changes.rollout_forecast import forecast_rollout
from servedeck.changes.service_checks import find_service_issues
from servedeck.changes.serving_defaults import with_defaults
from servedeck.changes.setting_checks import (
    check_capacity,
    check_settings,
    check_temperature,
    complete_engines,
    deleted_objects,
    rejected_settings,
    setting_of,
)
from servedeck.cluster import apply
from servedeck.cluster.apply import ExistingObject, ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.cluster.resources import CONFIG_MAP, SECRET, Resource
from servedeck.serving import pvcs
from servedeck.serving.edit.restart_forecast import RestartForecast, restarts_pods
from servedeck.serving.objects import manifests
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.change import (
    ObjectChange,
    change_objects,
    find_dropped_times,
    resolve_open_fields,
)
from servedeck.serving.objects.earlier_objects import EarlierObject, with_earlier_objects
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Issue, Severity, error, errors, warning
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.volumes import OtherMounts
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import EnvVar, KeyRef
from servedeck.serving.status.rollout_status import desired_replicas

_FIELD_BY_REASON = {
    RejectionReason.ALREADY_EXISTS: "name",
    RejectionReason.NAMESPACE_NOT_FOUND: "namespace",
    RejectionReason.QUOTA: "replicas",
}
"""Field of the form that fixes each kind of rejection, if any."""


@dataclass(frozen=True, slots=True)
class ChangePlan:
    spec: ServingSpec
    manifests: tuple[JsonObject, ...]
    """What is sent, in order: whole objects, or what changes in existing ones."""
    issues: tuple[Issue, ...]
    """Errors and warnings, each at the field that fixes it; "" for none."""
    existing_objects: tuple[ExistingObject, ...]
    """Objects with these names that already exist."""
    previews: tuple[Preview, ...]
    scheduling_summary: str
    """Whether the nodes could host it now, in a sentence; "" if they may not be listed."""
    unchecked: tuple[str, ...]
    """What could not be checked, and why, in sentences."""
    writes: tuple[ObjectWrite, ...] = ()
    """What is sent, with the objects as they were read."""
    overridable: tuple[Issue, ...] = ()
    """Those of the errors that are warnings with `force`."""
    change: ObjectChange | None = None
    """What changes in the objects of an existing serving; None for a new one."""
    forecast: RestartForecast | None = None
    """The rollout; None if no Pods are replaced."""

    @property
    def errors(self) -> list[Issue]:
        return errors(self.issues)

    @property
    def can_deploy(self) -> bool:
        return not self.errors


async def make_plan(
    connection: Connection,
    spec: ServingSpec,
    platform: PlatformSettings,
    inventory: ClusterInventory,
    *,
    existing: ImportedServing | None = None,
    related: RelatedObjects | None = None,
    own_objects: Collection[ObjectRef] = (),
    force: bool = False,
    create_missing: bool = True,
    unwritten: Mapping[str, JsonObject] | None = None,
    earlier: Sequence[EarlierObject] = (),
    revision_base: str = "",
) -> ChangePlan:
    """Run all checks. Without `existing`, the serving is new, and a name that is taken is an error;
    otherwise the objects of `existing` are changed where the spec differs, with what is known
    about `related` objects. `own_objects` are those that a previous attempt created: they are
    changed. With `force`, fields of other managers are overwritten, and Services that others use
    are changed. Without `create_missing`, a Service or route that the serving lacks is not created
    again. `unwritten` and `earlier` as for `change_objects`. `revision_base` is what a new second
    revision begins from, as for `begin_from`. Raises ClusterError only if the API server cannot be
    reached.
    """
    unknown = list(inventory.unavailable_reasons)
    overridable: list[Issue] = []
    change: ObjectChange | None = None
    if existing is None:
        spec, of_settings = with_defaults(spec, platform)
        engines = await complete_engines(
            connection, ServingObjects({}, engines=platform.engines), spec
        )
        pools = await find_pools(connection, engines, spec)
        engines = replace(engines, pools=pools.objects, hidden_pool_groups=pools.hidden_groups)
        platform = replace(platform, engines=engines)
        objects = manifests.build_manifests(spec, platform)
        found, unchecked = await begin_from(connection, spec, objects[0], revision_base)
        unknown += unchecked
        writes = [ObjectWrite(ObjectRef.from_manifest(one), one) for one in objects]
        built = import_objects(objects, engines).objects
        own_problems = [
            *of_settings,
            *validation.validate(spec),
            *check_settings(built, None, spec),
            *await check_temperature(connection, None, spec),
            *found,
        ]
    else:
        related_objects = related or RelatedObjects()
        wanted = resolve_open_fields(existing, spec)
        engines = await complete_engines(connection, existing.objects, wanted)
        existing = replace(existing, objects=replace(existing.objects, engines=engines))
        change = change_objects(
            existing,
            wanted,
            platform,
            related_objects,
            create_missing=create_missing,
            unwritten=unwritten,
            earlier=earlier,
        )
        objects, writes = list(change.changed), plan_writes(change, force=force)
        found = await find_service_issues(
            connection, existing.spec, wanted, change, related_objects
        )
        overridable = errors(found)
        found = [_as_warning(one) for one in found] if force else found
        # What is as it was before needs nothing that a new one does.
        start = with_earlier_objects(existing, wanted, earlier)
        of_revision, unchecked = await check_revision_of(connection, existing, wanted)
        unknown += unchecked
        settings = list(
            check_settings(start.objects, start.spec, wanted, related_objects.unlisted_kinds)
        )
        of_spec = [
            *new_issues(existing.spec, wanted, existing.mounts),
            *find_dropped_times(existing.spec, spec, wanted),
        ]
        refused = {one.field for one in errors([*of_spec, *settings])}
        own_problems = [
            *of_spec,
            *settings,
            *await check_temperature(connection, existing.spec, wanted),
            *(one for one in change.issues if one.field not in refused),
            *found,
            *of_revision,
        ]
        unknown += change.unchecked
    problems = [*own_problems]
    if platform.issue and create_missing:
        problems.append(warning("", platform.issue))
    present = existing.spec if existing is not None else None
    known = inventory.pvcs(spec.namespace)
    if known is not None:
        problems += _pvc_issues(spec, known, present)
    previews: tuple[Preview, ...] = ()
    taken: tuple[ExistingObject, ...] = ()
    reserved: list[Issue] = []
    # Independent of everything else: an existing name, for example, is reported at once.
    if not errors(own_problems):
        if existing is None:
            stored = await apply.find_existing(connection, objects)
            taken = tuple(one for one in stored if one.ref not in own_objects)
            problems += [error("name", _already_exists_message(one)) for one in taken]
            places = {one.ref for one in taken}
            previewed = [one for one in writes if one.ref not in places]
            previews = await preview_writes(connection, previewed, force=force)
        else:
            created = [one.body for one in writes if one.live is None and one.body]
            reserved = await _taken_settings(connection, created)
            problems += reserved
            previews = await preview_writes(connection, writes, force=force)
            forbidden = _forbidden_creations(writes, previews)
            problems += [warning("", message) for message in forbidden.values()]
            writes = [one for one in writes if one.ref not in forbidden]
            previews = tuple(one for one in previews if one.ref not in forbidden)
        warned = dict.fromkeys(text for one in previews for text in one.warnings)
        problems += [warning("", text) for text in warned]
        taken_fields = {one.field for one in reserved}
        problems += [one for one in rejected_settings(previews) if one.field not in taken_fields]
        problems += deleted_objects(previews)
        rejections = [
            one.rejection for one in previews if one.rejection and not setting_of(one.ref.kind)
        ]
        # Without a change no Pod is created, so a full quota does not matter.
        changing = any(one.action is not PreviewAction.UNCHANGED for one in previews)
        if not rejections and spec.replicas and changing:
            admission = await check_pod_admission(
                connection,
                objects[0],
                new_pods=spec.replicas if change is None else _added_replicas(change),
                starts_pods=change is None or _starts_pods(change),
            )
            if admission.warning:
                problems.append(warning(_FIELD_BY_REASON[RejectionReason.QUOTA], admission.warning))
            rejections += [admission.rejection] if admission.rejection else []
        problems += [_rejection_issue(one) for one in dict.fromkeys(rejections)]
        for find in (_find_missing_references, find_missing_pod_objects):
            missing, unchecked = await find(connection, spec, present)
            problems += missing
            unknown += unchecked
    problems += check_capacity(present, spec, inventory)
    forecast = None
    if change is not None:
        forecast = await forecast_rollout(connection, change, previews, inventory)
    problems += forecast.issues if forecast is not None else ()
    scheduling = inventory.check_scheduling(objects[0], spec.replicas)
    return ChangePlan(
        spec,
        tuple(one.body for one in writes if one.body is not None),
        tuple(problems),
        taken,
        previews,
        scheduling.summary if scheduling else "",
        tuple(unknown),
        tuple(writes),
        tuple(overridable),
        change,
        forecast,
    )


def _forbidden_creations(
    writes: Sequence[ObjectWrite], previews: Iterable[Preview]
) -> dict[ObjectRef, str]:
    """Missing objects of an existing serving that the user may not create, with the routes that
    would route to them, and a sentence about each: another change does not need them."""
    forbidden = {
        preview.ref: f"{preview.ref} does not exist and may not be created: "
        f"{preview.rejection.message}"
        for write, preview in zip(writes, previews, strict=True)
        if write.live is None
        and not setting_of(write.ref.kind)
        and preview.rejection is not None
        and preview.rejection.reason is RejectionReason.PERMISSION
    }
    services = {(one.namespace, one.name): one for one in forbidden if one.kind == "Service"}
    for write in writes:
        if write.live is not None or write.body is None or write.ref in forbidden:
            continue
        for backend in route_backends(write.body):
            if service := services.get((backend.namespace, backend.service)):
                forbidden[write.ref] = f"{write.ref} is not created without {service}."
    return forbidden


def new_issues(before: ServingSpec, wanted: ServingSpec, mounts: OtherMounts) -> list[Issue]:
    """Issues of the wanted spec, whose ports are resolved; an error that the serving has already is
    a warning, and a warning that it has already is left out. `mounts` are those of the serving."""
    present = {_without_rows(one) for one in validation.validate_existing(before, mounts)}
    return [
        _as_warning(one) if _without_rows(one) in present else one
        for one in validation.validate_existing(wanted, mounts)
        if one.is_error or _without_rows(one) not in present
    ]


def _without_rows(issue: Issue) -> tuple[str, str]:
    """Field and message without row numbers, which another change moves."""
    field, message = (re.sub(r"\b\d+\b", "N", text) for text in (issue.field, issue.message))
    return field, message


def _as_warning(issue: Issue) -> Issue:
    return replace(issue, severity=Severity.WARNING)


def _pvc_issues(
    spec: ServingSpec, known: Mapping[str, pvcs.Pvc], present: ServingSpec | None
) -> Iterator[Issue]:
    """Issues of the PVCs; of one that the serving mounts already they are warnings."""
    for one in pvcs.validate_pvcs(spec, known):
        row = one.field.split(".")[1]
        volume = spec.volumes[int(row)]
        is_present = present is not None and volume in present.volumes
        yield _as_warning(one) if is_present else one


async def _taken_settings(connection: Connection, created: Sequence[JsonObject]) -> list[Issue]:
    """Objects of settings that are to be created, and whose name another one has."""
    wanted = [one for one in created if setting_of(one["kind"])]
    return [
        error(
            setting_of(one.ref.kind),
            f"{one.ref} is being deleted still; try again when it is gone."
            if one.is_being_deleted
            else f"{one.ref} exists already and is for something else, so it is not overwritten; "
            "delete it, or give it another name.",
        )
        for one in await apply.find_existing(connection, wanted)
    ]


def _already_exists_message(existing: ExistingObject) -> str:
    whose = (
        "servedeck"
        if existing.managed_by_servedeck
        else ", ".join(existing.managers) or "somebody else"
    )
    return f"{existing.ref} already exists, created by {whose}; choose another name."


def _added_replicas(change: ObjectChange) -> int:
    """Number of Pods that are wanted more than before."""
    return max(desired_replicas(change.changed[0]) - desired_replicas(change.live[0]), 0)


def _starts_pods(change: ObjectChange) -> bool:
    return restarts_pods(change.live[0], change.changed[0])


def _rejection_issue(rejection: Rejection) -> Issue:
    return error(_FIELD_BY_REASON.get(rejection.reason, ""), rejection.message)


async def _find_missing_references(
    connection: Connection, spec: ServingSpec, present: ServingSpec | None
) -> tuple[list[Issue], list[str]]:
    """Secrets, ConfigMaps and keys that variables refer to and that do not exist: a Pod would not
    start (CreateContainerConfigError). Only names of keys are checked, and only of variables that
    are not optional. For a variable that the serving has already it is a warning, and what may not
    be read is not reported."""
    found: list[Issue] = []
    unchecked: dict[str, None] = {}
    variables = [(f"env.{at}", one) for at, one in enumerate(spec.env)]
    if spec.transformer:
        variables += [(f"transformer.env.{at}", one) for at, one in enumerate(spec.transformer.env)]
    old = _variables_of(present)
    references = dict.fromkeys(
        (resource, ref.name) for _, one in variables for resource, ref in _key_references(one)
    )
    answers = await asyncio.gather(
        *(_fetch_keys(connection, resource, spec.namespace, name) for resource, name in references)
    )
    keys = dict(zip(references, answers, strict=True))
    for path, one in variables:
        for resource, ref in _key_references(one):
            there = keys[resource, ref.name]
            if isinstance(there, ApiError):
                if one not in old:
                    unchecked[f"{resource.kind} {ref.name} was not checked: {there}"] = None
                continue
            if there is not None and ref.key in there:
                continue
            if one in old:
                what = f"key {ref.key!r}" if there is not None else f"{resource.kind} {ref.name!r}"
                where = f"{resource.kind} {ref.name}" if there is not None else "The namespace"
                sentence = f"{where} has no {what}, so new Pods of the serving do not start."
                found.append(warning(path, sentence))
            elif there is None:
                sentence = (
                    f"Namespace {spec.namespace} has no {resource.kind} {ref.name!r};"
                    " create it first."
                )
                found.append(error(path, sentence))
            else:
                sentence = f"{resource.kind} {ref.name} has no key {ref.key!r}; correct it."
                found.append(error(path, sentence))
    return found, list(unchecked)


def _variables_of(spec: ServingSpec | None) -> tuple[EnvVar, ...]:
    if spec is None:
        return ()
    return (*spec.env, *(spec.transformer.env if spec.transformer else ()))


def _key_references(env_var: EnvVar) -> list[tuple[Resource, KeyRef]]:
    refs = [(SECRET, env_var.secret), (CONFIG_MAP, env_var.config_map)]
    return [(resource, ref) for resource, ref in refs if ref is not None and not ref.optional]


async def _fetch_keys(
    connection: Connection, resource: Resource, namespace: str, name: str
) -> frozenset[str] | ApiError | None:
    """The keys of a Secret or ConfigMap; None if it does not exist, an error if that is not
    known."""
    try:
        stored = await connection.get_json(resource.object_path(namespace, name))
    except ApiError as rejected:
        return None if rejected.code == 404 else rejected
    return frozenset(
        key
        for part in ("data", "binaryData")
        if isinstance(stored.get(part), Mapping)
        for key in stored[part]
    )
