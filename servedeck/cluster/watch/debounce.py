"""Coalesces changes in quick succession: the first is published immediately, the rest together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_HOLD_SECONDS = 0.1
"""Changes are held so long at most."""
_HOLD_STEP_SECONDS = 0.005


async def wait_while_held(is_held: Callable[[], bool]) -> None:
    """Wait while `is_held` returns true, at most MAX_HOLD_SECONDS."""
    loop = asyncio.get_running_loop()
    end = loop.time() + MAX_HOLD_SECONDS
    while is_held() and loop.time() < end:  # noqa: ASYNC110 - a paint says nothing
        await asyncio.sleep(_HOLD_STEP_SECONDS)


class Debouncer:
    """Calls `flush` on the next loop iteration after the first request, then at most once per
    `interval` seconds.

    An urgent request waits only for other urgent ones, so `flush` is called at most twice per
    interval. `flush` returns whether it published anything; only then a new interval starts, so
    irrelevant changes cause no delay. Without requests only the timer of `wake_at` runs.

    While `is_held` returns true a flush waits, at most MAX_HOLD_SECONDS.
    """

    def __init__(
        self,
        flush: Callable[[], bool],
        interval: float,
        *,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._flush = flush
        self._interval = interval
        self._is_held = is_held
        self._loop = asyncio.get_running_loop()
        self._last_flush = self._last_urgent_flush = float("-inf")
        self._urgent_pending = False
        """An urgent request waits for the next flush."""
        self._flush_handle: asyncio.Handle | None = None
        self._flush_at = 0.0
        """Time of that flush, on the loop's clock."""
        self._wake_handle: asyncio.TimerHandle | None = None
        self._closed = False

    def request(self, *, urgent: bool = False) -> None:
        """Request a flush after a change."""
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
            # Not called directly: changes from the same socket read are included.
            self._flush_handle = self._loop.call_soon(self._run_flush)
        else:
            self._flush_handle = self._loop.call_at(due, self._run_flush)

    def flush_again(self) -> None:
        """Called within a flush if work is left; other tasks run in between."""
        if self._flush_handle is None and not self._closed:
            self._flush_at = self._loop.time()
            self._flush_handle = self._loop.call_soon(self._run_flush)

    def wake_at(self, seconds: float | None) -> None:
        """Flush after `seconds` even without a change; None for never. Replaces the previous
        timer."""
        if self._wake_handle is not None:
            self._wake_handle.cancel()
            self._wake_handle = None
        if seconds is not None and not self._closed:
            self._wake_handle = self._loop.call_later(max(seconds, self._interval), self.request)

    def close(self) -> None:
        """No flush after this."""
        self._closed = True
        self.wake_at(None)
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    def _run_flush(self) -> None:
        held_until = self._flush_at + MAX_HOLD_SECONDS
        if self._loop.time() < held_until and self._is_held():
            self._flush_handle = self._loop.call_later(_HOLD_STEP_SECONDS, self._run_flush)
            return
        self._flush_handle = None
        if self._flush():
            self._last_flush = self._loop.time()
            if self._urgent_pending:
                self._last_urgent_flush = self._last_flush
            self._urgent_pending = False
