"""Events as rows of a table and as text: the columns, the cells of each, and one Event in full."""

from __future__ import annotations

from datetime import datetime

from servedeck.serving.duration import format_duration, format_signed_duration
from servedeck.serving.status.event_history import EventEntry
from servedeck.serving.status.timeline import clock_text
from servedeck.serving.text import one_line
from widgets.columns import AgeCell, Column, Row
from widgets.styled_line import Span
from widgets.text_view import Paragraph

EVENT_COLUMNS = (
    Column("type", "", min_width=1, max_width=1, priority=0),
    Column("last", "LAST", min_width=4, max_width=6, priority=1, align_right=True),
    Column("time", "TIME", min_width=8, max_width=15, priority=6),
    Column("reason", "REASON", min_width=8, max_width=30, preferred=14, priority=2),
    Column("object", "OBJECT", min_width=10, max_width=50, preferred=18, priority=4),
    Column("count", "COUNT", min_width=5, max_width=8, priority=3, align_right=True),
    Column("over", "OVER", min_width=4, max_width=6, priority=5, align_right=True),
    Column("message", "MESSAGE", min_width=18, max_width=300, preferred=18, priority=4),
)
"""LAST is the age of the last repeat, TIME its local time, OVER the time from the first to the last
repeat."""

TIME_MIN_WIDTH = 110
"""Width of the table in cells from which on it has the column TIME."""

WARNING_GLYPH = "!"
"""Marks a Warning without color."""

_LABEL_WIDTH = 10


def object_text(entry: EventEntry, serving: str) -> str:
    """Kind and name of the object; the name of the serving at its start is omitted, as the end
    distinguishes the objects. An object with the name of the serving is its kind alone."""
    if entry.name == serving:
        return entry.kind.lower()
    rest = entry.name.removeprefix(f"{serving}-")
    return f"{entry.short_kind}/{entry.name if rest == entry.name else '…' + rest}"


def repeat_texts(entry: EventEntry) -> tuple[str, str]:
    """Count and duration of the repeats, ("×23", "4m20s"); empty if it happened once."""
    if entry.count < 2:
        return "", ""
    if entry.first is None or entry.last is None or entry.last <= entry.first:
        return f"×{entry.count:,}", ""
    return f"×{entry.count:,}", format_duration((entry.last - entry.first).total_seconds())


def build_event_row(entry: EventEntry, serving: str, now: datetime) -> Row:
    """The row of an Event, cells in the order of EVENT_COLUMNS. `now` only says whether the time
    needs its date."""
    warning = entry.is_warning
    count, duration = repeat_texts(entry)
    return Row(
        entry.key,
        (
            ((WARNING_GLYPH if warning else "", "warning"),),
            AgeCell(entry.last),
            ((clock_text(entry.last, now) if entry.last is not None else "", "muted"),),
            ((entry.reason, "warning" if warning else "strong"),),
            object_text(entry, serving),
            count,
            ((duration, "muted"),),
            one_line(entry.message),
        ),
    )


def event_fields(entry: EventEntry) -> list[tuple[str, str]]:
    """Label and text of everything that is known about an Event."""
    fields = [
        ("Type", entry.type or "unknown"),
        ("Reason", entry.reason),
        ("Object", f"{entry.kind} {entry.namespace}/{entry.name}"),
        ("Part", entry.field_path),
        ("Message", entry.message),
        ("Count", " over ".join(filter(None, repeat_texts(entry))) or "1"),
        ("First", _time_text(entry.first)),
        ("Last", _time_text(entry.last)),
        ("Source", entry.source),
    ]
    return [(label, text) for label, text in fields if text]


def event_text(entry: EventEntry) -> str:
    """An Event in full, to be copied."""
    return "\n".join(f"{label + ':':<{_LABEL_WIDTH}}{text}" for label, text in event_fields(entry))


def event_paragraphs(entry: EventEntry, now: datetime) -> list[Paragraph]:
    """An Event in full, with ages."""
    ages = {"First": entry.first, "Last": entry.last}
    paragraphs: list[Paragraph] = []
    for label, text in event_fields(entry):
        time = ages.get(label)
        for number, line in enumerate(text.splitlines()):
            heading = label if not number else ""
            spans: list[Span] = [(f"{heading:<{_LABEL_WIDTH}}", "muted")]
            if label == "Type" and entry.is_warning:
                spans.append((f"{WARNING_GLYPH} {line}", "warning"))
            else:
                spans.append((line, "strong" if label == "Reason" else ""))
            if time is not None:
                age = format_signed_duration((now - time).total_seconds())
                spans.append((f"  {age} ago", "muted"))
            paragraphs.append(Paragraph(tuple(spans), indent=_LABEL_WIDTH))
    return paragraphs


def _time_text(time: datetime | None) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S %z") if time is not None else ""
