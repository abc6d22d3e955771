"""The line above the cards: the time that is shown, the source, and what is wrong with it."""

from __future__ import annotations

from datetime import datetime
from time import time as unix_time
from typing import TYPE_CHECKING

from servedeck.metrics.period import PERIODS, Period
from servedeck.serving.duration import format_duration
from widgets.chart_data import TimeRange
from widgets.styled_line import Line, Span, align_left_right, fit_line, line_width

if TYPE_CHECKING:
    from tui.metrics.feed import MetricsFeed

STALE_SECONDS = 90.0
"""After which figures that were not read again are said to be old."""


def heading_line(
    feed: MetricsFeed | None, period: Period, zoomed: TimeRange | None, width: int
) -> Line:
    """ "1h  6h  24h                Prometheus in Service monitoring/prometheus, every 15 s"."""
    left: list[Span] = [(" ", "")]
    for one in PERIODS:
        is_shown = one is period
        name = f"[{one.name}]" if is_shown else f" {one.name} "
        left.append((name, "strong" if is_shown and zoomed is None else "muted"))
    if zoomed is not None:
        left.append((f" {_clock(zoomed.start)}–{_clock(zoomed.end)}", "strong"))
    right = _source(feed)
    room = width - line_width(tuple(left)) - 3
    if line_width(right) > room > 8:
        right = _shortened(right, room)
    return align_left_right(tuple(left), (*right, (" ", "")), width)


def _source(feed: MetricsFeed | None) -> Line:
    if feed is None:
        return ()
    if feed.problem and feed.live_note:
        return ((f"{feed.live_note}: ", "strong"), (feed.problem, "warning"))
    if feed.problem:
        return ((feed.problem, "error"),)
    found: list[Span] = []
    age = unix_time() - feed.updated_at if feed.updated_at else 0.0
    if age > STALE_SECONDS + feed.refresh_seconds:
        found.append((f"of {_clock(feed.updated_at)} ({format_duration(age)} ago) ", "warning"))
    name = feed.live_note or feed.source_name
    found.append((name, "muted"))
    if feed.step and not feed.live_note:
        found.append((f", every {format_duration(feed.step)}", "muted"))
    return tuple(found)


def _shortened(line: Line, width: int) -> Line:
    return fit_line(line, width)


def _clock(time: float) -> str:
    return datetime.fromtimestamp(time).astimezone().strftime("%H:%M")
