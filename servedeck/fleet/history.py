"""What was seen of the servings while servedeck runs. It outlives the pages, and other contexts and
namespaces that are shown in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from servedeck.fleet.start_recorder import StartRecorder
from servedeck.fleet.timeline_recorder import TimelineRecorder
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import Event
from servedeck.serving.status.event_history import EventHistory


class ServingViews(Protocol):
    """The part of a `servedeck.fleet.fleet.Fleet` that is recorded."""

    def view(self, key: NamespacedName) -> ServingView | None: ...

    def warning_events(self, key: NamespacedName) -> Sequence[Event]: ...


class ServingHistory:
    """The Events, the timelines and the starts of servings. Events that the page of a serving reads
    are added by it."""

    def __init__(self) -> None:
        self.events = EventHistory()
        self.timeline = TimelineRecorder()
        self.starts = StartRecorder()
        self._target = ("", "")

    def record(
        self,
        keys: Iterable[NamespacedName],
        fleet: ServingViews,
        now: datetime,
        *,
        target: tuple[str, str] = ("", ""),
        is_loading: Callable[[], bool] = lambda: False,
    ) -> None:
        """Record servings that were added, deleted or changed.

        `target` is the context and namespace that are shown. If it has changed, or while the fleet
        `is_loading`, servings that are not in the fleet are not shown; else they were deleted.
        """
        if target != self._target:
            self._target = target
            self.timeline.forget_views()
        gone: list[NamespacedName] = []
        for key in keys:
            view = fleet.view(key)
            if view is None:
                gone.append(key)
                continue
            changed_pods = self.timeline.record(key, view, now)
            self.starts.record(view.uid, view.server_container, changed_pods)
            if view.events or any(pod.events for pod in changed_pods):
                self.events.record(view.uid, fleet.warning_events(key))
        if gone and is_loading():
            self.timeline.forget_views()
        else:
            for key in gone:
                self.timeline.record(key, None, now)
