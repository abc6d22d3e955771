"""The title line of a chart: what it shows, the values of a moment, and the mark beside it."""

from __future__ import annotations

from widgets.chart_data import ChartData, ChartMark, ChartUnit, finite, format_value
from widgets.chart_plot import line_marker, line_style, shown_text, to_ascii
from widgets.chart_times import clock
from widgets.styled_line import Line, align_left_right, fit_line, line_width

BARE_UNITS = (ChartUnit.PER_SECOND, ChartUnit.TOKENS_PER_SECOND, ChartUnit.CORES)
"""Units that values are written without."""


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
    marker and its value at `index`, the limit, `mark`, and the note at the right edge. What has no
    room is omitted from the end, the values last; the limit has an arrow if it is above the graph.
    """
    title = shown_text(data.title, is_utf8)
    heads = [((title, "title"),)] if title else []
    if data.unit in BARE_UNITS:
        heads.append(((str(data.unit), "muted"),))
    if shows_time and index is not None:
        heads.append(((clock(data.time_at(index)), "strong"),))
    tails: list[Line] = []
    for number in range(len(data.lines) if index is not None else 0):
        tails.append(_value_spans(data, number, index or 0, is_utf8))
    if mark is not None:
        letter, text = shown_text(mark.letter, is_utf8), shown_text(mark.text, is_utf8)
        tails.append(((f"{letter} ", mark.style_name), (text, "")))
    if finite(data.limit) is not None:
        arrow = "" if is_limit_drawn else to_ascii("↑ ", is_utf8)
        dash = "╌ " if is_utf8 else "- "
        label = shown_text(data.limit_label or format_value(data.limit, data.unit), is_utf8)
        tails.append(((arrow or dash, "error"), (label, "muted")))
    line: Line = ()
    for part, gap in [(head, 1) for head in heads] + [(tail, 2) for tail in tails]:
        separator: Line = ((" " * gap, ""),) if line else ()
        if line and line_width(line) + gap + line_width(part) > width:
            break
        line = (*line, *separator, *part)
    note = shown_text(data.note, is_utf8)
    if note and line_width(line) + 2 + line_width(((note, ""),)) <= width:
        return align_left_right(line, ((note, "muted"),), width)
    return tuple(
        (to_ascii(text, is_utf8), style_name) for text, style_name in fit_line(line, width)
    )


def values_line(data: ChartData, index: int | None, width: int, *, is_utf8: bool) -> Line:
    """The title and the values alone, for a chart that has no room for a graph."""
    if index is None:
        text = shown_text(f"{data.title} {data.reason}".strip(), is_utf8)
        line: Line = ((text, "muted"),)
    else:
        line = ((shown_text(data.title, is_utf8), "title"),)
        for number in range(len(data.lines)):
            line = (*line, (" ", ""), *_value_spans(data, number, index, is_utf8))
    return tuple(
        (to_ascii(text, is_utf8), style_name) for text, style_name in fit_line(line, width)
    )


def _value_spans(data: ChartData, number: int, index: int, is_utf8: bool) -> Line:
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
