"""Dispatches keys, pastes and clicks one at a time, each after the effect of the previous one.

Textual sends a key to the widget that has the focus at that moment. A key often moves the focus or
opens a screen only some messages later, and a terminal sends several keys in one packet: without
this, `q` of `/q` quits the program instead of reaching the filter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.worker import Worker

from tui.internals.textual_private import (
    get_message_pumps,
    get_pump_task,
    get_worker_task,
    has_messages,
    is_batching,
    is_pump_closed,
    is_pump_closing,
    is_waiting_for_messages,
    needs_layout,
    paint_now,
)
from widgets.line_input import PlainInput

MAX_QUEUED_EVENTS = 1000
"""Maximum number of queued events. Further events are dropped with a message until the queue is
empty and no key came for QUIET_SECONDS: dropping a single one would change the meaning of
those after it."""

QUIET_SECONDS = 0.3
"""Seconds; longer than the interval of a key that repeats."""

IDLE_TIMEOUT = 30.0
"""Seconds after which queued keys are dropped, unless they wait for a worker with a label."""

BUSY_MESSAGE_DELAY = 1.0
"""Seconds after which a message names the worker that keys wait for; esc cancels it."""

MAX_IDLE_ROUNDS = 300
"""Maximum number of rounds of waiting for messages to be handled. After that the app is considered
busy with something else, such as a log without pauses; the effect of a key ends after far fewer."""

QUIT_KEYS = frozenset({"ctrl+c", "ctrl+q"})
"""Keys that wait no longer than QUIT_TIMEOUT for a part that hangs."""

QUIT_TIMEOUT = 1.0
"""Seconds."""

EDITING_KEYS = frozenset({"backspace", "delete", "left", "right", "home", "end"})
"""Keys that edit text."""

ORDERED_EVENTS = (
    events.Key,
    events.Paste,
    events.MouseDown,
    events.MouseUp,
    events.MouseScrollDown,
    events.MouseScrollUp,
)
"""Events whose order is kept. Mouse movement in between does not matter."""


class KeyQueue:
    """Queues input events until the app is idle after the previous one.

    Idle means that no widget, no screen and not the app itself has a message left to handle, and
    that no worker given to `hold_keys` runs. An event is not delayed if the app is idle.
    """

    def __init__(
        self,
        app: App[Any],
        *,
        show_message: Callable[[str, str], None],
        request_quit: Callable[[], Coroutine[Any, Any, None]],
        opens_form: Callable[[], bool],
        is_exiting: Callable[[], bool],
    ) -> None:
        """`show_message` takes a text and a style name; `opens_form` is whether the screen in front
        opens a form for text."""
        self._app = app
        self._show_message = show_message
        self._request_quit = request_quit
        self._opens_form = opens_form
        self._is_exiting = is_exiting
        self._queue: deque[events.Event] = deque()
        self._dispatched: events.Event | None = None
        """The event that was posted to the app and has not reached it yet."""
        self._feed_task: asyncio.Task[None] | None = None
        self._quit_task: asyncio.Task[None] | None = None
        self._wait_started_at = 0.0
        """Start of the current wait; 0 for none."""
        self._busy_workers: dict[Worker[Any], tuple[str, float]] = {}
        """Workers that must end before the next key -> their label and start time."""
        self._overflowed_at = 0.0
        """When an event was last dropped because too many came; 0 for none."""
        self._suspended_at = 0.0
        """When the terminal was last given to another program; earlier events were meant for it."""
        self._dropped_while_suspended = 0
        """Number of these events."""
        self._exiting = False
        """Whether the program is exiting, so that only text is still handled."""
        self._text_complete = False

    @property
    def is_busy(self) -> bool:
        """Whether events are queued, or messages beside those of the current screen are."""
        app = self._app
        if self._queue or has_messages(app):
            return True
        screen = app.screen_stack[-1] if app.screen_stack else None
        return any(has_messages(pump) for pump in get_message_pumps(app) if pump is not screen)

    def should_handle(self, event: events.Event) -> bool:
        """Whether the app handles the event now; otherwise it is posted again in its turn."""
        if not isinstance(event, ORDERED_EVENTS):
            return True
        if self._is_closing():
            return False
        if event is self._dispatched:
            self._dispatched = None
            return True
        if event.time < self._suspended_at:
            self._dropped_while_suspended += 1
            self._show_dropped_while_suspended()
            return False
        self._dropped_while_suspended = 0
        if self._exiting and (self._text_complete or not _is_text(event)):
            self._text_complete = True
            return False
        if not self._queue and monotonic() - self._overflowed_at > QUIET_SECONDS:
            self._overflowed_at = 0.0
        if self._overflowed_at and not _is_quit_key(event):
            self._overflowed_at = monotonic()
            return False
        if not (
            self._queue
            or self._dispatched
            or self._find_busy(include_app=False)
            or self._screen_to_lay_out()
        ):
            self._text_complete = self._exiting and not self._enters_text(event)
            return not self._text_complete
        late = self._waited_seconds() > QUIT_TIMEOUT
        if _is_quit_key(event) and (late or len(self._queue) >= MAX_QUEUED_EVENTS):
            self._queue.clear()
            return True
        if self._cancel_busy_workers(event):
            return False
        if len(self._queue) >= MAX_QUEUED_EVENTS:
            self._overflowed_at = monotonic()
            self._show_message(
                "Keys come faster than they can be handled; some were dropped.", "error"
            )
            return False
        self._queue.append(event)
        if _is_quit_key(event):
            asyncio.get_running_loop().call_later(QUIT_TIMEOUT, self._quit_if_stuck, event)
        if self._feed_task is None:
            self._feed_task = asyncio.create_task(self._dispatch_queued())
        return False

    def _is_closing(self) -> bool:
        """Whether the current screen is closing with the app: its widgets are removed already."""
        stack = self._app.screen_stack
        return not stack or is_pump_closing(stack[-1])

    def _quit_if_stuck(self, event: events.Event) -> None:
        """Quit if a quit key is still queued and the keys before it make no progress, even if the
        app itself hangs."""
        if event not in self._queue:
            return
        if (left := QUIT_TIMEOUT - self._waited_seconds()) > 0:
            asyncio.get_running_loop().call_later(left, self._quit_if_stuck, event)
            return
        self._queue.clear()
        self._quit_task = asyncio.create_task(self._request_quit())

    def _waited_seconds(self) -> float:
        """Seconds for which the previous event has delayed the next one."""
        return monotonic() - self._wait_started_at if self._wait_started_at else 0.0

    def suspend(self) -> None:
        """Another program has the terminal: keys that were not handled yet were meant for it."""
        self._suspended_at = monotonic()
        self._dropped_while_suspended = len(self._queue)
        self._queue.clear()

    def resume(self) -> None:
        """The terminal is available again."""
        if self._dropped_while_suspended:
            self._show_dropped_while_suspended()

    def _show_dropped_while_suspended(self) -> None:
        self._show_message(
            f"{_dropped_keys_text(self._dropped_while_suspended)}: "
            "typed after servedeck was suspended.",
            "warning",
        )

    def begin_exit(self) -> None:
        """The program exits: from now on only text is handled."""
        self._exiting = True

    async def drain(self) -> None:
        """Wait until the text typed before the exit has reached its field."""
        await asyncio.sleep(0)  # events that the terminal's thread has read arrive now
        await self.wait_until_idle()

    def _enters_text(self, event: events.Event) -> bool:
        """Whether the event, when the app is idle, types text or opens a form for text; in a
        dialog a letter chooses an option."""
        at_text = self._opens_form() or isinstance(self._app.focused, PlainInput)
        return at_text and _is_text(event)

    def hold_keys(self, worker: Worker[Any], label: str) -> None:
        """Queue keys until the worker ends; `label` describes what it does, "Reading
        team-a/llama"."""
        self._busy_workers[worker] = (label, monotonic())
        self._app.set_timer(BUSY_MESSAGE_DELAY, lambda: self._show_busy_message(worker))

    def _show_busy_message(self, worker: Worker[Any]) -> None:
        if worker in self._busy_workers and not worker.is_finished:
            self._show_message(f"{self._busy_workers[worker][0]}…; esc cancels it.", "")

    def _cancel_busy_workers(self, event: events.Event) -> bool:
        """Cancel slow workers if the event is esc; returns whether any was canceled."""
        if not isinstance(event, events.Key) or event.key != "escape":
            return False
        now = monotonic()
        slow = [
            worker
            for worker, (_what, since) in self._busy_workers.items()
            if not worker.is_finished and now - since > BUSY_MESSAGE_DELAY
        ]
        for worker in slow:
            worker.cancel()
            dropped = f"; {_dropped_keys_text(len(self._queue))}" if self._queue else ""
            self._show_message(f"{self._busy_workers[worker][0]}: canceled{dropped}.", "warning")
        if slow:
            self._queue.clear()
        return bool(slow)

    async def wait_until_idle(self) -> None:
        """Wait until all events have been handled."""
        while (
            self._queue
            or self._dispatched
            or self._find_busy(include_app=True)
            or self._screen_to_lay_out()
        ):
            if self._feed_task is not None:
                await asyncio.wait({self._feed_task})
            await self._wait_for_idle_app()

    # -- idle -----------------------------------------------------------------------------------

    def _find_busy(self, *, include_app: bool) -> Worker[Any] | MessagePump | None:
        """A worker or message pump with work left. `include_app`: the app counts even if its only
        message is the current event."""
        for worker in list(self._busy_workers):
            if not worker.is_finished:
                return worker
            del self._busy_workers[worker]
        app = self._app
        if not include_app and has_messages(app):
            return app
        return next(
            (pump for pump in self._message_pumps(include_app=include_app) if not _is_idle(pump)),
            None,
        )

    def _screen_to_lay_out(self) -> Screen[Any] | None:
        """The current screen, if its layout or callbacks after it are pending: focus and positions
        are known only after that."""
        app = self._app
        if is_batching(app) or not app.screen_stack:
            return None
        screen = app.screen
        return screen if needs_layout(screen) and screen.is_running and screen.is_current else None

    def _message_pumps(self, *, include_app: bool) -> Iterator[MessagePump]:
        yield from get_message_pumps(self._app)
        if include_app:
            yield self._app

    async def _wait_for_idle_app(self) -> bool:
        """Wait until the app is idle; False if that takes too long."""
        self._wait_started_at = monotonic()
        end = self._wait_started_at + IDLE_TIMEOUT
        rounds = 0
        while True:
            unfinished = self._find_busy(include_app=True)
            if unfinished is None:
                screen = self._screen_to_lay_out()
                if screen is None or (rounds := rounds + 1) > MAX_IDLE_ROUNDS:
                    break
                paint_now(screen)  # as Textual's timer would do with the next frame
                await asyncio.sleep(0)
            elif isinstance(unfinished, Worker):
                if (task := get_worker_task(unfinished)) is not None:
                    await asyncio.wait({task})
                end = monotonic() + IDLE_TIMEOUT
                await asyncio.sleep(0)
            elif (rounds := rounds + 1) > MAX_IDLE_ROUNDS:
                break
            elif not await _wait_until_handled(unfinished, end - monotonic()):
                return False
        return True

    async def _dispatch_queued(self) -> None:
        try:
            while self._queue:
                rested = await self._wait_for_idle_app()
                self._wait_started_at = 0.0
                if not rested and self._queue:
                    dropped = _dropped_keys_text(len(self._queue))
                    self._show_message(f"{dropped}: the previous action has not finished.", "error")
                    self._queue.clear()
                if self._queue:
                    self._dispatched = self._queue.popleft()
                    if self._exiting and not self._enters_text(self._dispatched):
                        self._text_complete = True
                        self._queue.clear()
                        self._dispatched = None
                        break
                    if self._is_exiting() or not self._app.post_message(self._dispatched):
                        self._queue.clear()
        finally:
            self._feed_task = None
            self._wait_started_at = 0.0


def _is_idle(pump: MessagePump) -> bool:
    """Whether it has no message left to handle."""
    return is_waiting_for_messages(pump) or _is_stopped(pump)


def _is_stopped(pump: MessagePump) -> bool:
    """Whether it has ended or never started; the app itself has no task."""
    return is_pump_closed(pump) or (get_pump_task(pump) is None and pump is not pump.app)


async def _wait_until_handled(pump: MessagePump, seconds: float) -> bool:
    """Wait until it has handled its current messages; False if that takes longer."""
    reached = asyncio.Event()
    waits: set[asyncio.Future[Any]] = set()
    if pump.call_later(reached.set):
        waits.add(asyncio.create_task(reached.wait()))
    task = get_pump_task(pump)
    if task is not None:
        waits.add(task)
    if not waits:
        await asyncio.sleep(0)
        return seconds > 0
    done, _ = await asyncio.wait(
        waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED
    )
    for one in waits:
        if one is not task:
            one.cancel()
    return bool(done)


def _is_text(event: events.Event) -> bool:
    typed = isinstance(event, events.Key) and (event.is_printable or event.key in EDITING_KEYS)
    return typed or isinstance(event, events.Paste)


def _is_quit_key(event: events.Event) -> bool:
    return isinstance(event, events.Key) and event.key in QUIT_KEYS


def _dropped_keys_text(number: int) -> str:
    return "One key was dropped" if number == 1 else f"{number} keys were dropped"
