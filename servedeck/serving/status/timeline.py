"""The timeline of a serving: when it changed status, restarted, scaled, rolled out, lost a node.

Entries come from two sources: what servedeck observed while it runs, and what the objects
themselves tell about the time before (`servedeck.serving.status.timeline_objects`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from servedeck.serving.duration import format_duration
from servedeck.serving.status.status import Status

MAX_ENTRIES_PER_SERVING = 200
"""Entries of one serving; the oldest are dropped."""

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
    def is_consequence(self) -> bool:
        """It follows from another change: a condition, or the end of a rollout."""
        return self.kind is TimelineKind.CONDITION or self.identity[:1] == ("finished",)

    @property
    def end(self) -> datetime:
        """When it happened last."""
        return self.last_time or self.time


@dataclass(frozen=True, slots=True)
class StatusStart:
    """What is true since when."""

    text: str
    """ "Pod …6b8f-9qk2x is not ready"."""
    time: datetime
    may_be_older: bool = False
    """True if it may have begun before `time`."""
    manager: str = ""
    """Field manager that changed it, "kubectl"; "" if that does not apply."""


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


def _sort_key(entry: TimelineEntry) -> tuple[datetime, int, bool]:
    """Of one second, a rollout begins before it ends."""
    return entry.end, _KIND_ORDER[entry.kind], entry.is_consequence


def last_status_change(entries: Sequence[TimelineEntry]) -> TimelineEntry | None:
    """The last entry that says since when the serving has its status; None if there is none."""
    return next((one for one in reversed(entries) if one.status is not None), None)


def likely_cause(entries: Sequence[TimelineEntry], time: datetime) -> TimelineEntry | None:
    """What changed before a time, at most CAUSE_WINDOW: the last rollout, scaling or loss of a
    node, else the last restart, else the last consequence of a change; None for nothing."""
    earliest = time - CAUSE_WINDOW
    before = [
        one
        for one in entries
        if one.kind is not TimelineKind.STATUS and earliest <= one.end and one.time <= time
    ]
    for kinds in (
        (TimelineKind.ROLLOUT, TimelineKind.SCALE, TimelineKind.NODE),
        (TimelineKind.RESTART,),
    ):
        found = [one for one in before if one.kind in kinds and not one.is_consequence]
        if found:
            return found[-1]
    return before[-1] if before else None


def since_text(
    entries: Sequence[TimelineEntry],
    status: Status,
    now: datetime,
    start: StatusStart | None = None,
) -> str:
    """Since when the serving has its status and what changed just before, in one line:
    "Error since 14:02:11 (12m); 40s before: rollout to revision 15 (image v0.11.1)". About the time
    before servedeck was started, `start` tells it.

    `entries` are merged ones, in their order. Times are local.
    """
    change = last_status_change(entries)
    if change is None or change.status is not status:
        return ""
    if not change.is_first_status:
        text = f"{status.value} since {_moment(change.time, now)}"
        cause = likely_cause(entries, change.time)
        return f"{text}; {_cause_text(cause, change.time)}" if cause is not None else text
    if start is None:
        text = f"{status.value} when servedeck saw it first, {_moment(change.time, now)}"
    else:
        text = f"{status.value}; {_start_text(start, now)}"
    begin = start.time if start is not None else change.time
    changes = [
        one for one in entries if one.end <= begin and one.status is None and not one.is_consequence
    ]
    if start is not None and (cause := likely_cause(changes, begin)) is not None:
        return f"{text}; {_cause_text(cause, begin)}"
    if not changes:
        return text
    last = changes[-1]
    return f"{text}; last change before: {last.text}, {clock_text(last.end, now)}"


def _cause_text(cause: TimelineEntry, time: datetime) -> str:
    """ "40s before: rollout to revision 15"."""
    # A repeated restart may go on after the change.
    seconds = (time - min(cause.end, time)).total_seconds()
    ahead = f"{format_duration(seconds)} before" if seconds >= 1 else "at the same time"
    return f"{ahead}: {cause.text}"


def _start_text(start: StatusStart, now: datetime) -> str:
    """ "0 replicas since 14:02:11 (12m) or before, set by helm"."""
    text = f"{start.text} since {_moment(start.time, now)}"
    if start.may_be_older:
        text += " or before"
    return f"{text}, set by {start.manager}" if start.manager else text


def clock_text(time: datetime, now: datetime) -> str:
    """The local time: "14:02:11", with the date if it is another day, "Nov 22 14:02:11"."""
    local = time.astimezone()
    same_day = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if same_day else "%b %d %H:%M:%S")


def _moment(time: datetime, now: datetime) -> str:
    """ "14:02:11 (12m)"."""
    age = format_duration(max((now - time).total_seconds(), 0))
    return f"{clock_text(time, now)} ({age})"
