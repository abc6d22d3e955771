"""managedFields and server-side apply, with ownership of fields and conflicts. Sources:
kubernetes-sigs structured-merge-diff merge/update.go, apiserver handlers/fieldmanager."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.demo.api import field_set, status
from servedeck.demo.api.field_set import FieldPath, FieldPaths
from servedeck.demo.api.schema import ANY, SchemaNode
from servedeck.serving.json_copy import copy_json

Json = dict[str, Any]


class FieldManager(NamedTuple):
    """The identity of an entry of managedFields."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        """As conflict messages name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


class _ManagerFields(NamedTuple):
    fields: FieldPaths
    time: str


def _read_managers(obj: Json) -> dict[FieldManager, _ManagerFields]:
    found = {}
    for entry in obj["metadata"].get("managedFields") or ():
        manager = FieldManager(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found[manager] = _ManagerFields(
            field_set.decode_fields(entry.get("fieldsV1") or {}), entry.get("time", "")
        )
    return found


def _write_managers(obj: Json, entries: dict[FieldManager, _ManagerFields]) -> Json:
    """A copy of the object with these entries, applied ones first, then by time."""
    order = sorted(
        ((m, e) for m, e in entries.items() if e.fields),
        key=lambda pair: (pair[0].operation, pair[1].time, *pair[0]),
    )
    written = []
    for manager, entry in order:
        item: Json = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
        }
        if entry.time:
            item["time"] = entry.time
        item |= {"fieldsType": "FieldsV1", "fieldsV1": field_set.encode_fields(entry.fields)}
        if manager.subresource:
            item["subresource"] = manager.subresource
        written.append(item)
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if written:
        meta["managedFields"] = written
    return {**obj, "metadata": meta}


def track_update(
    node: SchemaNode, old: Json | None, new: Json, manager: FieldManager, now: str
) -> Json:
    """`new` with its managedFields after a create or update by `manager`, who now owns the fields
    that it changed. `old` is None at a create."""
    if new["metadata"].get("managedFields") == [] and old is not None:
        # a client clears them with an empty list (apiserver fieldmanager/managedfields)
        return _write_managers(new, {})
    entries = _read_managers(old) if old is not None else {}
    difference = field_set.compare(node, _without_type(old or {}), _without_type(new))
    if not difference:
        return _write_managers(new, entries)
    for other, entry in entries.items():
        if other != manager:
            left = entry.fields - difference.changed - difference.removed
            entries[other] = entry._replace(fields=left)
    mine = entries.get(manager, _ManagerFields(frozenset(), ""))
    fields = (mine.fields - difference.removed) | difference.changed
    # the real server's scale handler omits the time
    when = "" if manager.subresource == "scale" else now
    entries[manager] = _ManagerFields(fields, when if fields != mine.fields else mine.time)
    return _write_managers(new, entries)


def _without_type(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


def merge_apply_configuration(
    node: SchemaNode,
    old: Json | None,
    config: Json,
    manager: FieldManager,
    now: str,
    *,
    force: bool,
) -> Json:
    """The object after `manager` has applied `config` to it. Unless `force`: StatusError 409 that
    names each field that another manager owns with another value."""
    meta = {
        key: value
        for key, value in config.get("metadata", {}).items()
        if key not in ("managedFields", "resourceVersion", "creationTimestamp", "generation")
    }
    config = {**config, "metadata": meta}
    entries = _read_managers(old) if old is not None else {}
    wanted = field_set.fields_of(node, config)
    before = entries.get(manager, _ManagerFields(frozenset(), ""))
    merged = _merge(node, old or {}, config)
    others = [entry.fields for other, entry in entries.items() if other != manager]
    for path in _find_removals(node, before.fields, wanted.union(*others)):
        _remove_field(node, merged, path)
    changed = field_set.compare(node, _without_type(old or {}), _without_type(merged)).changed
    conflicts = [
        (other, path)
        for other, entry in entries.items()
        if other != manager
        for path in _sort_by_depth(entry.fields & changed)
    ]
    if conflicts and not force:
        raise _conflict_error(conflicts)
    for other, entry in entries.items():
        if other != manager:
            entries[other] = entry._replace(fields=entry.fields - changed)
    if old is None or wanted != before.fields or _differs(merged, old):
        entries[manager] = _ManagerFields(wanted, now)
    return _write_managers(merged, entries)


def _differs(new: Json, old: Json) -> bool:
    def bare(obj: Json) -> Json:
        meta = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
        return {**obj, "metadata": meta}

    return bare(new) != bare(old)


def _sort_by_depth(paths: FieldPaths) -> list[FieldPath]:
    """Paths of each level before those below it, as the real server lists them."""

    def sort_level(found: list[FieldPath], depth: int) -> list[FieldPath]:
        direct_paths = sorted(path for path in found if len(path) == depth + 1)
        nested_paths: dict[str, list[FieldPath]] = {}
        for path in found:
            if len(path) > depth + 1:
                nested_paths.setdefault(path[depth], []).append(path)
        return direct_paths + [
            path
            for key in sorted(nested_paths)
            for path in sort_level(nested_paths[key], depth + 1)
        ]

    return sort_level(list(paths), 0)


def _conflict_error(conflicts: list[tuple[FieldManager, FieldPath]]) -> status.StatusError:
    count = len(conflicts)
    if count == 1:
        manager, path = conflicts[0]
        message = f"conflict with {manager}: {field_set.format_path(path)}"
    else:
        lines = []
        for name in sorted({str(manager) for manager, _ in conflicts}):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {field_set.format_path(p)}" for m, p in conflicts if str(m) == name]
        message = "\n".join(lines)
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager}",
            "field": field_set.format_path(path),
        }
        for manager, path in conflicts
    ]
    noun = "conflict" if count == 1 else "conflicts"
    return status.StatusError(
        409,
        "Conflict",
        f"Apply failed with {count} {noun}: {message}",
        details={"causes": causes},
    )


def _merge(node: SchemaNode, old: Any, config: Any) -> Any:
    """`config` merged into `old`: maps by name, lists by key in the order of `config`; everything
    else is replaced."""
    if isinstance(config, dict):
        if not isinstance(old, dict) or node.atomic:
            return copy_json(config)
        merged = dict(old)
        for name, value in config.items():
            if node.form == "struct":
                child = node.fields.get(name, ANY)
            else:
                child = node.element if node.form == "map" else ANY
            merged[name] = _merge(child, old.get(name), value)
        return merged
    keyed = node.form == "list" and node.list_type in ("map", "set")
    if keyed and isinstance(config, list) and isinstance(old, list):
        return _merge_items(node, old, config)
    return copy_json(config)


def _merge_items(node: SchemaNode, old: list[Any], config: list[Any]) -> list[Any]:
    before = {field_set.item_key(node, item): item for item in old}
    wanted = {field_set.item_key(node, item): item for item in config}
    merged = []
    queue = iter([key for key in wanted if key in before])
    for key, item in before.items():
        if key not in wanted:
            merged.append(item)
        else:  # the positions stay; the items fill them in the order of the configuration
            moved = next(queue)
            merged.append(_merge(node.element, before[moved], wanted[moved]))
    merged += [copy_json(item) for key, item in wanted.items() if key not in before]
    return merged


def _find_removals(node: SchemaNode, before: FieldPaths, kept: FieldPaths) -> list[FieldPath]:
    """What goes with the fields that are not applied any more, outermost first: the fields, and the
    fields of structs around them, with their defaults, in which nobody owns anything
    (structured-merge-diff merge/update.go prune, fieldpath EnsureNamedFieldsAreMembers)."""
    gone = before - kept
    around = {outer for path in gone for outer in field_set.struct_fields_around(node, path)}
    used = {path[:depth] for path in kept for depth in range(1, len(path) + 1)}
    return sorted((gone | around) - used, key=len)


def _remove_field(node: SchemaNode, obj: Any, path: FieldPath) -> None:
    """Removes one field or item, and objects or lists that become empty by that."""
    trail: list[tuple[Any, Any]] = []
    for key in path:
        if isinstance(obj, dict):
            name: Any = key[2:]
            if name not in obj:
                return
            child = node.fields.get(name, ANY) if node.form == "struct" else node.element
        elif isinstance(obj, list):
            at = next(
                (i for i, item in enumerate(obj) if field_set.item_key(node, item) == key), None
            )
            if at is None:
                return
            name, child = at, node.element
        else:
            return
        # dicts and lists on the path are copied: they may be shared with the stored object
        value = obj[name]
        if isinstance(value, (dict, list)):
            value = value.copy()
            obj[name] = value
        trail.append((obj, name))
        obj, node = value, child
    parent, name = trail.pop()
    del parent[name]
    while trail and not parent:
        parent, name = trail.pop()
        if isinstance(parent, list):
            break
        del parent[name]


def find_duplicate(node: SchemaNode, value: Any, path: FieldPath = ()) -> str:
    """The error of the first list of the configuration that has an item twice, or ""."""
    if isinstance(value, list) and node.form == "list" and node.list_type in ("map", "set"):
        seen: set[str] = set()
        for item in value:
            key = field_set.item_key(node, item)
            if key in seen:
                shown = field_set.format_path((key,))
                return f"{field_set.format_path(path)}: duplicate entries for key {shown}"
            seen.add(key)
    if isinstance(value, (dict, list)) and not field_set.is_leaf(node, value):
        for key, child, item, _ in field_set.children(node, value):
            if message := find_duplicate(child, item, (*path, key)):
                return message
    return ""
