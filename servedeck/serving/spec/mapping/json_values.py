"""Access to decoded JSON of any shape: what is absent or of the wrong type is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

JsonObject = dict[str, Any]


def as_mapping(value: object, *path: str) -> Mapping[str, Any]:
    """The mapping at a path; {} if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def mappings(value: object) -> list[Any]:
    """The mappings in a list, as they are; [] if it is none."""
    return [one for one in as_list(value) if isinstance(one, Mapping)]


def first_mapping(value: object) -> Mapping[str, Any]:
    return as_mapping(next(iter(as_list(value)), None))


def first_str(value: object) -> str:
    return as_str(next(iter(as_list(value)), None))


def as_str(value: object) -> str:
    """A string without lone surrogates, which JSON may contain and a spec may not."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def as_int(value: object) -> int | None:
    """A 64-bit integer, also one written as a quantity ("4"); None for anything else."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return None


def as_str_tuple(value: object) -> tuple[str, ...]:
    return tuple(as_str(word) for word in as_list(value) if isinstance(word, str))


def as_time(value: object) -> datetime | None:
    """A time of the API, with its zone; None if it is absent or malformed."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def child_mapping(parent: JsonObject, key: str) -> JsonObject:
    """The mapping under `key`, created if there is none."""
    found = parent.get(key)
    if not isinstance(found, dict):
        found = parent[key] = {}
    return found


def child_list(parent: JsonObject, key: str) -> list[Any]:
    """The list under `key`, created if there is none."""
    found = parent.get(key)
    if not isinstance(found, list):
        found = parent[key] = []
    return found


def merge_entries(
    entries: Sequence[Any], is_replaced: Sequence[bool], new: Sequence[tuple[int | None, Any]]
) -> list[Any]:
    """`entries` with those that `is_replaced` marks replaced by `new`, in this order: each with the
    index of the entry that it takes the place of, None for an added one. The other entries keep
    their positions, and an added one follows the one before it in `new`."""
    slots = sorted(index for index, _ in new if index is not None)
    groups: dict[int, list[Any]] = {slot: [] for slot in slots}
    leading: list[Any] = []
    filled = -1
    for index, value in new:
        filled += index is not None
        (groups[slots[filled]] if filled >= 0 else leading).append(value)
    merged: list[Any] = []
    for index, entry in enumerate(entries):
        if slots and index == slots[0]:
            merged += leading
        if index in groups:
            merged += groups[index]
        elif not is_replaced[index]:
            merged.append(entry)
    return merged if slots else [*merged, *leading]


def set_or_remove(parent: JsonObject, key: str, value: Any) -> None:
    """Set `key`; with None, "", [] or {} remove it."""
    if value in (None, "", [], {}):
        parent.pop(key, None)
    else:
        parent[key] = value
