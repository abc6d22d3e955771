"""Who changed a value of a serving since an edit of it began."""

from __future__ import annotations

from collections.abc import Collection

from servedeck.serving.edit.entries import FIELD_GROUPS, Path, join_values, split_spec
from servedeck.serving.objects.change import ObjectKey, change_objects
from servedeck.serving.objects.diff import FieldPath, find_differences
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.managed_fields import owns_any
from servedeck.serving.spec.load_balancing import LOAD_BALANCING_FIELDS
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings
from servedeck.serving.spec.scaling import SCALING_FIELDS
from servedeck.serving.status.revisions import FieldManager, read_manager


def find_changed_by(
    base: ImportedServing, current: ImportedServing, path: Path
) -> tuple[FieldManager, ...]:
    """The field managers that own the value now, in the Deployment, its autoscalers and policies,
    the one that wrote last first; () if it is not known. Nobody owns a value that was removed."""
    found = {
        owner
        for obj, places in _field_places(base, current, path)
        for owner in find_owners(obj, places)
    }
    return tuple(sorted(found, key=_newest_first))


def find_owners(obj: JsonObject, places: Collection[FieldPath]) -> tuple[FieldManager, ...]:
    """The field managers that own one of the fields of an object, the one that wrote last first."""
    if not places:
        return ()
    found = {
        read_manager(one)
        for one in mappings(as_mapping(obj, "metadata").get("managedFields"))
        if one.get("subresource") != "status" and owns_any(one, obj, places)
    }
    return tuple(sorted(found, key=_newest_first))


def _newest_first(one: FieldManager) -> tuple[float, str]:
    return (-one.time.timestamp() if one.time is not None else 0.0), one.name


def _field_places(
    base: ImportedServing, current: ImportedServing, path: Path
) -> list[tuple[JsonObject, list[FieldPath]]]:
    """Where the objects have the value: what changes when it is written, and objects of a setting
    that were created since, as a whole."""
    old, new = (split_spec(one, base.spec, current.spec) for one in (base.spec, current.spec))
    # What is one value for the merge may differ in a part alone.
    group = FIELD_GROUPS.get(path[0], ()) if len(path) == 1 else ()
    wholes = [one for one in new if one == path[: len(one)] or one[0] in group]
    if not wholes:
        return []
    wanted = join_values(base.spec, {**old, **{one: new[one] for one in wholes}})
    change = change_objects(base, wanted, create_missing=False)
    others = (*current.objects.routes, *_settings(current))
    now = {ObjectKey.of(one): one for one in (current.objects.deployment, *others)}
    places: list[tuple[JsonObject, list[FieldPath]]] = []
    for live, changed in zip(change.live, change.changed, strict=False):
        found = [one.path for one in find_differences(live, changed)]
        named = [one for one in found if path[-1] in map(str, one)] or found
        if named and (obj := now.get(ObjectKey.of(live))) is not None:
            places.append((obj, named))
    if path[0] in _FIELDS_OF_OBJECTS:
        known = {ObjectKey.of(one) for one in _settings(base)}
        own = {
            ObjectKey.of(one)
            for one in (
                current.objects.scalers if path[0] in SCALING_FIELDS else current.objects.policies
            )
        }
        places += [(now[key], [()]) for key in own - known]
    return places


_FIELDS_OF_OBJECTS = (*SCALING_FIELDS, *LOAD_BALANCING_FIELDS)
"""Those that have objects of their own."""


def _settings(serving: ImportedServing) -> list[JsonObject]:
    return [*serving.objects.scalers, *serving.objects.policies]
