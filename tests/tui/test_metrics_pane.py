"""The tab Metrics: what it asks for and when, and what it says of its source."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import FoundSeries
from servedeck.serving.objectives import Objectives
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.fake_metrics_service import SOURCE, FakeMetricsService, constant
from tests.tui.metrics_driver import LARGE, MEDIUM, NAME, SMALL, open_metrics
from tests.waiting import TimeSkipper
from tui.metrics import feed as feed_module
from tui.panes.metrics import MetricsPane
from tui.panes.overview import OverviewPane
from widgets.styled_line import plain_text

KEY = NamespacedName("team-a", NAME)
GRAPHS = list(GraphKey)
FAILURE = f"{SOURCE} is not available (503)."


# -- what is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "graphs"), [((20, 10), 1), (SMALL, 1), (MEDIUM, 3), ((150, 40), 6), (LARGE, 8)]
)
async def test_only_the_graphs_on_the_screen_are_asked_for(size: tuple[int, int], graphs: int):
    async with open_metrics(size) as driver:
        await driver.wait_until_read()
        assert driver.pane.grid.shown_keys == tuple(GRAPHS[:graphs])
        asked = [one.text for one in driver.service.source.ranges]
        assert any("request_success_total" in one for one in asked)
        assert any("time_to_first" in one for one in asked) == (graphs > 4)
        assert any("prompt_tokens" in one for one in asked) == (graphs > 6)
        assert not any("prefix_cache" in one for one in asked)
        assert len(asked) == len(set(asked)), "each graph is asked for once"


async def test_the_figures_and_one_graph_are_few_queries():
    async with open_metrics(SMALL) as driver:
        await driver.wait_until_read()
        source = driver.service.source
        assert (len(source.ranges), len(source.asked)) == (1, 11)


async def test_a_graph_has_no_more_points_than_the_screen():
    async with open_metrics(SMALL) as driver:
        await driver.wait_until_read()
        (asked,) = driver.service.source.ranges
        assert 80 <= asked.grid.count <= 2 * 80
        assert asked.grid.seconds == 3600
        assert asked.grid.end == fakes.NOW.timestamp()


async def test_another_graph_is_asked_for_when_it_is_chosen():
    async with open_metrics(SMALL) as driver:
        await driver.wait_for_text("Requests req/s")
        await driver.press_and_read("j")
        await driver.wait_for_text("Latency ", "P95")
        assert all("e2e_request_latency" in one.text for one in driver.service.source.ranges)
        await driver.press_and_read("G")
        await driver.wait_for_text("Memory ")
        await driver.press_and_read("pagedown", "k", "g")
        await driver.wait_for_text("Requests req/s")


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE])
async def test_every_graph_can_be_reached(size: tuple[int, int]):
    async with open_metrics(size) as driver:
        await driver.wait_until_read()
        seen = set(driver.pane.grid.shown_keys)
        for _ in GRAPHS:
            await driver.press("j")
            await driver.pilot.pause()
            assert driver.pane.grid.selected_key in driver.pane.grid.shown_keys
            seen |= set(driver.pane.grid.shown_keys)
        assert seen == set(GRAPHS)
        assert driver.pane.grid.selected_key is GRAPHS[-1]
        for _ in GRAPHS:
            await driver.press("k")
        assert driver.pane.grid.selected_key is GRAPHS[0]
        await driver.wait_for_text("Requests req/s")


async def test_another_period_is_asked_for_at_once_and_shown_by_the_figures():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("[1h] 6h  24h", " in 1h")
        for key, name, seconds in (("H", "6h", 21600), ("D", "24h", 86400), ("h", "1h", 3600)):
            driver.service.source.answer = constant(seconds)
            await driver.press_and_read(key)
            await driver.wait_for_text(f"[{name}]", f"{seconds:,} in {name}")
            assert {one.grid.seconds for one in driver.service.source.ranges} == {seconds}
            assert any(f"[{seconds}s]" in one.text for one in driver.service.source.asked)
        await driver.press("h")
        assert not driver.service.source.in_flight, "it is shown already"


async def test_a_click_on_a_period_shows_it():
    async with open_metrics() as driver:
        await driver.wait_for_text("[1h] 6h  24h", " in 1h")
        lines = driver.text.splitlines()
        y = next(at for at, line in enumerate(lines) if "[1h]" in line)
        for name in ("24h", "6h", "1h"):
            x = driver.text.splitlines()[y].index(f" {name} ") + 1
            await driver.pilot.click(offset=(x, y))
            await driver.wait_for_text(f"[{name}]", f" in {name}")
        await driver.pilot.click(offset=(0, y))
        await driver.pilot.click(offset=(25, y))
        await driver.pilot.pause()
        assert "[1h] 6h  24h" in driver.text


async def test_another_period_cancels_what_is_still_asked_for():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        source = driver.service.source
        source.forget()
        source.gate.clear()
        await driver.press("H")
        await driver.wait_for(lambda: source.in_flight > 5, "the queries of 6 h")
        asked = [one.text for one in source.asked]
        await driver.press("D")
        await driver.wait_for(lambda: len(source.cancelled) >= len(asked), "the cancellation")
        assert sorted(source.cancelled) == sorted(asked)
        assert "– in 24h" in driver.text, "the figures are not those of another time"
        assert driver.text.count("loading") == 3, "nor are the graphs, which say so"
        source.gate.set()
        await driver.wait_for_text("[24h]", " in 24h", "● requests")
        assert {one.grid.seconds for one in source.ranges[-3:]} == {86400}
        assert len(driver.service.opened) == 1, "the source is still open"


async def test_keys_in_one_packet_ask_for_the_last_period_only():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        source = driver.service.source
        source.forget()
        await driver.press("H", "D", "h", "D")
        await driver.wait_for_text("[24h]", " in 24h", "● requests")
        await driver.wait_for(lambda: not source.in_flight, "the answers")
        assert driver.pane.grid.cursor_time is None


# -- following ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["1", "3", "escape", "d", "t"])
async def test_leaving_cancels_what_is_asked_for_and_closes_the_source(key: str):
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_until_read()
        source = driver.service.source
        source.forget()
        source.gate.clear()
        await driver.press("H")
        await driver.wait_for(lambda: source.in_flight > 5, "the queries")
        await driver.press(key)
        await driver.wait_for(lambda: not source.in_flight, "the cancellation")
        await driver.wait_for(lambda: not driver.service.open_now, "the source to close")
        assert source.answered == 0
        source.gate.set()
        asked = len(source.asked)
        if key in ("d", "t"):
            await driver.press("escape")
        elif key == "escape":
            await driver.press("enter", "2")
        else:
            await driver.press("2")
        await driver.wait_for(lambda: len(source.asked) > asked, "new queries")
        await driver.wait_for_text("● requests")
        assert len(driver.service.open_now) == 1


async def test_what_was_read_is_there_when_the_tab_is_shown_again():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("● requests 11")
        await driver.press("H")
        await driver.wait_for_text("[6h]", "● requests 11")
        await driver.press("1")
        await driver.wait_for_text("Ready Replicas")
        driver.service.source.gate.clear()
        await driver.press("2")
        await driver.wait_for_text("[6h]", "● requests 11")


async def test_it_is_read_again_after_a_step(skip_time: TimeSkipper):
    start = fakes.NOW
    async with open_metrics(SMALL) as driver:
        await driver.wait_until_read()
        feed = driver.pane._feed
        for seconds in (30, 60, 90):
            now = start + timedelta(seconds=seconds)
            feed._clock = lambda now=now: now
            driver.service.source.forget()
            skip_time(31)
            await driver.wait_until_read()
            assert driver.service.source.ranges[0].grid.end == now.timestamp()


async def test_only_the_newest_points_are_asked_for_again():
    now = fakes.NOW
    async with open_metrics(SMALL) as driver:
        driver.pane._feed._clock = lambda: now
        await driver.wait_until_read()
        (whole,) = driver.service.source.ranges
        now += timedelta(minutes=1)
        await driver.press_and_read("z")
        again = driver.service.source.ranges[0]
        assert again.text == whole.text
        assert again.grid.end == now.timestamp()
        assert again.grid.count <= 5 < whole.grid.count


# -- what is said of the source -----------------------------------------------------------------


async def test_a_source_that_fails_is_said_and_what_was_read_stays_with_its_age():
    now = fakes.NOW
    async with open_metrics(MEDIUM) as driver:
        driver.pane._feed._clock = lambda: now
        await driver.wait_for_text("● requests 11", SOURCE)
        await driver.press("left", "left")
        cursor = driver.pane.grid.cursor_time
        assert cursor is not None
        now += timedelta(minutes=3)
        driver.service.source.error = FAILURE
        await driver.press_and_read("z")
        await driver.press("z")
        text = await driver.wait_for_text("● requests", f"of {clock(fakes.NOW)} (3m ago)")
        heading = text.splitlines()[4]
        assert f"of {clock(fakes.NOW)} (3m ago) {SOURCE} is not" in heading
        assert driver.pane.grid.cursor_time == cursor
        driver.service.source.error = ""
        await driver.press_and_read("z")
        text = await driver.wait_for_text(SOURCE, "step 20s")
        assert "ago)" not in text.splitlines()[4]


async def test_a_past_time_is_not_said_to_be_old():
    now = fakes.NOW
    async with open_metrics(MEDIUM) as driver:
        driver.pane._feed._clock = lambda: now
        await driver.wait_for_text("● requests 11")
        for _ in range(30):
            await driver.press("left")
        await driver.press_and_read("plus")
        now += timedelta(minutes=30)
        driver.pane.update_ages()
        await driver.pilot.pause()
        assert "ago)" not in driver.text.splitlines()[4]


async def test_a_source_that_does_not_answer_is_said_until_it_does():
    """The sentence does not vanish while it is asked again."""
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("● requests 11")
        source = driver.service.source
        source.error = FAILURE
        await driver.press_and_read("z")
        await driver.wait_for_text("is not available (503).")
        source.forget()
        source.gate.clear()
        await driver.press("z")
        await driver.wait_for(lambda: source.in_flight > 5, "the queries")
        driver.pane.update_ages()
        await driver.wait_for_text("is not available (503).")
        source.error = ""
        source.gate.set()
        await driver.wait_for(lambda: "(503)" not in driver.text, "the sentence to go")


async def test_a_graph_that_fails_is_said_in_its_place():
    service = FakeMetricsService()
    service.source.error, service.source.failing = FAILURE, "e2e_request_latency"
    async with open_metrics(MEDIUM, service) as driver:
        text = await driver.wait_for_text("● requests 11", "● 400 0.23")
        assert text.count(FAILURE) == 2, "in the heading and in the graph"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_without_a_source_it_says_why_and_tries_again(size: tuple[int, int]):
    service = FakeMetricsService()
    service.error = "No Prometheus was found among the Services of the cluster."
    async with open_metrics(size, service) as driver:
        text = await driver.wait_for_text("No Prometheus was found")
        assert "Waiting for" not in text and "– in 1h" in text
        service.error = ""
        await driver.press("H")
        await driver.wait_for_text("● requests 11", SOURCE)


async def test_the_pods_are_said_to_be_read_live_and_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed_module, "unix_time", fakes.NOW.timestamp)
    service = FakeMetricsService()
    start = fakes.NOW - timedelta(minutes=12)
    service.source.since = start.timestamp()
    service.problem = "No Prometheus was found."
    async with open_metrics(MEDIUM, service) as driver:
        text = await driver.wait_for_text(f"live only, since {clock(start)}: No Prometheus")
        assert f" in the time since {clock(start)}" in text
        assert driver.pane._feed.time_grid.seconds == 720
        (opened,) = service.opened
        service.source.forget()
        opened.on_read()
        await driver.wait_until_read()


async def test_a_warning_of_the_source_is_shown_with_the_graph():
    service = FakeMetricsService()
    service.source.warning = "Some series are missing: \x1b[31mred."
    async with open_metrics(MEDIUM, service) as driver:
        text = await driver.wait_for_text("Some series are missing")
        assert "\x1b" not in text


async def test_an_unexpected_error_is_said_and_not_the_end():
    def fail(_text: str, _grid: TimeGrid) -> list[FoundSeries]:
        raise RuntimeError("no such \x1b[31mthing")

    service = FakeMetricsService()
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_until_read()
        usual, service.source.answer = service.source.answer, fail
        await driver.press("H")
        await driver.wait_for_text("Unexpected RuntimeError: no such thing.")
        service.source.answer = usual
        await driver.press("h")
        text = await driver.wait_for_text("● requests 11", SOURCE)
        assert "RuntimeError" not in text


async def test_wrong_names_of_metrics_are_said():
    service = FakeMetricsService()
    service.names_problem = "servedeck.dev/metrics: 'requets' is no metric"
    async with open_metrics(MEDIUM, service) as driver:
        await driver.wait_for_text("● requests 11", "'requets' is no metric")


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
async def test_a_long_warning_is_shown_on_a_small_screen_too(size: tuple[int, int]):
    service = FakeMetricsService()
    service.source.warning = "Store 10.0.0.3 did not answer: " + "x" * 300
    async with open_metrics(size, service) as driver:
        text = await driver.wait_for_text("● requests 11", "Store 10.0.0.3")
        heading, *others = text.splitlines()[4:]
        assert "Prometheus: Store 10.0.0.3 did not answer" in heading
        assert any("● requests 11" in one and "Store 10.0.0.3" in one for one in others)
        service.source.warning = ""
        await driver.press_and_read("H")
        await driver.wait_for(lambda: "Store" not in driver.text, "the warning to go")


async def test_a_narrow_heading_has_the_reason_rather_than_the_address():
    async with open_metrics(SMALL) as driver:
        await driver.wait_for_text("● requests 11", SOURCE)
        driver.service.source.error = f"{SOURCE} is not available (503: too many queries)."
        await driver.press_and_read("z")
        text = await driver.wait_for_text("Prometheus is not available (503: too many queries).")
        assert SOURCE not in text


async def test_a_narrow_heading_has_all_of_the_reason_why_the_pods_are_read():
    service = FakeMetricsService()
    service.source.since = fakes.NOW.timestamp()
    service.problem = "Prometheus in Service monitoring/prometheus has no metrics of it."
    async with open_metrics(SMALL, service) as driver:
        await driver.wait_for_text(
            f"live only, since {clock(fakes.NOW)}: Prometheus has no metrics of it."
        )


async def test_a_part_of_the_period_is_said_to_be_what_is_shown():
    """Also without color: brackets are around one time only."""
    async with open_metrics(SMALL) as driver:
        await driver.wait_for_text("[1h] 6h  24h")
        await driver.press_and_read("plus")
        end = fakes.NOW
        shown = f" 1h  6h  24h [{clock(end - timedelta(minutes=30))}–{clock(end)}]"
        await driver.wait_for_text(shown)


async def test_a_small_screen_has_the_cards_of_errors_and_the_first_token():
    service = FakeMetricsService()
    service.wanted = Objectives(ttft=0.001)
    async with open_metrics(SMALL, service) as driver:
        await driver.wait_for_text("5xx errors", "TTFT P95", "KV cache")
        await driver.wait_for_text(" ms ✗")
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("Errors 5xx", "P95 to first token", "KV cache")


async def test_a_missed_objective_is_told_from_an_unknown_one_without_unicode():
    service = FakeMetricsService()
    service.wanted = Objectives(p95=1.0)
    async with open_metrics(MEDIUM, service, is_utf8=False) as driver:
        await driver.wait_for_text(" s x ", " x P95 ", " is above its objective")
        pane = driver.pane
        for part in (pane.heading, pane.cards, pane.objectives):
            assert all(plain_text(one).isascii() for one in part.lines)


async def test_the_smallest_screen_has_the_period_rather_than_the_source():
    async with open_metrics((20, 10)) as driver:
        await driver.wait_for_text("Requests ● 11", "[1h] 6h  24h")
        driver.service.source.error = FAILURE
        await driver.press_and_read("H")
        await driver.wait_for_text("Prometheus is not")


async def test_nothing_is_shown_of_a_time_that_is_not_on_the_screen_any_more():
    """The age is that of what is shown, and of another period nothing is."""
    now = fakes.NOW
    async with open_metrics(MEDIUM) as driver:
        driver.pane._feed._clock = lambda: now
        await driver.wait_for_text("● requests 11", SOURCE)
        now += timedelta(minutes=3)
        driver.service.source.error = FAILURE
        await driver.press_and_read("z")
        await driver.wait_for_text("(3m ago)", FAILURE)
        await driver.press_and_read("H")
        text = await driver.wait_for_text("[6h]", FAILURE, "– in 6h")
        assert "ago)" not in text


async def test_without_a_connection():
    async with open_metrics(MEDIUM, connected=False) as driver:
        await driver.wait_for_text("There is no connection to the cluster.", "[1h] 6h  24h")
        await driver.press("H", "D", "left", "plus", "minus", "z", "p", "q", "j", "k", "escape")
        await driver.wait_for_text("There is no connection to the cluster.")


async def test_the_line_of_an_objective_is_that_of_the_objective_at_once():
    """Without waiting for the next points of the graph."""
    service = FakeMetricsService()
    service.wanted = Objectives(p95=1.0)
    async with open_metrics(SMALL, service) as driver:
        await driver.press("j")
        await driver.wait_for_text("╌ objective 1 s")
        service.wanted = Objectives(p95=3.0)
        await driver.press_and_read("z")
        await driver.wait_for_text("objective of 3 s")
        service.source.gate.clear()
        await driver.wait_for_text("╌ objective 3 s")


# -- the serving --------------------------------------------------------------------------------


async def test_the_next_serving_shows_nothing_of_the_one_before():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("● requests 11")
        await driver.press("H")
        await driver.wait_for_text("[6h]", "● requests 11")
        await driver.press("left", "plus")
        source = driver.service.source
        await driver.wait_for(lambda: not source.in_flight, "the answers")
        source.gate.clear()
        source.answer = constant(7777.0)
        await driver.press("right_square_bracket")
        text = await driver.wait_for_text("team-a/mistral", "Looking for the source")
        assert isinstance(driver.app.screen.active_pane, MetricsPane)
        assert "requests 11" not in text and "11 in" not in text and "365 ms" not in text
        assert driver.pane.grid.cursor_time is None
        source.gate.set()
        await driver.wait_for_text("team-a/mistral", "● requests 7.78k")
        assert any('pod=~"mistral-' in one.text for one in source.ranges)
        assert len(driver.service.open_now) == 1


async def test_a_page_that_is_opened_again_starts_with_the_first_period():
    async with open_metrics(MEDIUM) as driver:
        await driver.press("D", "j", "p")
        await driver.wait_for_text("[24h]", "Latency by Pod")
        await driver.press("escape", "escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        await driver.press("enter")
        await driver.wait_for(
            lambda: isinstance(getattr(driver.app.screen, "active_pane", None), OverviewPane),
            "the page",
        )
        await driver.press("2")
        await driver.wait_for_text("[1h] 6h  24h", "› Requests")


async def test_a_serving_that_is_deleted_keeps_its_graphs():
    async with open_metrics(MEDIUM) as driver:
        await driver.wait_for_text("● requests 11")
        driver.app.source.remove_view(KEY)
        await driver.wait_for_text("deleted at", "● requests 11")
        await driver.press_and_read("H")
        await driver.wait_for_text("[6h]", "● requests 11")
        await driver.press("1")
        await driver.wait_for(lambda: not driver.service.open_now, "the source to close")
        await driver.press("2")
        await driver.wait_for_text("The serving does not exist any more.")


async def test_a_serving_that_is_scaled_to_zero():
    source = fakes.FakeSource().add_views(
        fakes.serving(NAME, status=Status.SCALED_DOWN, ready=0, desired=0, pods=())
    )
    service = FakeMetricsService()
    service.source.answer = lambda text, grid: []
    async with open_metrics(MEDIUM, service, source=source) as driver:
        text = await driver.wait_for_text("has no record of finished requests")
        assert "– in 1h" in text
        await driver.press("p")
        await driver.wait_for_text("has no record of finished requests")


async def test_another_kind_of_workload():
    stateful = fakes.serving(NAME)
    key = NamespacedName("team-a", NAME, "StatefulSet")
    source = fakes.FakeSource().add_views(replace(stateful, key=key))
    async with open_metrics(MEDIUM, source=source) as driver:
        await driver.wait_for_text(f"StatefulSet team-a/{NAME}", "● requests 11")


# -- size ---------------------------------------------------------------------------------------


async def test_it_fits_any_terminal():
    sizes = [(20, 10), SMALL, LARGE, (74, 30), (150, 12), (20, 60), MEDIUM, (200, 10), (20, 10)]
    async with open_metrics(SMALL) as driver:
        await driver.wait_until_read()
        for width, height in sizes:
            await driver.pilot.resize_terminal(width, height)
            keys = driver.pane.grid.shown_keys
            await driver.wait_for(
                lambda keys=keys: all(
                    driver.pane._feed.graph(key, False) is not None
                    for key in driver.pane.grid.shown_keys
                ),
                f"the graphs at {width}x{height}",
            )
            await driver.wait_until_shown()
            lines = driver.text.splitlines()
            assert len(lines) == height
            assert all(len(line) <= width for line in lines)
            assert "Waiting for" not in driver.text
            await driver.press("left", "plus", "escape", "escape", "z", "p", "escape", "escape")
            await driver.pilot.pause()
            assert isinstance(driver.app.screen.active_pane, MetricsPane)


def clock(time: datetime) -> str:
    return time.astimezone().strftime("%H:%M")


async def test_a_graph_that_arrives_waits_for_the_effect_of_a_key(monkeypatch: pytest.MonkeyPatch):
    async with open_metrics(SMALL) as driver:
        await driver.wait_until_read()
        await driver.wait_for_text("Requests req/s")
        pane, key = driver.pane, GraphKey.REQUESTS
        shown: list[GraphKey] = []
        monkeypatch.setattr(pane, "_show_graph", shown.append)
        is_held = True
        monkeypatch.setattr(driver.app, "has_unpainted_input", lambda: is_held)
        for _ in range(2):
            pane._show_feed(key)
        await driver.pilot.pause()
        assert shown == []
        is_held = False
        await driver.wait_for(lambda: shown, "the graph")
        assert shown == [key]
