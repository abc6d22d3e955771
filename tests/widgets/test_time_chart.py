"""The chart as a widget: the cursor and its values, the view, and what is painted again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import ComposeResult
from textual.geometry import Region

from servedeck.metrics.units import Unit
from tests.widgets.chart_samples import START, STEP, ChartApp, any_data, chart, wave
from widgets import time_chart
from widgets.chart_data import ChartData, ChartLine, ChartMark
from widgets.chart_legend import legend_line, values_line
from widgets.chart_plot import UTF8_MARKERS
from widgets.chart_times import clock
from widgets.styled_line import line_width, plain_text
from widgets.time_chart import MIN_VIEW_STEPS, TimeChart


class TimeChartApp(ChartApp):
    def __init__(self, *, is_utf8: bool = True) -> None:
        super().__init__()
        self.is_utf8 = is_utf8

    def compose(self) -> ComposeResult:
        yield TimeChart(is_utf8=self.is_utf8)

    @property
    def chart(self) -> TimeChart:
        return self.query_one(TimeChart)

    def rows(self) -> list[str]:
        return [self.chart.render_line(y).text for y in range(self.chart.size.height)]


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ChartData]]:
    """The data of each plot that was made."""
    made: list[ChartData] = []
    original = time_chart.build_plot

    def build(data: ChartData, *arguments: Any, **options: Any) -> Any:
        made.append(data)
        return original(data, *arguments, **options)

    monkeypatch.setattr(time_chart, "build_plot", build)
    yield made


LATENCY = ChartData(
    "Latency",
    Unit.SECONDS,
    START,
    STEP,
    (
        ChartLine("P50", wave(120, 0.1, 0.3)),
        ChartLine("P99", [None if 40 <= at < 60 else 1 + at / 120 for at in range(120)]),
    ),
    marks=(ChartMark(START + 30 * STEP, "R", "rollout to revision 15", "accent"),),
    limit=2.0,
    limit_label="objective 2 s",
    note="live only, since 14:02",
)


def zoom_in(chart: TimeChart) -> None:
    """Half of the time: around the cursor, or the end of the view."""
    view = chart.view_range
    half = view.seconds / 4
    center = view.end if chart.cursor_time is None else chart.cursor_time
    center = max(view.start + half, min(center, view.end - half))
    if half > 0:
        chart.set_view(center - half, center + half)


def zoom_out(chart: TimeChart) -> None:
    """Twice the time."""
    view = chart.view_range
    if view.seconds > 0:
        chart.set_view(view.end - 1.5 * view.seconds, view.end + view.seconds / 2)


async def test_the_title_line_has_the_newest_values_the_limit_and_the_note() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(LATENCY)
        await pilot.pause()
        title = app.rows()[0]
        first, second = UTF8_MARKERS[:2]
        assert title.startswith(
            f"Latency  {first} P50 190 ms  {second} P99 1.99 s  ╌ objective 2 s"
        )
        assert title.endswith("live only, since 14:02")


async def test_the_cursor_reads_the_values_of_its_moment() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(200, 20)) as pilot:
        app.chart.set_data(LATENCY)
        await pilot.pause()
        assert app.chart.cursor_time is None
        for index in (0, 30, 45, 119):
            time = START + index * STEP
            app.chart.set_cursor_time(time + 3)
            assert app.chart.cursor_time == time
            assert app.chart.cursor_values == (
                LATENCY.lines[0].values[index],
                LATENCY.lines[1].values[index],
            )
            title = app.rows()[0]
            assert clock(time) in title
            assert ("P99 – " in title) == (index == 45)
            assert ("R rollout to revision 15" in title) == (index == 30)
        app.chart.clear_cursor()
        assert app.chart.cursor_time is None and clock(START) not in app.rows()[0]


async def test_the_cursor_moves_cell_by_cell_and_stops_at_the_ends() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(200, 20)) as pilot:
        app.chart.set_data(LATENCY)
        await pilot.pause()
        app.rows()
        app.chart.move_cursor(1)
        assert app.chart.cursor_time == START + 119 * STEP
        app.chart.move_cursor(1)
        assert app.chart.cursor_time == START + 119 * STEP
        app.chart.move_cursor(-1)
        assert app.chart.cursor_time == START + 118 * STEP
        app.chart.move_cursor(-1000)
        assert app.chart.cursor_time == START


@pytest.mark.parametrize("direction", [1, -1])
async def test_the_cursor_does_not_pass_over_a_peak(direction: int) -> None:
    values = [1.0] * 1440
    values[703] = 1e6
    app = TimeChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        app.chart.set_data(chart(values))
        await pilot.pause()
        app.rows()
        app.chart.set_cursor_time(START + (0 if direction > 0 else 1439) * STEP)
        read = []
        for _ in range(90):
            before = app.chart.cursor_time
            app.chart.move_cursor(direction)
            assert before is not None and app.chart.cursor_time is not None
            assert (app.chart.cursor_time - before) * direction >= 0
            read += app.chart.cursor_values
        assert 1e6 in read
        at_end = START + (1439 if direction > 0 else 0) * STEP
        assert app.chart.cursor_time == at_end


async def test_moving_the_cursor_plots_nothing_and_repaints_two_columns_and_the_title(
    plots: list[ChartData], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(LATENCY)
        app.chart.set_cursor_time(START + 50 * STEP)
        await pilot.pause()
        app.rows()
        count = len(plots)
        regions: list[Region] = []
        monkeypatch.setattr(app.chart, "refresh", lambda *found: regions.extend(found))
        app.chart.move_cursor(1)
        app.rows()
        assert len(plots) == count
        assert len(regions) == 3
        columns = [one for one in regions if one.width == 1]
        assert len(columns) == 2 and columns[0].x != columns[1].x
        assert [(one.y, one.height) for one in regions if one.width > 1] == [(0, 1)]


async def test_the_same_data_is_not_plotted_again(plots: list[ChartData]) -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        for values in ([1.0, 2.0], [1.0, 2.0], [1.0, 3.0]):
            app.chart.set_data(chart(values))
            await pilot.pause()
            app.rows()
        assert [data for data in plots if data.lines] == [chart([1.0, 2.0]), chart([1.0, 3.0])]


async def test_another_title_is_shown_without_another_plot(plots: list[ChartData]) -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(chart([1.0, 2.0]))
        await pilot.pause()
        app.rows()
        count = len(plots)
        app.chart.set_data(replace(chart([1.0, 2.0]), title="Other", note="loading"))
        await pilot.pause()
        title = app.rows()[0]
        assert title.startswith("Other") and title.endswith("loading")
        assert len(plots) == count
        app.chart.set_data(replace(chart([1.0, 2.0]), title="Other", limit=1.5))
        app.rows()
        assert len(plots) == count + 1


async def test_the_view_zooms_around_the_cursor_and_follows_it() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(LATENCY)
        await pilot.pause()
        app.chart.set_cursor_time(START + 60 * STEP)
        zoom_in(app.chart)
        view = app.chart.view_range
        assert view.start == START + 30 * STEP and view.end == START + 90 * STEP
        app.rows()
        app.chart.set_cursor_time(START + 95 * STEP)
        assert app.chart.view_range.end == START + 95 * STEP
        assert app.chart.view_range.seconds == view.seconds
        zoom_out(app.chart)
        zoom_out(app.chart)
        assert (app.chart.view_range.start, app.chart.view_range.end) == (
            START,
            START + 119 * STEP,
        )
        for _ in range(9):
            zoom_in(app.chart)
        assert app.chart.view_range.seconds == MIN_VIEW_STEPS * STEP
        app.chart.reset_view()
        assert app.chart.view_range.start == START


async def test_a_part_of_the_past_says_its_time() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(LATENCY)
        app.chart.set_view(START, START + 40 * STEP)
        await pilot.pause()
        assert clock(START + 40 * STEP) in app.rows()[0]
        with pytest.raises(ValueError, match="ends after its start"):
            app.chart.set_view(START, START)


async def test_new_data_keeps_the_cursor_at_its_time_and_the_view_at_the_end() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        values = [float(at) for at in range(100)]
        app.chart.set_data(chart(values))
        await pilot.pause()
        zoom_in(app.chart)
        app.chart.set_cursor_time(START + 90 * STEP)
        length = app.chart.view_range.seconds
        later = ChartData(
            "Chart",
            Unit.COUNT,
            START + 2 * STEP,
            STEP,
            (ChartLine("L0", [*values[2:], 7, 8]),),
        )
        app.chart.set_data(later)
        assert app.chart.cursor_time == START + 90 * STEP
        assert app.chart.cursor_values == (90.0,)
        assert app.chart.view_range.end == START + 101 * STEP
        assert app.chart.view_range.seconds == length
        app.chart.set_view(START + 10 * STEP, START + 50 * STEP)
        app.chart.set_data(chart([*values, 7, 8, 9]))
        assert app.chart.view_range.end == START + 50 * STEP
        app.chart.set_data(chart())
        assert app.chart.cursor_time is None and app.chart.cursor_values == ()


@pytest.mark.parametrize("size", [(19, 20), (40, 4), (1, 1)])
async def test_a_small_widget_has_values_without_a_graph(
    size: tuple[int, int], plots: list[ChartData]
) -> None:
    app = TimeChartApp()
    async with app.run_test(size=size) as pilot:
        app.chart.set_data(LATENCY)
        await pilot.pause()
        rows = app.rows()
        assert "Latency ● P50 190 ms ▲ P99 1.99 s".startswith(rows[0].rstrip(" …"))
        assert not "".join(rows[1:]).strip()
        assert plots == []


async def test_a_terminal_without_utf8_gets_ascii() -> None:
    app = TimeChartApp(is_utf8=False)
    async with app.run_test(size=(80, 20)) as pilot:
        app.chart.set_data(chart(wave(50, 60, 80), [None] * 50, unit=Unit.CELSIUS))
        app.chart.set_cursor_time(START)
        await pilot.pause()
        assert all(row.isascii() for row in app.rows())
        assert "* L0 70 C  + L1 -" in app.rows()[0]


async def test_data_of_no_time_and_no_value_is_shown() -> None:
    app = TimeChartApp()
    async with app.run_test(size=(60, 10)) as pilot:
        for data in (
            chart(),
            chart([1.0]),
            chart([math.nan] * 9, reason="No metrics."),
            ChartData("Chart", Unit.COUNT, math.nan, 0.0, (ChartLine("a", [1.0]),)),
        ):
            app.chart.set_data(data)
            app.chart.move_cursor(1)
            app.chart.set_cursor_time(START)
            zoom_in(app.chart)
            zoom_out(app.chart)
            await pilot.pause()
            assert app.rows()[0].startswith("Chart")
            app.chart.clear_cursor()


@given(any_data, st.none() | st.integers(-2, 500), st.integers(0, 200), st.booleans())
def test_the_title_line_fits(data: ChartData, index: int | None, width: int, is_utf8: bool) -> None:
    mark = data.marks[0] if data.marks else None
    line = legend_line(data, index, width, is_utf8=is_utf8, shows_time=True, mark=mark)
    for one in (line, values_line(data, index, width, is_utf8=is_utf8)):
        assert line_width(one) == width
        assert is_utf8 or plain_text(one).isascii()


def title_of(data: ChartData, width: int, **options: Any) -> str:
    return plain_text(legend_line(data, 29, width, is_utf8=True, **options)).rstrip()


def test_a_narrow_title_line_omits_the_note_and_the_limit_and_cuts_the_mark() -> None:
    mark = LATENCY.marks[0]
    assert title_of(LATENCY, 90).endswith("since 14:02")
    assert title_of(LATENCY, 60).endswith("╌ objective 2 s")
    assert title_of(LATENCY, 60, mark=mark).endswith("P99 1.24 s  R rollout to revision …")
    assert title_of(LATENCY, 40, mark=mark).endswith("P99 1.24 s")
    assert title_of(LATENCY, 200, is_limit_drawn=False).count("↑ objective 2 s") == 1


def test_values_without_room_are_counted() -> None:
    data = chart(*([float(number)] * 40 for number in range(6)))
    assert title_of(data, 80).endswith("L5 5")
    assert title_of(data, 40).endswith("L3 3 +2")
    assert title_of(data, 8) == "Chart +6"


async def test_a_mark_between_two_moments_is_read_at_the_nearer_one() -> None:
    mark = ChartMark(START + 2.4 * STEP, "S", "scaled to 4", "accent")
    app = TimeChartApp()
    async with app.run_test(size=(120, 20)) as pilot:
        app.chart.set_data(chart([1.0] * 6, marks=(mark,)))
        await pilot.pause()
        app.rows()
        for index in range(6):
            app.chart.set_cursor_time(START + index * STEP)
            assert ("S scaled to 4" in app.rows()[0]) == (index == 2)
