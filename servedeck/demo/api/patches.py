"""JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic merge patch (kubernetes
apimachinery pkg/util/strategicpatch/patch.go). Each returns a new object."""

from __future__ import annotations

from typing import Any

import jsonpatch

from servedeck.demo.api import status
from servedeck.demo.api.request_bodies import TOO_DEEP
from servedeck.demo.api.schema import ANY, SchemaNode
from servedeck.serving.json_copy import copy_json

Json = dict[str, Any]


# -- JSON patch -------------------------------------------------------------------------------


def json_patch(obj: Json, operations: list[Any]) -> Any:
    """The patched copy of an object. StatusError 422 with the real server's message for an
    operation that is malformed or does not apply, 400 for one that copies values nested more deeply
    than Python can. A value that is left out counts as null."""
    try:
        complete = [{"value": None, **operation} for operation in operations]
        return jsonpatch.JsonPatch(complete).apply(obj)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        # TypeError, KeyError: paths that lead through a scalar
        raise status.StatusError(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            details={},
        ) from None
    except RecursionError:  # an operation that copies what earlier ones have nested
        raise status.bad_request(TOO_DEEP) from None


# -- JSON merge patch -------------------------------------------------------------------------


def merge_patch(obj: Json, patch: Json) -> Json:
    """null removes a field, objects are merged, everything else is replaced."""
    merged = dict(obj)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            old = merged.get(name)
            merged[name] = merge_patch(old if isinstance(old, dict) else {}, value)
        else:
            merged[name] = copy_json(value)
    return merged


# -- strategic merge patch --------------------------------------------------------------------

_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_patch(node: SchemaNode, obj: Json, patch: Json) -> Json:
    """Lists with a merge key are merged by it. StatusError 400 for an invalid patch."""
    return _apply_strategic(node, obj, patch)


def _bad_patch(message: str) -> status.StatusError:
    return status.bad_request(message)


def _apply_strategic(node: SchemaNode, obj: Json, patch: Json) -> Json:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return _without_directives(
            {name: value for name, value in patch.items() if name != _DIRECTIVE}
        )
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _bad_patch(f"unknown patch type '{directive}' found in patch")
    merged = dict(obj)
    if isinstance(retained := patch.get(_RETAIN), list):
        merged = {name: value for name, value in merged.items() if name in retained}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            field = name.removeprefix(_DELETE)
            if isinstance(value, list) and isinstance(merged.get(field), list):
                merged[field] = [item for item in merged[field] if item not in value]
            continue
        if name.startswith("$"):
            continue
        child = _child_node(node, name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            old = merged.get(name)
            merged[name] = _apply_strategic(child, old if isinstance(old, dict) else {}, value)
            if value.get(_DIRECTIVE) == "delete":
                merged.pop(name)
        elif isinstance(value, list):
            old = merged.get(name)
            merged[name] = _merge_lists(child, old if isinstance(old, list) else [], value)
        else:
            merged[name] = value
    for name, order in patch.items():
        field = name.removeprefix(_ORDER)
        if name.startswith(_ORDER) and isinstance(merged.get(field), list):
            merged[field] = _ordered(_child_node(node, field).merge_key, merged[field], order)
    return merged


def _child_node(node: SchemaNode, name: str) -> SchemaNode:
    if node.form == "struct":
        return node.fields.get(name, ANY)
    return node.element if node.form == "map" else ANY


def _merge_lists(node: SchemaNode, old: list[Any], patch: list[Any]) -> list[Any]:
    if "merge" not in node.strategies:
        return [
            _without_directives(item) if isinstance(item, dict) else copy_json(item)
            for item in patch
        ]
    if not node.merge_key:
        return [*old, *(item for item in patch if item not in old)]
    key = node.merge_key
    if any(isinstance(item, dict) and item == {_DIRECTIVE: "replace"} for item in patch):
        return [_without_directives(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    merged = list(old)
    for item in patch:
        if not isinstance(item, dict):
            raise _bad_patch(f"expected an object in a list that merges by {key}")
        if key not in item:
            raise _bad_patch(
                f"map: {format_go_value(item)} does not contain declared merge key: {key}"
            )
        at = next((i for i, o in enumerate(merged) if o.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(_without_directives(item))
        else:
            merged[at] = _apply_strategic(node.element, merged[at], item)
    return merged


def _ordered(key: str, items: list[Any], order: Any) -> list[Any]:
    """The items in the order of the patch; an item that it does not list stays behind the item
    before it."""
    if not isinstance(order, list):
        return items
    wanted = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]
    rank = {value: index for index, value in enumerate(v for v in wanted if _hashable(v))}
    keyed: list[tuple[int, Any]] = []
    last = -1
    for item in items:
        value = item.get(key) if key and isinstance(item, dict) else item
        last = rank.get(value, last) if _hashable(value) else last
        keyed.append((last, item))
    return [item for _, item in sorted(keyed, key=lambda pair: pair[0])]


def _hashable(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _without_directives(patch: Json) -> Json:
    """The data of a patch, without directives and nulls, for a field that does not exist yet."""
    built: Json = {}
    for name, value in patch.items():
        if name.startswith("$") or value is None:
            continue
        if isinstance(value, dict):
            if value.get(_DIRECTIVE) != "delete":
                built[name] = _without_directives(value)
        elif isinstance(value, list):
            built[name] = [
                _without_directives(item) if isinstance(item, dict) else item
                for item in value
                if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")
            ]
        else:
            built[name] = value
    return built


def format_go_value(value: Any) -> str:
    """Data as Go's fmt prints it: `map[name:c ports:[map[containerPort:80]]]`."""
    if isinstance(value, dict):
        inner = " ".join(f"{name}:{format_go_value(item)}" for name, item in sorted(value.items()))
        return f"map[{inner}]"
    if isinstance(value, list):
        return f"[{' '.join(format_go_value(item) for item in value)}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
