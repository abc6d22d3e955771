"""The title line of a chart: what it shows, the values of a moment, and the mark beside it."""

from __future__ import annotations

from rich.cells import cell_len

from servedeck.metrics.units import Unit, finite, format_value
from widgets.chart_data import ChartData, ChartMark
from widgets.chart_plot import line_marker, line_style, shown_text, to_ascii
from widgets.chart_times import clock
from widgets.styled_line import (
    Line,
    Span,
    align_left_right,
    fit_line,
    fit_text,
    join_lines,
    line_width,
)

BARE_UNITS = (Unit.PER_SECOND, Unit.TOKENS_PER_SECOND, Unit.CORES)
"""Units that values are written without."""

_GAP: Line = (("  ", ""),)
_MIN_MARK = 8
"""Cells that a mark with its text needs at least."""


_MIN_NOTE = 20
"""Cells that a note needs at least; what is longer is cut."""


def legend_line(
    data: ChartData,
    index: int | None,
    width: int,
    *,
    is_utf8: bool,
    shows_time: bool = False,
    mark: ChartMark | None = None,
    is_limit_drawn: bool = True,
) -> Line:
    """Exactly `width` cells: the title, the time of the values if `shows_time`, each line with its
    marker and its value at `index`, `mark`, the limit, and the note at the right edge. Where there
    is no room, the note is cut or omitted first, then the limit is omitted; of the lines, "+2" says
    how many. The limit has an arrow if it is above the graph."""
    title = shown_text(data.title, is_utf8)
    line: Line = ((title, "title"),) if title else ()
    if data.unit in BARE_UNITS:
        line = join_lines((line, ((str(data.unit), "muted"),)))
    if shows_time and index is not None:
        line = join_lines((line, ((clock(data.time_at(index)), "strong"),)))
    if index is not None:
        line = _add_values(line, data, index, width, is_utf8)
    room = width - line_width(line) - len(_GAP[0][0])
    if mark is not None and room >= _MIN_MARK:
        letter, text = shown_text(mark.letter, is_utf8), shown_text(mark.text, is_utf8)
        text = fit_text(text, min(cell_len(text), room - cell_len(letter) - 1))
        line = join_lines((line, ((f"{letter} ", mark.style_name), (text, ""))), _GAP)
    with_limit = join_lines((line, _limit_spans(data, is_utf8, is_limit_drawn)), _GAP)
    if line_width(with_limit) <= width:
        line = with_limit
    note = shown_text(data.note, is_utf8)
    room = width - line_width(line) - len(_GAP[0][0])
    if note and room >= min(cell_len(note), _MIN_NOTE):
        line = align_left_right(
            line, ((fit_text(note, min(cell_len(note), room)), "muted"),), width
        )
    return tuple(
        (to_ascii(text, is_utf8), style_name) for text, style_name in fit_line(line, width)
    )


def _add_values(line: Line, data: ChartData, index: int, width: int, is_utf8: bool) -> Line:
    """`line` with the values that fit, and how many do not."""
    count = len(data.lines)
    for number in range(count):
        longer = join_lines((line, _value_spans(data, number, index, is_utf8)), _GAP)
        rest = f"+{count - number - 1}" if number < count - 1 else ""
        if line_width(longer) + (len(rest) + 1 if rest else 0) > width:
            return join_lines((line, ((f"+{count - number}", "muted"),)))
        line = longer
    return line


def _limit_spans(data: ChartData, is_utf8: bool, is_drawn: bool) -> Line:
    """ "╌ objective 2 s"; nothing without a limit."""
    if finite(data.limit) is None:
        return ()
    dash, arrow = ("╌", "↑") if is_utf8 else ("-", "^")
    label = shown_text(data.limit_label or format_value(data.limit, data.unit), is_utf8)
    return ((f"{dash if is_drawn else arrow} ", "error"), (label, "muted"))


def values_line(data: ChartData, index: int | None, width: int, *, is_utf8: bool) -> Line:
    """The title and the values alone, for a chart that has no room for a graph."""
    if index is None:
        text = shown_text(f"{data.title} {data.reason}".strip(), is_utf8)
        line: Line = ((text, "muted"),)
    else:
        title: Span = (shown_text(data.title, is_utf8), "title")
        line = (title,)
        for number in range(len(data.lines)):
            line = (*line, (" ", ""), *_value_spans(data, number, index, is_utf8))
        if len(data.lines) == 1 and line_width(line) > width:
            marker, _label, value = _value_spans(data, 0, index, is_utf8)
            line = (title, (" ", ""), marker, value)
    return tuple(
        (to_ascii(text, is_utf8), style_name) for text, style_name in fit_line(line, width)
    )


def _value_spans(
    data: ChartData, number: int, index: int, is_utf8: bool
) -> tuple[Span, Span, Span]:
    """ "● P50 230 ms"."""
    line = data.lines[number]
    value = to_ascii(format_value(data.value_at(line, index), data.unit), is_utf8)
    label = shown_text(line.label, is_utf8)
    style_name = line_style(data, number)
    return (
        (f"{line_marker(number, is_utf8)} ", style_name),
        (f"{label} " if label else "", style_name),
        (value, "strong"),
    )
