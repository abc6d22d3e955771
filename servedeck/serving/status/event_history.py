"""The Events of servings that were seen while servedeck runs.

The API server deletes an Event an hour after it happened last (kube-apiserver --event-ttl); here it
stays. Equal Events about one object are one entry, with their total count, first and last time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from servedeck.serving.objects.records import Event
from servedeck.serving.status.events import (
    event_count,
    event_source,
    event_time,
    first_event_time,
    recorded_at,
    within_second,
)

MAX_ENTRIES_PER_SERVING = 2_000
MAX_ENTRIES = 20_000
"""Entries of all servings together."""

_EVICTION_MARGIN = 500
"""Entries that are dropped at once beyond MAX_ENTRIES: finding the oldest takes a sort."""
_COUNTED_EVENTS = 20
"""Event objects of an entry whose own count is remembered, so that a new count replaces it. A
component updates the Event that it wrote last, and starts a new one every few minutes at most
(client-go tools/record/events_cache.go)."""
_MIN_TIME = datetime.min.replace(tzinfo=UTC)


_SHORT_KINDS = {
    "PersistentVolumeClaim": "pvc",
    "HorizontalPodAutoscaler": "hpa",
    "ReplicaSet": "rs",
    "Service": "svc",
}
"""Short names of kinds, as kubectl accepts them. Other kinds are short enough."""


class EventKey(NamedTuple):
    """What Events have in common that are one entry."""

    kind: str
    object: str
    """uid of the object, or its name if the Event has no uid."""
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Equal Events about one object."""

    key: EventKey
    name: str
    """Name of the object."""
    namespace: str
    field_path: str
    """Part of the object, "spec.containers{main}"; "" for the whole object."""
    count: int
    first: datetime | None
    last: datetime | None
    source: str
    """The component that wrote it; "" if unknown."""
    _search_text: str = field(default="", init=False, repr=False, compare=False)

    @property
    def search_text(self) -> str:
        """The text that a filter searches, in lower case. Built on first use and cached, as an
        entry never changes."""
        if not self._search_text:
            texts = (
                f"{self.kind}/{self.name}",
                f"{self.short_kind}/{self.name}",
                self.field_path,
                self.type,
                self.reason,
                self.message,
                self.source,
            )
            object.__setattr__(self, "_search_text", "\n".join(texts).casefold())
        return self._search_text

    @property
    def kind(self) -> str:
        return self.key.kind

    @property
    def short_kind(self) -> str:
        """The kind in lower case, "pvc" for a PersistentVolumeClaim."""
        return _SHORT_KINDS.get(self.kind, self.kind.lower())

    @property
    def type(self) -> str:
        """Normal or Warning."""
        return self.key.type

    @property
    def reason(self) -> str:
        return self.key.reason

    @property
    def message(self) -> str:
        return self.key.message

    @property
    def is_warning(self) -> bool:
        """Whether it is a Warning. There are two types, and others are treated as Normal."""
        return self.key.type == "Warning"


class _Series:
    """The Events of one entry."""

    __slots__ = (
        "_counts",
        "_earlier_count",
        "_earlier_until",
        "_event_name",
        "_recorded_at",
        "entry",
        "sort_key",
    )

    def __init__(self, key: EventKey, event: Event) -> None:
        self._counts: dict[str, tuple[int, datetime]] = {}
        """Count and last time of each of the last Events, by uid."""
        self._earlier_count = 0
        """Count of the Events before them."""
        self._earlier_until = _MIN_TIME
        involved = event.involved_object
        self.entry = EventEntry(
            key=key,
            name=involved.name,
            namespace=involved.namespace,
            field_path=involved.field_path,
            count=0,
            first=None,
            last=None,
            source=event_source(event),
        )
        self._recorded_at: datetime | None = None
        """When it happened first, more precisely than the entry says."""
        self._event_name = event.metadata.name
        """The first name of its Events: it ends in the time at which it was recorded, if the client
        library made it."""
        self.sort_key = (_MIN_TIME, _MIN_TIME, self._event_name)
        """The oldest entry first: by last time, then by first time, then by name, so that the order
        of Events of one moment is always the same; those without a time are the oldest."""

    def add(self, event: Event) -> bool:
        """Add an Event, or its new count; returns whether the entry changed."""
        counts, uid = self._counts, event.metadata.uid or event.metadata.name
        time = _time_of(event)
        if uid not in counts and self._earlier_count and time <= self._earlier_until:
            return False  # it is among the earlier ones
        counts[uid] = event_count(event), time
        if len(counts) > _COUNTED_EVENTS:
            oldest = min(counts, key=lambda one: counts[one][1])
            earlier, self._earlier_until = counts.pop(oldest)
            self._earlier_count += earlier
        before = self.entry
        count = self._earlier_count + sum([one for one, _time in counts.values()])
        first = _earliest(before.first, first_event_time(event))
        last = _latest(before.last, event_time(event))
        if (count, first, last) == (before.count, before.first, before.last):
            return False
        self.entry = EventEntry(
            before.key,
            before.name,
            before.namespace,
            before.field_path,
            count,
            first,
            last,
            before.source,
        )
        self._recorded_at = _earliest(self._recorded_at, recorded_at(event))
        self._event_name = min(self._event_name, event.metadata.name)
        self.sort_key = (
            within_second(last or _MIN_TIME, self._recorded_at),
            within_second(first or _MIN_TIME, self._recorded_at),
            self._event_name,
        )
        return True


_BY_TIME = attrgetter("sort_key")


class _ServingEvents:
    """The entries of one serving."""

    __slots__ = ("dropped_count", "dropped_until", "is_sorted", "series")

    def __init__(self) -> None:
        self.series: dict[EventKey, _Series] = {}
        """By time if `is_sorted`, the oldest first."""
        self.dropped_count = 0
        self.dropped_until = _MIN_TIME
        """Last time of the newest entry that was dropped."""
        self.is_sorted = True

    def sort(self) -> None:
        if not self.is_sorted:
            ordered = sorted(self.series.values(), key=_BY_TIME)
            self.series = {series.entry.key: series for series in ordered}
            self.is_sorted = True

    def drop_oldest(self, count: int) -> None:
        self.sort()
        for key in list(self.series)[:count]:
            self.dropped_until = self.series.pop(key).entry.last or _MIN_TIME
        self.dropped_count += count


class EventHistory:
    """Entries of servings by the uid of their Deployment. Not thread-safe."""

    def __init__(
        self,
        max_entries_per_serving: int = MAX_ENTRIES_PER_SERVING,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._max_entries_per_serving = max_entries_per_serving
        self._max_entries = max_entries
        self._servings: dict[str, _ServingEvents] = {}
        self._entry_count = 0

    def __len__(self) -> int:
        return self._entry_count

    def record(self, serving_uid: str, events: Iterable[Event]) -> frozenset[EventKey]:
        """Add Events of a serving, of which any may have been added before; returns the keys of the
        entries that are new or changed. Beyond the maximum numbers, the oldest entries are
        dropped."""
        in_order = sorted(events, key=_time_of)
        if not in_order:
            return frozenset()
        serving = self._servings.get(serving_uid)
        if serving is None:
            serving = self._servings[serving_uid] = _ServingEvents()
        changed: set[EventKey] = set()
        for event in in_order:
            key = event_key(event)
            series = serving.series.get(key)
            if series is None:
                if serving.dropped_count and _time_of(event) <= serving.dropped_until:
                    continue  # dropped, or older than what was dropped
                series = serving.series[key] = _Series(key, event)
                self._entry_count += 1
            if series.add(event):
                changed.add(key)
                serving.is_sorted = False
        if changed:
            self._limit(serving)
        return frozenset(changed)

    def entries(self, serving_uid: str) -> Sequence[EventEntry]:
        """The entries of a serving, by the time that they happened last, the newest at the end. An
        entry that did not change is the same instance as before."""
        serving = self._servings.get(serving_uid)
        if serving is None:
            return ()
        serving.sort()
        return [series.entry for series in serving.series.values()]

    def entry(self, serving_uid: str, key: EventKey) -> EventEntry | None:
        """One entry as it is now; None if it was dropped."""
        serving = self._servings.get(serving_uid)
        series = serving.series.get(key) if serving is not None else None
        return series.entry if series is not None else None

    def dropped_count(self, serving_uid: str) -> int:
        """Number of entries of a serving that were dropped."""
        serving = self._servings.get(serving_uid)
        return serving.dropped_count if serving is not None else 0

    # -- limits ---------------------------------------------------------------------------------

    def _limit(self, serving: _ServingEvents) -> None:
        excess = len(serving.series) - self._max_entries_per_serving
        if excess > 0:
            serving.drop_oldest(excess)
            self._entry_count -= excess
        if self._entry_count > self._max_entries:
            self._drop_oldest_of_all(self._entry_count - self._max_entries + _EVICTION_MARGIN)

    def _drop_oldest_of_all(self, count: int) -> None:
        oldest = sorted(
            (series.sort_key, uid)
            for uid, serving in self._servings.items()
            for series in serving.series.values()
        )[:count]
        per_serving: dict[str, int] = {}
        for _key, uid in oldest:
            per_serving[uid] = per_serving.get(uid, 0) + 1
        for uid, excess in per_serving.items():
            self._servings[uid].drop_oldest(excess)
        self._entry_count -= len(oldest)


def join_events(events: Iterable[Event]) -> Sequence[EventEntry]:
    """Entries of Events that are all there are, the newest at the end."""
    history = EventHistory()
    history.record("", events)
    return history.entries("")


def event_key(event: Event) -> EventKey:
    """The entry that the Event belongs to."""
    involved = event.involved_object
    return EventKey(
        involved.kind, involved.uid or involved.name, event.type, event.reason, event.message
    )


def count_warnings(entries: Iterable[EventEntry]) -> int:
    """Number of entries that are Warnings."""
    return len([entry for entry in entries if entry.is_warning])


def _time_of(event: Event) -> datetime:
    return event_time(event) or _MIN_TIME


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
