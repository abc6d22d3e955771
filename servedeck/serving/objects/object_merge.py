"""Merging an edit of an object with what others have changed since it was read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from servedeck.serving.edit.merge import merge_order
from servedeck.serving.objects.diff import (
    ATOMIC_MAPS,
    MISSING,
    FieldPath,
    ListKey,
    list_key,
    list_keys,
    same_value,
)
from servedeck.serving.spec.mapping.json_values import JsonObject


class ObjectConflict(NamedTuple):
    """A value that both sides changed, each to another one; MISSING where a side has none."""

    path: FieldPath
    base: Any
    theirs: Any
    mine: Any


class ObjectMerge(NamedTuple):
    merged: JsonObject
    """Both changes; of a conflict, mine."""
    conflicts: tuple[ObjectConflict, ...]


def merge_objects(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> ObjectMerge:
    """Three-way merge of an object, by field, and in associative lists by entry. What one side
    alone changed is merged; what both changed to the same value is no conflict. The order of the
    entries is a value of its own."""
    conflicts: list[ObjectConflict] = []
    merged = _merge((), base, mine, theirs, conflicts)
    return ObjectMerge(merged, tuple(conflicts))


def _merge(
    path: FieldPath, base: Any, mine: Any, theirs: Any, conflicts: list[ObjectConflict]
) -> Any:
    if same_value(mine, base) or same_value(mine, theirs):
        return theirs
    if same_value(theirs, base):
        return mine
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping) and not _is_atomic(path):
        before = base if isinstance(base, Mapping) else {}
        found: dict[str, Any] = {}
        for key in dict.fromkeys((*theirs, *mine)):
            one, own, other = (side.get(key, MISSING) for side in (before, mine, theirs))
            value = _merge((*path, key), one, own, other, conflicts)
            if value is not MISSING:
                found[key] = value
        return found
    if isinstance(mine, list) and isinstance(theirs, list):
        merged = _merge_lists(path, base, mine, theirs, conflicts)
        if merged is not None:
            return merged
    conflicts.append(ObjectConflict(path, base, theirs, mine))
    return mine


def _is_atomic(path: FieldPath) -> bool:
    return bool(path) and path[-1] in ATOMIC_MAPS


def _merge_lists(
    path: FieldPath,
    base: Any,
    mine: Sequence[Any],
    theirs: Sequence[Any],
    conflicts: list[ObjectConflict],
) -> list[Any] | None:
    """The merged list; None if its entries are not identified by a key."""
    before = base if isinstance(base, list) else []
    keys = list_keys(path, (*before, *mine, *theirs))
    if not keys:
        return None
    sides = [{list_key(entry, keys): entry for entry in side} for side in (before, mine, theirs)]
    if any(len(one) != len(side) for one, side in zip(sides, (before, mine, theirs), strict=True)):
        return None
    found: dict[ListKey, Any] = {}
    for key in dict.fromkeys((*sides[2], *sides[1])):
        one, own, other = (side.get(key, MISSING) for side in sides)
        value = _merge((*path, key), one, own, other, conflicts)
        if value is not MISSING:
            found[key] = value
    return [found[key] for key in _merge_order(path, sides, found, conflicts)]


def _merge_order(
    path: FieldPath,
    sides: Sequence[Mapping[ListKey, Any]],
    kept: Mapping[ListKey, Any],
    conflicts: list[ObjectConflict],
) -> Iterable[ListKey]:
    """The order of the entries that are kept; of a conflict, mine, then what others added. `sides`
    are the base, mine and theirs."""
    # As text: a number and a text cannot be sorted.
    names = {json.dumps(key): key for side in sides for key in side}
    base, mine, theirs = ([json.dumps(key) for key in side] for side in sides)
    order = merge_order(base, theirs, mine, {json.dumps(key) for key in kept})
    if order is not None:
        return [names[one] for one in order]
    shown = ([str(key) for key in side] for side in (sides[0], sides[2], sides[1]))
    conflicts.append(ObjectConflict(path, *shown))
    return dict.fromkeys(key for side in (sides[1], sides[2]) for key in side if key in kept)
