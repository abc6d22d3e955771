"""The heading of the tab YAML: the object, when it changed, and what is to be known of the text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from servedeck.serving.duration import format_duration
from widgets.styled_line import Line, Span, line_width

MIN_NAME_WIDTH = 10
"""Minimum width of a name in cells."""


def title_line(
    kind: str,
    name: str,
    width: int,
    *,
    age: float | None,
    visible: tuple[int, int, int],
) -> Line:
    """The object, the seconds since it changed (None if unknown), and the first and the last
    visible line of how many. A long name loses its beginning: its end distinguishes Pods."""
    rest: list[Span] = []
    if age is not None:
        rest.append((f"  changed {format_duration(max(age, 0.0))} ago", "muted"))
    first, last, count = visible
    if count:
        rest.append((f"  lines {first:,}-{last:,} of {count:,}", "muted"))
    room = max(width - 1 - line_width(tuple(rest)), len(kind) + MIN_NAME_WIDTH)
    title = f"{kind}/{name}"
    if len(title) > room:
        title = f"{kind}/…{name[len(title) - room + 1 :]}"
    return ((" ", ""), (title, "strong"), *rest)


def state_line(parts: Sequence[Span]) -> Line:
    """Notes about the object, side by side."""
    line: list[Span] = [(" ", "")]
    for number, part in enumerate(parts):
        line += [("  ", ""), part] if number else [part]
    return tuple(line)


def deleted_text(deleted_at: datetime | None) -> str:
    """That the object was deleted; None if nobody knows when."""
    when = f" at {clock_text(deleted_at)}" if deleted_at is not None else ""
    return f"deleted{when}; the last state is shown"


def replaced_text(replaced_at: datetime) -> str:
    return f"replaced at {clock_text(replaced_at)} by a new object of this name"


def clock_text(time: datetime) -> str:
    """The local time of day."""
    return time.astimezone().strftime("%H:%M:%S")
