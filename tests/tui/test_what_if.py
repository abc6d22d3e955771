"""The screen that replays other settings of auto scaling, typed into and read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import FoundSeries
from servedeck.serving.scaling.proposal import ProposalField, ScalingProposal
from servedeck.serving.scaling.replay_settings import Assumption
from tests.tui.fake_metrics_service import FakeMetricsService, FakeOpenMetrics, usual_answer
from tests.tui.what_if_driver import (
    KEY,
    LARGE,
    LATENCY,
    MEDIUM,
    SMALL,
    TINY,
    WAITING,
    Driver,
    open_what_if,
)
from tui.screens.what_if import WhatIfScreen


def service_with(**levels: float | None) -> FakeMetricsService:
    """Constant values: of the P95 in seconds, waiting requests and ready replicas; None for no
    series."""
    parts = {"p95": "histogram_quantile(0.95", "waiting": "_waiting", "ready": "replicas_ready"}

    def answer(text: str, grid: TimeGrid) -> Sequence[FoundSeries]:
        for name, part in parts.items():
            if part in text and name in levels:
                value = levels[name]
                return [] if value is None else [FoundSeries({}, (value,) * grid.count)]
        return usual_answer(text, grid)

    service = FakeMetricsService()
    service.source.answer = answer
    return service


async def wait_for_replay(driver: Driver) -> None:
    await driver.wait_for(lambda: driver.screen._replayed is not None, "the replay")


# -- the figures ------------------------------------------------------------------------------


async def test_the_figures_are_those_of_the_typed_settings() -> None:
    async with open_what_if(LATENCY, service=service_with(p95=6.0, ready=2.0)) as driver:
        # 12 s of one replica, at most 2 s of each: 6 replicas
        await driver.wait_for_text("most 6 replicas", "scaled 2 times", "What if: team-a/llama-8b")
        await driver.wait_for_text("As it was mean 2, most 2 replicas, 2 replica-hours; 100 %")
        await driver.type_into(ProposalField.MAX_REPLICAS, "4")
        await driver.wait_for_text("most 4 replicas", "at Max Replicas")
        await driver.type_into(ProposalField.TARGET, "20000")
        await driver.wait_for_text("most 2 replicas", "0 % of the time above the target")


async def test_the_assumption_is_said_and_can_be_changed() -> None:
    async with open_what_if(LATENCY, service=service_with(p95=6.0, ready=2.0)) as driver:
        await driver.wait_for_text("Assumes that the response time follows the load of each")
        await driver.press("ctrl+t")
        await driver.wait_for_text("would have been the same", "most 10 replicas")
        assert driver.screen._shown_assumption is Assumption.UNCHANGED
        await driver.press("ctrl+t")
        await driver.wait_for_text("most 6 replicas")


async def test_how_long_added_replicas_start_is_said_and_replayed() -> None:
    service = service_with(p95=6.0, ready=2.0)
    async with open_what_if(LATENCY, service=service) as driver:
        await driver.wait_for_text("added replicas are ready at once.")
        at_once = driver.screen._replayed
    slow = replace(LATENCY, startup_seconds=220.0)
    async with open_what_if(slow, service=service) as driver:
        await driver.wait_for_text("added replicas are ready in 3m40s, the longest start.")
        later = driver.screen._replayed
    assert at_once is not None and later is not None
    assert later.seconds_above_target > at_once.seconds_above_target


async def test_without_known_replicas_the_response_time_is_as_it_was() -> None:
    async with open_what_if(LATENCY, service=service_with(p95=6.0, ready=None)) as driver:
        await driver.wait_for_text("with any number of replicas, as that of the time is not known;")
        assert "As it was 100 % of the time above the target" in driver.text
        await driver.press("ctrl+t")
        await driver.wait_for_text("How many replicas there were is not known")


async def test_waiting_requests_are_divided_by_the_replicas() -> None:
    async with open_what_if(WAITING, service=service_with(waiting=9.0, ready=3.0)) as driver:
        await driver.wait_for_text("most 5 replicas", "as many requests would have waited in total")
        await driver.wait_for_text("Waiting per replica", "target 2 per replica")
        await driver.press("ctrl+t")
        await driver.wait_for_text("divided by the replicas in any case")


async def test_zero_replicas_and_a_response_time_is_a_warning() -> None:
    async with open_what_if(replace(LATENCY, min_replicas=0), MEDIUM) as driver:
        await driver.wait_for_text("With 0 replicas there are no response times")
    async with open_what_if(replace(WAITING, min_replicas=0), MEDIUM) as driver:
        await wait_for_replay(driver)
        assert "With 0 replicas" not in driver.text


# -- what is typed ----------------------------------------------------------------------------


async def test_what_is_wrong_is_said_under_its_field() -> None:
    async with open_what_if(LATENCY, can_use=True) as driver:
        await wait_for_replay(driver)
        await driver.type_into(ProposalField.MIN_REPLICAS, "11")
        await driver.wait_for_text("Enter at least 11, which is Min", "Correct the marked field")
        await driver.press("ctrl+s")
        await driver.wait_for_text("A field is wrong; the sentence under it says why.")
        assert driver.results == []
        await driver.type_into(ProposalField.MIN_REPLICAS, "2")
        await driver.wait_for_text("What if mean")
        assert "Enter at least" not in driver.text


async def test_arrows_go_around_the_fields() -> None:
    async with open_what_if() as driver:
        names = []
        for key in ("down", "tab", "enter", "down", "up", "shift+tab"):
            await driver.press(key)
            focused = driver.app.focused
            assert focused is not None and focused.parent is not None
            names.append(getattr(focused.parent.parent, "id", ""))
        assert names == [
            "min-replicas",
            "max-replicas",
            "scale-in-delay",
            "target",
            "scale-in-delay",
            "max-replicas",
        ]


async def test_the_values_are_the_result_where_the_caller_takes_them() -> None:
    async with open_what_if(can_use=True) as driver:
        await driver.type_into(ProposalField.TARGET, "1500")
        await driver.press("ctrl+s")
        await driver.wait_for(lambda: driver.results, "the result")
        assert driver.results == [replace(LATENCY, target=1500.0)]
    async with open_what_if() as driver:
        await driver.press("ctrl+s")
        await driver.wait_for_text("These values are not part of a form that is edited.")
        assert "use these" not in driver.text
        await driver.press("escape")
        await driver.wait_for(lambda: driver.results == [None], "the end")


# -- the period and the source ----------------------------------------------------------------


async def test_longer_periods_are_read_with_more_points_than_a_chart_has() -> None:
    async with open_what_if() as driver:
        await wait_for_replay(driver)
        source = driver.service.source
        for period, count, step in (("6h", 1441, 15.0), ("24h", 1441, 60.0)):
            source.forget()
            await driver.press("pagedown")
            await driver.wait_for_text(f"[{period}]")
            await wait_for_replay(driver)
            assert {(one.grid.count, one.grid.step) for one in source.ranges} == {(count, step)}
        await driver.press("pagedown")  # there is no longer one
        assert "[24h]" in driver.text
        await driver.press("pageup", "pageup", "pageup")
        await driver.wait_for_text("[1h]")
        await wait_for_replay(driver)


async def test_the_old_period_is_not_shown_as_the_new_one() -> None:
    async with open_what_if() as driver:
        await wait_for_replay(driver)
        driver.service.source.gate.clear()
        await driver.press("pagedown")
        await driver.wait_for_text("[6h]", "Waiting for Prometheus at metrics.example:9090.")
        assert "What if mean" not in driver.text
        driver.service.source.gate.set()
        await driver.wait_for_text("What if mean", "in 6h")


async def test_typing_while_the_source_does_not_answer() -> None:
    service = FakeMetricsService()
    service.source.gate.clear()
    async with open_what_if(service=service) as driver:
        await driver.type_into(ProposalField.TARGET, "900")
        assert driver.screen._field(ProposalField.TARGET).text == "900"
        service.source.gate.set()
        await wait_for_replay(driver)
        assert driver.screen._proposal == replace(LATENCY, target=900.0)


async def test_why_nothing_can_be_replayed() -> None:
    service = FakeMetricsService()
    service.error = "No Prometheus was found."
    async with open_what_if(service=service) as driver:
        await driver.wait_for_text("No Prometheus was found.")
    async with open_what_if(connected=False) as driver:
        await driver.wait_for_text("There is no connection to the cluster.")
    silent = FakeMetricsService()
    silent.source.answer = lambda _text, _grid: []
    async with open_what_if(service=silent) as driver:
        await driver.wait_for_text("has no record of times of requests")


async def test_the_source_is_closed_with_the_screen() -> None:
    async with open_what_if() as driver:
        await wait_for_replay(driver)
        assert len(driver.service.open_now) == 1
        await driver.press("escape")
        await driver.wait_for(lambda: not driver.service.open_now, "the close")
        assert not isinstance(driver.app.screen, WhatIfScreen)


class SlowService(FakeMetricsService):
    """Finds its source when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_open = asyncio.Event()
        self.is_opening = False

    async def open_metrics(
        self, key: NamespacedName, on_read: Callable[[], None]
    ) -> FakeOpenMetrics:
        self.is_opening = True
        await self.may_open.wait()
        return await super().open_metrics(key, on_read)


async def test_a_source_that_is_found_after_the_end_is_not_opened() -> None:
    service = SlowService()
    async with open_what_if(service=service) as driver:
        await driver.wait_for(lambda: service.is_opening, "the search")
        await driver.press("escape")
        await driver.wait_for(lambda: driver.results, "the end")
        service.may_open.set()
        await driver.wait_for(lambda: not driver.screen.is_attached, "the removal")
        assert service.opened == []


# -- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [TINY, (40, 15), SMALL, MEDIUM, LARGE])
@pytest.mark.parametrize("proposal", [LATENCY, WAITING])
async def test_every_size_shows_the_fields_the_figures_and_the_way_out(
    size: tuple[int, int], proposal: ScalingProposal
) -> None:
    async with open_what_if(proposal, size) as driver:
        await wait_for_replay(driver)
        await driver.wait_for_text("What if mean", "esc close", "Replicas ●")
        for field in ProposalField:
            label = driver.screen._field(field)._label_line.region
            assert label.height == 1 and label.right <= size[0] and label.bottom <= size[1]
        assert f"{KEY.name}" in driver.text or size[1] < 12


async def test_another_size_lays_it_out_again() -> None:
    async with open_what_if() as driver:
        await wait_for_replay(driver)
        await driver.pilot.resize_terminal(*TINY)
        await driver.wait_for_text("Target ")
        await driver.type_into(ProposalField.TARGET, "x")
        await driver.wait_for_text("Enter milliseconds, such as 5000.")
        await driver.pilot.resize_terminal(*LARGE)
        await driver.wait_for_text("Target Response Time (ms)", "such as 5000.")
