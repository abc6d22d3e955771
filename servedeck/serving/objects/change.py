"""The objects of an existing serving after an edit: only what the edit changes, in their own
shape."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from servedeck.serving.objects.import_objects import ImportedServing, read_spec
from servedeck.serving.objects.manifests import build_route, build_service
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.transformer import change_predictor_url
from servedeck.serving.spec.mapping.volumes import resize_shared_memory
from servedeck.serving.spec.spec import FIELDS, ServingSpec


@dataclass(frozen=True, slots=True)
class ObjectChange:
    live: tuple[JsonObject, ...]
    """The objects as they are."""
    changed: tuple[JsonObject, ...]
    """The same objects in the same order as they are wanted, then those to create."""
    changed_fields: tuple[str, ...]
    """Names of the fields that differ."""
    issues: tuple[Issue, ...]
    """Fields that do not have their wanted value after the change."""

    @property
    def restarts_pods(self) -> bool:
        """Whether one of the changed fields is part of the Pods."""
        return any(FIELDS[name].restarts for name in self.changed_fields)


def change_objects(
    current: ImportedServing, wanted: ServingSpec, platform: Platform | None = None
) -> ObjectChange:
    """The objects of `current` with the fields of `wanted` that differ. Without a difference they
    are unchanged, whoever made them. `platform` is for the parts that a serving of servedeck lacks
    (a Service, a route): they are created again."""
    before = current.spec
    if wanted.inference_port is None:  # not known is not another port
        wanted = wanted.replace(inference_port=before.inference_port)
    changed_fields = tuple(
        name for name in FIELDS if getattr(before, name) != getattr(wanted, name)
    )
    objects = copy.deepcopy(current.objects)
    written = set()
    for name in changed_fields:
        write = FIELDS[name].access.write
        if write not in written:
            written.add(write)
            write(objects, before, wanted)
    issues: tuple[Issue, ...] = ()
    if changed_fields:
        resize_shared_memory(objects, before, wanted)
        change_predictor_url(objects, before, wanted)
        issues = tuple(_check_written(objects, wanted, changed_fields))
    live = tuple(current.objects.all)
    changed = (*objects.all, *_missing_objects(objects, wanted, platform or Platform()))
    return ObjectChange(live, changed, changed_fields, issues)


def _missing_objects(
    objects: ServingObjects, spec: ServingSpec, platform: Platform
) -> list[JsonObject]:
    if not objects.is_managed:
        return []
    found: list[JsonObject] = []
    if not objects.services:
        service = build_service(spec)
        service["spec"]["selector"] = dict(
            objects.deployment["spec"]["selector"].get("matchLabels", {})
        )
        found.append(service)
    if not objects.routes and (route := build_route(spec, platform)):
        found.append(route)
    return found


def _check_written(
    objects: ServingObjects, wanted: ServingSpec, changed_fields: Collection[str]
) -> Iterator[Issue]:
    """Fields whose value is not the wanted one after writing. One that was to change is an error;
    another one (a port that a script takes from a variable) is a warning."""
    read = read_spec(replace(objects, template=wanted.template))
    for name in FIELDS:
        value = getattr(read, name)
        if value == getattr(wanted, name):
            continue
        shown = format_value(value) or "not set"
        if name in changed_fields:
            yield error(
                name,
                "The objects set this in a way that servedeck cannot change, so it stays "
                f"{shown}; change it in the objects.",
            )
        else:
            yield warning(name, f"Another change of this serving changes this to {shown}.")
