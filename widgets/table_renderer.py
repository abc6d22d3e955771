"""Draws the lines of a table: header, rows, placeholder. What is drawn is cached by its inputs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len
from rich.style import Style
from textual.cache import LRUCache
from textual.strip import Strip

from widgets.columns import COLUMN_GAP, SIDE_MARGIN, AgeCell, Column, ColumnPosition, Row
from widgets.styled_line import Line, StyledLineView, fit_text, line_width, wrap

MAX_DRAWN_ROWS = 400
"""Number of rows whose drawn line is cached: more than any screen shows."""


class LineLayout(NamedTuple):
    """Layout of a line."""

    columns: tuple[ColumnPosition, ...]
    scroll_x: int
    width: int


class _DrawnRow(NamedTuple):
    """A drawn line of the table, and its inputs."""

    cache_key: tuple[Row, Style, LineLayout]
    """The row, the style below it, and the layout of the line."""
    now: datetime
    """The time that its ages refer to."""
    ages: dict[int, str]
    """Text of each age cell, by its index."""
    strip: Strip
    """With the cells under the scrollbar, and the app's filters applied."""


class TableRenderer:
    """Draws lines of `view`, which provides styles, filters and size. `format_age` returns the
    text of a cell at a time."""

    def __init__(
        self,
        view: StyledLineView,
        columns: Sequence[Column],
        format_age: Callable[[AgeCell, datetime], str],
    ) -> None:
        self._view = view
        self._columns = columns
        self._format_age = format_age
        self._drawn_cells: LRUCache[tuple[Line, ColumnPosition, Style, bool], Strip] = LRUCache(
            2_000
        )
        """If one cell of a row differs, only that cell is drawn again."""
        self._drawn_rows: dict[Hashable, _DrawnRow] = {}
        """By the row's key: a row that only moved to another line looks the same."""
        self._drawn_lines: dict[str, tuple[object, Strip]] = {}
        """The header and the blank line, each with its inputs."""

    def clear_cache(self) -> None:
        """Draw everything again, since the styles changed."""
        self._drawn_cells.clear()
        self._drawn_rows.clear()
        self._drawn_lines.clear()

    def draw_row(self, row: Row, on_cursor: bool, now: datetime, layout: LineLayout) -> Strip:
        """A row; `now` is the time that its ages refer to."""
        base = self._view.component_style("table--cursor") if on_cursor else self._view.rich_style
        cache_key = (row, base, layout)
        cached = self._drawn_rows.get(row.key)
        if cached is not None and cached.cache_key != cache_key:
            cached = None
        if cached is not None and cached.now is now:
            return cached.strip
        ages = {
            number: self._format_age(cell, now)
            for number, cell in enumerate(row.cells)
            if isinstance(cell, AgeCell)
        }
        if cached is not None and cached.ages == ages:
            strip = cached.strip
        else:
            strip = self._join_columns(self._draw_cells(row, ages, base, layout), base, layout)
        if len(self._drawn_rows) > MAX_DRAWN_ROWS:
            self._drawn_rows.clear()
        self._drawn_rows[row.key] = _DrawnRow(cache_key, now, ages, strip)
        return strip

    def draw_header(self, sorted_by: tuple[str, bool] | None, layout: LineLayout) -> Strip:
        """The labels, with a marker on the sorted column."""
        cache_key = (sorted_by, layout)
        cached = self._drawn_lines.get("header")
        if cached is None or cached[0] != cache_key:
            strip = self._build_header(sorted_by, layout)
            cached = self._drawn_lines["header"] = (cache_key, strip)
        return cached[1]

    def draw_blank_line(self, width: int) -> Strip:
        cached = self._drawn_lines.get("blank")
        if cached is None or cached[0] != width:
            strip = self._finish_strip(Strip.blank(width, self._view.rich_style))
            cached = self._drawn_lines["blank"] = (width, strip)
        return cached[1]

    def draw_placeholder_line(self, placeholder: Sequence[Line], y: int, width: int) -> Strip:
        """Line `y` of a table without rows."""
        lines: list[Line] = []
        measure = min(width - 4, 76)
        for line in placeholder:
            lines += wrap(line, max(measure, 8)) if line else [()]
        top = max(0, (self._view.size.height - len(lines)) // 3)
        at = y - top
        if not 0 <= at < len(lines):
            return self._finish_strip(Strip.blank(width, self._view.rich_style))
        widest = max(map(line_width, lines))
        indent = max(1, (width - widest) // 2)
        line = ((" " * indent, ""), *lines[at])
        return self._finish_strip(self._view.make_strip(line, width, self._view.rich_style))

    def _build_header(self, sorted_by: tuple[str, bool] | None, layout: LineLayout) -> Strip:
        base = self._view.component_style("table--header")
        sorted_style = self._view.component_style("table--sorted")
        parts: list[Strip] = []
        for position in layout.columns:
            column = self._columns[position.column]
            mark = ""
            if sorted_by and sorted_by[0] == column.key:
                mark = " ▾" if sorted_by[1] else " ▴"
            label = column.label
            if cell_len(label + mark) > position.width:
                label = fit_text(label, max(position.width - cell_len(mark), 0))
            label += mark
            if column.align_right:
                label = label.rjust(position.width)
            style = sorted_style if mark else base
            parts.append(
                self._apply_filters(self._view.make_strip(((label, ""),), position.width, style))
            )
        return self._join_columns(parts, base, layout)

    def _draw_cells(
        self, row: Row, ages: Mapping[int, str], base_style: Style, layout: LineLayout
    ) -> list[Strip]:
        """The cells that are shown, each as wide as its column."""
        plain = base_style.reverse is True  # styles cannot be distinguished on a reversed line
        ground = (
            base_style
            if plain or not row.style_name
            else base_style + self._view.named_style(row.style_name)
        )
        parts: list[Strip] = []
        for position in layout.columns:
            cell = row.cells[position.column]
            if isinstance(cell, AgeCell):
                line: Line = ((ages[position.column], ""),)
            else:
                line = ((cell, ""),) if isinstance(cell, str) else cell
            cache_key = (line, position, ground, plain)
            drawn = self._drawn_cells.get(cache_key)
            if drawn is None:
                if self._columns[position.column].align_right:
                    line = ((" " * (position.width - line_width(line)), ""), *line)
                drawn = self._apply_filters(
                    self._view.make_strip(line, position.width, ground, styled=not plain)
                )
                self._drawn_cells[cache_key] = drawn
            parts.append(drawn)
        return parts

    def _join_columns(self, strips: list[Strip], base_style: Style, layout: LineLayout) -> Strip:
        """The columns with their gaps; the first stays where it is when the others scroll."""
        gap = self._apply_filters(Strip.blank(COLUMN_GAP, base_style))
        segments = [*self._apply_filters(Strip.blank(SIDE_MARGIN, base_style))]
        for number, part in enumerate(strips):
            if number:
                segments += gap
            segments += part
        positions, scroll_x, width = layout
        line = Strip(segments, positions[-1].x + positions[-1].width if positions else SIDE_MARGIN)
        if scroll_x and positions:
            pinned = positions[0].x + positions[0].width + 1
            line = Strip.join([line.crop(0, pinned), line.crop(pinned + scroll_x)])
        line = line.crop(0, width)
        beyond = (
            (width - line.cell_length, base_style),
            (self._view.size.width - width, self._view.rich_style),
        )
        for cells, style in beyond:
            if cells > 0:
                line = Strip.join([line, self._apply_filters(Strip.blank(cells, style))])
        return line

    def _finish_strip(self, strip: Strip) -> Strip:
        """The line as wide as the widget, with the app's filters applied."""
        return self._apply_filters(
            strip.adjust_cell_length(self._view.size.width, self._view.rich_style)
        )

    def _apply_filters(self, strip: Strip) -> Strip:
        for line_filter in self._view.get_line_filters():
            strip = strip.apply_filter(line_filter, self._view.background_color)
        return strip
