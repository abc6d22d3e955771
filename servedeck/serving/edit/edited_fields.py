"""What an edit of an existing serving changes, and which of it is part of the Pod template."""

from __future__ import annotations

from dataclasses import replace

from servedeck.serving.edit.differences import FieldDifference, find_edit_differences
from servedeck.serving.edit.entries import Path, join_values, split_spec
from servedeck.serving.objects.change import change_objects, resolve_open_fields
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.absent_defaults import find_asked_defaults
from servedeck.serving.spec.mapping.json_values import as_mapping
from servedeck.serving.spec.spec import ServingSpec


def find_edited_fields(
    current: ImportedServing, wanted: ServingSpec
) -> tuple[FieldDifference, ...]:
    """The values that differ, each with whether its change alone changes the Pod template."""
    before = current.spec
    wanted = resolve_open_fields(current, wanted)
    old, new = split_spec(before, wanted), split_spec(wanted, before)
    restarts = {
        path: _changes_template(current, join_values(before, {**old, path: new[path]}))
        for path in new
        if old.get(path) != new[path]
    }
    for name in find_asked_defaults(before, wanted):
        asked = before.replace(**{name: getattr(wanted, name)})
        restarts[(name,)] = _changes_template(current, asked)
    return tuple(
        replace(one, restarts=any(restarts[path] for path in restarts if _is_in(one.path, path)))
        for one in find_edit_differences(before, wanted)
    )


def _is_in(path: Path, whole: Path) -> bool:
    return path[: len(whole)] == whole


def _changes_template(current: ImportedServing, wanted: ServingSpec) -> bool:
    change = change_objects(current, wanted, create_missing=False)
    live, changed = (as_mapping(one[0], "spec") for one in (change.live, change.changed))
    return live.get("template") != changed.get("template")
