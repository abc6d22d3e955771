"""What deploying a serving would do, according to the validation rules, the API server's dry run,
quota and the nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster import apply
from servedeck.cluster.apply import (
    ObjectRef,
    Ownership,
    Preview,
    PreviewAction,
    Refusal,
    RefusalReason,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import CONFIG_MAP, SECRET, Resource
from servedeck.serving import pvcs
from servedeck.serving.capacity import scheduling_requirements
from servedeck.serving.objects import manifests
from servedeck.serving.objects.manifests import ImmutableFields, JsonObject
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Issue, error, errors, warning
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import EnvVar, KeyRef

_FIELD_BY_REASON = {
    RefusalReason.ALREADY_EXISTS: "name",
    RefusalReason.NAMESPACE_NOT_FOUND: "namespace",
    RefusalReason.QUOTA: "replicas",
}
"""Field of the form that fixes each kind of refusal, if any."""

_PREVIEW_POD_PATTERN = re.compile(r'^pods? "[^"]*" is (?:forbidden|invalid): ', re.IGNORECASE)
"""The beginning of the API server's message, with the generated name of the Pod of
`preview_pod`."""


@dataclass(frozen=True, slots=True)
class ChangePlan:
    spec: ServingSpec
    manifests: tuple[JsonObject, ...]
    issues: tuple[Issue, ...]
    """Errors and warnings, each at the field that fixes it; "" for none."""
    existing_objects: tuple[Ownership, ...]
    """Objects with these names that already exist."""
    previews: tuple[Preview, ...]
    scheduling_summary: str
    """Whether the nodes could host it now, in a sentence; "" if they may not be listed."""
    unchecked: tuple[str, ...]
    """What could not be checked, and why, in sentences."""

    @property
    def errors(self) -> list[Issue]:
        return errors(self.issues)

    @property
    def can_deploy(self) -> bool:
        return not self.errors


async def make_plan(
    connection: Connection,
    spec: ServingSpec,
    platform: Platform,
    inventory: ClusterInventory,
    *,
    create: bool = True,
    immutable_fields: ImmutableFields | None = None,
    own_objects: Collection[ObjectRef] = (),
    force: bool = False,
) -> ChangePlan:
    """Run all checks. With `create`, an existing name is an error; without, the existing objects
    are changed and their `shape` is kept. `own` are objects that a previous attempt created: they
    are changed. With `force`, fields of other managers are overwritten. Raises ClusterError only if
    the API server cannot be reached.
    """
    objects = manifests.build_manifests(spec, platform, immutable_fields)
    own_problems = validation.validate(spec)
    problems = [*own_problems]
    if platform.issue:
        problems.append(warning("", platform.issue))
    unknown = list(inventory.unavailable_reasons)
    known = inventory.pvcs(spec.namespace)
    if known is not None:
        problems += pvcs.validate_pvcs(spec, known)
    previews: tuple[Preview, ...] = ()
    taken: tuple[Ownership, ...] = ()
    # Independent of everything else: an existing name, for example, is reported at once.
    if not errors(own_problems):
        stored = await apply.find_existing(connection, objects)
        taken = tuple(owner for owner in stored if owner.ref not in own_objects)
        asked_for = objects
        if create:
            problems += [error("name", _already_exists_message(owner)) for owner in taken]
            places = {owner.ref for owner in taken}
            asked_for = [one for one in objects if ObjectRef.from_manifest(one) not in places]
        previews = await apply.preview(connection, asked_for, force=force)
        refusals = [one.refusal for one in previews if one.refusal]
        # Without a change no Pod is created, so a full quota does not matter.
        changing = any(one.action is not PreviewAction.UNCHANGED for one in previews)
        if not refusals and spec.replicas and changing:
            pod = await apply.preview_pod(connection, objects[0])
            refusals += [_generalize_pod_refusal(pod, spec.name)] if pod else []
        problems += [_refusal_issue(refused) for refused in dict.fromkeys(refusals)]
        missing, unasked = await _find_missing_references(connection, spec)
        problems += missing
        unknown += unasked
    asked, tolerations = scheduling_requirements(objects[0])
    capacity = inventory.check_scheduling(asked, spec.replicas, tolerations)
    return ChangePlan(
        spec,
        tuple(objects),
        tuple(problems),
        taken,
        previews,
        capacity.summary if capacity else "",
        tuple(unknown),
    )


def _already_exists_message(owner: Ownership) -> str:
    whose = (
        "servedeck" if owner.managed_by_servedeck else ", ".join(owner.managers) or "somebody else"
    )
    return f"{owner.ref} already exists, created by {whose}; choose another name."


def _refusal_issue(refusal: Refusal) -> Issue:
    return error(_FIELD_BY_REASON.get(refusal.reason, ""), refusal.message)


def _generalize_pod_refusal(refusal: Refusal, name: str) -> Refusal:
    """The refusal of the previewed Pod, without its generated name."""
    message = _PREVIEW_POD_PATTERN.sub(f"Pods of {name} are refused: ", refusal.message)
    return replace(refusal, message=message)


async def _find_missing_references(
    connection: Connection, spec: ServingSpec
) -> tuple[list[Issue], list[str]]:
    """Secrets, ConfigMaps and keys that variables refer to and that do not exist: a Pod would not
    start (CreateContainerConfigError). Only names of keys are checked."""
    found: list[Issue] = []
    unasked: dict[str, None] = {}
    variables = [(f"env.{at}", one) for at, one in enumerate(spec.env)]
    if spec.transformer:
        variables += [(f"transformer.env.{at}", one) for at, one in enumerate(spec.transformer.env)]
    keys: dict[tuple[str, str], frozenset[str] | None] = {}
    for path, one in variables:
        for resource, ref in _key_references(one):
            if (resource.kind, ref.name) not in keys:
                try:
                    keys[resource.kind, ref.name] = await _fetch_keys(
                        connection, resource, spec.namespace, ref.name
                    )
                except ApiError as refused:
                    if refused.code != 404:
                        unasked[f"{resource.kind} {ref.name} was not checked: {refused}"] = None
                        continue
                    keys[resource.kind, ref.name] = None
            there = keys[resource.kind, ref.name]
            if there is None:
                sentence = (
                    f"Namespace {spec.namespace} has no {resource.kind} {ref.name!r};"
                    " create it first."
                )
                found.append(error(path, sentence))
            elif ref.key not in there:
                sentence = f"{resource.kind} {ref.name} has no key {ref.key!r}; correct it."
                found.append(error(path, sentence))
    return found, list(unasked)


def _key_references(env_var: EnvVar) -> list[tuple[Resource, KeyRef]]:
    refs = [(SECRET, env_var.secret), (CONFIG_MAP, env_var.config_map)]
    return [(resource, ref) for resource, ref in refs if ref is not None]


async def _fetch_keys(
    connection: Connection, resource: Resource, namespace: str, name: str
) -> frozenset[str]:
    stored = await connection.get_json(resource.object_path(namespace, name))
    return frozenset(
        key
        for part in ("data", "binaryData")
        if isinstance(stored.get(part), Mapping)
        for key in stored[part]
    )
