"""Records what the terminal shows, cell by cell, so that only the cells that differ are sent.

Textual's compositor sends every cell of a dirty region, and a focus change or an added or removed
widget makes most of the screen dirty, several times: opening the status cost 104 kB at 120x40, and
costs 6 kB this way. A list that is sorted again moves most of its rows by one line, and rows are
similar: only the columns of such a line that differ are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple, TypeGuard

from rich.cells import split_graphemes
from rich.console import Console
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip

from tui.internals.style_codes import DEFAULT_CODES, change_style, style_codes
from tui.internals.textual_private import (
    ChopsUpdate,
    CompositorUpdate,
    LayoutUpdate,
    get_color_system,
)

Cell = tuple[str, Style | None]
"""Text of one cell and its style; the text is "" in the second cell of a wide character."""

MAX_GAP = 6
"""Maximum number of equal cells between two differing ones that are sent too: moving the cursor
past them takes as many bytes."""


class CellRun(NamedTuple):
    """Cells to write, starting at column `x` of line `y`."""

    x: int
    y: int
    cells: list[Cell]


class ScreenPatch(CompositorUpdate):
    """Runs of cells to write to the screen."""

    def __init__(self, runs: list[CellRun]) -> None:
        self.runs = runs

    def render_segments(self, console: Console) -> str:
        """Escape sequences and text to write to the terminal."""
        colors = get_color_system(console)
        output: list[str] = []
        style, codes = None, DEFAULT_CODES
        for x, y, cells in self.runs:
            output.append(f"\x1b[{y + 1};{x + 1}H")
            for character, its_style in cells:
                if its_style is not style:
                    before, style, codes = codes, its_style, style_codes(its_style, colors)
                    output.append(change_style(before, codes))
                output.append(character)
        output.append(change_style(codes, DEFAULT_CODES))
        return "".join(output)


class ScreenBuffer:
    """The lines that were sent last."""

    def __init__(self) -> None:
        self._lines: list[list[Cell | None]] = []
        self._size = Size(0, 0)

    def invalidate(self) -> None:
        """Forget what the terminal shows: all cells will be sent."""
        self._lines = []

    def make_patch(self, update: CompositorUpdate, size: Size) -> ScreenPatch:
        """The cells of the update that are not on the screen yet; records them as shown."""
        if size != self._size or not self._lines:
            self._size = size
            # None equals no cell, so no cell of such a line counts as shown.
            self._lines = [[None] * size.width for _ in range(size.height)]
        pieces: list[CellRun] = []
        for x, y, strip in _positioned_strips(update):
            if 0 <= y < size.height and 0 <= x < size.width:
                self._update_line(x, y, strip_cells(strip)[: size.width - x], pieces)
        return ScreenPatch(pieces)

    def _update_line(self, x: int, y: int, new: list[Cell], runs: list[CellRun]) -> None:
        """Record the cells from column `x` on as shown, and add those that were not to `runs`."""
        line = self._lines[y]
        old = line[x : x + len(new)]
        if old == new:
            return
        line[x : x + len(new)] = new
        start = end = -1
        for at, (before, after) in enumerate(zip(old, new, strict=True)):
            if before is after or before == after:
                continue
            if start >= 0 and at - end <= MAX_GAP:
                end = at + 1
                continue
            if start >= 0:
                runs.append(_cell_run(x, y, new, start, end))
            start, end = at, at + 1
        runs.append(_cell_run(x, y, new, start, end))


def _cell_run(x: int, y: int, cells: list[Cell], start: int, end: int) -> CellRun:
    """The cells from `start` to `end`, with the other half of a wide character at either edge."""
    while start > 0 and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return CellRun(x + start, y, cells[start:end])


def is_partial_update(renderable: object) -> TypeGuard[CompositorUpdate]:
    """Whether it is an update whose strips `ScreenBuffer` can read."""
    return isinstance(renderable, LayoutUpdate | ChopsUpdate)


def _positioned_strips(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]]:
    """The strips of an update, each with its column and line."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in strips:
                yield x, y, strip
                x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, start, stop in update.spans:
            for end, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if chop is None or x >= stop or end <= start:
                    continue
                left, right = max(x, start), min(end, stop)
                yield left, y, chop.crop(left - x, right - x)


def strip_cells(strip: Strip) -> list[Cell]:
    """The cells of a strip."""
    cells: list[Cell] = []
    for text, style, _control in strip:
        parts: Iterable[str] = text if text.isascii() else _cell_texts(text)
        cells.extend(zip(parts, repeat(style)))
    return cells


@lru_cache(maxsize=4096)
def _cell_texts(text: str) -> tuple[str, ...]:
    """The text of each cell, for a text with wide or combining characters."""
    parts: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        if width:
            parts.append(text[start:end])
            parts += [""] * (width - 1)
        elif parts:
            parts[-1] += text[start:end]
    return tuple(parts)
