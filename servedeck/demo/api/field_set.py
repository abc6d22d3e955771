"""FieldsV1 as sets of paths, the fields of an object, and the differences of two objects. Source:
kubernetes-sigs structured-merge-diff, typed/ and fieldpath/.

A path is a tuple of FieldsV1 keys: `("f:spec", "f:containers", 'k:{"name":"c"}', "f:image")`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from servedeck.demo.api.schema import ANY, SchemaNode

Json = dict[str, Any]
FieldPath = tuple[str, ...]
FieldPaths = frozenset[FieldPath]

# Fields that no manager owns (apiserver fieldmanager/internal/stripmeta.go).
_UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    }
)


def decode_fields(trie: Json) -> FieldPaths:
    """The paths of a FieldsV1 from managedFields."""
    found: set[FieldPath] = set()

    def walk(node: Json, path: FieldPath) -> None:
        if path and (not node or "." in node):
            found.add(path)
        for key, child in node.items():
            if key != "." and isinstance(child, dict):
                walk(child, (*path, key))

    walk(trie, ())
    return frozenset(found)


def encode_fields(paths: FieldPaths) -> Json:
    """Paths as FieldsV1, in the real server's order."""
    trie: Json = {}
    for path in sorted(paths):
        node = trie
        for key in path:
            node = node.setdefault(key, {})
    members = set(paths)

    def mark(node: Json, path: FieldPath) -> Json:
        built: Json = {".": {}} if node and path in members else {}
        return built | {key: mark(child, (*path, key)) for key, child in node.items()}

    return mark(trie, ())


def is_leaf(node: SchemaNode, value: Any) -> bool:
    """Whether a value is owned as one: scalars, atomic lists and maps."""
    if isinstance(value, dict):
        return node.atomic or (node.form == "any" and node is not ANY and bool(node.name))
    if isinstance(value, list):
        return node.list_type == "atomic" or node.form != "list"
    return True


def item_key(node: SchemaNode, item: Any) -> str:
    """The path element of an item of a list of type map or set."""
    if node.list_type == "set" or not isinstance(item, dict):
        return "v:" + json.dumps(item, separators=(",", ":"))
    return "k:" + json.dumps(item_keys(node, item), separators=(",", ":"), sort_keys=True)


def item_keys(node: SchemaNode, item: Json) -> Json:
    """The values of an item's keys; a missing key has its default."""
    found = {}
    for key in node.keys:
        value = item.get(key)
        if value is None:
            field = node.element.fields.get(key) if node.element.form == "struct" else None
            value = field.default if field else None
        if value is not None:
            found[key] = value
    return found


def children(node: SchemaNode, value: Any) -> Iterator[tuple[str, SchemaNode, Any, bool]]:
    """(path element, type, value, whether the element itself is a member of the set)."""
    if isinstance(value, dict):
        for name, item in value.items():
            if node.form == "struct":
                field = node.fields.get(name)
                yield f"f:{name}", field or ANY, item, field is None
            else:
                yield f"f:{name}", node.element if node.form == "map" else ANY, item, True
    else:
        for item in value:
            yield item_key(node, item), node.element, item, True


def fields_of(node: SchemaNode, obj: Json) -> FieldPaths:
    """All fields that an object sets (ToFieldSet)."""
    found: set[FieldPath] = set()

    def walk(node: SchemaNode, value: Any, path: FieldPath) -> None:
        if is_leaf(node, value) or not value:
            found.add(path)
            return
        for key, child, item, member in children(node, value):
            inner = (*path, key)
            if member and (not isinstance(item, (dict, list)) or key[0] in "kv"):
                found.add(inner)
            walk(child, item, inner)

    for key, child, item, _ in children(node, obj):
        walk(child, item, (key,))
    return frozenset(found) - _UNOWNED


def struct_fields_around(node: SchemaNode, path: FieldPath) -> Iterator[FieldPath]:
    """The fields of structs that contain the field of the path; not metadata, which nobody owns."""
    for depth, key in enumerate(path[:-1], 1):
        name = key[2:]
        is_struct_field = node.form == "struct" and name in node.fields
        if is_struct_field and path[:depth] not in _UNOWNED:
            yield path[:depth]
        if node.form == "struct":
            node = node.fields.get(name, ANY)
        else:
            node = node.element if node.form in ("map", "list") else ANY


class Comparison(NamedTuple):
    """The differences of two objects, as paths."""

    added: FieldPaths
    modified: FieldPaths
    removed: FieldPaths

    @property
    def changed(self) -> FieldPaths:
        return self.added | self.modified

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


_MISSING: Any = object()


def compare(node: SchemaNode, old: Json, new: Json) -> Comparison:
    """The fields that were added, modified and removed. A Go value (a struct that is not a pointer,
    a required list) exists even where the JSON lacks it, so it is never added or removed."""
    added: set[FieldPath] = set()
    modified: set[FieldPath] = set()
    removed: set[FieldPath] = set()

    def walk(node: SchemaNode, left: Any, right: Any, path: FieldPath) -> None:
        if left is _MISSING or right is _MISSING:
            side, target = (right, added) if left is _MISSING else (left, removed)
            target.add(path)
            if not is_leaf(node, side):
                pairs(node, left, right, path)
            return
        if is_leaf(node, left) or is_leaf(node, right) or type(left) is not type(right):
            if left != right:
                modified.add(path)
            return
        if left != right:
            pairs(node, left, right, path)

    def pairs(node: SchemaNode, left: Any, right: Any, path: FieldPath) -> None:
        lefts = {} if left is _MISSING else {k: (n, v) for k, n, v, _ in children(node, left)}
        rights = {} if right is _MISSING else {k: (n, v) for k, n, v, _ in children(node, right)}
        absent_left, absent_right = left is _MISSING, right is _MISSING
        for key in lefts.keys() | rights.keys():
            child = (rights.get(key) or lefts[key])[0]
            a = lefts[key][1] if key in lefts else _absent(node, child, key, absent_left)
            b = rights[key][1] if key in rights else _absent(node, child, key, absent_right)
            walk(child, a, b, (*path, key))

    pairs(node, old, new, ())
    return Comparison(
        frozenset(added) - _UNOWNED, frozenset(modified) - _UNOWNED, frozenset(removed) - _UNOWNED
    )


def _absent(parent: SchemaNode, child: SchemaNode, key: str, whole_absent: bool) -> Any:
    if whole_absent or parent.form != "struct":
        return _MISSING
    if child.is_value and child.form == "struct":
        return {}
    if child.form == "list" and key.removeprefix("f:") in parent.required:
        return []
    return _MISSING


def format_path(path: FieldPath) -> str:
    """`.spec.template.spec.containers[name="c"].image`."""
    text = ""
    for key in path:
        kind, rest = key[:2], key[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in sorted(keys.items())) + "]"
        else:
            text += f"[={rest}]"
    return text
