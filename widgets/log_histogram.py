"""The number of lines of a log over time, as a strip of bars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from widgets.styled_line import Line, Span

MIN_CELLS = 8
"""Fewer bars than these have no times beside them."""

_TIME_CELLS = len(" 00:00:00 ")

_BARS = " ▁▂▃▄▅▆▇█"


class Bucket(Protocol):
    """The lines of a part of the time."""

    @property
    def start_ns(self) -> int:
        """Unix time of its begin in nanoseconds."""

    @property
    def end_ns(self) -> int:
        """Unix time of its end in nanoseconds."""

    @property
    def errors(self) -> int: ...

    @property
    def warnings(self) -> int: ...

    @property
    def others(self) -> int: ...


def bar_count(width: int) -> int:
    """How many bars fit beside the times at both ends; without the times in a narrow terminal."""
    cells = width - 2 * _TIME_CELLS
    return cells if cells >= MIN_CELLS else max(width, 0)


def histogram_lines(
    buckets: Sequence[Bucket], current_ns: int | None, width: int
) -> tuple[Line, ...]:
    """Two lines: bars as high as the number of lines, in the color of the worst level, and below
    them E where there are errors, w where there are only warnings. The bar of the time `current_ns`
    is marked. No lines without buckets."""
    if not buckets:
        return ()
    most = max(one.errors + one.warnings + one.others for one in buckets) or 1
    has_times = len(buckets) + 2 * _TIME_CELLS <= width
    bars: list[Span] = [(f" {_clock(buckets[0].start_ns)} ", "muted")] if has_times else []
    marks: list[Span] = [(" " * _TIME_CELLS, "")] if has_times else []
    for one in buckets:
        total = one.errors + one.warnings + one.others
        # a single line among a million is seen
        height = -(-total * (len(_BARS) - 1) // most)
        style = "error" if one.errors else "warning" if one.warnings else "accent"
        bars.append((_BARS[height], style))
        is_current = current_ns is not None and one.start_ns <= current_ns < one.end_ns
        mark = "▲" if is_current else "E" if one.errors else "w" if one.warnings else " "
        marks.append((mark, "strong" if is_current else style))
    if has_times:
        bars.append((f" {_clock(buckets[-1].end_ns)} ", "muted"))
    return tuple(bars), tuple(marks)


def _clock(ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ns / 1e9, UTC).astimezone():%H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return "?" * 8
