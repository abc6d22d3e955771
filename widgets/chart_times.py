"""Round local times for the time axis of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12)),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 91, 182, 364, 1820, 7280)),
)
"""Seconds between two labels."""
_YEAR_STEP = 91 * _DAY
"""Seconds between two labels from which they have the year."""
_GAP = 2
"""Cells between two labels at least."""
_MAX_TICKS = 500


class TimeTick(NamedTuple):
    """A labelled time."""

    time: float
    """Unix time in seconds."""
    label: str


def time_ticks(start: float, end: float, cells: int) -> tuple[TimeTick, ...]:
    """Round local times from `start` to `end`, as many as have room in `cells` cells: "14:30", with
    seconds where they are less than a minute apart. A midnight has its date instead, "Nov 29". On
    the day of a clock change, the hour that does not exist has no label, and the one that comes
    twice has two. Empty for times that no calendar has."""
    if not (math.isfinite(start) and math.isfinite(end)) or end <= start or cells < 1:
        return ()
    try:
        spans_days = _local(start).date() != _local(end).date()
        for step in _STEPS:
            width = _label_width(step, spans_days) + _GAP
            if (end - start) / step * width <= cells:
                return tuple(_labelled(_round_times(start, end, step), step))
    except (OverflowError, OSError, ValueError):
        pass
    return ()


def clock(time: float, *, has_date: bool = False, has_seconds: bool = True) -> str:
    """The local time: "14:02:11"; question marks for one that no calendar has."""
    try:
        local = _local(time)
    except (OverflowError, OSError, ValueError):
        return "??:??:??" if has_seconds else "??:??"
    text = f"{local:%H:%M:%S}" if has_seconds else f"{local:%H:%M}"
    return f"{local:%b %d} {text}" if has_date else text


def _local(time: float) -> datetime:
    return datetime.fromtimestamp(time)


def _label_width(step: int, spans_days: bool) -> int:
    if step >= _DAY:
        return len("Nov 29 2025") if step >= _YEAR_STEP else len("Nov 29")
    width = len("14:30:00") if step < _MINUTE else len("14:30")
    return max(width, len("Nov 29")) if spans_days else width


def _labelled(times: Iterator[datetime], step: int) -> Iterator[TimeTick]:
    day: date | None = None
    for time in times:
        if step >= _DAY:
            label = f"{time:%b %d %Y}" if step >= _YEAR_STEP else f"{time:%b %d}"
        elif time.hour == time.minute == time.second == 0:
            label = f"{time:%b %d}"
        else:
            label = f"{time:%H:%M:%S}" if step < _MINUTE else f"{time:%H:%M}"
            if day is not None and time.date() != day:  # its clock has no midnight
                label = f"{time:%b %d} {label}"
        day = time.date()
        yield TimeTick(time.timestamp(), label)


def _round_times(start: float, end: float, step: int) -> Iterator[datetime]:
    """The local times from `start` to `end` whose clock shows a multiple of `step`, in their order:
    of a minute, an hour or a day, or of days since the first one of the calendar."""
    midnight = _local(start).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    found: set[tuple[float, datetime]] = set()
    days = 0
    while (day := midnight + timedelta(days=days)).timestamp() <= end and days <= _MAX_TICKS * 28:
        days += 1
        if step >= _DAY:
            clocks = [day] if day.toordinal() % (step // _DAY) == 0 else []
        else:
            first = max(0.0, start - day.timestamp() - 2 * _HOUR) // step
            last = min(_DAY - 1, end - day.timestamp() + 2 * _HOUR) // step
            count = range(int(first), int(last) + 1)
            clocks = [day + timedelta(seconds=number * step) for number in count]
        for naive in clocks:
            for fold in (0, 1):
                time = naive.replace(fold=fold)
                seconds = time.timestamp()
                if start <= seconds <= end and _local(seconds).replace(fold=fold) == time:
                    found.add((seconds, naive))
    for seconds, _naive in sorted(found)[:_MAX_TICKS]:
        yield _local(seconds)
