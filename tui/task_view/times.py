"""Times of tasks, which are seconds since the epoch by the clock of the store."""

from __future__ import annotations

from servedeck.serving.duration import format_duration
from servedeck.serving.moment import date_of
from servedeck.serving.status.timeline import clock_text
from widgets.task_rows import duration_text


def moment_text(time: float, now: float) -> str:
    """The local time: "14:02:11", with the date if it is another day than now."""
    return clock_text(date_of(time), date_of(now))


def ago_text(time: float, now: float) -> str:
    """ "14:02:11 (4m10s ago)", "14:02:11 (in 12s)"."""
    seconds = now - time
    relative = f"{format_duration(seconds)} ago" if seconds >= 0 else f"in {until_text(-seconds)}"
    return f"{moment_text(time, now)} ({relative})"


def until_text(seconds: float) -> str:
    """ "12s": at least one."""
    return format_duration(max(seconds, 1.0))


def took_text(seconds: float) -> str:
    """ "0.4s", "12s", "4m10s"."""
    return duration_text(max(seconds, 0.0))
