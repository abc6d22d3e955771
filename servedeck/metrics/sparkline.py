"""A time series in one cell of a table, or in a few rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from servedeck.metrics.units import LARGEST, finite

UTF8_BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*%#"
"""From zero to the highest value. The first one is zero alone, so that little is told from none."""

_LEVELS = len(UTF8_BARS)


def sparkline(values: Sequence[float | None], width: int, *, is_utf8: bool) -> str:
    """`width` cells: the highest value of each part of the time as a bar from zero on, a space for
    a gap (None, NaN, infinity). Fewer values than cells are at the right edge."""
    return bar_rows(values, width, 1, is_utf8=is_utf8)[0]


def bar_rows(
    values: Sequence[float | None],
    width: int,
    height: int,
    *,
    is_utf8: bool,
    ends: tuple[float, float] | None = None,
) -> tuple[str, ...]:
    """`height` rows of `width` cells, as `sparkline`, from the top. `ends` are the values of the
    lowest and the highest bar; None for zero, or what is below it, and the highest value."""
    width, height = max(width, 0), max(height, 1)
    highest = _highest(values, width)
    low, high = ends or value_range(highest)
    bars = UTF8_BARS if is_utf8 else ASCII_BARS
    levels = [_level(value, low, high, _LEVELS * height) for value in highest]
    rows = []
    for row in reversed(range(height)):
        base = row * _LEVELS
        rows.append(
            "".join(
                " " if level is None or level < base else bars[min(level - base, _LEVELS - 1)]
                for level in levels
            ).rjust(width)
        )
    return tuple(rows)


def value_range(values: Sequence[float | None]) -> tuple[float, float]:
    """Zero, or what is below it, and the highest value."""
    known = [value for one in values if (value := finite(one)) is not None]
    return min([0.0, *known]), max([0.0, *known])


def _highest(values: Sequence[float | None], width: int) -> list[float | None]:
    """The highest value of each of at most `width` parts."""
    count = len(values)
    if count <= width:
        return [finite(value) for value in values]
    parts = [
        [
            value
            for one in values[at * count // width : (at + 1) * count // width]
            if (value := finite(one)) is not None
        ]
        for at in range(width)
    ]
    return [max(part, default=None) for part in parts]


def _level(value: float | None, low: float, high: float, levels: int) -> int | None:
    """From 0 at `low` to `levels` - 1; None for a gap. What is not the lowest has at least 1."""
    if value is None:
        return None
    value, low, high = (max(-LARGEST, min(one, LARGEST)) for one in (value, low, high))
    if value <= low or high <= low:
        return 0
    share = min((value - low) / (high - low), 1.0)
    return max(1, math.ceil(share * (levels - 1) - 1e-9))
