"""Driving the app in tests: wait for conditions, read the screen as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual import events
from textual.app import App
from textual.keys import _character_to_key
from textual.pilot import Pilot

from styles.themes import DARK
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.waiting import WAIT_SECONDS
from tui.app import ServedeckApp


def make_app(
    source: fakes.FakeSource | None = None,
    log_service: fakes.FakeLogService | None = None,
    detail_service: FakeDetailService | None = None,
    **options: Any,
) -> ServedeckApp:
    """The app on servings in all six states, its clock stopped."""
    if source is None:
        source = fakes.FakeSource().add_views(*fakes.fleet())
    options = {"theme": DARK.name, **options}
    return ServedeckApp(
        source,
        log_service or fakes.crash_log_service(),
        detail_service or FakeDetailService(),
        clock=lambda: fakes.NOW,
        **options,
    )


def screen_text(app: App[Any]) -> str:
    """What the screen in front shows. The one place that reads the compositor."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text.rstrip() for strip in strips)


async def wait_for(
    pilot: Pilot[Any], condition: Callable[[], object], what: str, timeout: float = WAIT_SECONDS
) -> None:
    """Let the app run until the condition holds, and until it has done what it is at then."""
    end = time.monotonic() + timeout
    await pilot.pause()
    while not condition():
        assert time.monotonic() < end, (
            f"timed out waiting for {what}; the screen:\n{screen_text(pilot.app)}"
        )
        await pilot.pause(0.01)
    await pilot.pause()


def post_keys(pilot: Pilot[Any], *keys: str) -> None:
    """Keys that come in one packet, as from a terminal: nothing waits between them."""
    for key in keys:
        character = key if len(key) == 1 else None
        name = _character_to_key(key) if character else key
        pilot.app.post_message(events.Key(name, character))


async def wait_for_text(pilot: Pilot[Any], *texts: str) -> str:
    """Wait until all the texts are on the screen, broken over lines or not; returns the screen."""

    def seen() -> bool:
        screen = screen_text(pilot.app)
        flowing = " ".join(screen.split())
        return all(text in screen or text in flowing for text in texts)

    await wait_for(pilot, seen, f"{texts} on the screen")
    return screen_text(pilot.app)
