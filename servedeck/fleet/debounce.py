"""Joins what happens in quick succession: the first is passed on at once, the rest together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Debouncer:
    """Calls `beat` soon after the first request, then at most once in `interval` seconds.

    An urgent request waits for other urgent ones only, so `beat` is called at most twice in an
    interval. `beat` returns whether it passed anything on; only then the interval begins anew, so
    what concerns nobody delays nothing. Without requests nothing wakes but the one alarm that is
    set.
    """

    def __init__(self, flush: Callable[[], bool], interval: float) -> None:
        self._flush = flush
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._last_flush = self._last_urgent_flush = float("-inf")
        self._urgent_pending = False
        """An urgent request waits for the next beat."""
        self._flush_handle: asyncio.Handle | None = None
        self._flush_at = 0.0
        """When that beat comes, on the loop's clock."""
        self._wake_handle: asyncio.TimerHandle | None = None
        self._closed = False

    def request(self, *, urgent: bool = False) -> None:
        """Something happened."""
        if self._closed or (
            self._flush_handle is not None and (self._urgent_pending or not urgent)
        ):
            return
        now = self._loop.time()
        due = max(now, (self._last_urgent_flush if urgent else self._last_flush) + self._interval)
        self._urgent_pending = urgent
        if self._flush_handle is not None:
            if self._flush_at <= due:
                return
            self._flush_handle.cancel()
        self._flush_at = due
        if due <= now:
            # Not here: what arrived in the same read of the socket comes along.
            self._flush_handle = self._loop.call_soon(self._run_flush)
        else:
            self._flush_handle = self._loop.call_at(due, self._run_flush)

    def flush_again(self) -> None:
        """From within a beat: there is more work; others get their turn in between."""
        if self._flush_handle is None and not self._closed:
            self._flush_at = self._loop.time()
            self._flush_handle = self._loop.call_soon(self._run_flush)

    def wake_at(self, seconds: float | None) -> None:
        """Beat in so many seconds although nothing happened; None for never. One at a time."""
        if self._wake_handle is not None:
            self._wake_handle.cancel()
            self._wake_handle = None
        if seconds is not None and not self._closed:
            self._wake_handle = self._loop.call_later(max(seconds, self._interval), self.request)

    def close(self) -> None:
        """No beat after this."""
        self._closed = True
        self.wake_at(None)
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    def _run_flush(self) -> None:
        self._flush_handle = None
        if self._flush():
            self._last_flush = self._loop.time()
            if self._urgent_pending:
                self._last_urgent_flush = self._last_flush
            self._urgent_pending = False
