"""Autoscalers and policies as they were before an edit, for an undo of it: the fields of a serving
do not express all of them, such as an adapted query, a trigger of others, or an annotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from servedeck.serving.json_copy import copy_json
from servedeck.serving.objects.import_objects import ImportedServing, read_spec
from servedeck.serving.objects.owners import holds_replicas
from servedeck.serving.spec.load_balancing import OFF as LOAD_BALANCING_OFF
from servedeck.serving.spec.mapping.auto_scaling import is_scaler, start_replicas
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec

_KEPT_METADATA = ("name", "namespace", "labels", "annotations")


class EarlierObject(NamedTuple):
    """An autoscaler or policy that an edit changed or deleted, as decoded JSON."""

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
    and spec are new, the rest is that of `current`."""
    if not earlier:
        return current
    objects = current.objects.copy()
    is_balanced = current.spec.load_balancing != LOAD_BALANCING_OFF
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


def _is_left(obj: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an object is as an edit left it."""
    uids = [as_mapping(one, "metadata").get("uid") for one in (obj, after)]
    return uids[0] == uids[1] and obj.get("spec") == after.get("spec")


def _as_new(before: JsonObject, objects: ServingObjects) -> JsonObject:
    """The object without what the API server and controllers set. Of its owners the Deployment
    stays while it is the same one: the garbage collector deletes an object whose owners are gone
    (kubernetes pkg/controller/garbagecollector)."""
    found = as_mapping(before, "metadata")
    metadata = {key: found[key] for key in _KEPT_METADATA if found.get(key)}
    uid = objects.metadata.get("uid")
    owners = [one for one in mappings(found.get("ownerReferences")) if one.get("uid") == uid]
    if owners:
        metadata["ownerReferences"] = owners
    plain = {key: value for key, value in before.items() if key != "status"}
    return copy_json({**plain, "metadata": metadata})  # type: ignore[no-any-return]


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return as_str(obj.get("kind")), as_str(as_mapping(obj, "metadata").get("name"))
