"""Columns of a table: what a row holds, and how columns share a width."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len

from widgets.styled_line import Line, harmless


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how it shares the width."""

    key: str
    label: str
    least: int
    """Fewest cells it is shown in."""
    most: int
    """Most cells it takes while others want room."""
    rank: int
    """0 is always shown; the highest rank is the first to go where the width does not suffice."""
    right: bool = False
    fair: int = 0
    """Cells it takes before other columns have theirs; 0 for `most`."""
    tight: int = 0
    """Cells in which it still says something, or as many as there are, where `least` does not fit;
    0 for a column that then goes."""


class Since(NamedTuple):
    """A cell whose text is the time since a moment, kept true by the table itself."""

    moment: datetime | None


Cell = str | Line | Since


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the same key is the same thing, wherever it stands in the list."""

    key: Hashable
    cells: tuple[Cell, ...]
    tone: str = ""
    """Tone of the cells that have none of their own."""


class Place(NamedTuple):
    """Where a column stands on a line."""

    column: int
    """Index of the column."""
    x: int
    width: int


GAP = 2
MARGIN = 1
ESSENTIAL = 4
"""Rank up to which columns have what they need before others are shown at all."""


def layout(
    columns: Sequence[Column], needs: Sequence[int], width: int, *, wide: bool = False
) -> tuple[Place, ...]:
    """Places of the columns that are shown in `width` cells.

    The essential columns (up to rank ESSENTIAL) come first and grow to what they need, at most
    `most`; then the others enter by rank while their least widths fit; then all that need more get
    it by rank, past `most` where cells are left. `wide` shows every column with what it needs, and
    the line may be longer than `width`.
    """
    wanted = [
        max(need, cell_len(column.label)) for column, need in zip(columns, needs, strict=True)
    ]
    if wide:
        return _placed({index: wanted[index] for index in range(len(columns))})
    by_rank = sorted(range(len(columns)), key=lambda index: (columns[index].rank, index))
    room = width - MARGIN
    widths: dict[int, int] = {}

    def enter(indexes: list[int]) -> None:
        nonlocal room
        for index in indexes:
            # A column that needs less than its least width does not claim it.
            least = min(columns[index].least, max(wanted[index], 1))
            gap = GAP if widths else 0
            if least + gap > room:
                tight = room if columns[index].rank == 0 else columns[index].tight
                least = min(tight, room - gap) if tight else least
            if 0 < least <= room - gap:
                widths[index] = least
                room -= least + gap

    def grow(limit: Callable[[Column], int]) -> None:
        nonlocal room
        for index in by_rank:
            if index in widths:
                goal = min(wanted[index], limit(columns[index]))
                more = max(0, min(goal - widths[index], room))
                widths[index] += more
                room -= more

    enter([index for index in by_rank if columns[index].rank <= ESSENTIAL])
    grow(lambda column: column.fair or column.most)
    enter([index for index in by_rank if columns[index].rank > ESSENTIAL])
    grow(lambda column: column.fair or column.most)
    grow(lambda column: column.most)
    grow(lambda _column: width)
    return _placed(widths)


def _placed(widths: dict[int, int]) -> tuple[Place, ...]:
    places: list[Place] = []
    x = MARGIN
    for index in sorted(widths):
        places.append(Place(index, x, widths[index]))
        x += widths[index] + GAP
    return tuple(places)


def cell_width(cell: Cell) -> int:
    """Cells that a cell needs."""
    if isinstance(cell, Since):
        return 5  # the longest age of kubectl is "23h59m"-like, nearly always shorter
    if isinstance(cell, str):
        return cell_len(harmless(cell))
    return sum(cell_len(harmless(text)) for text, _tone in cell)
