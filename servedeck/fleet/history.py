"""What was seen of the servings while servedeck runs. It outlives the pages, and other contexts and
namespaces that are shown in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import Event
from servedeck.serving.status.event_history import EventHistory


class ServingViews(Protocol):
    """The part of a `servedeck.fleet.fleet.Fleet` that is recorded."""

    def view(self, key: NamespacedName) -> ServingView | None: ...

    def warning_events(self, key: NamespacedName) -> Sequence[Event]: ...


class ServingHistory:
    """The Events of servings. Those that the page of a serving reads are added by it."""

    def __init__(self) -> None:
        self.events = EventHistory()

    def record(self, keys: Iterable[NamespacedName], fleet: ServingViews) -> None:
        """Record servings that were added, deleted or changed."""
        for key in keys:
            view = fleet.view(key)
            if view is not None and _has_warnings(view):
                self.events.record(view.uid, fleet.warning_events(key))


def _has_warnings(view: ServingView) -> bool:
    return bool(view.events) or any(pod.events for pod in view.pods)
