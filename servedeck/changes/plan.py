"""What deploying a serving would do, asked of everyone who knows: our own rules, the API server's
dry run, quota, the nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from servedeck.changes.inventory import Surroundings
from servedeck.cluster import apply
from servedeck.cluster.apply import Action, Owner, Place, Preview, Refusal, Why
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving import pvcs
from servedeck.serving.capacity import pod_requests
from servedeck.serving.objects import manifests
from servedeck.serving.objects.manifests import Object, Shape
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Problem, error, errors, warning
from servedeck.serving.spec.spec import EnvVar, KeyRef, ServingSpec

_FIELD_OF = {Why.TAKEN: "name", Why.NAMESPACE: "project", Why.QUOTA: "replicas"}
"""Field of the form that mends each kind of refusal, where there is one."""

_PREVIEWED = re.compile(r'^pods? "[^"]*" is (?:forbidden|invalid): ', re.IGNORECASE)
"""How the API server begins, with the name that the Pod of `preview_pod` got."""


@dataclass(frozen=True, slots=True)
class Review:
    spec: ServingSpec
    manifests: tuple[Object, ...]
    problems: tuple[Problem, ...]
    """Errors and warnings, each at the field that mends it; "" for none."""
    taken: tuple[Owner, ...]
    """Objects of these names that exist already."""
    previews: tuple[Preview, ...]
    capacity: str
    """Whether the nodes could host it now, in a sentence; "" where they may not be read."""
    unknown: tuple[str, ...]
    """What could not be asked, and why, in sentences."""

    @property
    def errors(self) -> list[Problem]:
        return errors(self.problems)

    @property
    def can_deploy(self) -> bool:
        return not self.errors


async def review(
    connection: Connection,
    spec: ServingSpec,
    platform: Platform,
    surroundings: Surroundings,
    *,
    create: bool = True,
    shape: Shape | None = None,
    own: Collection[Place] = (),
    force: bool = False,
) -> Review:
    """Ask everyone. With `create`, a name that is taken is an error; without, it is a change
    to the objects there, whose `shape` is kept. `own` are objects that an attempt before this one
    made: they are changed, not taken. With `force`, fields that others own are taken over.

    Raises ClusterError only where the API server cannot be reached.
    """
    objects = manifests.build(spec, platform, shape)
    own_problems = validation.problems(spec)
    problems = [*own_problems]
    if platform.problem:
        problems.append(warning("", platform.problem))
    unknown = list(surroundings.missing)
    known = surroundings.claims(spec.project)
    if known is not None:
        problems += pvcs.problems(spec, known)
    previews: tuple[Preview, ...] = ()
    taken: tuple[Owner, ...] = ()
    # Whatever else is missing: a name that is taken, say, is known at once.
    if not errors(own_problems):
        stored = await apply.taken(connection, objects)
        taken = tuple(owner for owner in stored if owner.place not in own)
        asked_for = objects
        if create:
            problems += [error("name", _taken(owner)) for owner in taken]
            places = {owner.place for owner in taken}
            asked_for = [one for one in objects if Place.of(one) not in places]
        previews = await apply.preview(connection, asked_for, force=force)
        refusals = [one.refusal for one in previews if one.refusal]
        # What changes nothing makes no Pod, so that a full quota is no obstacle to it.
        changing = any(one.action is not Action.UNCHANGED for one in previews)
        if not refusals and spec.replicas and changing:
            pod = await apply.preview_pod(connection, objects[0])
            refusals += [_of_all_pods(pod, spec.name)] if pod else []
        problems += [_problem(refused) for refused in dict.fromkeys(refusals)]
        missing, unasked = await _missing_references(connection, spec)
        problems += missing
        unknown += unasked
    asked, tolerations = pod_requests(objects[0])
    capacity = surroundings.fit(asked, spec.replicas, tolerations)
    return Review(
        spec,
        tuple(objects),
        tuple(problems),
        taken,
        previews,
        capacity.sentence if capacity else "",
        tuple(unknown),
    )


def _taken(owner: Owner) -> str:
    whose = "servedeck" if owner.ours else ", ".join(owner.managers) or "somebody else"
    return f"{owner.place} exists already, made by {whose}; choose another name."


def _problem(refused: Refusal) -> Problem:
    return error(_FIELD_OF.get(refused.why, ""), refused.message)


def _of_all_pods(refused: Refusal, name: str) -> Refusal:
    """The refusal of the one Pod that was asked about, without the name that it had for that."""
    message = _PREVIEWED.sub(f"Pods of {name} are refused: ", refused.message)
    return replace(refused, message=message)


async def _missing_references(
    connection: Connection, spec: ServingSpec
) -> tuple[list[Problem], list[str]]:
    """Secrets, ConfigMaps and keys that variables name and that do not exist: a Pod would not
    start for them (CreateContainerConfigError). Only names of keys are looked at."""
    found: list[Problem] = []
    unasked: dict[str, None] = {}
    variables = [(f"env.{at}", one) for at, one in enumerate(spec.env)]
    if spec.transformer:
        variables += [(f"transformer.env.{at}", one) for at, one in enumerate(spec.transformer.env)]
    keys: dict[tuple[str, str], frozenset[str] | None] = {}
    for path, one in variables:
        for kind, plural, ref in _references(one):
            if (plural, ref.name) not in keys:
                try:
                    keys[plural, ref.name] = await _keys(connection, spec.project, plural, ref.name)
                except ApiError as refused:
                    if refused.code != 404:
                        unasked[f"{kind} {ref.name} was not checked: {refused}"] = None
                        continue
                    keys[plural, ref.name] = None
            there = keys[plural, ref.name]
            if there is None:
                sentence = f"Namespace {spec.project} has no {kind} {ref.name!r}; create it first."
                found.append(error(path, sentence))
            elif ref.key not in there:
                sentence = f"{kind} {ref.name} has no key {ref.key!r}; correct it."
                found.append(error(path, sentence))
    return found, list(unasked)


def _references(one: EnvVar) -> list[tuple[str, str, KeyRef]]:
    refs = [("Secret", "secrets", one.secret), ("ConfigMap", "configmaps", one.config_map)]
    return [(kind, plural, ref) for kind, plural, ref in refs if ref is not None]


async def _keys(connection: Connection, namespace: str, plural: str, name: str) -> frozenset[str]:
    stored = await connection.get_json(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
    return frozenset(
        key
        for part in ("data", "binaryData")
        if isinstance(stored.get(part), Mapping)
        for key in stored[part]
    )
