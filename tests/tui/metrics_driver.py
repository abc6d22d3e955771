"""Drives the tab Metrics in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from textual.pilot import Pilot

from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.panes.metrics import MetricsPane

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 60)
NAME = "llama-8b"


class Driver(NamedTuple):
    app: ServedeckApp
    pilot: Pilot[Any]
    service: FakeMetricsService

    @property
    def pane(self) -> MetricsPane:
        pane = self.app.screen.active_pane
        assert isinstance(pane, MetricsPane)
        return pane

    @property
    def text(self) -> str:
        return screen_text(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.app._key_queue.wait_until_idle()
        await self.pilot.pause()

    async def wait_for_text(self, *texts: str) -> str:
        await wait_for_text(self.pilot, *texts)
        await self.wait_until_shown()
        return self.text

    async def wait_for(self, condition: Any, what: str) -> None:
        await wait_for(self.pilot, condition, what)

    async def press_and_read(self, *keys: str) -> None:
        """Press keys, and wait until all is read that is asked for then."""
        self.service.source.forget()
        await self.press(*keys)
        await self.wait_until_read()

    async def wait_until_read(self) -> None:
        """Wait until something was asked for and answered."""
        source = self.service.source
        await self.wait_for(lambda: source.asked and not source.in_flight, "the answers")
        await self.wait_until_shown()

    async def wait_until_shown(self) -> None:
        """Wait for what has arrived, but is painted after the effect of a key and in a few
        steps, between which the app is idle."""

        def is_shown() -> bool:
            pane = getattr(self.app.screen, "active_pane", None)
            return not (isinstance(pane, MetricsPane) and pane._is_update_timed)

        await self.wait_for(is_shown, "the paint")


@asynccontextmanager
async def open_metrics(
    size: tuple[int, int] = MEDIUM,
    service: FakeMetricsService | None = None,
    *,
    source: fakes.FakeSource | None = None,
    connected: bool = True,
    **options: Any,
) -> AsyncIterator[Driver]:
    """The app on the tab Metrics of the first serving."""
    if source is None:
        source = fakes.FakeSource().add_views(fakes.serving(NAME), fakes.serving("mistral"))
    service = service or FakeMetricsService()
    service.servings = source
    app = make_app(source, metrics_service=service if connected else None, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter", "2")
        await wait_for(
            pilot,
            lambda: isinstance(getattr(app.screen, "active_pane", None), MetricsPane),
            "the tab",
        )
        yield Driver(app, pilot, service)
