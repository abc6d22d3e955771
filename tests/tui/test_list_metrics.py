"""The figures of servings in the list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.fleet_metrics import ServingFigures
from servedeck.metrics.fleet_reader import FleetReading
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui import list_metrics

LLAMA = NamespacedName("team-a", "llama-70b-chat")
PHI = NamespacedName("platform", "phi-4")
FIGURES = ServingFigures(12.44, 0.85, 3.0, tuple(map(float, range(31))))
SOON = 0.0
"""Seconds after which the list reads again: at its next tick."""


class FakeMetricsService:
    """Answers with `figures` when a test lets it."""

    def __init__(self, **figures: ServingFigures) -> None:
        self.figures = {name.replace("_", "-"): one for name, one in figures.items()}
        self.asked: list[tuple[NamespacedName, ...]] = []
        self.with_recent: list[bool] = []
        self.reasons: dict[str, str] = {}
        self.problem = ""
        self.has_failed = False
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.next_in = SOON
        self.time = fakes.NOW.timestamp()

    async def list_metrics(
        self, keys: Sequence[NamespacedName], *, with_recent: bool
    ) -> FleetReading:
        self.asked.append(tuple(keys))
        self.with_recent.append(with_recent)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        found = {key[:2]: self.figures[key.name] for key in keys if key.name in self.figures}
        reasons = {key[:2]: self.reasons[key.name] for key in keys if key.name in self.reasons}
        return FleetReading(self.time, found, reasons, self.problem, self.has_failed, self.next_in)

    async def close(self) -> None:
        """There is no connection."""


def line_of(app: Any, name: str) -> str:
    (line,) = [one for one in screen_text(app).splitlines() if f" {name} " in one]
    return line


def listed(app: Any) -> list[str]:
    return [row.key.name for row in app.servings.table.rows]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that the age of figures refers to."""
    now = SimpleNamespace(time=fakes.NOW.timestamp())
    monkeypatch.setattr(list_metrics, "unix_time", lambda: now.time)
    return now


async def test_a_wide_list_shows_the_figures():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "RPS", "P95", "WAITING", "RPS 30 MIN", "850 ms")
        line = line_of(app, LLAMA.name)
        assert " 12.4 " in line and " 850 ms " in line and " 3 " in line
        assert "▂▂▃▄▄▅▅▆▇▇██" in line
        assert line_of(app, PHI.name).count("–") == 4
        cursor = app.servings.table.cursor_key
        service.figures["phi-4"] = ServingFigures(0.0, None, 0.0)
        await wait_for(pilot, lambda: line_of(app, PHI.name).count("–") == 2, "the new figures")
        assert app.servings.table.cursor_key == cursor


async def test_a_narrow_list_asks_for_nothing():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.servings._tick()
        await pilot.pause()
        assert "P95" not in screen_text(app)
        assert service.asked == []


async def test_chosen_columns_are_shown_in_a_narrow_list():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service, columns=("rps", "p95"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "12.4", "850 ms")
        assert service.with_recent == [False] * len(service.asked)


async def test_without_a_cluster_there_are_no_such_columns():
    app = make_app()
    async with app.run_test(size=(240, 40)) as pilot:
        await pilot.pause()
        assert "P95" not in screen_text(app)


async def test_only_the_rows_on_the_screen_are_asked_for():
    source = fakes.FakeSource().add_views(
        *(fakes.serving(f"serving-{number:04}", "team") for number in range(1000))
    )
    service = FakeMetricsService()
    service.next_in = 1e9
    app = make_app(source, metrics_service=service)
    async with app.run_test(size=(240, 30)) as pilot:
        await wait_for(pilot, lambda: service.asked, "the question")
        shown = app.servings.table.body_height
        assert [key.name for key in service.asked[0]] == [f"serving-{n:04}" for n in range(shown)]
        await pilot.press("end")
        await wait_for(pilot, lambda: len(service.asked) == 2, "the other rows")
        assert [key.name for key in service.asked[1]][-1] == "serving-0999"
        assert len(service.asked[1]) == shown


async def test_one_reading_at_a_time():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    service.may_answer.clear()
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for(pilot, lambda: service.asked, "the question")
        for _ in range(5):
            app.servings._tick()
            await pilot.pause()
        assert len(service.asked) == 1
        service.may_answer.set()
        await wait_for_text(pilot, "850 ms")


async def test_nothing_is_asked_for_under_another_screen():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: app.screen is not app.servings, "the help")
        await wait_for(pilot, lambda: not app.servings._metrics._is_reading, "the last answer")
        count = len(service.asked)
        for _ in range(3):
            app.servings._tick()
            await pilot.pause()
        assert len(service.asked) == count
        service.figures[LLAMA.name] = replace(FIGURES, p95=1.5)
        await pilot.press("escape")
        await wait_for_text(pilot, "1.5 s")


async def test_an_answer_under_another_screen_is_shown_when_it_closes():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    service.may_answer.clear()
    service.next_in = 1e9
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for(pilot, lambda: service.asked, "the question")
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: app.screen is not app.servings, "the help")
        service.may_answer.set()
        await wait_for(pilot, lambda: not app.servings._metrics._is_reading, "the answer")
        await pilot.press("escape")
        await wait_for_text(pilot, "850 ms")
        assert len(service.asked) == 1


async def test_unknown_has_a_reason():
    service = FakeMetricsService(phi_4=FIGURES)
    service.reasons[LLAMA.name] = "Prometheus \x1b[31mat [b]x[/b] has no metrics of it."
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        app.servings.table.select(LLAMA)
        await wait_for_text(pilot, "at [b]x[/b] has no metrics of it.")
        app.servings.table.select(PHI)
        await wait_for(pilot, lambda: "no metrics" not in screen_text(app), "no reason")


async def test_old_figures_say_so(clock):
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        app.servings.table.select(LLAMA)
        service.has_failed, service.problem = True, "Prometheus at a gave up."
        service.figures.clear()
        count = len(service.asked)
        app.servings._metrics._due_at = 0.0
        await wait_for(
            pilot,
            lambda: len(service.asked) > count and not app.servings._metrics._is_reading,
            "the answer",
        )
        assert "~" not in line_of(app, LLAMA.name)
        clock.time += 120
        app.servings._metrics._due_at = 0.0
        await wait_for_text(pilot, "~12.4", "~850 ms", "~3")
        await wait_for_text(pilot, "Metrics of 2m ago. Prometheus at a gave up.")
        service.has_failed, service.problem = False, ""
        service.figures[LLAMA.name] = FIGURES
        service.time = clock.time
        app.servings._metrics._due_at = 0.0
        await wait_for(pilot, lambda: "~" not in line_of(app, LLAMA.name), "new figures")
        assert "Metrics of" not in screen_text(app)


async def test_figures_of_pods_say_why_they_are_not_those_of_prometheus():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    service.problem = "There is no Prometheus."
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        app.servings.table.select(LLAMA)
        await pilot.pause()
        assert "no Prometheus" not in screen_text(app)  # nothing is wrong: it never had one
        service.has_failed, service.problem = True, "Prometheus at a gave up."
        app.servings._metrics._due_at = 0.0
        await wait_for_text(pilot, "Metrics: Prometheus at a gave up.")
        assert "850 ms" in line_of(app, LLAMA.name)
        service.has_failed, service.problem = False, ""
        app.servings._metrics._due_at = 0.0
        await wait_for(pilot, lambda: "gave up" not in screen_text(app), "no reason")


@pytest.mark.parametrize("error", [MetricsError("There is no connection."), ValueError("x")])
async def test_an_error_keeps_the_list(error, clock):
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    service.error = error
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for(pilot, lambda: app.servings._metrics.problem, "the problem")
        await wait_for_text(pilot, app.servings._metrics.problem)
        assert line_of(app, LLAMA.name).count("–") == 4
        service.error = None
        app.servings._metrics._due_at = 0.0
        await wait_for_text(pilot, "850 ms")


async def test_what_is_not_known_any_more_is_unknown():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        service.figures.clear()
        await wait_for(pilot, lambda: "850 ms" not in screen_text(app), "no figures")


async def test_who_is_slow():
    slow, fast = replace(FIGURES, p95=9.0), replace(FIGURES, p95=0.1)
    service = FakeMetricsService(phi_4=slow, llama_8b=fast)
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "9 s")
        app.servings._set_sort("p95", True)
        await wait_for(pilot, lambda: listed(app)[:2] == ["phi-4", "llama-8b"], "the slow first")
        rest = listed(app)[2:]
        app.servings.do_sort_reverse()
        await wait_for(pilot, lambda: listed(app)[:2] == ["llama-8b", "phi-4"], "the fast first")
        assert listed(app)[2:] == rest, "unknown ones are last in either direction"
        app.servings.table.select(PHI)
        service.figures["llama-8b"] = replace(FIGURES, p95=20.0)
        await wait_for(pilot, lambda: listed(app)[:2] == ["phi-4", "llama-8b"], "the new order")
        assert app.servings.table.cursor_key == PHI
        # a change of a serving does not depend on the order by figures
        source.add_views(replace(source.fleet.view(PHI), restarts=77))
        await wait_for(pilot, lambda: " 77 " in line_of(app, PHI.name), "the change")
        assert listed(app)[:2] == ["phi-4", "llama-8b"]


async def test_the_header_sorts_the_largest_first():
    service = FakeMetricsService(phi_4=FIGURES, llama_8b=replace(FIGURES, rate=99.0))
    app = make_app(metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        header = next(at for at, one in enumerate(screen_text(app).splitlines()) if "RPS" in one)
        x = screen_text(app).splitlines()[header].index("RPS")
        await pilot.click(offset=(x, header))
        await wait_for_text(pilot, "RPS ▾")
        await wait_for(pilot, lambda: listed(app)[:2] == ["llama-8b", "phi-4"], "the order")


async def test_a_sorted_list_asks_for_a_bounded_number():
    source = fakes.FakeSource().add_views(
        *(fakes.serving(f"serving-{number:04}", "team") for number in range(1000))
    )
    service = FakeMetricsService()
    app = make_app(source, metrics_service=service)
    async with app.run_test(size=(240, 30)) as pilot:
        await wait_for(pilot, lambda: service.asked, "the rows")
        app.servings._set_sort("rps", True)
        await wait_for_text(pilot, "Sorted by the metrics of 500 of 1,000 servings")
        await wait_for(pilot, lambda: len(service.asked[-1]) == 500, "the first 500")


async def test_another_cluster_has_other_figures():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(source, metrics_service=service)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        service.may_answer.clear()
        source.context = "other"
        source.set_state(loaded=1)
        await wait_for(pilot, lambda: "850 ms" not in screen_text(app), "nothing of the other")


async def test_ascii_terminals():
    service = FakeMetricsService(llama_70b_chat=FIGURES)
    app = make_app(metrics_service=service, is_utf8=False)
    async with app.run_test(size=(240, 40)) as pilot:
        await wait_for_text(pilot, "850 ms")
        assert "▁" not in line_of(app, LLAMA.name)
        assert "..-==++*%%##" in line_of(app, LLAMA.name)
