"""Pictures of charts: gaps, a spike, NaN, one point and no data, in three sizes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import pytest
from textual.app import ComposeResult
from textual.pilot import Pilot

from servedeck.metrics.units import Unit
from styles.themes import ANSI, LIGHT
from tests.widgets.chart_samples import START, STEP, ChartApp, wave
from widgets.chart_data import ChartData, ChartLine, ChartMark
from widgets.small_multiples import SmallMultiples
from widgets.time_chart import TimeChart

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 60)
Compare = Callable[..., bool]

COUNT = 240


def size_id(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def make_chart(title: str, unit: Unit, *lines: ChartLine, **fields: object) -> ChartData:
    return ChartData(title, unit, START, STEP, lines, **fields)  # type: ignore[arg-type]


def with_gap(values: list[float | None], gap: float | None) -> list[float | None]:
    """`values` with two gaps, between which one point is left."""
    return [gap if 100 <= at < 130 and at != 115 else value for at, value in enumerate(values)]


def latency() -> ChartData:
    middle = wave(COUNT, 0.2, 0.4)
    return make_chart(
        "Latency",
        Unit.SECONDS,
        ChartLine("P50", with_gap(middle, math.nan)),
        ChartLine("P95", with_gap([2.2 * (value or 0) for value in middle], None)),
        ChartLine("P99", with_gap([5.5 * (value or 0) for value in middle], math.inf)),
        marks=(
            ChartMark(START + 60 * STEP, "R", "rollout to revision 15", "accent"),
            ChartMark(START + 180 * STEP, "r", "restart of llama-70b-x7k2p", "warning"),
        ),
        limit=2.0,
        limit_label="objective 2 s",
        note="live only, since 01:00",
    )


def spike() -> ChartData:
    values = wave(1440, 8, 14, periods=9)
    values[700] = 1e6
    return make_chart("Requests", Unit.PER_SECOND, ChartLine("", values))


CHARTS = {
    "latency": latency(),
    "spike": spike(),
    "one point": make_chart("Queue", Unit.COUNT, ChartLine("waiting", [3.0])),
    "nothing": make_chart("GPU", Unit.CELSIUS, reason="No exporter of GPU metrics is known."),
}


class ChartsApp(ChartApp):
    """Two charts, one below the other."""

    def __init__(self, *names: str, is_utf8: bool = True, theme: str = "servedeck-dark") -> None:
        super().__init__()
        self.register_theme(LIGHT)
        self.register_theme(ANSI)
        self.theme = theme
        self._names = names
        self._is_utf8 = is_utf8

    def compose(self) -> ComposeResult:
        for name in self._names:
            yield TimeChart(is_utf8=self._is_utf8, id=name.replace(" ", "-"))

    def on_mount(self) -> None:
        for name in self._names:
            self.query_one(f"#{name.replace(' ', '-')}", TimeChart).set_data(CHARTS[name])


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
@pytest.mark.parametrize("names", [("spike", "latency"), ("one point", "nothing")], ids="-".join)
def test_two_charts(snap_compare: Compare, names: tuple[str, str], size: tuple[int, int]) -> None:
    assert snap_compare(ChartsApp(*names), terminal_size=size)


async def move_the_cursor(pilot: Pilot[None]) -> None:
    chart = pilot.app.query_one("#latency", TimeChart)
    chart.set_cursor_time(START + 62 * STEP)
    await pilot.pause()


@pytest.mark.parametrize("theme", [LIGHT.name, ANSI.name])
def test_a_cursor_in_other_themes(snap_compare: Compare, theme: str) -> None:
    app = ChartsApp("latency", theme=theme)
    assert snap_compare(app, terminal_size=MEDIUM, run_before=move_the_cursor)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_ascii(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = ChartsApp("latency", is_utf8=False)
    assert snap_compare(app, terminal_size=size, run_before=move_the_cursor)


def test_without_color(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartsApp("latency")
    assert snap_compare(app, terminal_size=SMALL, run_before=move_the_cursor)


class PodsApp(ChartApp):
    """Small charts of 50 Pods."""

    def compose(self) -> ComposeResult:
        yield SmallMultiples(is_utf8=True)

    def on_mount(self) -> None:
        rows = [
            ChartLine(
                f"llama-70b-7d9c5b-{number:05x}",
                with_gap(wave(COUNT, 0, 0.05 * (number + 1), periods=1 + number % 3), None),
            )
            for number in range(50)
        ]
        self.query_one(SmallMultiples).set_rows(rows, Unit.SECONDS)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=size_id)
def test_small_multiples(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(PodsApp(), terminal_size=size)
