"""Events in both of their formats: first and last time, count, source and order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from servedeck.serving.objects.records import Event

_MIN_TIME = datetime.min.replace(tzinfo=UTC)
_RECORDED_AT = re.compile(r"\.([0-9a-f]{15,16})\Z")
_SECOND = timedelta(seconds=1)


def event_time(event: Event) -> datetime | None:
    """When the Event happened last; None if it has no time.

    Components that write events.k8s.io (the scheduler) do not set the count and timestamps of
    core/v1, but eventTime and series (kubernetes kubectl pkg/cmd/events/events.go).
    """
    if event.series is not None and event.series.last_observed_time is not None:
        return event.series.last_observed_time
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def first_event_time(event: Event) -> datetime | None:
    """When the Event happened first; None if it has no time."""
    return event.first_timestamp or event.event_time or event_time(event)


def recorded_at(event: Event) -> datetime | None:
    """When the Event happened first, to the microsecond; None if its name does not say so.

    The timestamps of core/v1 are whole seconds, but client-go names an Event after its object and
    its nanoseconds since 1970 (tools/record/util/util.go).
    """
    found = _RECORDED_AT.search(event.metadata.name)
    if found is None:
        return None
    return datetime.fromtimestamp(int(found[1], 16) / 1e9, UTC)


def within_second(time: datetime, recorded: datetime | None) -> datetime:
    """`recorded` if it is in the second that begins at `time`, else `time`."""
    return recorded if recorded is not None and time <= recorded < time + _SECOND else time


def event_source(event: Event) -> str:
    """The component that wrote the Event, "" if it does not say: core/v1 has source.component,
    events.k8s.io/v1 has reportingController."""
    return event.source.component or event.reporting_component


def event_count(event: Event) -> int:
    """How often the Event happened, at least 1."""
    count = event.series.count if event.series is not None else event.count
    return max(count, event.count, 1)


def event_sort_time(event: Event) -> datetime:
    """When the Event happened last, as precisely as is known; the earliest time if it has none."""
    time = event_time(event)
    return within_second(time, recorded_at(event)) if time is not None else _MIN_TIME


def newest_first(events: Iterable[Event]) -> list[Event]:
    """`events` by time, newest first; those without a time last."""
    return sorted(events, key=event_sort_time, reverse=True)


def latest_distinct(events: Iterable[Event], limit: int = 10) -> list[Event]:
    """The newest `limit` Events, newest first, each text about an object only once. Equal texts are
    different Events if a component started a new series; only the newest of them is returned.
    """
    seen: set[tuple[str, str, str]] = set()
    kept: list[Event] = []
    for event in newest_first(events):
        text = (event.involved_object.uid, event.reason, event.message)
        if text in seen:
            continue
        seen.add(text)
        kept.append(event)
        if len(kept) == limit:
            break
    return kept
