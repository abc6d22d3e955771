"""The tab Metrics: reading the graphs by keys, and what hostile values show."""

from __future__ import annotations

import math
from typing import Any

import pytest

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import FoundSeries
from servedeck.metrics.target import TargetPod
from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService, constant
from tests.tui.metrics_driver import LARGE, MEDIUM, NAME, SMALL, Driver, open_metrics
from tui.panes.metrics import MetricsPane
from tui.screens.metric_queries import MetricQueriesScreen

HOSTILE = ("\x1b[31mred", "[red]markup[/]", "\x9b2J\u202e", "🧨" * 30, "a\nb\tc", "x" * 10_000)


def shown_time(driver: Driver) -> TimeGrid:
    """Of the graphs."""
    found = driver.pane._feed.time_grid
    assert found is not None
    return found


# -- the cursor ---------------------------------------------------------------------------------


async def test_the_cursor_reads_all_graphs_at_a_moment():
    async with open_metrics(LARGE) as driver:
        await driver.wait_for_text("● requests 11", "● prompt 4.93k")
        await driver.press("left", *["shift+left"] * 3, "ctrl+left")
        time = driver.pane.grid.cursor_time
        assert time is not None and time < fakes.NOW.timestamp()
        shown = [one.cursor_time for one in driver.pane.grid._charts if one.display]
        assert len(shown) == 8 and set(shown) == {time}
        assert "● requests 11 " not in driver.text
        await driver.press("right")
        assert driver.pane.grid.cursor_time > time


async def test_the_cursor_stays_at_its_moment_while_new_points_arrive():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press("left", "left", "left")
        time = driver.pane.grid.cursor_time
        driver.service.source.answer = constant(5.0)
        await driver.press_and_read("z")
        await driver.press_and_read("z")
        await driver.wait_for_text("● requests ")
        assert driver.pane.grid.cursor_time == time
        shown = [one.cursor_time for one in driver.pane.grid._charts if one.display]
        assert set(shown) == {time}


async def test_the_cursor_of_graphs_that_come_onto_the_screen():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press("left", "shift+left")
        time = driver.pane.grid.cursor_time
        await driver.press_and_read("j", "j", "j", "j")
        shown = [one.cursor_time for one in driver.pane.grid._charts if one.display]
        assert set(shown) == {time}


# -- zoom ---------------------------------------------------------------------------------------


async def test_zoom_asks_for_half_of_the_time_around_the_cursor_with_a_finer_step():
    async with open_metrics(SMALL) as driver:
        await driver.press("D")
        await driver.wait_for_text("[24h]", "● requests")
        await driver.wait_until_read()
        before = shown_time(driver)
        assert before.seconds == 86400
        await driver.press("left", *["shift+left"] * 4)
        cursor = driver.pane.grid.cursor_time
        await driver.press_and_read("plus")
        after = shown_time(driver)
        assert after.seconds == pytest.approx(43200, abs=before.step)
        assert after.step < before.step
        assert (after.start + after.end) / 2 == pytest.approx(cursor, abs=before.step)
        assert driver.pane.grid.cursor_time == pytest.approx(cursor, abs=before.step)
        assert " in 24h" not in driver.text, "the totals are those of the shown time"
        await driver.press_and_read("plus", "plus")
        deeper = shown_time(driver)
        assert deeper.seconds == pytest.approx(10800, abs=before.step)
        assert deeper.step < after.step


async def test_zoom_shows_what_there_is_until_the_finer_points_arrive():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("● requests 11")
        await driver.press("left", *["shift+left"] * 3)
        cursor = driver.pane.grid.cursor_time
        source = driver.service.source
        source.forget()
        source.gate.clear()
        await driver.press("plus")
        await driver.wait_for(lambda: source.in_flight > 5, "the queries")
        text = driver.text
        assert "Waiting for" not in text and "● requests" in text and "loading" in text
        assert driver.pane.grid.cursor_time == cursor
        chart = driver.pane.grid._selected_chart
        assert chart.view_range.seconds == pytest.approx(1800, abs=chart.data.step)
        source.gate.set()
        await driver.wait_until_read()
        assert driver.pane.grid._selected_chart.data.count * 15 == pytest.approx(1800, abs=30)


async def test_zoom_ends_at_the_whole_period_and_at_two_minutes():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        for _ in range(12):
            await driver.press_and_read("plus")
        assert shown_time(driver).seconds == 120
        for _ in range(4):
            await driver.press_and_read("minus")
        assert shown_time(driver).seconds == 1920
        await driver.press_and_read("minus")
        assert shown_time(driver).seconds == 3600
        assert shown_time(driver).end == fakes.NOW.timestamp()
        await driver.press("minus")
        await driver.wait_for_text("The whole period is shown; H and D show longer ones.")


async def test_a_time_that_is_past_is_not_asked_for_again(skip_time: Any):
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("plus")
        driver.service.source.forget()
        skip_time(600)
        await driver.pilot.pause()
        await driver.press("left")
        await driver.pilot.pause()
        assert not driver.service.source.asked


async def test_esc_goes_back_one_thing_at_a_time():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("j", "z")
        await driver.press("left", "shift+left")
        await driver.press_and_read("plus")
        pane = driver.pane
        assert pane.grid.shown_keys == (GraphKey.LATENCY,)
        assert pane.grid.cursor_time is not None and pane._range is not None
        await driver.press("escape")
        assert pane.grid.cursor_time is None and pane._range is not None
        await driver.press("escape")
        assert pane._range is None and len(pane.grid.shown_keys) == 1
        await driver.press("escape")
        assert len(pane.grid.shown_keys) == 3
        assert driver.app.screen.active_pane is pane
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")


# -- one graph ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["z", "enter"])
async def test_a_graph_at_full_size(key: str):
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("j", key)
        text = await driver.wait_for_text("Latency  ● P50")
        assert "● requests" not in text
        assert all("e2e_request_latency" in one.text for one in driver.service.source.ranges)
        await driver.press_and_read("j")
        await driver.wait_for_text("Errors req/s  ● 400")
        await driver.press_and_read(key)
        await driver.wait_for_text("› Errors req/s", "● requests")


async def test_a_graph_by_pod():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("p")
        text = await driver.wait_for_text("Requests by Pod", "2 Pods", "x2x1q", "b8k2m")
        assert "Latency req" not in text
        (asked,) = driver.service.source.ranges
        assert asked.text.startswith("sum by (pod")
        await driver.press("p")
        await driver.wait_for_text("› Requests req/s", "● P50")


@pytest.mark.parametrize("key", ["j", "k", "left", "right"])
async def test_a_key_with_nothing_to_do_by_pod_says_so(key: str):
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("p")
        await driver.wait_for_text("Requests by Pod", "2 Pods")
        await driver.press(key)
        await driver.wait_for_text("p shows the graph of the whole serving")


async def test_fifty_pods_are_turned_over_like_pages():
    def answer(_: str, grid: TimeGrid) -> list[FoundSeries]:
        return [FoundSeries({"pod": f"p-{n:02}"}, (100.0 - n,) * grid.count) for n in range(50)]

    service = FakeMetricsService()
    service.source.answer = answer
    async with open_metrics(SMALL, service) as driver:
        await driver.wait_until_read()
        await driver.press("p")
        text = await driver.wait_for_text("of 50 Pods", "p-00")
        assert "p-49" not in text
        await driver.press("G", "G", "j", "j", "pagedown", "pagedown", "pagedown")
        await driver.wait_for_text("50 of 50 Pods", "p-49")
        await driver.press("p", "p")
        await driver.wait_for_text("p-00")


async def test_by_pod_says_what_is_missing():
    def answer(_: str, grid: TimeGrid) -> list[FoundSeries]:
        return [FoundSeries({"pod": f"p-{n:02}"}, (1.0,) * grid.count) for n in range(80)]

    service = FakeMetricsService()
    service.source.answer = answer
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_until_read()
        await driver.press("p")
        await driver.wait_for_text("20 more lines are not shown  ", "60 Pods")


async def test_a_graph_that_no_pod_has_says_so():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press("G", *["k"] * 6)
        assert driver.pane.grid.selected_key is GraphKey.REPLICAS
        await driver.press("p")
        await driver.wait_for_text("Replicas is not known of each Pod.", "› Replicas")


async def test_by_pod_without_values_says_why():
    service = FakeMetricsService()
    service.source.answer = lambda text, grid: []
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_until_read()
        await driver.press("p")
        await driver.wait_for_text("Requests by Pod", "has no record of finished requests")


async def test_by_pod_while_it_is_read_and_when_it_fails():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        source = driver.service.source
        source.forget()
        source.gate.clear()
        await driver.press("p")
        await driver.wait_for_text("Waiting for")
        source.error = "It is not available."
        source.gate.set()
        text = await driver.wait_for_text("It is not available.")
        assert text.count("It is not available.") == 2
        await driver.press("left", "plus", "escape", "escape")
        assert isinstance(driver.app.screen.active_pane, MetricsPane)


async def test_figures_of_a_past_time_are_not_those_of_now():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.wait_for_text("req/s now", "Requests now")
        for _ in range(30):
            await driver.press("left")
        await driver.press_and_read("plus")
        moment = driver.pane._feed.moment
        assert moment.startswith("at ")
        text = await driver.wait_for_text(f"req/s {moment}", f"Requests {moment}")
        assert "req/s now" not in text and "Requests now" not in text
        await driver.press_and_read("escape", "escape")
        await driver.wait_for_text("req/s now")


# -- the queries --------------------------------------------------------------------------------


async def test_the_queries_are_shown_and_copied():
    service = FakeMetricsService()
    service.link = "https://grafana.example/d/1?var-name={name}&from={from}"
    sent: list[str] = []
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_until_read()
        driver.app.write_to_terminal = sent.append
        await driver.press("j", "q")
        await driver.wait_for(
            lambda: isinstance(driver.app.screen, MetricQueriesScreen), "the queries"
        )
        text = await driver.wait_for_text("PromQL of Latency", "histogram_quantile(0.5,")
        assert "https://grafana.example/d/1?var-name=llama-8b" in " ".join(text.split())
        await driver.press("C")
        await driver.wait_for(lambda: sent, "the copy")
        await driver.press("l")
        await driver.wait_for(lambda: len(sent) == 2, "the link")
        await driver.press("j", "k", "G", "g", "q")
        await driver.wait_for(
            lambda: isinstance(getattr(driver.app.screen, "active_pane", None), MetricsPane),
            "the tab",
        )
        assert driver.service.open_now, "it went on below the queries"


async def test_without_a_dashboard_there_is_no_link():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        await driver.press("q")
        text = await driver.wait_for_text("PromQL of Requests")
        assert "Dashboard" not in text
        await driver.press("l")
        await driver.wait_for_text("The settings name no dashboard; set grafana_url.")


async def test_queries_before_a_graph_was_read():
    service = FakeMetricsService()
    service.source.gate.clear()
    async with open_metrics(MEDIUM, service) as driver:
        await driver.press("q")
        await driver.wait_for_text("The graph has not been loaded.")


# -- hostile values -----------------------------------------------------------------------------


def assert_harmless(driver: Driver) -> None:
    text = driver.text
    assert not any(one in text for one in ("\x1b", "\x9b", "\u202e"))
    width = driver.app.size.width
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("size", [(20, 10), SMALL, LARGE])
async def test_hostile_labels_cannot_write_to_the_terminal(size: tuple[int, int]):
    def answer(text: str, grid: TimeGrid) -> list[FoundSeries]:
        if "by (" not in text:
            return constant(1.0, {"a": HOSTILE[0]})(text, grid)
        name = text.partition("by (")[2].partition(")")[0]
        return constant(1.0, *({name: one} for one in HOSTILE))(text, grid)

    service = FakeMetricsService()
    service.source.answer = answer
    service.source.warning = HOSTILE[0] + HOSTILE[5]
    service.link = "https://x/\x1b[31m[red]"
    async with open_metrics(size, service) as driver:
        await driver.wait_until_read()
        await driver.press_and_read("j", "j")
        assert_harmless(driver)
        if size == LARGE:
            assert "[red]markup[/]" in driver.text
        await driver.press("left", "p")
        assert_harmless(driver)
        await driver.press_and_read("g", "p")
        await driver.wait_until_read()
        assert_harmless(driver)
        await driver.press("q")
        await driver.wait_for(
            lambda: isinstance(driver.app.screen, MetricQueriesScreen), "the queries"
        )
        assert_harmless(driver)


async def test_hostile_names_of_a_serving_are_in_the_queries_without_escapes():
    service = FakeMetricsService()
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_until_read()
        hostile = HOSTILE[0] + "\u202e[red]"
        target = service.target(driver.pane.key)
        service.target = lambda key: type(target)(
            hostile, hostile, "vllm", 8000, False, (TargetPod(hostile, True),)
        )
        await driver.press_and_read("H")
        await driver.press("q")
        await driver.wait_for_text("PromQL of Requests", "[red]")
        assert_harmless(driver)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_sixty_codes_of_errors(size: tuple[int, int]):
    codes = [{"status": str(400 + code)} for code in range(80)]
    service = FakeMetricsService()
    answer = constant(3.0, *codes)
    service.source.answer = lambda text, grid: answer(text, grid) if "by (status" in text else []
    async with open_metrics(size, service) as driver:
        await driver.wait_until_read()
        await driver.press("j", "j", "z")
        await driver.wait_for_text("Errors req/s  ● 400 3")
        assert len(driver.pane._feed.graph(GraphKey.ERRORS, False).lines) == 60
        assert_harmless(driver)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, None])
async def test_values_that_are_no_numbers(value: float | None):
    service = FakeMetricsService()
    service.source.answer = constant(value)
    async with open_metrics(LARGE, service) as driver:
        await driver.wait_until_read()
        assert "nan" not in driver.text and "inf" not in driver.text.replace("inference", "")
        for key in ("left", "plus", "z", "p", "q", "escape", "escape", "H"):
            await driver.press(key)
            await driver.pilot.pause()
        assert_harmless(driver)


async def test_a_spike_of_a_million_is_seen():
    def answer(_: str, grid: TimeGrid) -> list[FoundSeries]:
        values = [1.0] * grid.count
        values[grid.count // 2] = 1e6
        return [FoundSeries({}, values)]

    service = FakeMetricsService()
    service.source.answer = answer
    async with open_metrics(SMALL, service) as driver:
        await driver.wait_for_text("1M┤", "● requests 1")
        cells = driver.app.size.width
        for _ in range(cells):
            await driver.press("left")
            if "requests 1M" in driver.text:
                break
        assert "requests 1M" in driver.text


@pytest.mark.parametrize("size", [(20, 10), SMALL, LARGE])
async def test_an_ascii_terminal_gets_ascii(size: tuple[int, int]):
    async with open_metrics(size, is_utf8=False) as driver:
        await driver.wait_until_read()
        for keys in ((), ("left",), ("z",), ("p",)):
            await driver.press(*keys)
            await driver.pilot.pause()
            shown = driver.text.splitlines()[4:-2] if size != (20, 10) else []
            cards = driver.pane.grid.region
            lines = driver.text.splitlines()[cards.y : cards.bottom]
            assert all(line.isascii() for line in lines), shown
        assert NAME in driver.text
