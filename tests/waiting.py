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

LIMIT = 120.0
"""Seconds that a test waits for anything: a condition, an answer, a process."""


async def until(
    condition: Callable[[], T],
    what: str = "",
    limit: float = LIMIT,
    *,
    pause: float = 0.005,
    sign: Callable[[], object] = str,
) -> T:
    """The first true value of `condition`. TimeoutError names what was waited for, and what `sign`
    says of the state instead."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:g} s for {what or condition}; {sign()}")
        await asyncio.sleep(pause)
    return value


def wait_for(
    condition: Callable[[], T],
    what: str,
    limit: float = LIMIT,
    pause: float = 0.02,
    not_yet: tuple[type[Exception], ...] = (OSError, http.client.HTTPException),
) -> T:
    """The first true value of `condition`, for a test without an event loop. An exception of
    `not_yet` counts as not yet. TimeoutError names what was waited for and the last value."""
    deadline = time.monotonic() + limit
    while True:
        last: object
        try:
            value = condition()
            if value:
                return value
            last = value
        except not_yet as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:g} s for {what}; last seen: {last!r}")
        time.sleep(pause)


async def within(work: Awaitable[T], limit: float = LIMIT) -> T:
    """The result of `work`."""
    return await asyncio.wait_for(work, limit)


class Skip:
    """Lets seconds pass at once for all that waits on the running event loop (sleeps, time-outs,
    silences), so that a test can have long ones, which no busy machine exceeds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._time = loop.time
        self.skipped = 0.0

    def __call__(self, seconds: float) -> None:
        self.skipped += seconds
        self._loop.time = self._now  # type: ignore[method-assign]

    def _now(self) -> float:
        return self._time() + self.skipped
