"""The figures of a serving as cells of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from servedeck.metrics.sparkline import sparkline
from servedeck.metrics.units import UNKNOWN_VALUE, Unit, format_value
from widgets.columns import Cell, Column

if TYPE_CHECKING:
    from servedeck.metrics.fleet_metrics import ServingFigures

TREND_WIDTH = 12
"""Cells of the sparkline."""
FIGURE_COLUMNS = (
    Column("rps", "RPS", min_width=5, max_width=8, priority=10, align_right=True),
    Column("p95", "P95", min_width=7, max_width=9, priority=10, align_right=True),
    Column("waiting", "WAITING", min_width=7, max_width=9, priority=11, align_right=True),
    Column("trend", "RPS 30 MIN", min_width=TREND_WIDTH, max_width=TREND_WIDTH, priority=12),
)
FIGURE_KEYS = frozenset(column.key for column in FIGURE_COLUMNS)
STALE_MARK = "~"
"""Before a value that is older than it should be, and could not be read again."""


class RowFigures(NamedTuple):
    """What a row shows."""

    figures: ServingFigures
    is_stale: bool
    cells: tuple[Cell, ...]
    """In the order of FIGURE_COLUMNS."""


def make_row_figures(
    figures: ServingFigures, *, is_utf8: bool, is_stale: bool = False
) -> RowFigures:
    """The figures with their cells, which take 30 µs. They are as wide as their column at least, so
    that no column moves when the figures arrive."""
    rate, p95, waiting, trend = FIGURE_COLUMNS
    cells = (
        _value_cell(rate, figures.rate, Unit.PER_SECOND, is_stale=is_stale),
        _value_cell(p95, figures.p95, Unit.SECONDS, is_stale=is_stale),
        _value_cell(waiting, figures.waiting, Unit.COUNT, is_stale=is_stale),
        _trend_cell(trend, figures, is_utf8=is_utf8, is_stale=is_stale),
    )
    return RowFigures(figures, is_stale, cells)


def _value_cell(column: Column, value: float | None, unit: Unit, *, is_stale: bool) -> Cell:
    text = format_value(value, unit)
    if text == UNKNOWN_VALUE:
        return _unknown_cell(column)
    if is_stale:
        text = f"{STALE_MARK}{text}"
    return ((text.rjust(column.min_width), "muted" if is_stale or not value else ""),)


def _trend_cell(column: Column, figures: ServingFigures, *, is_utf8: bool, is_stale: bool) -> Cell:
    if all(value is None for value in figures.recent_rates):
        return _unknown_cell(column)
    line = sparkline(figures.recent_rates, TREND_WIDTH, is_utf8=is_utf8)
    return ((line, "muted" if is_stale else "accent"),)


def _unknown_cell(column: Column) -> Cell:
    width = column.min_width
    text = UNKNOWN_VALUE.rjust(width) if column.align_right else UNKNOWN_VALUE.ljust(width)
    return ((text, "muted"),)


UNKNOWN_CELLS = tuple(map(_unknown_cell, FIGURE_COLUMNS))
"""Those of a serving of which nothing is known."""
