"""The objects around the Deployment of the serving that a form edits (Services, routes,
autoscalers, policies): watched, each by its name, and what others change in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from servedeck.cluster import resources
from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.views import NamespacedName
from servedeck.serving.edit.changed_by import find_owners
from servedeck.serving.objects.diff import find_differences
from servedeck.serving.objects.field_changes import format_differences
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.object_document import editable_part
from servedeck.serving.objects.update_merge import find_changes_since
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.text import format_count, one_line, sanitize

ObjectKey = tuple[str, str]
"""Kind and name."""

MAX_VALUE_LENGTH = 60
"""Characters of a value that is shown."""

_VERBS = dict.fromkeys(
    ("ScaledObject", "HorizontalPodAutoscaler", "DestinationRule", "BackendTrafficPolicy"),
    ("apply", "applies"),
)
"""What an object does to a serving, where it does not lead to it."""

MAX_PATHS = 2
"""Changed fields of an object that are named."""


class RelatedObjectsWatch:
    """The objects that the serving was read with, and the Service and the ScaledObject of its name:
    those are created where they are missing."""

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
        self._wanted: frozenset[ObjectKey] | None = None
        """What should be watched; None before that is known."""
        self._closing: list[ObjectWatch] = []
        self._seen: dict[ObjectKey, str | None] = {}
        """The resourceVersions when the objects were compared last; None for one that does not
        exist."""

    @property
    def is_open(self) -> bool:
        """Whether anything is watched."""
        return bool(self._watches)

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be watched is known."""
        return self._wanted == self._watches.keys() and all(
            one.is_settled and not one.missing_permission for one in self._watches.values()
        )

    def watch(self, read: ImportedServing) -> None:
        """Watch the objects of the serving as it was read, and no others."""
        wanted = {*objects_by_key(read), (resources.SERVICE.kind, self._key.name)}
        if read.objects.engines.has_keda:
            wanted.add((resources.SCALED_OBJECT.kind, self._key.name))
        self._wanted = frozenset(wanted)
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
        known = objects_by_key(read)
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


def objects_by_key(read: ImportedServing) -> Mapping[ObjectKey, JsonObject]:
    """The objects of a serving besides its Deployment."""
    found = read.objects.all[1:]
    return {
        (str(one.get("kind")), as_str(as_mapping(one, "metadata").get("name")) or ""): one
        for one in found
    }


def find_related_changes(before: ImportedServing, now: ImportedServing) -> Iterator[str]:
    """What others have changed in the objects besides the Deployment, each in a few words. Text is
    sanitized, and secrets are masked."""
    old, new = objects_by_key(before), objects_by_key(now)
    for key in dict.fromkeys((*old, *new)):
        title = one_line(sanitize(" ".join(key)))
        verb = _VERBS.get(key[0], ("lead", "leads"))
        if key not in new:
            yield f"{title} was deleted or does not {verb[0]} to the serving any more"
        elif key not in old:
            yield f"{title} {verb[1]} to the serving now"
        else:
            yield from _object_change(title, old[key], new[key])


def _object_change(title: str, old: JsonObject, new: JsonObject) -> Iterator[str]:
    differences = list(find_differences(editable_part(old), editable_part(new)))
    if not differences:
        return
    managers = find_owners(new, [one.path for one in differences])
    who = managers[0].name if managers else "Somebody else"
    changes = format_differences(differences)
    [first, *others] = changes
    if not others and max(len(first.old), len(first.new)) <= MAX_VALUE_LENGTH:
        yield f"{who} changed {title} {first.path.lstrip('.')}: {first.old} → {first.new}"
        return
    paths = ", ".join(one.path.lstrip(".") for one in changes[:MAX_PATHS])
    more = len(changes) - MAX_PATHS
    rest = f" and {format_count(more, 'more field')}" if more > 0 else ""
    yield f"{who} changed {title}: {paths}{rest}"
