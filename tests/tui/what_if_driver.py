"""Drives the screen that replays settings of auto scaling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from textual.pilot import Pilot

from servedeck.serving.scaling.proposal import ProposalField, ScalingProposal
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from tests.tui import fakes
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.screens.what_if import WhatIfScreen

SMALL, MEDIUM, LARGE, TINY = (80, 24), (120, 40), (200, 50), (20, 10)
NAME = "llama-8b"
KEY = fakes.serving(NAME).key
LATENCY = ScalingProposal(ScaledBy.RESPONSE_TIME, 2000.0)
WAITING = ScalingProposal(ScaledBy.WAITING_REQUESTS, 2.0)


class Driver(NamedTuple):
    app: ServedeckApp
    pilot: Pilot[Any]
    service: FakeMetricsService
    screen: WhatIfScreen
    results: list[ScalingProposal | None]

    @property
    def text(self) -> str:
        return " ".join(screen_text(self.app).split())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.app._key_queue.wait_until_idle()
        await self.pilot.pause()

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        await wait_for(self.pilot, condition, what)

    async def wait_for_text(self, *texts: str) -> None:
        await wait_for_text(self.pilot, *texts)

    async def type_into(self, field: ProposalField, text: str) -> None:
        """Replace the text of a field."""
        self.screen._field(field).input.focus()
        await self.press("end", "ctrl+u", *text)


@asynccontextmanager
async def open_what_if(
    proposal: ScalingProposal = LATENCY,
    size: tuple[int, int] = SMALL,
    service: FakeMetricsService | None = None,
    *,
    connected: bool = True,
    can_use: bool = False,
    **options: Any,
) -> AsyncIterator[Driver]:
    """The app with the screen over its list."""
    source = fakes.FakeSource().add_views(fakes.serving(NAME))
    service = service or FakeMetricsService()
    service.servings = source
    app = make_app(source, metrics_service=service if connected else None, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "NAME") if size[0] > 40 else await pilot.pause()
        results: list[ScalingProposal | None] = []
        screen = WhatIfScreen(KEY, proposal, can_use=can_use)
        await app.push_screen(screen, results.append)
        yield Driver(app, pilot, service, screen, results)
