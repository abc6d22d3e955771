"""Autoscalers, policies and rules of HTTPRoutes as they were before an edit, for an undo of it: the
fields of a serving do not express all of them, such as an adapted query, a trigger of others, an
annotation, or which of several InferencePools and Services each rule sends to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from servedeck.serving.json_copy import copy_json
from servedeck.serving.objects.import_objects import ImportedServing, read_spec
from servedeck.serving.objects.owners import holds_replicas
from servedeck.serving.spec.load_balancing import OFF as LOAD_BALANCING_OFF
from servedeck.serving.spec.mapping.auto_scaling import is_scaler, start_replicas
from servedeck.serving.spec.mapping.inference_pools import HTTP_ROUTE_KIND
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_list,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.spec.mapping.load_balancing import read_algorithm
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import one_line, sanitize

_KEPT_METADATA = ("name", "namespace", "labels", "annotations")


class EarlierObject(NamedTuple):
    """An autoscaler, policy or HTTPRoute that an edit changed or deleted, as decoded JSON."""

    before: JsonObject
    """As it was read, with metadata and status."""
    after: JsonObject | None
    """As the edit left it; None if the edit deleted it."""


def with_earlier_objects(
    current: ImportedServing, wanted: ServingSpec, earlier: Sequence[EarlierObject]
) -> ImportedServing:
    """The serving with the autoscalers and policies as they were: a deleted one again, unless
    another one took its place meanwhile, and a changed one with its former spec, unless its spec
    was changed since. The Deployment gets the replicas that a minimum of `wanted` needs. Objects
    and spec are new, the rest is that of `current`; HTTPRoutes are for `restore_rules`."""
    if not earlier:
        return current
    objects = current.objects.copy()
    # Not by the field, which says only that the rules send to an InferencePool, where they do.
    is_balanced = read_algorithm(objects) != LOAD_BALANCING_OFF
    taken = {_key(one) for one in objects.all}
    scalers: list[JsonObject] = []
    for before, after in earlier:
        if after is not None:
            for one in (*objects.scalers, *objects.policies):
                if _is_left(one, after):
                    one["spec"] = copy_json(before.get("spec", {}))
        elif is_scaler(before):
            if not current.objects.scalers:
                scalers.append(_as_new(before, objects))
        elif _key(before) not in taken and not is_balanced:
            objects.policies.append(_as_new(before, objects))
    objects.scalers += scalers
    if scalers and not holds_replicas(scalers[0]):
        start_replicas(objects, current.spec, wanted)
    return replace(current, objects=objects, spec=read_spec(objects))


def restore_rules(
    objects: ServingObjects, current: ServingObjects, earlier: Sequence[EarlierObject]
) -> None:
    """Each rule of the HTTPRoutes of `objects`, which are those of `current` changed, as it was
    before the edit, where the rule of `current` is as the edit left it."""
    for route, changed in zip(objects.routes, current.routes, strict=True):
        rules = as_list(as_mapping(route, "spec").get("rules"))
        for at, before in _find_earlier_rules(changed, earlier):
            if at is not None:
                rules[at] = copy_json(before)


def find_lost_rules(current: ServingObjects, earlier: Sequence[EarlierObject]) -> list[str]:
    """Each HTTPRoute with a rule that cannot be as it was, in a sentence: somebody changed or
    deleted it since the edit."""
    found = {_uid(one): one for one in current.routes}
    lost = []
    for one in filter(_is_changed_route, earlier):
        route = found.get(_uid(one.before))
        if route is None or any(at is None for at, _ in _find_earlier_rules(route, [one])):
            kind, name = _key(one.before)
            text = f"The backends of {kind} {name} were changed since; the change cannot be undone."
            lost.append(one_line(sanitize(text)))
    return lost


def _find_earlier_rules(
    route: Mapping[str, Any], earlier: Sequence[EarlierObject]
) -> Iterator[tuple[int | None, object]]:
    """The rules that the edit changed in a route as they were before, each with its position now;
    None where no rule is as the edit left it. Others may have added rules since, such as those of
    an async gateway."""
    rules = as_list(as_mapping(route, "spec").get("rules"))
    for one in earlier:
        if not _is_changed_route(one) or _uid(one.before) != _uid(route):
            continue
        before, after = (
            as_list(as_mapping(side, "spec").get("rules")) for side in (one.before, one.after)
        )
        free = list(range(len(rules)))
        for at, old in enumerate(before):
            new = after[at] if at < len(after) else None
            found = next((index for index in free if rules[index] == new), None)
            if found is not None:
                free.remove(found)
            # One that is as it was already, such as after an undo that was saved in part, is none.
            if new != old and (found is not None or old not in rules):
                yield found, old


def _is_changed_route(one: EarlierObject) -> bool:
    return one.after is not None and one.before.get("kind") == HTTP_ROUTE_KIND


def _uid(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("uid"))


def _is_left(obj: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an object is as an edit left it."""
    return _uid(obj) == _uid(after) and obj.get("spec") == after.get("spec")


def _as_new(before: JsonObject, objects: ServingObjects) -> JsonObject:
    """The object without what the API server and controllers set. Of its owners the Deployment
    stays while it is the same one: the garbage collector deletes an object whose owners are gone
    (kubernetes pkg/controller/garbagecollector)."""
    found = as_mapping(before, "metadata")
    metadata = {key: found[key] for key in _KEPT_METADATA if found.get(key)}
    uid = _uid(objects.deployment)
    owners = [one for one in mappings(found.get("ownerReferences")) if one.get("uid") == uid]
    if owners:
        metadata["ownerReferences"] = owners
    plain = {key: value for key, value in before.items() if key != "status"}
    return copy_json({**plain, "metadata": metadata})  # type: ignore[no-any-return]


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return as_str(obj.get("kind")), as_str(as_mapping(obj, "metadata").get("name"))
