"""What the cluster's admission (mutating webhooks and policies) makes of an edit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from servedeck.cluster.apply import ObjectRef, Preview
from servedeck.serving.edit.differences import FieldDifference, find_field_differences
from servedeck.serving.edit.merge import MergeConflict, Side, merge_fields
from servedeck.serving.objects.diff import same_quantity
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.spec import ServingSpec


def find_admitted(
    current: ImportedServing, live: Iterable[JsonObject], previews: Sequence[Preview]
) -> ServingSpec | None:
    """The serving as it would be stored, by the dry run of its objects; None if admission changes
    nothing of what is sent. `live` are the objects before."""
    if not any(one.admission_changes for one in previews):
        return None
    return read_stored(current, live, {one.ref: one.stored for one in previews if one.stored})


def read_stored(
    current: ImportedServing,
    live: Iterable[JsonObject],
    stored: Mapping[ObjectRef, JsonObject],
) -> ServingSpec:
    """The serving `current` with what was stored instead of some of its objects."""
    objects = {ObjectRef.from_manifest(one): one for one in live} | dict(stored)
    return import_objects(objects.values(), current.objects.engines).spec


def admission_issues(
    fields: Iterable[FieldDifference], wanted: ServingSpec, stored: ServingSpec
) -> Iterator[Issue]:
    """A warning at each of the changed fields that is not stored as wanted."""
    changed = {one.name: one for one in fields}
    for one in find_field_differences(wanted, stored):
        edited = changed.get(one.name)
        if edited is None or same_quantity(one.old, one.new):
            continue
        what = f"stays {one.new}" if one.new == edited.old else f"becomes {one.new}"
        yield warning(
            one.field, f"{one.label} {what}: an admission webhook or policy of the cluster sets it."
        )


def find_admitted_values(
    base: ServingSpec, wanted: ServingSpec, stored: ServingSpec | None
) -> Collection[MergeConflict]:
    """What admission makes of the values of an edit that is saved, which looks like a change of
    somebody else; `stored` as of `find_admitted`."""
    return () if stored is None else choose_admitted(base, wanted, stored, {}).keys()


def choose_admitted(
    base: ServingSpec,
    wanted: ServingSpec,
    stored: ServingSpec,
    choices: Mapping[MergeConflict, Side],
) -> dict[MergeConflict, Side]:
    """The choices of an edit whose write is stored as `stored`: what admission made of its values
    is no change of somebody else, and stays."""
    conflicts = merge_fields(base, wanted, stored, choices).conflicts
    return {**choices, **dict.fromkeys(conflicts, Side.THEIRS)}
