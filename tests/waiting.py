"""Helpers that wait until a condition is met. One timeout for all tests.

The timeout is long, because it only has to detect a test that hangs, even on a busy machine; no
test asserts performance (benchmarks/ does).
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 120.0
"""Timeout in seconds for everything a test waits for: a condition, a response, a process."""


async def wait_until(
    condition: Callable[[], T],
    what: str = "",
    timeout: float = WAIT_SECONDS,
    *,
    interval: float = 0.005,
    describe_state: Callable[[], object] = str,
) -> T:
    """The first truthy value of `condition`. The TimeoutError contains `what` and the result of
    `describe_state`."""
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
    """The first truthy value of `condition`, for a test without an event loop. Exceptions in
    `ignored_errors` count as not yet. The TimeoutError contains `what` and the last value."""
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
    """The result of `awaitable`; raises TimeoutError."""
    return await asyncio.wait_for(awaitable, timeout)


class TimeSkipper:
    """Advances the clock of the running event loop (sleeps, timeouts, read timeouts) without
    waiting, so that a test can use long ones, which a busy machine does not exceed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._real_time = loop.time
        self.skipped = 0.0

    def __call__(self, seconds: float) -> None:
        self.skipped += seconds
        self._loop.time = self._now  # type: ignore[method-assign]

    def _now(self) -> float:
        return self._real_time() + self.skipped
