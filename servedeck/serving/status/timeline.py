"""The timeline of a serving: when it changed status, restarted, scaled, rolled out, lost a node.

Entries come from two sources: what servedeck observed while it runs, and what the objects
themselves tell about the time before (`servedeck.serving.status.timeline_objects`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from servedeck.serving.duration import format_duration
from servedeck.serving.status.status import Status

MAX_ENTRIES_PER_SERVING = 200
"""Entries of one serving; the oldest are dropped."""

UNAVAILABLE_TEXT = "too few replicas are available"
"""The Deployment's condition Available is not True."""
CAUSE_WINDOW = timedelta(minutes=15)
"""A change this long before a change of status may be its cause."""


class TimelineKind(StrEnum):
    """In the order in which changes of one moment are listed: a status follows from the others."""

    ROLLOUT = "rollout"
    SCALE = "scale"
    NODE = "node"
    RESTART = "restart"
    CONDITION = "condition"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One change, or several restarts of one container."""

    time: datetime
    """When it happened; the first time of several."""
    kind: TimelineKind
    text: str
    observed: bool
    """True if servedeck observed it, False if it is derived from the objects."""
    identity: tuple[str, ...] = ()
    """Equal for the same change from both sources; () for a change that only one of them knows."""
    status: Status | None = None
    """The status from then on, of an entry of the kind STATUS."""
    is_first_status: bool = False
    """True if servedeck saw the serving first then: its status may be older."""
    count: int = 1
    last_time: datetime | None = None
    """The last time of several."""

    @property
    def end(self) -> datetime:
        """When it happened last."""
        return self.last_time or self.time


class HasStatus(Protocol):
    """A serving, as far as the timeline needs it."""

    @property
    def status(self) -> Status: ...


def merge_entries(
    derived: Iterable[TimelineEntry], observed: Iterable[TimelineEntry]
) -> tuple[TimelineEntry, ...]:
    """Entries of both sources by time, the newest at the end, at most MAX_ENTRIES_PER_SERVING.

    Of a change that both know, the observed entry is kept with the time of the objects, which is
    that of the change itself. Several restarts keep their own times.
    """
    known = {one.identity: one for one in derived if one.identity}
    merged: list[TimelineEntry] = [one for one in derived if not one.identity]
    for entry in observed:
        same = known.pop(entry.identity, None) if entry.identity else None
        merged.append(
            replace(entry, time=same.time) if same is not None and entry.count == 1 else entry
        )
    merged += known.values()
    merged.sort(key=_sort_key)
    return tuple(merged[-MAX_ENTRIES_PER_SERVING:])


_KIND_ORDER = {kind: rank for rank, kind in enumerate(TimelineKind)}


def _sort_key(entry: TimelineEntry) -> tuple[datetime, int]:
    return entry.end, _KIND_ORDER[entry.kind]


def last_status_change(entries: Sequence[TimelineEntry]) -> TimelineEntry | None:
    """The last entry that says since when the serving has its status; None if there is none."""
    return next((one for one in reversed(entries) if one.status is not None), None)


def likely_cause(entries: Sequence[TimelineEntry], change: TimelineEntry) -> TimelineEntry | None:
    """What changed just before a change of status, at most CAUSE_WINDOW: the last rollout, scaling
    or loss of a node, else the last restart or condition; None for nothing."""
    earliest = change.time - CAUSE_WINDOW
    before = [
        one
        for one in entries
        if one is not change
        and one.kind is not TimelineKind.STATUS
        and earliest <= one.end
        and one.time <= change.time
    ]
    for kinds in (
        (TimelineKind.ROLLOUT, TimelineKind.SCALE, TimelineKind.NODE),
        (TimelineKind.RESTART,),
        (TimelineKind.CONDITION,),
    ):
        found = [one for one in before if one.kind in kinds]
        if found:
            return found[-1]
    return None


def since_text(entries: Sequence[TimelineEntry], view: HasStatus, now: datetime) -> str:
    """Since when the serving has its status and what changed just before, in one line:
    "Error since 14:02:11 (12m); 40s before: rollout to revision 15 (image v0.11.1)". About the time
    before servedeck was started, the Deployment's condition Available tells it.

    `entries` are merged ones, in their order. Times are local.
    """
    change = last_status_change(entries)
    status = view.status.value
    if change is None or change.status is not view.status:
        return ""
    when = clock_text(change.time, now)
    if change.is_first_status:
        text = f"{status} when servedeck saw it first, {when} ({_age(change.time, now)})"
        earlier = [one for one in entries if one.time <= change.time and one.status is None]
        unavailable = next((one for one in earlier if one.text == UNAVAILABLE_TEXT), None)
        if unavailable is not None and view.status is not Status.READY:
            since = f"{clock_text(unavailable.time, now)} ({_age(unavailable.time, now)})"
            text = f"{status}; {UNAVAILABLE_TEXT} since {since}"
            # Restarts after it are no change before it.
            earlier = [
                one for one in earlier if one is not unavailable and one.end <= unavailable.time
            ]
        if not earlier:
            return text
        last = earlier[-1]
        return f"{text}; last change before: {last.text}, {clock_text(last.end, now)}"
    text = f"{status} since {when} ({_age(change.time, now)})"
    cause = likely_cause(entries, change)
    if cause is None:
        return text
    # A repeated restart may go on after the change.
    seconds = (change.time - min(cause.end, change.time)).total_seconds()
    ahead = f"{format_duration(seconds)} before" if seconds >= 1 else "at the same time"
    return f"{text}; {ahead}: {cause.text}"


def clock_text(time: datetime, now: datetime) -> str:
    """The local time: "14:02:11", with the date if it is another day, "Nov 22 14:02:11"."""
    local = time.astimezone()
    same_day = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if same_day else "%b %d %H:%M:%S")


def _age(time: datetime, now: datetime) -> str:
    return format_duration(max((now - time).total_seconds(), 0))
