"""The figures of a serving as cells of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from servedeck.metrics.units import UNKNOWN_VALUE, Unit, format_value
from widgets.columns import Cell, Column
from widgets.sparkline import sparkline

if TYPE_CHECKING:
    from servedeck.metrics.fleet_metrics import ServingFigures

TREND_WIDTH = 16
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

UNKNOWN_CELL = ((UNKNOWN_VALUE, "muted"),)


class RowFigures(NamedTuple):
    """What a row shows."""

    figures: ServingFigures
    is_stale: bool = False


def figure_cells(shown: RowFigures | None, *, is_utf8: bool) -> tuple[Cell, ...]:
    """Cells in the order of FIGURE_COLUMNS; None for a serving of which nothing is known."""
    if shown is None:
        return (UNKNOWN_CELL,) * len(FIGURE_COLUMNS)
    figures, is_stale = shown
    trend = UNKNOWN_CELL
    if any(value is not None for value in figures.recent_rates):
        line = sparkline(figures.recent_rates, TREND_WIDTH, is_utf8=is_utf8)
        trend = ((line, "muted" if is_stale else "accent"),)
    return (
        _value_cell(figures.rate, Unit.PER_SECOND, is_stale=is_stale),
        _value_cell(figures.p95, Unit.SECONDS, is_stale=is_stale),
        _value_cell(figures.waiting, Unit.COUNT, is_stale=is_stale),
        trend,
    )


def _value_cell(value: float | None, unit: Unit, *, is_stale: bool) -> Cell:
    text = format_value(value, unit)
    if text == UNKNOWN_VALUE:
        return UNKNOWN_CELL
    if is_stale:
        return ((f"{STALE_MARK}{text}", "muted"),)
    return ((text, "muted" if not value else ""),)
