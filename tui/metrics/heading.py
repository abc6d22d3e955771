"""The line above the cards: the time that is shown, the source, and what is wrong with it."""

from __future__ import annotations

import re

from servedeck.metrics.period import PERIODS, Period
from servedeck.serving.duration import format_duration
from tui.metrics.feed import MetricsFeed, clock_text
from widgets.chart_data import TimeRange
from widgets.styled_line import Line, Span, align_left_right, fit_line, line_width

STALE_SECONDS = 90.0
"""After which figures that were not read again are said to be old."""
PLACE_WIDTH = 60
"""Cells from which the place of the graph is shown."""
LATE_SECONDS = 10.0
"""The same where something is wrong: a reading may take some seconds."""
_MARGIN = 1
_ADDRESS = re.compile(r"Prometheus (?:in Service|at) \S*[^\s:]")


def period_at(x: int) -> Period | None:
    """The period whose name the heading has at this cell; None for none."""
    end = _MARGIN
    for one in PERIODS:
        start, end = end, end + len(one.name) + 2  # in brackets, or between blanks
        if start <= x < end:
            return one
    return None


def heading_line(
    feed: MetricsFeed | None, period: Period, zoomed: TimeRange | None, place: str, width: int
) -> Line:
    """ "[1h] 6h  24h   graph 1 of 17    Prometheus in Service monitoring/prometheus, step 15s";
    `place` is that of the chosen graph."""
    left: list[Span] = [(" " * _MARGIN, "")]
    for one in PERIODS:
        is_shown = one is period
        name = f"[{one.name}]" if is_shown and zoomed is None else f" {one.name} "
        left.append((name, "strong" if is_shown and zoomed is None else "muted"))
    if zoomed is not None:
        left.append((f"[{clock_text(zoomed.start)}–{clock_text(zoomed.end)}]", "strong"))
    shown_place: Span = (f"  {place}", "muted")
    right = _source(feed, is_past=zoomed is not None)
    room = width - line_width(tuple(left)) - 3
    has_problem = feed is not None and bool(feed.problem or feed.warning)
    limit = room - line_width((shown_place,)) if width >= PLACE_WIDTH and not has_problem else room
    if feed is not None and line_width(right) > limit:
        # What is wrong is shown rather than the name of what it is wrong with.
        right = tuple((_shortened(text), style) for text, style in right)
    if width >= PLACE_WIDTH and line_width(right) <= room - line_width((shown_place,)):
        left.append(shown_place)
        room -= line_width((shown_place,))
    if line_width(right) > room > 8:
        right = fit_line(right, room)
    elif line_width(right) > room and feed is not None and not has_problem:
        return fit_line(tuple(left), width)
    return align_left_right(tuple(left), (*right, (" ", "")), width)


def _shortened(text: str) -> str:
    """A sentence about Prometheus without its address, whichever source is shown."""
    return _ADDRESS.sub("Prometheus", text, count=1)


def _source(feed: MetricsFeed | None, *, is_past: bool) -> Line:
    if feed is None:
        return ()
    age = () if is_past else _age(feed)  # the past does not change
    if feed.problem and feed.live_note:
        return (*age, (f"{feed.live_note}: ", "strong"), (feed.problem, "warning"))
    if feed.problem:
        return (*age, (feed.problem, "error"))
    if feed.warning:
        return (*age, (f"{feed.source_name}: {feed.warning}", "warning"))
    found = [*age, (feed.live_note or feed.source_name, "muted")]
    if feed.step and not feed.live_note:
        found.append((f", step {format_duration(feed.step)}", "muted"))
    return tuple(found)


def _age(feed: MetricsFeed) -> Line:
    """Of what time the figures are, where that is not the present."""
    age = feed.now - feed.updated_at if feed.updated_at else 0.0
    if age <= feed.refresh_seconds + (LATE_SECONDS if feed.problem else STALE_SECONDS):
        return ()
    return ((f"of {clock_text(feed.updated_at)} ({format_duration(age)} ago) ", "warning"),)
