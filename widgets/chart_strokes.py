"""Which cells of a graph a line goes through, and with which dots of a braille character.

plotext 5.3.2 connects points pixel by pixel, at 3.5 µs each: on 198x25 cells, 240 points take 11 ms
for three smooth lines, but 34 ms where they jump as latencies do, and 105 ms for noise; 1,440
points that jump take 79 ms. Here a vertical part costs as much as the cells that it goes through,
in all 3, 4, 5 and 8 ms, and lines that meet in a cell have their dots in one character, of which
plotext keeps those of the last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from servedeck.metrics.units import LARGEST

Point = tuple[int, int]
"""Column and row in pixels, from the lower left corner."""

_DOT_BITS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Of the left and the right column of a braille character, from below (Unicode, 21.1)."""
_DOT_SPANS = tuple(
    tuple(tuple(sum(side[low : high + 1]) for high in range(4)) for low in range(4))
    for side in _DOT_BITS
)
"""The dots of a column from one to another one."""
_BRAILLE = 0x2800


class PixelGrid(NamedTuple):
    """The pixels of a graph."""

    columns: int
    """Cells in a row."""
    rows: int
    is_braille: bool
    """Whether a cell has 2x4 pixels, not one in height; its width is always two."""

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return 2 * self.columns

    @property
    def height(self) -> int:
        """Pixels in a column."""
        return self.rows * (4 if self.is_braille else 1)

    def cell(self, point: Point) -> Point:
        """Column and row of the cell of a pixel, both from the lower left corner."""
        return point[0] // 2, point[1] // (4 if self.is_braille else 1)


class Scale(NamedTuple):
    """Where values and times are in pixels."""

    low: float
    """The value of the lowest pixel."""
    high: float
    offset: float
    """Pixel of the first value, which may be outside."""
    step: float
    """Pixels from one value to the next."""

    def row(self, value: float, pixels: int) -> int:
        """The pixel of a value, from 0 at `low` to `pixels` - 1 at `high`."""
        share = (max(-LARGEST, min(value, LARGEST)) - self.low) / (self.high - self.low)
        return round(max(0.0, min(share, 1.0)) * (pixels - 1))


def pixel_runs(
    values: Sequence[float | None], scale: Scale, grid: PixelGrid
) -> tuple[tuple[Point, ...], ...]:
    """The pixels of the values, split at the gaps: None, NaN, infinity. Where there are more values
    than pixels in a row, the lowest and the highest one of each column in their order, so that no
    peak and no dip is lost, whatever its length."""
    runs: list[list[Point]] = []
    if len(values) > grid.width:
        extremes = _extremes(values, scale)
        last = None
        for x, (first, second) in extremes.items():
            if last is None or x != last + 1:
                runs.append([])
            last = x
            runs[-1].append((x, scale.row(first, grid.height)))
            if second != first:
                runs[-1].append((x, scale.row(second, grid.height)))
    else:
        low, span, offset, step = scale.low, scale.high - scale.low, scale.offset, scale.step
        top = grid.height - 1
        run: list[Point] | None = None
        for at, value in enumerate(values):
            if value is None or not math.isfinite(value):
                run = None
                continue
            if run is None:
                run = []
                runs.append(run)
            # as `Scale.row`, without a call for each value
            share = (value - low) / span if -LARGEST <= value <= LARGEST else -1.0
            row = round(share * top) if 0.0 <= share <= 1.0 else scale.row(value, grid.height)
            run.append((round(offset + at * step), row))
    return tuple(tuple(run) for run in runs)


def _extremes(values: Sequence[float | None], scale: Scale) -> dict[int, tuple[float, float]]:
    """The lowest and the highest value of each pixel column that has one, in the order in which
    they come."""
    lows: dict[int, tuple[float, int]] = {}
    highs: dict[int, tuple[float, int]] = {}
    offset, step = scale.offset, scale.step
    for at, value in enumerate(values):
        if value is None or not math.isfinite(value):
            continue
        x = round(offset + at * step)
        if x not in lows:
            lows[x] = highs[x] = (value, at)
        elif value < lows[x][0]:
            lows[x] = (value, at)
        elif value > highs[x][0]:
            highs[x] = (value, at)
    return {
        x: (low, highs[x][0]) if at <= highs[x][1] else (highs[x][0], low)
        for x, (low, at) in lows.items()
    }


def stroke_cells(runs: Sequence[Sequence[Point]], grid: PixelGrid) -> dict[Point, int]:
    """The cells of a line with their dots, as the offset of the braille character; without braille
    only the keys mean something. A run of one point has no stroke."""
    cells: dict[Point, int] = {}
    dots = 4 if grid.is_braille else 1
    for run in runs:
        if len(run) < 2:
            continue
        x, y = run[0]
        _fill(cells, x, y, y, dots)
        for to_x, to_y in run[1:]:
            if to_x == x:
                _fill(cells, x, y, to_y, dots)
            else:
                slope = (to_y - y) / (to_x - x)
                before = y
                for between in range(x + 1, to_x + 1):
                    now = round(y + slope * (between - x))
                    # from the neighbour of the last dot on, so that a slope is one dot wide
                    start = before + (now > before) - (now < before)
                    _fill(cells, between, start, now, dots)
                    before = now
            x, y = to_x, to_y
    return cells


def _fill(cells: dict[Point, int], x: int, y: int, to_y: int, dots: int) -> None:
    """Add the pixels of a column between two rows, both included."""
    if y > to_y:
        y, to_y = to_y, y
    column, side = x // 2, x % 2
    first, last = y // dots, to_y // dots
    for row in range(first, last + 1):
        low = y % dots if row == first else 0
        high = to_y % dots if row == last else dots - 1
        bits = _DOT_SPANS[side][low][high]
        cell = column, row
        cells[cell] = cells.get(cell, 0) | bits


def braille(dots: int) -> str:
    """The character with these dots."""
    return chr(_BRAILLE + dots)
