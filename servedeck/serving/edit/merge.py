"""Merging two edits of a serving by field: what was read first, what is wanted, what it is now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from servedeck.serving.edit.entries import (
    ABSENT,
    Path,
    join_list,
    join_values,
    list_entries,
    list_keys,
    split_spec,
)
from servedeck.serving.spec.spec import ServingSpec


class Side(StrEnum):
    """Which of two values is kept."""

    MINE = "mine"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """A value that both sides changed, each to another one; ABSENT where a side does not have
    it."""

    path: Path
    base: Any
    theirs: Any
    mine: Any


@dataclass(frozen=True, slots=True)
class FieldMerge:
    spec: ServingSpec
    """Both changes; of a conflict that is not decided, their value."""
    conflicts: tuple[MergeConflict, ...]
    """Those that are not decided."""


def merge_fields(
    base: ServingSpec,
    mine: ServingSpec,
    theirs: ServingSpec,
    choices: Mapping[MergeConflict, Side] | None = None,
) -> FieldMerge:
    """Three-way merge. What one side alone changed is merged; what both changed to the same value
    is no conflict. In lists this applies to each entry, unless two entries have the same key or
    both sides changed their order. A choice counts only for the very values that it was made for.
    """
    merge = _Merge(base, mine, theirs, choices or {})
    specs = (base, theirs, mine)
    values = [split_spec(one, *specs) for one in specs]
    merged: dict[Path, Any] = {}
    for path in dict.fromkeys(path for one in values for path in one):
        merged[path] = merge.value(path, *(one.get(path, ABSENT) for one in values))
    return FieldMerge(join_values(theirs, merged), tuple(merge.conflicts))


class _Merge:
    def __init__(
        self,
        base: ServingSpec,
        mine: ServingSpec,
        theirs: ServingSpec,
        choices: Mapping[MergeConflict, Side],
    ) -> None:
        self.base, self.theirs, self.mine = base, theirs, mine
        self.choices = choices
        self.conflicts: list[MergeConflict] = []

    def value(self, path: Path, base: Any, theirs: Any, mine: Any) -> Any:
        if mine in (base, theirs):
            return theirs
        if theirs == base:
            return mine
        merged = self._list(path, base, theirs, mine)
        return self.choose(path, base, theirs, mine) if merged is None else merged

    def choose(self, path: Path, base: Any, theirs: Any, mine: Any) -> Any:
        conflict = MergeConflict(path, base, theirs, mine)
        side = self.choices.get(conflict)
        if side is None:
            self.conflicts.append(conflict)
        return mine if side is Side.MINE else theirs

    def _list(self, path: Path, base: Any, theirs: Any, mine: Any) -> tuple[Any, ...] | None:
        """A list that both sides changed; None if it cannot be merged by entry."""
        sides = ((self.base, base), (self.theirs, theirs), (self.mine, mine))
        keys = [list_keys(spec, path, value) for spec, value in sides]
        entries = [dict(list_entries(spec, path, value) or ()) for spec, value in sides]
        base_keys, their_keys, my_keys = keys
        if base_keys is None or their_keys is None or my_keys is None:
            return None
        before = len(self.conflicts)
        merged: dict[str, Any] = {}
        for key in sorted(set(base_keys) | set(their_keys) | set(my_keys)):
            value = self._entry((*path, key), *(one.get(key, ABSENT) for one in entries))
            if value is not ABSENT:
                merged[key] = value
        order = merge_order(base_keys, their_keys, my_keys, merged)
        found = None if order is None else join_list(path, [(key, merged[key]) for key in order])
        if found is None:
            del self.conflicts[before:]
        return found

    def _entry(self, path: Path, base: Any, theirs: Any, mine: Any) -> Any:
        if mine in (base, theirs):
            return theirs
        return mine if theirs == base else self.choose(path, base, theirs, mine)


def merge_order(
    base: Sequence[str], theirs: Sequence[str], mine: Sequence[str], kept: Collection[str]
) -> list[str] | None:
    """The order of the entries that are kept: that of the side that changed it; added ones follow
    the entry that they follow in their list. None if both sides changed the order, each to another
    one. The result does not depend on which side is which."""
    common = [key for key in base if key in kept and key in theirs and key in mine]
    orders = [[key for key in side if key in common] for side in (theirs, mine)]
    changed = [one for one in orders if one != common]
    if len(changed) == 2 and changed[0] != changed[1]:
        return None
    order = changed[0] if changed else common
    added: dict[str | None, list[list[str]]] = {}
    for side in (theirs, mine):
        at: str | None = None
        groups: dict[str | None, list[str]] = {}
        for key in side:
            if key in common:
                at = key
            elif key in kept:
                groups.setdefault(at, []).append(key)
        for place, group in groups.items():
            added.setdefault(place, []).append(group)
    found: dict[str, None] = {}
    for place in (None, *order):
        if place is not None:
            found[place] = None
        for group in sorted(added.get(place, ())):
            found.update(dict.fromkeys(group))
    return list(found)
