"""Snapshots of the screen that replays settings of auto scaling, with a clock that stands still.
`pytest --snapshot-update` updates them; look at each that changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.serving.scaling.proposal import ScalingProposal
from styles.themes import LIGHT
from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tests.tui.test_snapshots import Compare, size_id
from tests.tui.what_if_driver import KEY, LARGE, LATENCY, NAME, SMALL, TINY, WAITING
from tui.app import ServedeckApp
from tui.screens.what_if import WhatIfScreen


@pytest.fixture(autouse=True)
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The graphs have local times."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def what_if_app(**options: Any) -> ServedeckApp:
    source = fakes.FakeSource().add_views(fakes.serving(NAME))
    service = FakeMetricsService()
    service.servings = source
    return make_app(source, metrics_service=service, **options)


def opened(proposal: ScalingProposal, *keys: str, then: tuple[str, ...] = ("What if mean",)) -> Any:
    """Open the screen, press keys, and wait for the texts."""

    async def run(pilot: Pilot[Any]) -> None:
        app: Any = pilot.app
        screen = WhatIfScreen(KEY, proposal, can_use=True)
        await app.push_screen(screen)
        await wait_for(pilot, lambda: screen._replayed is not None, "the replay")
        for key in keys:
            await pilot.press(key)
        await app._key_queue.wait_until_idle()
        await wait_for_text(pilot, *then)
        await wait_for(pilot, lambda: not list(_replays(screen)), "the replay")

    return run


def _replays(screen: WhatIfScreen) -> Iterator[object]:
    return (one for one in screen.workers if one.group == "what-if-replay" and not one.is_finished)


@pytest.mark.parametrize("size", [TINY, SMALL, LARGE], ids=size_id)
def test_settings_by_response_time(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(what_if_app(), terminal_size=size, run_before=opened(LATENCY))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=size_id)
def test_settings_by_waiting_requests_of_a_day(
    snap_compare: Compare, size: tuple[int, int]
) -> None:
    run = opened(WAITING, "pagedown", "pagedown", then=("[24h]", "What if mean", "in 24h"))
    assert snap_compare(what_if_app(), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [TINY, SMALL, LARGE], ids=size_id)
def test_a_field_that_is_wrong(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = opened(LATENCY, "x", then=("Enter milliseconds, such as 5000.",))
    assert snap_compare(what_if_app(), terminal_size=size, run_before=run)


def test_in_light_colors(snap_compare: Compare) -> None:
    app = what_if_app(theme=LIGHT.name)
    assert snap_compare(app, terminal_size=SMALL, run_before=opened(LATENCY))
