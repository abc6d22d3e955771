"""The timeline of a serving as one line, and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from servedeck.serving.duration import format_duration
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import (
    TimelineEntry,
    TimelineKind,
    clock_text,
    last_status_change,
)
from widgets.columns import AgeCell, Column, Row
from widgets.serving_rows import STATUS_STYLES
from widgets.styled_line import Line, Span, plain_text

SPANS = tuple(
    timedelta(**parts)
    for parts in (
        {"hours": 1},
        {"hours": 3},
        {"hours": 6},
        {"hours": 12},
        {"days": 1},
        {"days": 3},
        {"days": 7},
    )
)
"""Times that a strip may cover."""

NEWEST_ENTRIES = 3
"""A strip covers at least so many entries, and the last change of status, as far as they are in the
longest of SPANS."""

MIN_CELLS = 8
"""Cells below which there is no strip."""

UNKNOWN_GLYPH = "."
"""A time of which the status is not known."""

MARKS = {
    TimelineKind.NODE: ("N", "node lost", "error"),
    TimelineKind.ROLLOUT: ("R", "rollout", "accent"),
    TimelineKind.SCALE: ("S", "scaled", "accent"),
    TimelineKind.RESTART: ("r", "restart", "warning"),
}
"""Letter, meaning and style of a change, the most important first: a cell shows one of them."""

TIMELINE_COLUMNS = (
    Column("time", "TIME", min_width=15, max_width=15, priority=1),
    Column("age", "AGE", min_width=5, max_width=6, priority=5, align_right=True),
    Column("kind", "KIND", min_width=9, max_width=9, priority=2),
    Column("change", "CHANGE", min_width=20, max_width=300, preferred=44, priority=0),
    Column("source", "SOURCE", min_width=9, max_width=9, priority=6),
)
"""SOURCE says who knows the change: servedeck observed it, or the objects tell it."""


def status_strip(entries: Sequence[TimelineEntry], now: datetime, width: int) -> Line:
    """The last hours in one line of at most `width` cells: "02:00 ....✓✓✓R↻✗r✗✗ 03:00".

    Each cell is a part of the time, the last one ends now: the glyph of the serving's status, or
    the letter of a change (MARKS). `entries` are merged ones, in their order. Empty if there is not
    enough space or no entry.
    """
    span = _span(entries, now)
    if span is None:
        return ()
    start = now - span
    first, last = f"{_end_text(start, span)} ", f" {_end_text(now, span)}"
    cells = width - len(first) - len(last)
    if cells < MIN_CELLS:
        return ()
    glyphs = _statuses(entries, start, span / cells, cells)
    _add_marks(glyphs, entries, start, span / cells)
    return ((first, "muted"), *_merge(glyphs), (last, "muted"))


def strip_legend(entries: Sequence[TimelineEntry], now: datetime) -> Line:
    """What the glyphs and letters of `status_strip` mean, of those that it has."""
    span = _span(entries, now)
    if span is None:
        return ()
    start = now - span
    kinds = {one.kind for one in entries if one.end >= start}
    seen = [one.status for one in entries if one.status is not None and one.end >= start]
    seen += [one.status for one in entries if one.status is not None and one.end < start][-1:]
    spans: list[Span] = []
    for letter, meaning, style_name in (MARKS[kind] for kind in MARKS if kind in kinds):
        spans += [(letter, style_name), (f" {meaning}  ", "muted")]
    for status in Status:
        if status in seen:
            spans += [(status.glyph, STATUS_STYLES[status]), (f" {status.value}  ", "muted")]
    spans += [(UNKNOWN_GLYPH, "muted"), (" not observed", "muted")]
    return tuple(spans)


def _span(entries: Sequence[TimelineEntry], now: datetime) -> timedelta | None:
    """The time that the strip covers; None without an entry."""
    if not entries:
        return None
    ages = [now - one.end for one in entries if now - one.end < SPANS[-1]]
    wanted = sorted(ages)[:NEWEST_ENTRIES][-1:]
    change = last_status_change(entries)
    if change is not None and not change.is_first_status and now - change.end < SPANS[-1]:
        wanted.append(now - change.end)
    return next(span for span in SPANS if not wanted or max(wanted) < span)


def _statuses(
    entries: Sequence[TimelineEntry], start: datetime, step: timedelta, cells: int
) -> list[Span]:
    """The glyph of the status at the end of each cell."""
    changes = [one for one in entries if one.kind is TimelineKind.STATUS]
    glyphs: list[Span] = []
    current: Span = (UNKNOWN_GLYPH, "muted")
    at = 0
    for cell in range(1, cells + 1):
        # The last one ends now, whatever the rounding of `step`; a clock may even be ahead.
        while at < len(changes) and (cell == cells or changes[at].end <= start + step * cell):
            status = changes[at].status
            current = (
                (status.glyph, STATUS_STYLES[status])
                if status is not None
                else (UNKNOWN_GLYPH, "muted")
            )
            at += 1
        glyphs.append(current)
    return glyphs


def _add_marks(
    glyphs: list[Span], entries: Sequence[TimelineEntry], start: datetime, step: timedelta
) -> None:
    ranks = {kind: rank for rank, kind in enumerate(MARKS)}
    marks = [one for one in entries if one.kind in MARKS and one.end >= start]
    for entry in sorted(marks, key=lambda one: -ranks[one.kind]):  # the most important overwrites
        letter, _meaning, style_name = MARKS[entry.kind]
        glyphs[min(int((entry.end - start) / step), len(glyphs) - 1)] = (letter, style_name)


def _merge(glyphs: list[Span]) -> list[Span]:
    """Adjacent glyphs of one style in one span."""
    merged: list[Span] = []
    for glyph, style_name in glyphs:
        if merged and merged[-1][1] == style_name:
            merged[-1] = (merged[-1][0] + glyph, style_name)
        else:
            merged.append((glyph, style_name))
    return merged


def _end_text(time: datetime, span: timedelta) -> str:
    """The local time at an end of the strip, with the date if it covers more than a day."""
    return time.astimezone().strftime("%H:%M" if span <= timedelta(days=1) else "%b %d %H:%M")


def timeline_rows(entries: Sequence[TimelineEntry], now: datetime) -> list[Row]:
    """Rows of the entries in their order, cells in the order of TIMELINE_COLUMNS. `now` only says
    whether a time needs its date."""
    return [_build_row(entry, now) for entry in entries]


def entry_text(entry: TimelineEntry) -> str:
    """What the column "Change" says."""
    return plain_text(tuple(_entry_spans(entry)))


def _entry_spans(entry: TimelineEntry) -> list[Span]:
    spans: list[Span] = []
    if entry.count > 1:
        seconds = (entry.end - entry.time).total_seconds()
        duration = f" over {format_duration(seconds)}" if seconds >= 1 else ""
        spans.append((f"×{entry.count:,}{duration}  ", "strong"))
    if entry.status is not None:
        spans.append((f"{entry.status.glyph} {entry.text}", STATUS_STYLES[entry.status]))
    else:
        spans.append((entry.text, ""))
    return spans


def _build_row(entry: TimelineEntry, now: datetime) -> Row:
    mark = MARKS.get(entry.kind)
    return Row(
        # Another restart of the same container, at the end of its identity, is the same row.
        (entry.time, entry.kind, entry.identity[:3] or entry.text),
        (
            clock_text(entry.end, now),
            AgeCell(entry.end),
            ((entry.kind.value, mark[2] if mark else "muted"),),
            tuple(_entry_spans(entry)),
            (("servedeck" if entry.observed else "objects", "muted"),),
        ),
    )
