"""JSON merge patches (RFC 7386): lists are replaced whole, and null removes a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servedeck.serving.objects.diff import same_value

if TYPE_CHECKING:
    from servedeck.serving.spec.mapping.json_values import JsonObject


def make_merge_patch(live: JsonObject, wanted: JsonObject) -> JsonObject:
    """The patch that turns `live` into `wanted`; {} if nothing differs. A field with null is the
    same as none: objects of the API have no other meaning for it."""
    patch: JsonObject = {}
    for key in {**live, **wanted}:
        before, after = live.get(key), wanted.get(key)
        if same_value(before, after):
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            if inner := make_merge_patch(before, after):
                patch[key] = inner
        else:
            patch[key] = after
    return patch


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """The patched copy of `target`."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result
