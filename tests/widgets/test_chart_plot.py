"""The graph: its size for any values, spikes, gaps, marks, and lines that differ without color."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.units import Unit
from servedeck.serving.text import sanitize
from tests.widgets.chart_samples import START, STEP, any_data, chart, wave
from widgets.chart_data import ChartData, ChartLine, ChartMark, TimeRange
from widgets.chart_plot import ASCII_MARKERS, UTF8_MARKERS, build_plot, render_plot
from widgets.styled_line import Line, line_width, plain_text

SIZE = (80, 20)
WIDE = (40, 12)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def rows(data: ChartData, size: tuple[int, int] = SIZE, **options: object) -> list[str]:
    options.setdefault("is_utf8", True)
    return [plain_text(line) for line in render_plot(data, *size, **options)]  # type: ignore[arg-type]


def graph(data: ChartData, size: tuple[int, int] = SIZE, **options: object) -> list[str]:
    """The cells of the graph alone."""
    options.setdefault("is_utf8", True)
    plot = build_plot(data, *size, **options)  # type: ignore[arg-type]
    return [plain_text(line)[plot.left :] for line in plot.lines[: plot.rows]]


def is_safe(line: Line) -> bool:
    return all(sanitize(text) == text and "\n" not in text for text, _style_name in line)


@given(
    any_data,
    st.integers(0, 300),
    st.integers(0, 80),
    st.booleans(),
    st.none() | st.integers(-3, 500),
    st.none() | st.builds(TimeRange, st.floats(), st.floats()),
)
def test_any_values_in_any_size(
    data: ChartData,
    width: int,
    height: int,
    is_utf8: bool,
    cursor: int | None,
    view: TimeRange | None,
) -> None:
    lines = render_plot(data, width, height, is_utf8=is_utf8, cursor=cursor, view=view)
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    assert all(is_safe(line) for line in lines)
    if not is_utf8:
        assert all(plain_text(line).isascii() for line in lines)


@pytest.mark.parametrize("is_utf8", [True, False])
@pytest.mark.parametrize("at", [0, 1, 719, 720, 1438, 1439])
def test_a_spike_among_many_values_reaches_the_top(at: int, is_utf8: bool) -> None:
    values = [1.0] * 1440
    values[at] = 1e6
    found = graph(chart(values), is_utf8=is_utf8)
    columns = len(found[0])
    cells = [cell for cell, char in enumerate(found[0]) if char != " "]
    assert len(cells) <= 2, "it begins and ends in two cells at most"
    assert all(abs(cell - at / 1439 * (columns - 1)) <= 1 for cell in cells)
    assert any(all(row[cell] != " " for row in found) for cell in cells), "from bottom to top"


@pytest.mark.parametrize("at", range(700, 712))  # at each place among the values of a column
def test_a_dip_among_many_values_reaches_the_bottom(at: int) -> None:
    values = [100.0] * 1440
    values[at] = 0.0
    lowest = graph(chart(values))[-1]
    assert 1 <= len(lowest.strip()) <= 2
    assert abs(lowest.index(lowest.strip()) - at / 1439 * len(lowest)) <= 1


@pytest.mark.parametrize("is_utf8", [True, False])
@pytest.mark.parametrize("gap", [None, math.nan, math.inf, -math.inf])
def test_a_gap_stays_empty(gap: float | None, is_utf8: bool) -> None:
    values: list[float | None] = [5.0] * 100
    values[40:60] = [gap] * 20
    found = graph(chart(values), is_utf8=is_utf8)
    columns = len(found[0])
    used = {cell for row in found for cell, char in enumerate(row) if char != " "}
    gap_cells = set(range(columns * 41 // 99 + 1, columns * 58 // 99))
    assert not used & gap_cells
    assert {0, columns - 1} <= used


@pytest.mark.parametrize(("is_utf8", "marker"), [(True, UTF8_MARKERS[0]), (False, "*")])
def test_a_point_between_gaps_is_seen(is_utf8: bool, marker: str) -> None:
    values: list[float | None] = [None] * 50
    values[25] = 3.0
    found = graph(chart(values), is_utf8=is_utf8)
    (seen,) = [row for row in found if row.strip()]
    assert seen.strip() == marker
    assert found[0].strip() == marker, "the highest value is at the top"


@pytest.mark.parametrize(
    "values",
    [[0.0] * 30, [7.0] * 30, [7.0], [None, 7.0], [-5.0, -1.0], [1e-9, 2e-9], [1e18, 0], [5e-324]],
    ids=str,
)
@pytest.mark.parametrize("unit", Unit)
def test_special_values_have_an_axis_and_a_graph(values: list[float | None], unit: Unit) -> None:
    data = chart(values, unit=unit)
    assert any(row.strip() for row in graph(data, WIDE))
    plot = build_plot(data, *WIDE, is_utf8=True)
    labels = [plain_text(line)[: plot.left].rstrip("┤│ ") for line in plot.lines[: plot.rows]]
    shown = [label for label in labels if label.strip()]
    assert shown and len(shown) == len(set(shown))


@pytest.mark.parametrize(
    "data", [chart(), chart([]), chart([None, math.nan, math.inf]), chart([], [None])]
)
def test_without_a_value_it_says_why(data: ChartData) -> None:
    because = ChartData(
        data.title, data.unit, START, STEP, data.lines, reason="No Pod has metrics."
    )
    assert [row.strip() for row in rows(because) if row.strip()] == ["No Pod has metrics."]
    assert [row.strip() for row in rows(data) if row.strip()] == ["No values."]


def test_lines_of_ascii_differ_by_their_characters() -> None:
    levels = [[float(level)] * 50 for level in range(1, 7)]
    found = graph(chart(*levels), (80, 40), is_utf8=False)
    drawn = [set(row.strip()) for row in found if row.strip()]
    assert drawn == [{marker} for marker in reversed(ASCII_MARKERS)]
    assert len(set(ASCII_MARKERS)) == len(ASCII_MARKERS)


def test_lines_in_utf8_have_their_markers_on_them() -> None:
    levels = [[float(level)] * 120 for level in range(1, 7)]
    found = graph(chart(*levels), (160, 40))
    drawn = [set(row.strip()) & set(UTF8_MARKERS) for row in found if row.strip()]
    assert [one for one in drawn if one] == [{marker} for marker in reversed(UTF8_MARKERS)]


def test_a_single_line_has_no_marker() -> None:
    assert not set("".join(graph(chart(wave(200, 0, 9))))) & set(UTF8_MARKERS)


def test_crossing_lines_keep_the_dots_of_both() -> None:
    rising = [float(at) for at in range(21)]
    alone = graph(chart(rising), (20, 10))
    both = graph(chart(rising, rising[::-1]), (20, 10))
    for before, after in zip(alone, both, strict=True):
        for one, other in zip(before, after, strict=True):
            if one != " " and other not in UTF8_MARKERS:
                assert (ord(one) - 0x2800) & (ord(other) - 0x2800) == ord(one) - 0x2800


def test_marks_are_below_their_time() -> None:
    values = [0.0] * 121
    values[60] = 10.0
    marks = (ChartMark(START + 60 * STEP, "R", "rollout", "accent"),)
    data = chart(values, marks=marks)
    plot = build_plot(data, *SIZE, is_utf8=True)
    cell = plot.cell_at(START + 60 * STEP)
    assert cell is not None
    texts = [plain_text(line) for line in plot.lines]
    assert texts[-1].index("R") == cell
    assert texts[-1].split() == ["R"]
    assert texts[0][cell] not in " │"
    assert ("R", "accent") in plot.lines[-1]


def test_of_the_marks_of_a_column_the_most_important_is_shown() -> None:
    time = START + 10 * STEP
    marks = tuple(ChartMark(time, letter, "") for letter in "✗rSNR")
    found = rows(chart([1.0] * 20, marks=marks))
    assert found[-1].split() == ["N"]
    outside = (ChartMark(START - 1, "R", ""), ChartMark(START + 20 * STEP, "R", ""))
    assert "R" not in "".join(rows(chart([1.0] * 20, marks=outside)))


@pytest.mark.usefixtures("utc")  # elsewhere a midnight, which has a date, may be in the hour
def test_times_of_round_minutes_are_below_their_ticks() -> None:
    data = chart([1.0] * 241)  # an hour
    plot = build_plot(data, *SIZE, is_utf8=True)
    axis, labels = plain_text(plot.lines[-2]), plain_text(plot.lines[-1])
    ticks = [cell for cell, char in enumerate(axis) if char == "┬"]
    words = labels.split()
    assert len(words) == len(ticks) >= 5
    for word, tick in zip(words, ticks, strict=True):
        start = labels.index(word)
        assert start <= tick < start + len(word)
        assert int(word[-2:]) % 5 == 0


def test_the_limit_is_at_its_label() -> None:
    data = chart(wave(100, 0.2, 1.9), unit=Unit.SECONDS, limit=2.0)
    (row,) = [row for row in rows(data) if "╌" in row]
    assert row.lstrip().startswith("2 s┤")
    assert "-" * 20 in "".join(rows(data, is_utf8=False))


def test_a_limit_far_above_the_values_does_not_flatten_them() -> None:
    data = chart(wave(100, 0.2, 1.9), unit=Unit.SECONDS, limit=200.0)
    plot = build_plot(data, *SIZE, is_utf8=True)
    assert not plot.is_limit_drawn
    assert plain_text(plot.lines[1]).strip(" │┤")


def test_a_view_shows_its_part_alone() -> None:
    values = [0.0] * 100
    values[10], values[80] = 50.0, 3.0
    view = TimeRange(START + 70 * STEP, START + 90 * STEP)
    plot = build_plot(chart(values), *SIZE, is_utf8=True, view=view)
    cell = plot.cell_at(START + 80 * STEP)
    assert cell is not None and plain_text(plot.lines[0])[cell] not in " │"
    assert plain_text(plot.lines[0]).lstrip().startswith("3┤")
    assert plot.cell_at(START + 10 * STEP) is None


def test_the_cursor_is_in_the_column_of_its_value() -> None:
    values = [0.0] * 61
    values[33] = 8.0
    data = chart(values)
    plot = build_plot(data, *SIZE, is_utf8=True)
    cell = plot.cell_at(data.time_at(33))
    lines = render_plot(data, *SIZE, is_utf8=True, cursor=33)
    assert cell is not None
    for line, before in zip(lines, plot.lines, strict=True):
        found = [
            (line_width(line[:at]), style_name)
            for at, (_text, style_name) in enumerate(line)
            if style_name.startswith("chart-cursor")
        ]
        if before in plot.lines[: plot.rows]:
            assert [at for at, _ in found] == [cell]
        else:
            assert found == []
    assert [name for _text, name in lines[0] if name.startswith("chart")] == ["chart-cursor-value"]


def test_labels_of_the_axis_are_those_of_the_plot() -> None:
    data = chart([0.0, 0.93, 0.5], unit=Unit.PERCENT)
    found = "\n".join(rows(data))
    assert "100 %┤" in found and "  0 %┤" in found


def test_text_of_the_cluster_has_no_escapes() -> None:
    data = ChartData("t", Unit.COUNT, START, STEP, (ChartLine("a", ()),), reason="\x1b[31mred")
    assert "red" in "".join(rows(data)) and "\x1b" not in "".join(rows(data))


def test_plotext_is_loaded_with_the_first_graph() -> None:
    script = (
        "import sys, widgets.time_chart, widgets.small_multiples\n"
        "from widgets.chart_plot import render_plot\n"
        "from tests.widgets.chart_samples import chart\n"
        "assert 'plotext' not in sys.modules\n"
        "render_plot(chart([1.0, 2.0]), 40, 10, is_utf8=True)\n"
        "assert 'plotext' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_charts_below_each_other_have_their_times_in_the_same_columns(width: int) -> None:
    units = (Unit.SECONDS, Unit.PER_SECOND, Unit.BYTES, Unit.CELSIUS)
    plots = [
        build_plot(chart([1.0, high], unit=unit), width, 12, is_utf8=True)
        for unit in units
        for high in (0.7, 72.0, 4e9)
        if unit is not Unit.CELSIUS or high < 100
    ]
    assert {plot.cell_at(START + STEP / 2) for plot in plots} == {
        plots[0].cell_at(START + STEP / 2)
    }
    assert {plain_text(plot.lines[-1]) for plot in plots} == {plain_text(plots[0].lines[-1])}
