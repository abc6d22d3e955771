"""Waiting for a condition: returns as soon as it holds. One limit for all tests.

The limit is long, because it only tells a test that hangs from one on a busy machine; no test
asserts how fast something is (benchmarks/ does).
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 120.0
"""Seconds that a test waits for anything: a condition, an answer, a process."""


async def wait_until(
    condition: Callable[[], T],
    what: str = "",
    timeout: float = WAIT_SECONDS,
    *,
    interval: float = 0.005,
    describe_state: Callable[[], object] = str,
) -> T:
    """The first true value of `condition`. TimeoutError names what was waited for, and what `sign`
    says of the state instead."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what or condition}; {describe_state()}")
        await asyncio.sleep(interval)
    return value


def wait_until_sync(
    condition: Callable[[], T],
    what: str,
    timeout: float = WAIT_SECONDS,
    interval: float = 0.02,
    ignored_errors: tuple[type[Exception], ...] = (OSError, http.client.HTTPException),
) -> T:
    """The first true value of `condition`, for a test without an event loop. An exception of
    `not_yet` counts as not yet. TimeoutError names what was waited for and the last value."""
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            value = condition()
            if value:
                return value
            last = value
        except ignored_errors as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {last!r}")
        time.sleep(interval)


async def with_timeout(awaitable: Awaitable[T], timeout: float = WAIT_SECONDS) -> T:
    """The result of `work`."""
    return await asyncio.wait_for(awaitable, timeout)


class TimeSkipper:
    """Lets seconds pass at once for all that waits on the running event loop (sleeps, time-outs,
    silences), so that a test can have long ones, which no busy machine exceeds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._real_time = loop.time
        self.skipped = 0.0

    def __call__(self, seconds: float) -> None:
        self.skipped += seconds
        self._loop.time = self._now  # type: ignore[method-assign]

    def _now(self) -> float:
        return self._real_time() + self.skipped
