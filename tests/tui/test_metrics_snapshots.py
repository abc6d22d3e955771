"""Snapshots of the tab Metrics, with a clock that stands still. `pytest --snapshot-update` updates
them; look at each that changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.serving.objectives import Objectives
from styles.themes import ANSI, LIGHT
from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.metrics_driver import LARGE, MEDIUM, NAME, SMALL
from tests.tui.test_snapshots import Compare, size_id
from tui.app import ServedeckApp
from tui.metrics import feed as feed_module
from tui.panes.metrics import MetricsPane

SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
Run = Callable[[Pilot[Any]], Any]


@pytest.fixture(autouse=True)
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The graphs have local times."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def metrics_app(service: FakeMetricsService | None = None, **options: Any) -> ServedeckApp:
    """The app on a serving whose metrics depend on nothing but the time."""
    source = fakes.FakeSource().add_views(fakes.serving(NAME))
    service = service or FakeMetricsService()
    service.servings = source
    return make_app(source, metrics_service=service, **options)


def press(*keys: str, then: tuple[str, ...] = ()) -> Run:
    """Open the tab, press keys, and wait until all on the screen was read and for the texts."""

    async def run(pilot: Pilot[Any]) -> None:
        app = pilot.app
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter", "2")
        await wait_for(
            pilot,
            lambda: isinstance(getattr(app.screen, "active_pane", None), MetricsPane),
            "the tab",
        )
        source = app.metrics_service.source
        for key in ("", *keys):
            if key:
                await pilot.press(key)
            await app._key_queue.wait_until_idle()
            await wait_for(pilot, lambda: not source.in_flight, "the answers")
            await wait_for(pilot, lambda: "oading" not in screen_text(app), "the graphs")
        await wait_for_text(pilot, *then)

    return run


@SIZES
def test_the_metrics(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(
        metrics_app(), terminal_size=size, run_before=press(then=("requests 11", "step"))
    )


@SIZES
def test_the_values_of_a_moment_zoomed(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press("H", "left", "shift+left", "shift+left", "plus", "left", then=("24h [",))
    assert snap_compare(metrics_app(), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_a_graph_at_full_size(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press("j", "z", "D", then=("[24h]", "Latency"))
    assert snap_compare(metrics_app(), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_a_graph_by_pod(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press("p", then=("2 Pods", "x2x1q"))
    assert snap_compare(metrics_app(), terminal_size=size, run_before=run)


def test_the_queries(snap_compare: Compare) -> None:
    service = FakeMetricsService()
    service.link = "https://grafana.example/d/serving?var-name={name}"
    run = press("q", then=("PromQL of Requests", "grafana.example"))
    assert snap_compare(metrics_app(service), terminal_size=MEDIUM, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_objectives(snap_compare: Compare, size: tuple[int, int]) -> None:
    service = FakeMetricsService()
    service.wanted = Objectives(p95=1.0, ttft=0.5)
    assert snap_compare(
        metrics_app(service), terminal_size=size, run_before=press(then=("requests 11",))
    )


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_pods_that_are_read_live(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(feed_module, "unix_time", fakes.NOW.timestamp)
    service = FakeMetricsService()
    service.source.since = (fakes.NOW - timedelta(minutes=12)).timestamp()
    service.problem = "No Prometheus was found among the Services of the cluster."
    run = press(then=("live only", "requests 11"))
    assert snap_compare(metrics_app(service), terminal_size=size, run_before=run)


def test_no_source(snap_compare: Compare) -> None:
    service = FakeMetricsService()
    service.error = "Its Pods are not read: pod_metrics is false."
    run = press(then=("pod_metrics is false",))
    assert snap_compare(metrics_app(service), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("theme", [ANSI.name, LIGHT.name])
def test_in_other_colors(snap_compare: Compare, theme: str) -> None:
    run = press("j", "j", then=("● 400",))
    assert snap_compare(metrics_app(theme=theme), terminal_size=MEDIUM, run_before=run)


def test_without_color_or_unicode(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = press("left", "shift+left", then=("requests",))
    assert snap_compare(metrics_app(is_utf8=False), terminal_size=MEDIUM, run_before=run)
