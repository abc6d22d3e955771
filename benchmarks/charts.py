"""The charts of the Metrics tab: a new plot, a move of the cursor, and small charts of 50 Pods.

    python -m benchmarks.charts

prints milliseconds of CPU time as JSON: the best and the median of 30 rounds, in an app of 200x60
cells with two charts, one above the other. A round of "both charts" is new data, the plot, and the
strips of each line, as one repaint needs them. The values jump as those of a busy server do: a
smooth line takes less. Exits with 1 when both charts of 240 points take more than BUDGET_MS.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from textual.app import App, ComposeResult

from servedeck.metrics.sparkline import sparkline
from servedeck.metrics.units import Unit
from widgets.chart_data import ChartData, ChartLine, ChartMark
from widgets.small_multiples import SmallMultiples
from widgets.time_chart import TimeChart

SIZE = (200, 60)
POINTS = (240, 1440)
PODS = 50
ROUNDS = 30
BUDGET_MS = 30.0
START, STEP = 1_764_378_000.0, 15.0


def make_requests(points: int, chance: random.Random) -> ChartData:
    values = [max(0.0, chance.gauss(12, 2)) for _ in range(points)]
    line = ChartLine("", values)
    return ChartData("Requests", Unit.PER_SECOND, START, STEP, (line,))


def make_latency(points: int, chance: random.Random) -> ChartData:
    median = [0.3 * math.exp(chance.gauss(0, 0.12)) for _ in range(points)]
    lines = tuple(
        ChartLine(label, [one * factor * math.exp(chance.gauss(0, spread)) for one in median])
        for label, factor, spread in (("P50", 1, 0.0), ("P95", 2.5, 0.15), ("P99", 5, 0.3))
    )
    marks = tuple(
        ChartMark(START + STEP * points * part / 7, "R", "rollout", "accent")
        for part in range(1, 7)
    )
    return ChartData("Latency", Unit.SECONDS, START, STEP, lines, marks, 2.0, "objective 2 s")


def make_pods(points: int, chance: random.Random) -> list[ChartLine]:
    return [
        ChartLine(
            f"llama-70b-7d9c5b-{number:05x}", [abs(chance.gauss(1, 0.4)) for _ in range(points)]
        )
        for number in range(PODS)
    ]


class ChartsApp(App[None]):
    """Two charts, or the small ones."""

    def __init__(self, is_utf8: bool, are_small: bool = False) -> None:
        super().__init__()
        self._is_utf8, self._are_small = is_utf8, are_small

    def compose(self) -> ComposeResult:
        if self._are_small:
            yield SmallMultiples(is_utf8=self._is_utf8)
        else:
            yield TimeChart(is_utf8=self._is_utf8, id="requests")
            yield TimeChart(is_utf8=self._is_utf8, id="latency")


def measure(one: Callable[[int], object]) -> dict[str, float]:
    """Best and median milliseconds of CPU time of a call with the number of its round."""
    one(0)  # what is imported and looked up once
    times = []
    for number in range(1, ROUNDS + 1):
        start = time.thread_time()
        one(number)
        times.append(1000 * (time.thread_time() - start))
    return {"best": round(min(times), 2), "median": round(statistics.median(times), 2)}


def draw(widgets: Iterable[TimeChart | SmallMultiples]) -> None:
    """Make the strips of all lines."""
    for widget in widgets:
        for y in range(widget.size.height):
            widget.render_line(y)


async def measure_charts(points: int, *, is_utf8: bool) -> dict[str, Any]:
    chance = random.Random(1)
    data = [
        (make_requests(points, chance), make_latency(points, chance)) for _ in range(ROUNDS + 1)
    ]
    app = ChartsApp(is_utf8)
    async with app.run_test(size=SIZE):
        charts = list(app.query(TimeChart))

        def replot(number: int) -> None:
            for chart, new in zip(charts, data[number], strict=True):
                chart.set_data(new)
            draw(charts)

        def move(number: int) -> None:
            for chart in charts:
                chart.move_cursor(-1)
            draw(charts)

        return {"both charts": measure(replot), "cursor of both": measure(move)}


async def measure_small(points: int) -> dict[str, float]:
    chance = random.Random(1)
    data = [make_pods(points, chance) for _ in range(ROUNDS + 1)]
    app = ChartsApp(True, are_small=True)
    async with app.run_test(size=SIZE):
        charts = app.query_one(SmallMultiples)

        def replot(number: int) -> None:
            charts.set_rows(data[number], Unit.SECONDS)
            draw([charts])

        return measure(replot)


def measure_table(points: int) -> dict[str, float]:
    """Sparklines for 50 rows of a table."""
    rows = make_pods(points, random.Random(1))
    return measure(lambda _: [sparkline(row.values, 12, is_utf8=True) for row in rows])


def run_all() -> dict[str, Any]:
    """All figures by name."""
    result: dict[str, Any] = {}
    for points in POINTS:
        result[f"{points} points"] = {
            **asyncio.run(measure_charts(points, is_utf8=True)),
            "in ASCII": asyncio.run(measure_charts(points, is_utf8=False)),
            f"small charts of {PODS} Pods": asyncio.run(measure_small(points)),
            f"sparklines of {PODS} rows": measure_table(points),
        }
    return result


if __name__ == "__main__":
    figures = run_all()
    print(json.dumps(figures, indent=1))
    sys.exit(figures[f"{POINTS[0]} points"]["both charts"]["median"] > BUDGET_MS)
