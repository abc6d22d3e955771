"""A grid of small charts, one for each Pod, all with the same scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.strip import Strip

from servedeck.metrics.sparkline import bar_rows, value_range
from servedeck.metrics.units import Unit, finite, format_value
from widgets.chart_data import ChartLine
from widgets.chart_legend import BARE_UNITS
from widgets.chart_plot import shown_text, to_ascii
from widgets.styled_line import (
    Line,
    Span,
    StyledLineView,
    align_left_right,
    fit_line,
    fit_text,
    line_width,
)

_GAP = 3
"""Cells between two charts."""
_MIN_BARS = 12
_MAX_LABEL = 30
_MIN_LABEL = 6
_HEIGHTS = (8, 6, 5, 4, 3, 2, 1)
"""Rows of the bars, the best first; more than one is followed by an empty row."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How the charts are laid out."""

    columns: int
    rows: int
    """Charts below each other."""
    bar_height: int
    cell_width: int
    label_width: int
    value_width: int

    @property
    def count(self) -> int:
        """How many charts fit."""
        return self.columns * self.rows

    @property
    def cell_height(self) -> int:
        return self.bar_height + (1 if self.bar_height > 1 else 0)


def small_multiple_lines(
    rows: Sequence[ChartLine],
    unit: Unit,
    width: int,
    height: int,
    *,
    is_utf8: bool,
    first: int = 0,
    noun: str = "Pods",
    title: str = "",
    note: str = "",
    order: Sequence[str] = (),
) -> tuple[Line, ...]:
    """`height` lines of `width` cells: the title, the scale that all charts have and the note, then
    a chart with label and last value for each of `rows`, from left to right: those whose label is
    in `order` by that, the others by their last value, the highest first. Where they do not fit,
    those from the index `first` on, and the first line says which: "1–12 of 50 Pods"."""
    width, height = max(width, 0), max(height, 0)
    grid = lay_out(rows, unit, width, height, is_utf8=is_utf8)
    places = {label: place for place, label in enumerate(order)}
    ordered = sorted(rows, key=lambda one: (places.get(one.label, len(places)), *_order(one)))
    first = max(0, min(first, len(rows) - 1)) if len(rows) > grid.count else 0
    shown = ordered[first : first + grid.count]
    ends = value_range([value for row in rows for value in row.values])
    lines: list[Line] = []
    if height > 1:
        lines.append(
            _header(rows, unit, ends, width, (first, len(shown)), is_utf8, noun, title, note)
        )
    for start in range(0, len(shown), grid.columns):
        cells = [
            _cell(row, unit, grid, ends, is_utf8) for row in shown[start : start + grid.columns]
        ]
        for at in range(grid.bar_height):
            spans: list[Span] = []
            for number, cell in enumerate(cells):
                spans += [(" " * _GAP, "")] * bool(number) + list(cell[at])
            lines.append(fit_line(tuple(spans), width))
        lines += [()] * (grid.cell_height - grid.bar_height)
    blank: Line = ((" " * width, ""),) if width else ()
    lines = [line or blank for line in lines[:height]]
    return tuple(
        tuple((to_ascii(text, is_utf8), style_name) for text, style_name in line)
        for line in lines + [blank] * (height - len(lines))
    )


def lay_out(
    rows: Sequence[ChartLine], unit: Unit, width: int, height: int, *, is_utf8: bool
) -> Grid:
    """Bars as high as fit with all charts, and then as few columns as are needed, so that they are
    wide."""
    labels = [cell_len(shown_text(row.label, is_utf8)) for row in rows]
    label_width = max(_MIN_LABEL, min(max(labels, default=0), _MAX_LABEL, width // 3))
    value_width = max((len(_last_text(row, unit, is_utf8)) for row in rows), default=1)
    least = label_width + value_width + _MIN_BARS + 2
    most_columns = max(1, min(len(rows), (width + _GAP) // (least + _GAP)))
    room = height - (height > 1)
    for bar_height in _HEIGHTS:
        cell_height = bar_height + (bar_height > 1)
        grid_rows = max((room + cell_height - bar_height) // cell_height, 0)
        columns = min(max(-(-len(rows) // max(grid_rows, 1)), 1), most_columns)
        if columns * grid_rows >= len(rows) or bar_height == 1:
            break
    cell_width = (width - _GAP * (columns - 1)) // columns
    return Grid(columns, max(grid_rows, 1), bar_height, cell_width, label_width, value_width)


def _order(row: ChartLine) -> tuple[bool, float, str]:
    value = _last_value(row)
    return value is None, -(value or 0.0), row.label


def _last_value(row: ChartLine) -> float | None:
    return finite(row.values[-1]) if row.values else None


def _last_text(row: ChartLine, unit: Unit, is_utf8: bool) -> str:
    return to_ascii(format_value(_last_value(row), unit), is_utf8)


def _header(
    rows: Sequence[ChartLine],
    unit: Unit,
    ends: tuple[float, float],
    width: int,
    shown: tuple[int, int],
    is_utf8: bool,
    noun: str,
    title: str,
    note: str,
) -> Line:
    dash = "–" if is_utf8 else "-"
    low = format_value(ends[0], unit) if ends[0] else "0"
    scale = f"{low}{dash}{format_value(ends[1], unit)}" if ends[1] > ends[0] else low
    scale += f" {unit}" if unit in BARE_UNITS else ""
    first, count = shown
    total = f"{len(rows):,} {noun}"
    if count < len(rows):
        total = f"{first + 1}{dash}{first + count} of {total}"
    spans: Line = (("scale ", "muted"), (to_ascii(scale, is_utf8), "strong"))
    if title:
        spans = ((f"{shown_text(title, is_utf8)}  ", "title"), *spans)
    right: Line = ((total, "muted"),)
    room = width - line_width(spans) - line_width(right) - 4
    if note and room > 0:
        note = shown_text(note, is_utf8)
        right = ((fit_text(note, min(cell_len(note), room)), "warning"), ("  ", ""), *right)
    return fit_line(align_left_right(spans, right, width), width)


def _cell(
    row: ChartLine, unit: Unit, grid: Grid, ends: tuple[float, float], is_utf8: bool
) -> list[Line]:
    """One chart, line by line from the top: label and value are beside its lowest row."""
    room = max(grid.cell_width - grid.label_width - grid.value_width - 2, 0)
    bars = bar_rows(row.values, room, grid.bar_height, is_utf8=is_utf8, ends=ends)
    value = _last_text(row, unit, is_utf8).rjust(grid.value_width)
    lines: list[Line] = [
        ((" " * (grid.label_width + 1), ""), (one, "accent"), (" " * (grid.value_width + 1), ""))
        for one in bars[:-1]
    ]
    label = _keep_end(shown_text(row.label, is_utf8), grid.label_width)
    last: Line = ((f"{label} ", row.style_name), (bars[-1], "accent"), (f" {value}", "strong"))
    return [*lines, last]


def _keep_end(text: str, width: int) -> str:
    """`text` in `width` cells. If it is cut, its end is kept: names of Pods differ there."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    while cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size(f"…{text}", width)


class SmallMultiples(StyledLineView):
    """Small charts that are turned over like pages. The owner binds the keys."""

    DEFAULT_CSS = """
    SmallMultiples {
        height: 1fr;
        overflow: hidden hidden;
    }
    """

    def __init__(self, *, is_utf8: bool, id: str | None = None, classes: str | None = None) -> None:
        """`is_utf8` says whether the terminal shows more than ASCII."""
        super().__init__(id=id, classes=classes)
        self._is_utf8 = is_utf8
        self._rows: Sequence[ChartLine] = ()
        self._unit = Unit.COUNT
        self._title = ""
        self._note = ""
        self._order: tuple[str, ...] = ()
        self._first = 0
        self._lines: tuple[Line, ...] | None = None
        self._drawn_size = (0, 0)

    @property
    def first(self) -> int:
        """Index of the first chart that is shown."""
        return self._first

    def set_rows(
        self, rows: Sequence[ChartLine], unit: Unit, title: str = "", note: str = ""
    ) -> None:
        """Show other charts; the page stays, as far as there are so many. With the same title each
        chart stays where it is: only new ones are added, below. The note is what is missing."""
        shown = self._rows, self._unit, self._title, self._note
        if (rows, unit, title, note) == shown:
            return
        if title != self._title or unit != self._unit:
            self._order = ()
        known = set(self._order)
        added = sorted((one for one in rows if one.label not in known), key=_order)
        self._order += tuple(one.label for one in added)
        self._rows, self._unit, self._title, self._note = rows, unit, title, note
        self._redraw()

    @property
    def has_pages(self) -> bool:
        """Whether not all charts fit."""
        return len(self._rows) > self._page_size

    @property
    def _page_size(self) -> int:
        return lay_out(
            self._rows, self._unit, self.size.width, self.size.height, is_utf8=self._is_utf8
        ).count

    def turn_pages(self, pages: int) -> None:
        """Show the charts that follow, or those before."""
        step = self._page_size
        last = max(0, (len(self._rows) - 1) // step * step)
        first = max(0, min((self._first // step + pages) * step, last))
        if first != self._first:
            self._first = first
            self._redraw()

    def _redraw(self) -> None:
        self._lines = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._lines is None or self._drawn_size != (width, height):
            self._drawn_size = (width, height)
            self._lines = small_multiple_lines(
                self._rows,
                self._unit,
                width,
                height,
                is_utf8=self._is_utf8,
                first=self._first,
                title=self._title,
                note=self._note,
                order=self._order,
            )
        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        return self.make_strip(self._lines[y], width, self.rich_style)
