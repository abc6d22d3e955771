"""Watches the Services and routes of the serving that a form edits, each by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from servedeck.cluster import resources
from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.update_merge import find_changes_since
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

ObjectKey = tuple[str, str]
"""Kind and name."""


class RelatedObjectsWatch:
    """The objects that the serving was read with, and the Service of its name: that one is created
    where it is missing."""

    def __init__(
        self,
        key: NamespacedName,
        watch_objects: Callable[[ObjectQuery, Callable[[], None]], ObjectWatch | None],
        on_change: Callable[[], None],
    ) -> None:
        """`watch_objects` starts to watch, None while there is no connection; `on_change` is called
        on the event loop after changes."""
        self._key = key
        self._watch_objects = watch_objects
        self._on_change = on_change
        self._watches: dict[ObjectKey, ObjectWatch] = {}
        self._closing: list[ObjectWatch] = []
        self._seen: dict[ObjectKey, str | None] = {}
        """The resourceVersions when the objects were compared last; None for one that does not
        exist."""

    def watch(self, read: ImportedServing) -> None:
        """Watch the objects of the serving as it was read, and no others."""
        wanted = {*_objects_by_key(read), (resources.SERVICE.kind, self._key.name)}
        for gone in self._watches.keys() - wanted:
            self._closing.append(self._watches.pop(gone))
            self._seen.pop(gone, None)
        for kind, name in wanted - self._watches.keys():
            query = ObjectQuery(RESOURCES_BY_KIND[kind], self._key.namespace, name)
            if (watch := self._watch_objects(query, self._on_change)) is not None:
                self._watches[kind, name] = watch

    def has_changed(self, read: ImportedServing) -> bool:
        """Whether an object is not as it was read, in more than its status. An object is compared
        once: a watch may be behind what was read."""
        known = _objects_by_key(read)
        return any(self._compare(key, known.get(key)) for key in self._watches)

    def _compare(self, key: ObjectKey, known: JsonObject | None) -> bool:
        watch = self._watches[key]
        if not watch.is_settled or watch.missing_permission:
            return False  # what is not listed may exist all the same
        found = watch.newest
        version = found.metadata.resource_version if found is not None else None
        if key in self._seen and self._seen[key] == version:
            return False
        self._seen[key] = version
        if found is None or known is None:
            return (found is None) != (known is None)
        # As it was read: not sanitized.
        return bool(find_changes_since(known, found.parse_unsanitized()))

    def forget_seen(self) -> None:
        """Compare all objects again: the serving could not be read."""
        self._seen.clear()

    async def close(self) -> None:
        """Watch nothing any more."""
        watches = [*self._watches.values(), *self._closing]
        self._watches, self._closing = {}, []
        await asyncio.gather(*(one.close() for one in watches))


def _objects_by_key(read: ImportedServing) -> Mapping[ObjectKey, JsonObject]:
    """The Services and routes of a serving."""
    found = (*read.objects.services, *read.objects.routes)
    return {
        (str(one.get("kind")), as_str(as_mapping(one, "metadata").get("name")) or ""): one
        for one in found
    }
