"""What a change of an existing object sends with server-side apply.

The API server removes a field that a manager applied before and no longer applies. So the body
holds what the manager owns already, as it is now, and what the change sets: nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from servedeck.serving.objects.diff import (
    ATOMIC_MAPS,
    MISSING,
    FieldPath,
    ListKey,
    find_differences,
    find_moved_lists,
    list_key,
    list_keys,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings

FieldSet = dict[str, Any]
"""Tree of owned fields, as in managedFields (FieldsV1): "f:name", 'k:{"name":"x"}', "."."""


def build_apply_configuration(
    live: Mapping[str, Any], changed: Mapping[str, Any], manager: str
) -> JsonObject | None:
    """Body of the server-side apply by `manager` that turns `live` into `changed`; None if they do
    not differ."""
    differences = [one for one in find_differences(live, changed) if one.path]
    if not differences:
        return None
    paths = owned_paths(live, manager)
    paths += [one.path for one in differences if one.new is not MISSING]
    paths += find_moved_lists(live, changed)  # the server appends what is sent alone
    body: JsonObject = {
        "apiVersion": changed.get("apiVersion"),
        "kind": changed.get("kind"),
        "metadata": {
            key: value
            for key, value in as_mapping(changed, "metadata").items()
            if key in ("name", "namespace")
        },
    }
    wanted = _paths_tree(paths)
    wanted.pop("apiVersion", None)
    wanted.pop("kind", None)
    projected = _project(changed, wanted, ()) if wanted else {}  # an empty tree is the whole object
    metadata = {**projected.pop("metadata", {}), **body["metadata"]}
    return {**body, **projected, "metadata": metadata}


class ForeignField(NamedTuple):
    """A field of an object that others set too, and that a change changes or removes."""

    path: FieldPath
    managers: tuple[str, ...]
    """Empty if nobody owns it."""
    old: Any
    new: Any
    """MISSING if it is removed."""


def foreign_changes(
    live: Mapping[str, Any], changed: Mapping[str, Any], manager: str
) -> list[ForeignField]:
    """The changed and removed fields that `manager` does not own alone."""
    found: list[ForeignField] = []
    entries = [
        (str(entry.get("manager")), _entry_paths(entry, live))
        for entry in _managed_fields_entries(live)
    ]
    for path, old, new in find_differences(live, changed):
        owners = {name for name, paths in entries if any(_overlap(path, owned) for owned in paths)}
        if old is not MISSING and owners != {manager}:
            found.append(ForeignField(path, tuple(sorted(owners - {manager})), old, new))
    return found


def has_update_entry(live: Mapping[str, Any], manager: str) -> bool:
    """Whether `manager` owns fields by an update, which server-side apply treats as another
    manager's."""
    return any(
        entry.get("manager") == manager and entry.get("operation") == "Update"
        for entry in _managed_fields_entries(live)
    )


def has_repeated_entries(body: Any, path: FieldPath = ()) -> bool:
    """Whether a list has several entries with the same key (two names of one port), which
    server-side apply rejects and an update does not."""
    if isinstance(body, Mapping):
        return any(has_repeated_entries(one, (*path, str(key))) for key, one in body.items())
    if not isinstance(body, list):
        return False
    return _is_repeated(path, body) or any(has_repeated_entries(one, (*path, 0)) for one in body)


def _is_repeated(path: FieldPath, entries: Sequence[Any]) -> bool:
    keys = list_keys(path, entries)
    return bool(keys) and len({list_key(one, keys) for one in entries}) != len(entries)


def _overlap(path: FieldPath, owned: FieldPath) -> bool:
    length = min(len(path), len(owned))
    return path[:length] == owned[:length]


def owned_paths(live: Mapping[str, Any], manager: str) -> list[FieldPath]:
    """Paths of the fields that `manager` applied."""
    return [
        path
        for entry in _managed_fields_entries(live)
        if entry.get("manager") == manager and entry.get("operation") == "Apply"
        for path in _entry_paths(entry, live)
    ]


def owns_any(entry: Mapping[str, Any], live: Mapping[str, Any], paths: Iterable[FieldPath]) -> bool:
    """Whether an entry of the object's managedFields owns one of the fields, or a part of it."""
    owned = _entry_paths(entry, live)
    return any(_overlap(path, one) for path in paths for one in owned)


def _managed_fields_entries(live: Mapping[str, Any]) -> list[Any]:
    entries = mappings(as_mapping(live, "metadata").get("managedFields"))
    return [one for one in entries if not one.get("subresource")]


def _entry_paths(entry: Mapping[str, Any], live: Mapping[str, Any]) -> list[FieldPath]:
    found: list[FieldPath] = []
    _collect(as_mapping(entry, "fieldsV1"), live, (), found)
    return found


def _collect(
    fields: Mapping[str, Any], value: Any, path: FieldPath, found: list[FieldPath]
) -> None:
    children = [(key, inner) for key, inner in fields.items() if key != "."]
    if not children:
        # "." alone owns the empty map, or the entry of a list, and nothing in it; so does what is
        # left of a list whose entries somebody else removed.
        is_empty = "." in fields or (isinstance(value, list) and bool(list_keys(path, value)))
        found.append((*path, ".") if is_empty else path)
        return
    for key, inner in children:
        kind, _, name = key.partition(":")
        if kind == "f" and isinstance(value, Mapping) and name in value:
            _collect(as_mapping(inner), value[name], (*path, name), found)
        elif kind in ("k", "v", "i") and isinstance(value, list):
            for at, entry in enumerate(value):
                if _is_entry(kind, name, at, entry):
                    step = _step(path, value, at)
                    _collect(as_mapping(inner), entry, (*path, step), found)


def _is_entry(kind: str, name: str, at: int, entry: Any) -> bool:
    if kind == "i":
        return name == str(at)
    try:
        wanted = json.loads(name)
    except ValueError:
        return False
    if kind == "v":
        return bool(entry == wanted)
    return (
        isinstance(entry, Mapping)
        and isinstance(wanted, Mapping)
        and all(
            entry.get(key, "TCP" if key == "protocol" else None) == one
            for key, one in wanted.items()
        )
    )


def _step(path: FieldPath, entries: Sequence[Any], at: int) -> ListKey | int:
    keys = list_keys(path, entries)
    return list_key(entries[at], keys) if keys and not _is_repeated(path, entries) else at


def _paths_tree(paths: Sequence[FieldPath]) -> dict[Any, Any]:
    """The paths as a tree; {} is a whole value."""
    tree: dict[Any, Any] = {}
    for path in paths:
        node = tree
        for position, step in enumerate(path):
            if step in node and not node[step]:
                break  # the whole value is in it already
            if position == len(path) - 1:
                node[step] = {}
            else:
                node = node.setdefault(step, {})
    return tree


def _project(value: Any, tree: Mapping[Any, Any], path: FieldPath) -> Any:
    """The parts of a value that are in the tree; an atomic map, or a list without keys, whole."""
    if not tree or (path and path[-1] in ATOMIC_MAPS):
        return value
    if isinstance(value, Mapping):
        return {
            key: _project(inner, tree[key], (*path, key))
            for key, inner in value.items()
            if key in tree
        }
    if isinstance(value, list):
        keys = list_keys(path, value)
        if not keys or _is_repeated(path, value):
            return value
        found = []
        for entry in value:
            key = list_key(entry, keys)
            if key in tree:
                part = _project(entry, tree[key], (*path, key))
                found.append({**{name: entry[name] for name in keys if name in entry}, **part})
        return found
    return value
