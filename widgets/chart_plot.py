"""Draws a chart as lines of text. The only module that imports plotext, in whose matrix the lines
are drawn; its plots are too slow (`chart_strokes`), and their frame has neither local times nor
marks. The matrix is one for the whole process, so all of this is called in the thread of the event
loop only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len

from servedeck.metrics.units import finite
from widgets.chart_data import ChartData, ChartLine, ChartMark, TimeRange, axis_range, axis_ticks
from widgets.chart_strokes import (
    PixelGrid,
    Point,
    Scale,
    braille,
    pixel_runs,
    stroke_cells,
)
from widgets.chart_times import time_ticks
from widgets.styled_line import Line, Span, fit_line, line_width, sanitized, wrap
from widgets.timeline_strip import MARKS

LINE_STYLES = ("accent", "warning", "degraded", "ready", "strong", "starting")
"""Style names of the lines, in their order."""
UTF8_MARKERS = ("●", "▲", "■", "◆", "▼", "★")
ASCII_MARKERS = ("*", "+", "o", "x", "#", "%")
"""What tells a line from the others without color: it is beside its name, and on the line. In ASCII
the whole line is drawn with it."""
LIMIT_STYLE = "error"
_MESSAGE_MARGIN = 2
NO_VALUES = "No values."

_MARKER_CELLS = 24
"""Cells between two markers on a line."""
_MIN_GRAPH = (8, 2)
"""Cells and rows of a graph, below which it has no axis."""
_MIN_MARKS_HEIGHT = 6
_LABEL_CELLS = len("500 MiB")
"""Cells of the labels of the vertical axis at least, so that charts below each other have their
times in the same columns."""
_ALIGNED_WIDTH = 60
"""Cells of a chart from which its labels take so many."""
_TICK_ROWS = 3
"""Rows for each label of the vertical axis."""
_LIMIT_SHARE = 0.4
"""A limit is drawn where the values reach this share of it; else it would flatten them."""
_MIN_STEP = 1e-3
"""Seconds from one value to the next at least."""
_MAX_TIME = 1e11
"""Unix time in seconds up to which there are graphs, in the year 5138."""
_FREE_CELLS = " ╌-"
"""What is in a cell without a line: nothing, or the limit."""
Cells = tuple[str, list[str]]
"""A row of cells: a character of each, and its style name."""

_MARK_RANKS = {mark[0]: rank for rank, mark in enumerate(MARKS.values())}
_ASCII = {"–": "-", "…": "~", "°": "", "×": "x", "↑": "^", "✗": "x", "✓": "v"}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn chart, and where its graph is."""

    lines: tuple[Line, ...]
    view: TimeRange
    left: int = 0
    """First cell of the graph."""
    columns: int = 0
    """Cells of the graph; 0 if there is none."""
    rows: int = 0
    """Rows of the graph, from the first line on."""
    is_limit_drawn: bool = False

    def cell_at(self, time: float) -> int | None:
        """The cell of a line in which a time is; None if it is not in the graph."""
        pixel = _pixel_at(time, self.view, 2 * self.columns) if self.columns else None
        return self.left + pixel // 2 if pixel is not None else None


def render_plot(
    data: ChartData,
    width: int,
    height: int,
    *,
    is_utf8: bool,
    view: TimeRange | None = None,
    cursor: int | None = None,
) -> tuple[Line, ...]:
    """`height` lines of `width` cells: the graph of a part of the time (`view`; None for all), its
    axes, and the marks. `cursor` is the index of the values that a vertical line marks."""
    plot = build_plot(data, width, height, is_utf8=is_utf8, view=view)
    cell = plot.cell_at(data.time_at(cursor)) if cursor is not None else None
    if cell is None:
        return plot.lines
    return tuple(
        mark_cell(line, cell, is_utf8=is_utf8) if row < plot.rows else line
        for row, line in enumerate(plot.lines)
    )


def build_plot(
    data: ChartData, width: int, height: int, *, is_utf8: bool, view: TimeRange | None = None
) -> Plot:
    """As `render_plot`, without the cursor."""
    view = view or full_view(data)
    width, height = max(width, 0), max(height, 0)
    values = [value for line in data.lines for value in _values_in(data, line, view)]
    if not values or not width or not height:
        return Plot(_message_lines(data.reason or NO_VALUES, width, height, is_utf8), view)
    limit = finite(data.limit)
    if limit is not None and max(values) < limit * _LIMIT_SHARE:
        limit = None
    low, high = axis_range(values if limit is None else [*values, limit], data.unit)

    marks = {} if height < _MIN_MARKS_HEIGHT else _mark_spans(data.marks, view)
    has_time_axis = height >= _MIN_GRAPH[1] + 2
    rows = height - 2 * has_time_axis - bool(marks)
    ticks = axis_ticks(low, high, max(2, rows // _TICK_ROWS), data.unit)
    grid = PixelGrid(0, rows, is_utf8)

    def row_of(value: float) -> int:
        return rows - 1 - grid.cell((0, Scale(low, high, 0, 0).row(value, grid.height)))[1]

    labels = {row_of(tick.value): to_ascii(tick.label, is_utf8) for tick in ticks}
    least = _LABEL_CELLS if width >= _ALIGNED_WIDTH else 0
    left = max([least, *map(cell_len, labels.values())]) + 1
    if width - left < _MIN_GRAPH[0]:
        left, labels = 0, {}
    columns = width - left

    cells = _draw(data, view, (low, high), PixelGrid(columns, rows, is_utf8))
    if limit is not None:
        row = row_of(limit)
        cells[row] = _with_limit(cells[row], is_utf8)
    lines = [
        (*_axis_spans(labels.get(row), left, is_utf8), *_merge(cells[row])) for row in range(rows)
    ]
    if has_time_axis:
        lines += _time_axis(view, left, columns, is_utf8)
    if marks:
        lines.append(_mark_line(marks, view, left, columns, is_utf8))
    return Plot(tuple(lines), view, left, columns, rows, limit is not None)


def full_view(data: ChartData) -> TimeRange:
    """All of the time that the values cover; of a single one, the step before it as well."""
    end = data.time_at(max(data.count - 1, 0))
    return TimeRange(data.start if data.count > 1 else data.start - abs(data.step), end)


def line_marker(number: int, is_utf8: bool) -> str:
    """The marker of a line."""
    markers = UTF8_MARKERS if is_utf8 else ASCII_MARKERS
    return markers[number % len(markers)]


def line_style(data: ChartData, number: int) -> str:
    """The style name of a line."""
    return data.lines[number].style_name or LINE_STYLES[number % len(LINE_STYLES)]


def to_ascii(text: str, is_utf8: bool) -> str:
    """`text` for a terminal that shows ASCII only, unless it shows UTF-8."""
    if is_utf8 or text.isascii():
        return text
    return "".join(
        char if char.isascii() else _ASCII.get(char, "?" * cell_len(char)) for char in text
    )


def shown_text(text: str, is_utf8: bool) -> str:
    """`text` of the cluster on one line, without control characters, as the terminal shows it."""
    return to_ascii(sanitized(text), is_utf8)


def mark_cell(line: Line, cell: int, *, is_utf8: bool) -> Line:
    """`line` with the cursor in a cell: a vertical line, or what is there in reverse."""
    spans: list[Span] = []
    at = 0
    for text, style_name in line:
        if at <= cell < at + len(text):  # the graph has characters of one cell only
            split = cell - at
            char = text[split]
            is_free = char in _FREE_CELLS
            spans += [
                (text[:split], style_name),
                ("│" if is_utf8 else "|", "chart-cursor")
                if is_free
                else (char, "chart-cursor-value"),
                (text[split + 1 :], style_name),
            ]
        else:
            spans.append((text, style_name))
        at += cell_len(text)
    return tuple(span for span in spans if span[0])


# -- where a value is -------------------------------------------------------------------------


def _pixel_at(time: float, view: TimeRange, pixels: int) -> int | None:
    """The pixel column of a time; None outside the view."""
    if not (math.isfinite(time) and view.start <= time <= view.end and view.seconds > 0):
        return None
    return round((time - view.start) / view.seconds * (pixels - 1))


def indexes_in(data: ChartData, view: TimeRange) -> range:
    """The indexes of the values in a part of the time; none for times that no clock shows."""
    is_time = data.step >= _MIN_STEP and max(abs(data.start), data.step) <= _MAX_TIME
    if not (is_time and -_MAX_TIME <= view.start < view.end <= 2 * _MAX_TIME):
        return range(0)
    first = math.ceil((view.start - data.start) / data.step - 1e-6)
    last = math.floor((view.end - data.start) / data.step + 1e-6)
    return range(max(first, 0), min(last + 1, data.count))


def _values_in(data: ChartData, line: ChartLine, view: TimeRange) -> Iterator[float]:
    inside = indexes_in(data, view)
    for value in line.values[inside.start : inside.stop]:
        if value is not None and math.isfinite(value):
            yield value


# -- the graph --------------------------------------------------------------------------------


def _draw(
    data: ChartData, view: TimeRange, ends: tuple[float, float], grid: PixelGrid
) -> list[Cells]:
    """The cells of the graph, row by row from the top: the lines, and what tells them apart."""
    inside = indexes_in(data, view)
    pixels_per_second = (grid.width - 1) / view.seconds
    offset = (data.time_at(inside.start) - view.start) * pixels_per_second
    scale = Scale(*ends, offset, data.step * pixels_per_second)
    runs = [pixel_runs(line.values[inside.start : inside.stop], scale, grid) for line in data.lines]
    matrix = _clear_matrix(grid)
    markers, owners = matrix.marker, matrix.fullground  # a call for each cell takes a tenth longer
    dots: dict[Point, int] = {}
    for number, line_runs in enumerate(runs):
        marker = line_marker(number, grid.is_braille)
        for cell, bits in stroke_cells(line_runs, grid).items():
            dots[cell] = dots.get(cell, 0) | bits
            char = braille(dots[cell]) if grid.is_braille else marker
            column, row = cell
            if 0 <= column < grid.columns:
                markers[row][column], owners[row][column] = char, number
    for number, line_runs in enumerate(runs):
        marker = line_marker(number, grid.is_braille)
        phase = number * _MARKER_CELLS // max(len(runs), 1)
        for point in _marked_points(line_runs, phase, grid.is_braille and len(runs) > 1):
            matrix.insert_element(*grid.cell(point), marker, number)
    names = {number: line_style(data, number) for number in range(len(runs))}
    return [
        ("".join(chars), [names.get(owner, "") for owner in row_owners])
        for chars, row_owners in zip(reversed(markers), reversed(owners), strict=True)
    ]


def _clear_matrix(grid: PixelGrid) -> Any:
    """The matrix of cells of plotext's figure, empty, its first row the lowest one."""
    import plotext  # 70 ms, which the start of the program need not wait for

    matrix = plotext.main().monitor.matrix
    matrix.set_size(grid.columns, grid.rows)
    matrix.set_canvas_area(0, 0, 0, 0)
    matrix.set_matrices()
    return matrix


def _marked_points(
    runs: Sequence[Sequence[Point]], phase: int, is_repeated: bool
) -> Iterator[Point]:
    """The points at which the marker of a line is: those without neighbours, and, if
    `is_repeated`, one every _MARKER_CELLS cells, from `phase` on."""
    free = phase
    for run in runs:
        if len(run) == 1:
            yield run[0]
        elif is_repeated:
            for x, y in run:
                if x // 2 >= free:
                    free = x // 2 + _MARKER_CELLS
                    yield x, y


def _with_limit(cells: Cells, is_utf8: bool) -> Cells:
    """The cells with the limit where no line is."""
    text, styles = cells
    marked = [
        LIMIT_STYLE if char == " " else style for char, style in zip(text, styles, strict=True)
    ]
    return text.replace(" ", "╌" if is_utf8 else "-"), marked


def _merge(cells: Cells) -> list[Span]:
    """Adjacent cells of one style in one span."""
    text, styles = cells
    spans: list[Span] = []
    at = 0
    for style_name, group in groupby(styles):
        end = at + len(list(group))
        spans.append((text[at:end], style_name))
        at = end
    return spans


# -- the frame --------------------------------------------------------------------------------


def _axis_spans(label: str | None, left: int, is_utf8: bool) -> tuple[Span, ...]:
    """The part of a row beside the graph."""
    if not left:
        return ()
    tick, axis = ("┤", "│") if is_utf8 else ("+", "|")
    text = (label or "").rjust(left - 1) + (axis if label is None else tick)
    return ((text, "muted"),)


def _time_axis(view: TimeRange, left: int, columns: int, is_utf8: bool) -> list[Line]:
    """The axis, and the labels below it, each in the middle below its tick."""
    corner, axis, tick = ("└", "─", "┬") if is_utf8 else ("+", "-", "+")
    ticks, labels = [axis] * columns, [" "] * (left + columns)
    free = 0
    for time, label in time_ticks(view.start, view.end, columns):
        pixel = _pixel_at(time, view, 2 * columns)
        if pixel is None:
            continue
        start = left + pixel // 2 - len(label) // 2
        start = max(0, min(start, left + columns - len(label)))
        if start >= free and start + len(label) <= len(labels):
            labels[start : start + len(label)] = label
            free = start + len(label) + 1
            ticks[pixel // 2] = tick
    frame = " " * (left - 1) + corner if left else ""
    return [((frame + "".join(ticks), "muted"),), (("".join(labels), "muted"),)]


def _mark_spans(marks: Sequence[ChartMark], view: TimeRange) -> dict[float, ChartMark]:
    """The marks in the view by their time, the most important one of each."""
    found: dict[float, ChartMark] = {}
    for mark in sorted(marks, key=_mark_rank, reverse=True):
        if _pixel_at(mark.time, view, 2) is not None:
            found.pop(mark.time, None)  # the more important one comes later
            found[mark.time] = mark
    return found


def _mark_rank(mark: ChartMark) -> int:
    return _MARK_RANKS.get(mark.letter, len(_MARK_RANKS))


def _mark_line(
    marks: dict[float, ChartMark], view: TimeRange, left: int, columns: int, is_utf8: bool
) -> Line:
    chars, styles = [" "] * (left + columns), [""] * (left + columns)
    for mark in marks.values():
        pixel = _pixel_at(mark.time, view, 2 * columns)
        if pixel is not None:
            letter = shown_text(mark.letter, is_utf8)
            is_cell = len(letter) == cell_len(letter) == 1
            chars[left + pixel // 2] = letter if is_cell else "?"
            styles[left + pixel // 2] = mark.style_name
    return tuple(_merge(("".join(chars), styles)))


def _message_lines(text: str, width: int, height: int, is_utf8: bool) -> tuple[Line, ...]:
    """A text in the middle of the chart, wrapped to its width."""
    if not width or not height:
        return ((),) * height
    shown: Line = ((shown_text(text, is_utf8), "muted"),)
    room = max(width - 2 * _MESSAGE_MARGIN, 1)
    texts = wrap(shown, room)
    if len(texts) > height:
        texts = [fit_line(shown, room)]
    blank: Line = ((" " * width, ""),)
    lines = [blank] * height
    first = (height - len(texts)) // 2
    for row, line in enumerate(texts, first):
        before = (width - line_width(line)) // 2
        fitted = fit_line(((" " * before, ""), *line), width)
        lines[row] = tuple((to_ascii(part, is_utf8), style) for part, style in fitted)
    return tuple(lines)
