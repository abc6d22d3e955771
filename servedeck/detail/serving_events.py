"""The Events of one serving, selected from those of its namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import Event, ObjectReference
from servedeck.serving.status.event_objects import (
    EventObjects,
    may_be_truncated,
    mounted_pvc_names,
)

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject


def event_objects(
    view: ServingView,
    deployment: Mapping[str, Any],
    replicasets: Sequence[LiveObject],
    related: Iterable[ObjectReference],
    servings: Iterable[NamespacedName],
) -> EventObjects:
    """The objects of a serving whose Events are its own.

    `deployment` is its Deployment, {} while it is unknown; `replicasets` are those that it owns;
    `related` what else belongs to it (`Fleet.related_objects`); `servings` all that are known, of
    any namespace.
    """
    pods = frozenset(pod.name for pod in view.pods)
    uids = {view.uid, *(one.metadata.uid for one in replicasets), *(pod.uid for pod in view.pods)}
    return EventObjects(
        namespace=view.key.namespace,
        uids=frozenset(uids | {one.uid for one in related}) - {""},
        replicaset_names=frozenset(one.metadata.name for one in replicasets),
        pvc_names=mounted_pvc_names(deployment, pods),
        other_servings=frozenset(
            key.name
            for key in servings
            if key.namespace == view.key.namespace
            and key != view.key
            and may_be_truncated(key.name)
        )
        if may_be_truncated(view.key.name)
        else frozenset(),
    )


class EventSelection:
    """Selects the Events of a serving from all of a namespace. An Event is only looked at again
    when it has changed, or when the serving has other objects than before: the namespace may have
    ten thousand of them."""

    def __init__(self) -> None:
        self._objects: EventObjects | None = None
        self._seen: dict[int, Event] = {}
        """The Events of the last call by the identity of their record: a changed Event is another
        record, and as long as a record is kept here, no other one has its identity."""

    def select(self, events: Iterable[Event], objects: EventObjects) -> list[Event]:
        """The Events about `objects` that are new or changed since the last call, in no particular
        order."""
        events = list(events)
        known = self._seen if objects == self._objects else {}
        self._objects, self._seen = objects, dict(zip(map(id, events), events, strict=True))
        new = (self._seen[one] for one in self._seen.keys() - known.keys())
        return [event for event in new if objects.includes(event)]
