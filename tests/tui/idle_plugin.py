"""Pilot's wait for an idle app, without its sleep.

Textual takes an app as idle when the process used little CPU time for 20 ms. That is 40 ms of
waiting for each key, and wrong on a busy machine, where a process that is not run uses no CPU time
either. Here an app is idle when its event loop has nothing left to run and its screen nothing left
to paint; only a timer, a socket or a thread can make it go on, and for those tests wait by
condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import textual.app
import textual.pilot
from textual._context import active_app
from textual.pilot import Pilot


async def wait_until_idle(min_sleep: float = 0.0, max_sleep: float = 60.0) -> None:
    """Let the event loop run until the active app is idle. Raises TimeoutError where that takes
    more than `max_sleep` seconds. `min_sleep` is there because Textual's own has it."""
    end = time.monotonic() + max_sleep
    await _wait_for_empty_loop(end)
    while (step := _pending_update()) is not None:
        step()
        await _wait_for_empty_loop(end)


async def _wait_for_empty_loop(end: float) -> None:
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    quiet = 0
    while quiet < 2:  # the second round takes what the selector has
        await asyncio.sleep(0)
        quiet = 0 if ready else quiet + 1
        if time.monotonic() > end:
            raise TimeoutError("The app is never idle: something in it goes on without waiting.")


def _pending_update() -> Callable[[], None] | None:
    """What Textual would do at its next tick, if there is anything: pass on a new size, or lay
    out, paint and call back."""
    app = active_app.get(None)
    if app is None or not app.screen_stack or app._batch_count:
        return None
    if app._resize_timer is not None:
        return app._check_resize
    screen = app.screen
    due = (
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._recompose_required
        or screen._dirty_widgets
        or screen._callbacks
    )
    return screen._on_timer_update if due and screen.is_running else None


async def _wait_for_screen(pilot: Pilot[object], timeout: float = 30.0) -> bool:
    """In place of a message to each widget of the screen, hundreds for each key: in an idle app no
    widget has a message left."""
    await wait_until_idle()
    return not pilot.app._exception_event.is_set()


def pytest_configure() -> None:
    """For all tests: this file is a plugin of pytest."""
    textual.app.wait_for_idle = wait_until_idle
    textual.pilot.wait_for_idle = wait_until_idle
    Pilot._wait_for_screen = _wait_for_screen
