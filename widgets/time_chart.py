"""A chart of time series with a cursor that reads all lines at a moment, and a view that zooms."""

from __future__ import annotations

import math
from dataclasses import replace

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from servedeck.metrics.units import Unit
from widgets.chart_data import ChartData, ChartMark, TimeRange
from widgets.chart_legend import legend_line, values_line
from widgets.chart_plot import (
    Plot,
    build_plot,
    full_view,
    indexes_in,
    mark_cell,
)
from widgets.styled_line import Line, StyledLineView

MIN_SIZE = (20, 5)
"""Cells and lines below which there are values, but no graph."""
MIN_VIEW_STEPS = 8
"""Steps of time that the view has at least."""

_NO_DATA = ChartData("", Unit.COUNT, 0.0, 1.0, ())


class TimeChart(StyledLineView):
    """A title line with values, and below it the graph. The owner binds the keys."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {
        "style--chart-cursor",
        "style--chart-cursor-value",
    }
    DEFAULT_CSS = """
    TimeChart {
        height: 1fr;
        overflow: hidden hidden;
        & > .style--chart-cursor { text-style: bold; }
        & > .style--chart-cursor-value { text-style: reverse; }
    }
    """

    def __init__(self, *, is_utf8: bool, id: str | None = None, classes: str | None = None) -> None:
        """`is_utf8` says whether the terminal shows more than ASCII."""
        super().__init__(id=id, classes=classes)
        self._is_utf8 = is_utf8
        self._data = _NO_DATA
        self._view: TimeRange | None = None
        self._cursor: int | None = None
        self._plot: Plot | None = None
        self._plot_size = (0, 0)
        self._row_strips: dict[int, Strip] = {}
        self._row_styles: dict[str, Style] = {}
        """Styles of the plot by their names, with the widget's own below them."""

    # -- content ------------------------------------------------------------------------------

    @property
    def data(self) -> ChartData:
        """What is shown."""
        return self._data

    def set_data(self, data: ChartData) -> None:
        """Show other data. The cursor stays at its time, or at the nearest one that is left; a view
        that shows the end follows it, any other one stays where it is, as far as there is data."""
        if data == self._data:
            return
        before, time = self._data, self.cursor_time
        self._data = data
        if self._has_graph and data == replace(before, title=data.title, note=data.note):
            self._refresh_title()
            return
        if self._view is not None:
            moved = full_view(data).end - full_view(before).end
            follows = self._view.end >= full_view(before).end - before.step / 2
            shift = moved if follows and before.count else 0.0
            self._view = self._clamped(self._view.start + shift, self._view.end + shift)
        self._cursor = self._index_near(time) if time is not None else None
        self._replot()

    # -- the cursor ---------------------------------------------------------------------------

    @property
    def cursor_time(self) -> float | None:
        """Unix time of the values under the cursor; None without a cursor."""
        return self._data.time_at(self._cursor) if self._cursor is not None else None

    @property
    def cursor_values(self) -> tuple[float | None, ...]:
        """The values that the title line shows, one for each line; None for a gap."""
        index = self._shown_index
        if index is None:
            return ()
        return tuple(self._data.value_at(line, index) for line in self._data.lines)

    def move_cursor(self, steps: int) -> None:
        """Move the cursor by cells with values, to the right if `steps` is positive; the view
        scrolls at its edge. Of the moments of one cell it reads the one with the highest value, so
        that a peak is not passed over. Without a cursor, it begins at the end of the view."""
        inside = indexes_in(self._data, self.view_range)
        if not inside:
            return
        if self._cursor is None:
            self._put_cursor(inside[-1])
            return
        columns = self._plot.columns if self._plot is not None else 0
        index = self._peak_beside(steps) if 0 < columns < len(inside) else None
        if index is None:
            stride = max(1.0, len(inside) / columns) if columns else 1.0
            index = max(0, min(round(self._cursor + steps * stride), self._data.count - 1))
        self._put_cursor(index)

    def set_cursor_time(self, time: float) -> None:
        """Put the cursor on the values nearest to a Unix time, which scrolls into view; nothing
        without values."""
        index = self._index_near(time)
        if index is not None:
            self._put_cursor(index)

    def clear_cursor(self) -> None:
        """Show the newest values of the view again."""
        if self._cursor is not None:
            self._refresh_cursor()
            self._cursor = None
            self._refresh_title()

    def _index_near(self, time: float) -> int | None:
        if not self._data.count or not math.isfinite(time) or not self._data.step > 0:
            return None
        index = round((time - self._data.start) / self._data.step)
        return max(0, min(index, self._data.count - 1))

    def _put_cursor(self, index: int) -> None:
        if index == self._cursor:
            return
        self._refresh_cursor()
        self._cursor = index
        view, time = self.view_range, self._data.time_at(index)
        if self._view is not None and not view.start <= time <= view.end:
            shift = min(time - view.start, 0.0) or time - view.end
            self.set_view(view.start + shift, view.end + shift)
        self._refresh_cursor()
        self._refresh_title()

    def _peak_beside(self, steps: int) -> int | None:
        """Of the moments that share the cell so many cells beside the cursor, the one with the
        highest value; None outside the view."""
        plot, cell = self._plot, self._cursor_cell
        if plot is None or cell is None:
            return None
        inside = indexes_in(self._data, plot.view)
        stride = len(inside) / plot.columns
        about = inside.start + stride * (cell + steps - plot.left)
        near = range(
            max(inside.start, int(about - stride) - 2),
            min(inside.stop, int(about + 2 * stride) + 2),
        )
        beside = [one for one in near if plot.cell_at(self._data.time_at(one)) == cell + steps]
        return max(beside, key=self._highest_at, default=None)

    def _highest_at(self, index: int) -> float:
        values = [self._data.value_at(line, index) for line in self._data.lines]
        return max((value for value in values if value is not None), default=-math.inf)

    # -- the view -----------------------------------------------------------------------------

    @property
    def view_range(self) -> TimeRange:
        """The time that is shown."""
        return self._view or full_view(self._data)

    def set_view(self, start: float, end: float) -> None:
        """Show a part of the time, in Unix seconds: at least MIN_VIEW_STEPS steps, and no more than
        there is. Raises ValueError if it does not end after its start."""
        if not (math.isfinite(start) and math.isfinite(end)) or end <= start:
            raise ValueError("a view ends after its start")
        view = self._clamped(start, end)
        if view != self._view:
            self._view = view
            self._replot()

    def reset_view(self) -> None:
        """Show all of the time."""
        if self._view is not None:
            self._view = None
            self._replot()

    def _clamped(self, start: float, end: float) -> TimeRange | None:
        """The view in whole steps within the data; None for all of it."""
        data, step = self._data, self._data.step
        last = data.count - 1
        if last <= MIN_VIEW_STEPS or not step > 0:
            return None
        steps = max(MIN_VIEW_STEPS, min(round((end - start) / step), last))
        first = max(0, min(round((start - data.start) / step), last - steps))
        if steps >= last:
            return None
        return TimeRange(data.time_at(first), data.time_at(first + steps))

    # -- drawing ------------------------------------------------------------------------------

    @property
    def _has_graph(self) -> bool:
        return self.size.width >= MIN_SIZE[0] and self.size.height >= MIN_SIZE[1]

    @property
    def _shown_index(self) -> int | None:
        """Index of the values in the title line; None without values."""
        if self._cursor is not None:
            return self._cursor
        inside = indexes_in(self._data, self.view_range)
        return inside[-1] if inside else None

    def _replot(self) -> None:
        self._plot = None
        self._row_strips.clear()
        self.refresh()

    def _refresh_title(self) -> None:
        self.refresh(Region(0, 0, self.size.width, 1))

    def _refresh_cursor(self) -> None:
        """Repaint the column of the cursor."""
        cell = self._cursor_cell
        if cell is not None and self._plot is not None:
            self.refresh(Region(cell, 1, 1, self._plot.rows))

    @property
    def _cursor_cell(self) -> int | None:
        """The cell of the cursor in its lines; None if it is not visible."""
        time = self.cursor_time
        return self._plot.cell_at(time) if self._plot is not None and time is not None else None

    @property
    def _cursor_mark(self) -> ChartMark | None:
        """The nearest mark in the cell of the cursor or beside it, or nearer to its values than to
        any others."""
        time, cell, plot = self.cursor_time, self._cursor_cell, self._plot
        if time is None or cell is None or plot is None:
            return None
        near = [
            mark
            for mark in self._data.marks
            if (other := plot.cell_at(mark.time)) is not None
            and (abs(other - cell) <= 1 or abs(mark.time - time) <= self._data.step / 2)
        ]
        return min(near, key=lambda mark: abs(mark.time - time), default=None)

    def notify_style_update(self) -> None:
        self._row_strips.clear()
        self._row_styles.clear()
        super().notify_style_update()

    def _current_plot(self, size: tuple[int, int]) -> Plot:
        if self._plot is None or self._plot_size != size:
            width, height = self._plot_size = size
            self._plot = build_plot(
                self._data, width, height - 1, is_utf8=self._is_utf8, view=self._view
            )
            self._row_strips.clear()
        return self._plot

    def render_line(self, y: int) -> Strip:
        # Textual computes the size each time: it is asked for once.
        width, height = self.size
        base = self.rich_style
        if width < MIN_SIZE[0] or height < MIN_SIZE[1]:
            if y:
                return Strip.blank(width, base)
            line = values_line(self._data, self._shown_index, width, is_utf8=self._is_utf8)
            return self.make_strip(line, width, base)
        plot = self._current_plot((width, height))
        if y == 0:
            return self.make_strip(self._title_line(plot, width), width, base)
        row = y - 1
        if row >= len(plot.lines):
            return Strip.blank(width, base)
        cell = self._cursor_cell if row < plot.rows else None
        if cell is not None:
            line = mark_cell(plot.lines[row], cell, is_utf8=self._is_utf8)
            return self._make_row(line, width)
        strip = self._row_strips.get(row)
        if strip is None:
            strip = self._row_strips[row] = self._make_row(plot.lines[row], width)
        return strip

    def _title_line(self, plot: Plot, width: int) -> Line:
        inside = indexes_in(self._data, self.view_range)
        return legend_line(
            self._data,
            self._shown_index if plot.columns else None,
            width,
            is_utf8=self._is_utf8,
            shows_time=self._cursor is not None or inside.stop < self._data.count,
            mark=self._cursor_mark,
            is_limit_drawn=plot.is_limit_drawn,
        )

    def _make_row(self, line: Line, width: int) -> Strip:
        """A line of the plot: it is as wide as the widget, and without control characters."""
        styles, base = self._row_styles, self.rich_style
        for _text, name in line:
            if name not in styles:
                styles[name] = base + self.named_style(name)
        return Strip([Segment(text, styles[name]) for text, name in line], width)
