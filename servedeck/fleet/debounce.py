"""Joins what happens in quick succession: the first is passed on at once, the rest together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pulse:
    """Calls `beat` soon after the first request, then at most once in `interval` seconds.

    An urgent request waits for other urgent ones only, so `beat` is called at most twice in an
    interval. `beat` returns whether it passed anything on; only then the interval begins anew, so
    what concerns nobody delays nothing. Without requests nothing wakes but the one alarm that is
    set.
    """

    def __init__(self, beat: Callable[[], bool], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._last = self._last_urgent = float("-inf")
        self._urgent = False
        """An urgent request waits for the next beat."""
        self._handle: asyncio.Handle | None = None
        self._due = 0.0
        """When that beat comes, on the loop's clock."""
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def request(self, *, urgent: bool = False) -> None:
        """Something happened."""
        if self._closed or (self._handle is not None and (self._urgent or not urgent)):
            return
        now = self._loop.time()
        due = max(now, (self._last_urgent if urgent else self._last) + self._interval)
        self._urgent = urgent
        if self._handle is not None:
            if self._due <= due:
                return
            self._handle.cancel()
        self._due = due
        if due <= now:
            # Not here: what arrived in the same read of the socket comes along.
            self._handle = self._loop.call_soon(self._run)
        else:
            self._handle = self._loop.call_at(due, self._run)

    def again(self) -> None:
        """From within a beat: there is more work; others get their turn in between."""
        if self._handle is None and not self._closed:
            self._due = self._loop.time()
            self._handle = self._loop.call_soon(self._run)

    def alarm(self, seconds: float | None) -> None:
        """Beat in so many seconds although nothing happened; None for never. One at a time."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if seconds is not None and not self._closed:
            self._alarm = self._loop.call_later(max(seconds, self._interval), self.request)

    def close(self) -> None:
        """No beat after this."""
        self._closed = True
        self.alarm(None)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        if self._beat():
            self._last = self._loop.time()
            if self._urgent:
                self._last_urgent = self._last
            self._urgent = False
