"""The clock of a demo cluster. It can be stopped, stepped and sped up.

Timers run in the order of their times, then of their creation, so a simulation with the same seed
always has the same history.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from servedeck.demo.faults import Isolation, call_directly

_SLICE_SECONDS = 0.02
"""So long run timers at a stretch while the clock follows the wall; then the event loop has a turn,
so that the API answers also while thousands of timers are due."""
_MIN_HEAP = 4096
"""Up to this number of timers, cancelled ones stay until their time."""


def _monotonic() -> float:
    """Seconds, time in suspend included, so that the demo's clock keeps up with the wall clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Timer:
    """A scheduled call. `cancel()` is allowed at any time, also after the call."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None] | None) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None

    @property
    def active(self) -> bool:
        return self.callback is not None


class Clock:
    """Time in seconds since the epoch, as the demo's objects see it.

    A new clock is stopped at `start`. `advance` and `run_until` move it by hand; after `start()`
    it follows the wall clock on the running asyncio loop, `speed` times as fast. Each timer is
    called through `isolation`.
    """

    def __init__(
        self, start: float, *, speed: float = 1.0, isolation: Isolation = call_directly
    ) -> None:
        self._time = start
        self._isolation = isolation
        self._compact_above = _MIN_HEAP
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._speed = speed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | asyncio.Handle | None = None
        self._anchor = (0.0, 0.0)
        self._running_timers = False

    # -- reading ------------------------------------------------------------------------------

    def time(self) -> float:
        """Now, in seconds since the epoch; in a timer's callback, the time of that timer."""
        if self._loop is None or self._running_timers:
            return self._time
        return max(self._time, self._wall_time())

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def timestamp(self) -> str:
        """Now as the API writes metav1.Time: whole seconds, "2026-11-23T15:04:05Z"."""
        return format_timestamp(self.time())

    def micro_timestamp(self) -> str:
        """Now as the API writes metav1.MicroTime, "2026-11-23T15:04:05.123456Z"."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @property
    def running(self) -> bool:
        return self._loop is not None

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def next_due(self) -> float | None:
        """Time of the next timer; None where there is none."""
        while self._heap and not self._heap[0][2].active:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    # -- timers -------------------------------------------------------------------------------

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback` at `when`. A time in the past means as soon as possible, but never from
        within this method."""
        timer = Timer(max(when, self.time()), callback)
        self._sequence += 1
        heapq.heappush(self._heap, (timer.when, self._sequence, timer))
        if len(self._heap) > self._compact_above:
            self._drop_cancelled()
        if self._loop is not None and not self._running_timers and self._heap[0][2] is timer:
            self._schedule_next()
        return timer

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self.call_at(self.time() + seconds, callback)

    def _drop_cancelled(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].active]
        heapq.heapify(self._heap)
        self._compact_above = max(_MIN_HEAP, 2 * len(self._heap))

    async def sleep(self, seconds: float) -> None:
        """Waits on this clock; while it is stopped, the wait does not end."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await future
        finally:
            timer.cancel()

    # -- moving by hand -----------------------------------------------------------------------

    def run_until(self, when: float) -> None:
        """Runs the timers due up to `when`, in order; the clock is at `when` afterwards."""
        self._run_timers(when, math.inf)

    def _run_timers(self, when: float, seconds: float) -> bool:
        """Runs timers due up to `when` for so many seconds, at least one; whether that were all."""
        if self._running_timers:
            raise RuntimeError("a timer must not move the clock that runs it")
        self._running_timers = True
        end = time.perf_counter() + seconds
        try:
            while (due := self.next_due) is not None and due <= when:
                _, _, timer = heapq.heappop(self._heap)
                callback = timer.callback
                timer.cancel()
                self._time = max(self._time, due)
                if callback is not None:
                    self._isolation(callback)
                if time.perf_counter() >= end:
                    return False
            self._time = max(self._time, when)
            return True
        finally:
            self._running_timers = False

    def advance(self, seconds: float) -> None:
        self.run_until(self.time() + seconds)

    def run_due(self) -> None:
        """Runs the timers that are due now, those that they add included."""
        self.run_until(self.time())

    # -- following the wall -------------------------------------------------------------------

    def start(self, speed: float | None = None) -> None:
        """Follows the wall clock from the current time on; needs a running asyncio loop."""
        self.stop()
        if speed is not None:
            self._speed = speed
        if not self._speed > 0 or math.isinf(self._speed):
            raise ValueError(f"the demo's speed must be a positive number, not {self._speed}")
        self._loop = asyncio.get_running_loop()
        self._anchor = (_monotonic(), self._time)
        self._schedule_next()

    def stop(self) -> None:
        """Stops the clock; timers keep their times."""
        if self._loop is None:
            return
        self._time = self.time()
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wall_time(self) -> float:
        since, at = self._anchor
        return at + (_monotonic() - since) * self._speed

    def _schedule_next(self) -> None:
        if self._loop is None:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        due = self.next_due
        if due is not None:
            delay = max(0.0, (due - self._wall_time()) / self._speed)
            self._handle = self._loop.call_later(delay, self._run_due_timers)

    def _run_due_timers(self) -> None:
        self._handle = None
        try:
            self._run_timers(self._wall_time(), _SLICE_SECONDS)
        finally:
            self._schedule_next()


def format_timestamp(seconds: float) -> str:
    """Seconds since the epoch as the API writes metav1.Time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of a metav1.Time or MicroTime."""
    return datetime.fromisoformat(text).timestamp()
