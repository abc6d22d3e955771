"""Who changed a value of a serving since an edit of it began."""

from __future__ import annotations

from collections.abc import Collection

from servedeck.serving.edit.entries import Path, join_values, split_spec
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.diff import FieldPath, find_differences
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.managed_fields import owns_any
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings
from servedeck.serving.status.revisions import FieldManager, read_manager


def find_changed_by(
    base: ImportedServing, current: ImportedServing, path: Path
) -> tuple[FieldManager, ...]:
    """The field managers that own the value now, the one that wrote last first; () if it is not
    known. Nobody owns a value that was removed."""
    return find_owners(current.objects.deployment, _field_places(base, current, path))


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


def _field_places(base: ImportedServing, current: ImportedServing, path: Path) -> list[FieldPath]:
    """Where the Deployment has the value: what changes when it is written."""
    old, new = (split_spec(one, base.spec, current.spec) for one in (base.spec, current.spec))
    whole = next((one for one in new if one == path[: len(one)]), None)
    if whole is None:
        return []
    wanted = join_values(base.spec, {**old, whole: new[whole]})
    change = change_objects(base, wanted, create_missing=False)
    found = [one.path for one in find_differences(change.live[0], change.changed[0])]
    key = path[-1]
    return [one for one in found if key in map(str, one)] or found
