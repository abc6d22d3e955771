"""Columns of a table: what a row holds, and how columns share a width."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len

from widgets.styled_line import Line, sanitized

MARK = "* "
"""Before the first cell of a marked row."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how it shares the width."""

    key: str
    label: str
    min_width: int
    """Minimum width in cells."""
    max_width: int
    """Maximum width in cells while other columns need space."""
    priority: int
    """0 is always shown; the column with the highest value is hidden first if the width is not
    sufficient."""
    align_right: bool = False
    preferred: int = 0
    """Width in cells that it gets before other columns; 0 for `max_width`."""
    compact: int = 0
    """Width in cells to use if `min_width` does not fit; 0 to hide the column then."""
    fixed_width: int = 0
    """Width in cells that it has whatever it contains; 0 for what it needs."""


def with_widths(columns: Sequence[Column], widths: Mapping[str, int]) -> tuple[Column, ...]:
    """The columns with the widths in cells that somebody chose, by key."""
    return tuple(
        replace(column, min_width=width, max_width=width, preferred=0, compact=0, fixed_width=width)
        if (width := widths.get(column.key, 0))
        else column
        for column in columns
    )


class AgeCell(NamedTuple):
    """A cell whose text is the time since a moment, updated by the table itself."""

    created_at: datetime | None


Cell = str | Line | AgeCell


@dataclass(frozen=True, slots=True)
class Row:
    """A row; its key identifies it wherever it is in the list."""

    key: Hashable
    cells: tuple[Cell, ...]
    style_name: str = ""
    """Style of the cells without their own."""


class ColumnPosition(NamedTuple):
    """Position of a column on a line."""

    column: int
    """Index of the column."""
    x: int
    width: int


COLUMN_GAP = 2
SIDE_MARGIN = 1
MAX_ESSENTIAL_PRIORITY = 4
"""Columns up to this priority get what they need before others are shown."""


def layout_columns(
    columns: Sequence[Column], content_widths: Sequence[int], width: int, *, wide: bool = False
) -> tuple[ColumnPosition, ...]:
    """Places of the columns that are shown in `width` cells.

    The essential columns (up to MAX_ESSENTIAL_PRIORITY) come first and grow to what they need, at
    most `max_width`; then the others are added by priority while their minimum widths fit; then all
    that need more get it by priority, beyond `max_width` where cells are left. `wide` shows every
    column with what it needs, and the line may be longer than `width`.
    """
    wanted = [
        column.fixed_width or max(need, cell_len(column.label))
        for column, need in zip(columns, content_widths, strict=True)
    ]
    if wide:
        return _positions({index: wanted[index] for index in range(len(columns))})
    by_priority = sorted(range(len(columns)), key=lambda index: (columns[index].priority, index))
    room = width - SIDE_MARGIN
    widths: dict[int, int] = {}

    def add_columns(indexes: list[int]) -> None:
        nonlocal room
        for index in indexes:
            # A column that needs less than its minimum width does not claim it.
            minimum = min(columns[index].min_width, max(wanted[index], 1))
            gap = COLUMN_GAP if widths else 0
            if minimum + gap > room:
                tight = room if columns[index].priority == 0 else columns[index].compact
                minimum = min(tight, room - gap) if tight else minimum
            if 0 < minimum <= room - gap:
                widths[index] = minimum
                room -= minimum + gap

    def widen_columns(limit: Callable[[Column], int]) -> None:
        nonlocal room
        for index in by_priority:
            if index in widths:
                goal = min(wanted[index], limit(columns[index]))
                more = max(0, min(goal - widths[index], room))
                widths[index] += more
                room -= more

    add_columns(
        [index for index in by_priority if columns[index].priority <= MAX_ESSENTIAL_PRIORITY]
    )
    widen_columns(lambda column: column.preferred or column.max_width)
    add_columns(
        [index for index in by_priority if columns[index].priority > MAX_ESSENTIAL_PRIORITY]
    )
    widen_columns(lambda column: column.preferred or column.max_width)
    widen_columns(lambda column: column.max_width)
    widen_columns(lambda _column: width)
    return _positions(widths)


def _positions(widths: dict[int, int]) -> tuple[ColumnPosition, ...]:
    places: list[ColumnPosition] = []
    x = SIDE_MARGIN
    for index in sorted(widths):
        places.append(ColumnPosition(index, x, widths[index]))
        x += widths[index] + COLUMN_GAP
    return tuple(places)


def cell_width(cell: Cell) -> int:
    """Width in cells that a cell needs."""
    if isinstance(cell, AgeCell):
        return 5  # the longest age of kubectl is "23h59m"-like, nearly always shorter
    if isinstance(cell, str):
        return _text_width(cell)
    width = 0
    for text, _style_name in cell:
        width += _text_width(text)
    return width


def _text_width(text: str) -> int:
    """Most texts are ASCII, and lists of thousands of rows are measured at once."""
    if text.isascii() and text.isprintable():
        return len(text)
    return cell_len(sanitized(text))
