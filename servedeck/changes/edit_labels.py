"""The labels of an edit's fields for paths of its objects, as the API server names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from servedeck.changes.edit.edit import EditPlan
from servedeck.serving.edit.entries import join_values, split_spec
from servedeck.serving.objects.change import change_objects, resolve_open_fields
from servedeck.serving.objects.diff import find_differences
from servedeck.serving.objects.field_changes import FieldConflict, format_differences

_LIST_KEY_PATTERN = re.compile(r'\[\w+="([^"\]]*)"\]')
"""A step of a path in the API server's notation, `[name="server"]`."""


def conflict_labels(
    plan: EditPlan, conflicts: Iterable[FieldConflict]
) -> tuple[tuple[str, str], ...]:
    """For each conflict the label of the changed field that writes its path, or the path itself if
    none does, and the manager."""
    written = [(label, _normalize(path)) for label, path in _written_paths(plan)]
    return tuple((_find_label(written, one.path), one.manager) for one in conflicts)


def _find_label(written: Iterable[tuple[str, str]], path: str) -> str:
    wanted = _normalize(path)
    for label, known in written:
        if f"{wanted}.".startswith(f"{known}.") or f"{known}.".startswith(f"{wanted}."):
            return label
    return path.lstrip(".")


def _written_paths(plan: EditPlan) -> Iterator[tuple[str, str]]:
    """Label and path of all that the changed fields write in the existing objects."""
    current = plan.current
    spec = resolve_open_fields(current, plan.spec)
    old, new = split_spec(current.spec, spec), split_spec(spec, current.spec)
    for path, value in new.items():
        if old.get(path) == value:
            continue
        wanted = join_values(current.spec, {**old, path: value})
        change = change_objects(current, wanted, create_missing=False)
        fields = [one for one in plan.fields if one.path[: len(path)] == path]
        differences = [
            one
            for live, changed in zip(change.live, change.changed, strict=False)
            for one in find_differences(live, changed)
        ]
        for one in format_differences(differences):
            named = [field for field in fields if f"[{field.path[-1]}]" in one.path] or fields
            for field in named[:1]:
                yield field.label, one.path


def _normalize(path: str) -> str:
    return _LIST_KEY_PATTERN.sub(r"[\1]", path)
