"""What somebody else changed in an object since it was read, and sending an update of it again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import Any

from servedeck.serving.objects.diff import (
    MISSING,
    Difference,
    FieldPath,
    find_differences,
    format_path,
    same_quantity,
)
from servedeck.serving.objects.object_document import editable_part, with_metadata_maps
from servedeck.serving.objects.records import REVISION_ANNOTATION
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    child_mapping,
    mappings,
)
from servedeck.serving.text import one_line, sanitize

_METADATA_MAPS = ("labels", "annotations")
_MAX_PATHS = 3


def find_concurrent_changes(
    live: Mapping[str, Any], body: Mapping[str, Any], current: Mapping[str, Any]
) -> list[str]:
    """Paths of what somebody else changed from `live` to `current` and the update `body` would
    revert, at most three. The status, what the API server sets, and metadata that the update leaves
    alone do not count."""
    if as_mapping(live, "metadata").get("uid") != as_mapping(current, "metadata").get("uid"):
        return ["metadata.uid"]
    before, after, now = (_comparable(one) for one in (live, body, current))
    touched = [one.path for one in find_differences(before["metadata"], after["metadata"])]
    found = [
        format_path(one.path)
        for one in find_differences(before, now)
        if one.path[0] != "metadata" or any(_overlap(one.path[1:], path) for path in touched)
    ]
    return [one_line(sanitize(one)) for one in found[:_MAX_PATHS]]


def find_changes_since(live: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Paths of what somebody changed from `live` to `current`, at most three: everything but the
    status and what controllers write with it. A field that only got another owner counts too,
    because it may not be changed without a conflict then."""
    if as_mapping(live, "metadata").get("uid") != as_mapping(current, "metadata").get("uid"):
        return ["metadata.uid"]
    before, after = (
        {**_without_metadata(one), "metadata": _own_metadata(one)} for one in (live, current)
    )
    found = [format_path(one.path) for one in find_differences(before, after)]
    if not found and _field_owners(live) != _field_owners(current):
        found = ["metadata.managedFields"]
    return [one_line(sanitize(one)) for one in found[:_MAX_PATHS]]


def has_change(
    live: Mapping[str, Any], changed: Mapping[str, Any], current: Mapping[str, Any]
) -> bool:
    """Whether `current` has what a write of `changed` changes in `live`, also with the defaults
    that the API server adds to it, and with quantities in another form. The status and what the API
    server sets do not count."""
    live, changed, current = (_comparable(one) for one in (live, changed, current))
    missing = list(find_differences(changed, current))
    return not any(
        _overlap(wanted.path, one.path)
        for wanted in find_differences(live, changed)
        for one in missing
        if not (_is_default(wanted, one) or same_quantity(one.old, one.new))
    )


class LostWriteState(Enum):
    """What became of a write whose answer was lost, as the object shows it now."""

    EXECUTED = auto()
    POSSIBLE = auto()
    """The object is as it was: the API server may still execute it."""
    IMPOSSIBLE = auto()
    """The object has another resourceVersion, with which it is not executed any more."""
    DELETED = auto()
    """The object is gone, or another one has its name: it is not executed any more."""


def find_lost_write_state(
    live: Mapping[str, Any],
    wanted: Iterable[Mapping[str, Any]],
    current: Mapping[str, Any] | None,
    version: str,
) -> LostWriteState:
    """What became of a write that was to turn `live` into one of `wanted`, and was sent for the
    resourceVersion `version`; `current` is the object now, None if there is none."""
    metadata = as_mapping(current, "metadata")
    if current is None or metadata.get("uid") != as_mapping(live, "metadata").get("uid"):
        return LostWriteState.DELETED
    if any(has_change(live, one, current) for one in wanted):
        return LostWriteState.EXECUTED
    if metadata.get("resourceVersion") == version:
        return LostWriteState.POSSIBLE
    return LostWriteState.IMPOSSIBLE


def _is_default(wanted: Difference, found: Difference) -> bool:
    is_within = len(found.path) > len(wanted.path)
    return found.old is MISSING and wanted.new is not MISSING and is_within


def _overlap(path: FieldPath, other: FieldPath) -> bool:
    length = min(len(path), len(other))
    return path[:length] == other[:length]


def _comparable(obj: Mapping[str, Any]) -> JsonObject:
    """The object without its status and what the API server sets. No labels or annotations are the
    same as an empty map of them."""
    return with_metadata_maps(editable_part(obj))


def _own_metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Labels and annotations, except for the one that the Deployment controller writes."""
    found = {key: dict(as_mapping(obj, "metadata", key)) for key in _METADATA_MAPS}
    found["annotations"].pop(REVISION_ANNOTATION, None)
    return found


def _field_owners(obj: Mapping[str, Any]) -> dict[tuple[Any, ...], Any]:
    """What each manager owns, except for the status."""
    return {
        (one.get("manager"), one.get("operation"), one.get("subresource")): one.get("fieldsV1")
        for one in mappings(as_mapping(obj, "metadata").get("managedFields"))
        if one.get("subresource") != "status"
    }


def move_to_version(
    live: Mapping[str, Any], body: JsonObject, current: Mapping[str, Any]
) -> JsonObject:
    """The update `body`, made from `live`, as an update of `current`, which differs from `live` in
    its metadata and status only."""
    metadata = copy.deepcopy(dict(as_mapping(current, "metadata")))
    for part, key, value in _metadata_changes(live, body):
        entries = child_mapping(metadata, part)
        if value is None:
            entries.pop(key, None)
        else:
            entries[key] = value
    return {**body, "metadata": metadata}


def _without_metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _metadata_changes(
    live: Mapping[str, Any], body: Mapping[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    """Labels and annotations that the update changes: name of the map, key, and the new value or
    None."""
    for part in _METADATA_MAPS:
        before, after = (as_mapping(one, "metadata", part) for one in (live, body))
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                yield part, key, after.get(key)
