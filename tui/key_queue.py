"""Keys, pastes and clicks go one at a time, each to where the one before it has led.

Textual hands a key to whatever has the focus at that moment. A key often moves the focus or opens a
screen only some messages later, and a terminal sends several keys in one packet: without this, `q`
of `/q` ends the program where the filter was meant.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.worker import Worker

from widgets.line_input import PlainInput

if TYPE_CHECKING:
    from tui.app import ServedeckApp

MOST = 1000
"""Events that wait at most; what comes then is dropped, and said, until none wait and there was a
PAUSE: one alone left out would change what those behind it mean."""

PAUSE = 0.3
"""Seconds; longer than those between two repetitions of a key that is held down."""

PATIENCE = 30.0
"""Seconds after which keys that wait are dropped, unless what they wait for has said what it is."""

SAID_AFTER = 1.0
"""Seconds after which it is said what keys wait for, and esc stops it."""

ROUNDS = 300
"""Times that something is waited for to handle its messages, before it is taken for busy with
something else, as a log that never pauses; what a key begins ends after far fewer."""

ENDS = frozenset({"ctrl+c", "ctrl+q"})
"""Keys that wait for a part that hangs no longer than ENDS_AFTER."""

ENDS_AFTER = 1.0
"""Seconds."""

EDITS = frozenset({"backspace", "delete", "left", "right", "home", "end"})
"""Keys that belong to typing a text."""

ORDERED = (
    events.Key,
    events.Paste,
    events.MouseDown,
    events.MouseUp,
    events.MouseScrollDown,
    events.MouseScrollUp,
)
"""What keeps its order. Where the mouse moves to meanwhile does not matter."""


class KeyQueue:
    """Holds what the operator does until the app has come to rest after what was done before.

    At rest means that no widget, screen or the app itself has a message left to handle, and that no
    worker runs that `hold` was told of. An event that finds the app at rest is not delayed.
    """

    def __init__(self, app: ServedeckApp) -> None:
        self._app = app
        self._waiting: deque[events.Event] = deque()
        self._next: events.Event | None = None
        """The event that was handed to the app and has not come to it yet."""
        self._feeder: asyncio.Task[None] | None = None
        self._ender: asyncio.Task[None] | None = None
        self._since = 0.0
        """When the wait began that goes on now; 0 for none."""
        self._holds: dict[Worker[Any], tuple[str, float]] = {}
        """Workers that must end before the next key -> what they do, and since when."""
        self._flooded_at = 0.0
        """When an event was left out last since too many came; 0 for none."""
        self._meant_for_us = 0.0
        """When the terminal was given to others last; what comes from before was meant for them."""
        self._others = 0
        """How many events that were."""
        self._ends = False
        """Whether the program is ending, so that only text is still wanted."""
        self._text_ended = False

    def admits(self, event: events.Event) -> bool:
        """Whether the app handles the event now; otherwise it comes again when its turn is."""
        if not isinstance(event, ORDERED):
            return True
        if self._ending():
            return False
        if event is self._next:
            self._next = None
            return True
        if event.time < self._meant_for_us:
            self._others += 1
            self._say_others()
            return False
        self._others = 0
        if self._ends and (self._text_ended or not _is_text(event)):
            self._text_ended = True
            return False
        if not self._waiting and monotonic() - self._flooded_at > PAUSE:
            self._flooded_at = 0.0
        if self._flooded_at and not _is_end(event):
            self._flooded_at = monotonic()
            return False
        if not (self._waiting or self._next or self._unfinished(own=False) or self._unlaid()):
            self._text_ended = self._ends and not self._types(event)
            return not self._text_ended
        late = self._waited() > ENDS_AFTER
        if _is_end(event) and (late or len(self._waiting) >= MOST):
            self._waiting.clear()
            return True
        if self._stops(event):
            return False
        if len(self._waiting) >= MOST:
            self._flooded_at = monotonic()
            self._app.say("Keys come faster than they can be handled; some were left out.", "error")
            return False
        self._waiting.append(event)
        if _is_end(event):
            asyncio.get_running_loop().call_later(ENDS_AFTER, self._end_late, event)
        if self._feeder is None:
            self._feeder = asyncio.create_task(self._feed())
        return False

    def _ending(self) -> bool:
        """Whether the screen in front is being taken down with the app: it has no parts by now."""
        stack = self._app.screen_stack
        return not stack or stack[-1]._closing or stack[-1]._closed

    def _end_late(self, event: events.Event) -> None:
        """End where a key that asks for it still waits, unless those before it go on; also where
        the app itself hangs."""
        if event not in self._waiting:
            return
        if (left := ENDS_AFTER - self._waited()) > 0:
            asyncio.get_running_loop().call_later(left, self._end_late, event)
            return
        self._waiting.clear()
        self._ender = asyncio.create_task(self._app.do_quit())

    def _waited(self) -> float:
        """Seconds for which what was done last has kept the next key."""
        return monotonic() - self._since if self._since else 0.0

    def suspend(self) -> None:
        """Others have the terminal: what was typed and not done yet was meant for them."""
        self._meant_for_us = monotonic()
        self._others = len(self._waiting)
        self._waiting.clear()

    def resume(self) -> None:
        """The terminal is ours again."""
        if self._others:
            self._say_others()

    def _say_others(self) -> None:
        self._app.say(f"{_keys(self._others)}: typed after servedeck was suspended.", "warning")

    def end(self) -> None:
        """The program ends: from now on only text is wanted."""
        self._ends = True

    async def finish(self) -> None:
        """Wait until the text that was typed before the end has come to its field."""
        await asyncio.sleep(0)  # what the terminal's thread has read comes now
        await self.done()

    def _types(self, event: events.Event) -> bool:
        """Whether the event, at rest, types a text or opens a form for one; in a dialog a letter is
        an answer."""
        at_text = self._app.screen is self._app.servings or isinstance(
            self._app.focused, PlainInput
        )
        return at_text and _is_text(event)

    def hold(self, worker: Worker[Any], what: str) -> None:
        """Keep keys until the worker ends; `what` says what it does, "Reading team-a/llama"."""
        self._holds[worker] = (what, monotonic())
        self._app.set_timer(SAID_AFTER, lambda: self._say(worker))

    def _say(self, worker: Worker[Any]) -> None:
        if worker in self._holds and not worker.is_finished:
            self._app.say(f"{self._holds[worker][0]}…; esc stops it.")

    def _stops(self, event: events.Event) -> bool:
        """Whether the event is the esc that stops what keys wait for."""
        if not isinstance(event, events.Key) or event.key != "escape":
            return False
        now = monotonic()
        slow = [
            worker
            for worker, (_what, since) in self._holds.items()
            if not worker.is_finished and now - since > SAID_AFTER
        ]
        for worker in slow:
            worker.cancel()
            dropped = f"; {_keys(len(self._waiting))}" if self._waiting else ""
            self._app.say(f"{self._holds[worker][0]}: stopped{dropped}.", "warning")
        if slow:
            self._waiting.clear()
        return bool(slow)

    async def done(self) -> None:
        """Wait until all that came has been done."""
        while self._waiting or self._next or self._unfinished(own=True) or self._unlaid():
            if self._feeder is not None:
                await asyncio.wait({self._feeder})
            await self._rest()

    # -- at rest --------------------------------------------------------------------------------

    def _unfinished(self, *, own: bool) -> Worker[Any] | MessagePump | None:
        """Something that has work left. `own`: the app counts even where its one message is the
        event that asks."""
        for worker in list(self._holds):
            if not worker.is_finished:
                return worker
            del self._holds[worker]
        app = self._app
        if not own and (app._pending_message is not None or not app._message_queue.empty()):
            return app
        return next((pump for pump in self._pumps(own=own) if not _idle(pump)), None)

    def _unlaid(self) -> Screen[Any] | None:
        """The screen in front, where it is still to be laid out, or to call back after that: only
        then it is known where the focus is and what lies where."""
        app = self._app
        if app._batch_count or not app.screen_stack:
            return None
        screen = app.screen
        due = screen._layout_required or screen._callbacks
        return screen if due and screen.is_running and screen.is_current else None

    def _pumps(self, *, own: bool) -> Iterator[MessagePump]:
        yield from self._app._registry
        if own:
            yield self._app

    async def _rest(self) -> bool:
        """Wait until the app is at rest; False where that takes too long."""
        self._since = monotonic()
        end = self._since + PATIENCE
        rounds = 0
        while True:
            unfinished = self._unfinished(own=True)
            if unfinished is None:
                screen = self._unlaid()
                if screen is None or (rounds := rounds + 1) > ROUNDS:
                    break
                screen._on_timer_update()  # what Textual's timer would do with the next frame
                await asyncio.sleep(0)
            elif isinstance(unfinished, Worker):
                if (task := unfinished._task) is not None:
                    await asyncio.wait({task})
                end = monotonic() + PATIENCE
                await asyncio.sleep(0)
            elif (rounds := rounds + 1) > ROUNDS:
                break
            elif not await _worked(unfinished, end - monotonic()):
                return False
        return True

    async def _feed(self) -> None:
        try:
            while self._waiting:
                rested = await self._rest()
                self._since = 0.0
                if not rested and self._waiting:
                    dropped = _keys(len(self._waiting))
                    self._app.say(f"{dropped}: what was done before does not end.", "error")
                    self._waiting.clear()
                if self._waiting:
                    self._next = self._waiting.popleft()
                    if self._ends and not self._types(self._next):
                        self._text_ended = True
                        self._waiting.clear()
                        self._next = None
                        break
                    if self._app.leaving or not self._app.post_message(self._next):
                        self._waiting.clear()
        finally:
            self._feeder = None
            self._since = 0.0


def _idle(pump: MessagePump) -> bool:
    """Whether it waits for a message, and so has handled all there were."""
    # Its queue is waited for exactly while it has nothing in hand.
    ready: asyncio.Event = pump._message_queue.ready_event
    waited_for = bool(ready._waiters) and not ready.is_set()
    return waited_for or _over(pump)


def _over(pump: MessagePump) -> bool:
    """Whether it ended, or never began; the app itself has no task of its own."""
    return pump._closed or (pump._task is None and pump is not pump.app)


async def _worked(pump: MessagePump, seconds: float) -> bool:
    """Wait until it has handled what it has now; False where that takes longer."""
    reached = asyncio.Event()
    waits: set[asyncio.Future[Any]] = set()
    if pump.call_later(reached.set):
        waits.add(asyncio.create_task(reached.wait()))
    if pump._task is not None:
        waits.add(pump._task)
    if not waits:
        await asyncio.sleep(0)
        return seconds > 0
    done, _ = await asyncio.wait(
        waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED
    )
    for one in waits:
        if one is not pump._task:
            one.cancel()
    return bool(done)


def _is_text(event: events.Event) -> bool:
    typed = isinstance(event, events.Key) and (event.is_printable or event.key in EDITS)
    return typed or isinstance(event, events.Paste)


def _is_end(event: events.Event) -> bool:
    return isinstance(event, events.Key) and event.key in ENDS


def _keys(number: int) -> str:
    return "One key was dropped" if number == 1 else f"{number} keys were dropped"
