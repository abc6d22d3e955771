"""Sending an update of an object again after somebody else wrote the object."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, child_mapping
from servedeck.serving.text import one_line, sanitize

_METADATA_MAPS = ("labels", "annotations")
_MAX_PATHS = 3


def find_concurrent_changes(
    live: Mapping[str, Any], body: Mapping[str, Any], current: Mapping[str, Any]
) -> list[str]:
    """Paths of what somebody else changed from `live` to `current` and the update `body` would
    revert, at most three. The status, and metadata that the update leaves alone, do not count."""
    if as_mapping(live, "metadata").get("uid") != as_mapping(current, "metadata").get("uid"):
        return ["metadata.uid"]
    found = [
        format_path(one.path)
        for one in find_differences(_without_metadata(live), _without_metadata(current))
    ]
    for part, key, _ in _metadata_changes(live, body):
        before, now = (as_mapping(one, "metadata", part).get(key) for one in (live, current))
        if before != now:
            found.append(f"metadata.{part}.{key}")
    return [one_line(sanitize(one)) for one in found[:_MAX_PATHS]]


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
