"""Tries a login that failed again, as soon as there is a reason to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LOGIN_CHECK_SECONDS = 2.0
"""Seconds between two looks at the files of a login that failed, and only then. A file is read for
that, and a credential plugin run at its own, growing intervals; nothing is sent."""


class LoginWatch:
    """Create it on the event loop, and call `check` when a watch may have failed to log in."""

    def __init__(
        self,
        has_failed: Callable[[], bool],
        try_again: Callable[[], Awaitable[bool]],
        retry: Callable[[], None],
    ) -> None:
        """`has_failed`: whether a login is needed. `try_again`: whether it may be good now, for
        which `retry` is called."""
        self._has_failed = has_failed
        self._try_again = try_again
        self._retry = retry
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Start to look, if a login failed and nobody does."""
        if (self._task is None or self._task.done()) and self._has_failed():
            self._task = asyncio.create_task(self._run(), name="servedeck login")

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while self._has_failed():
            await asyncio.sleep(LOGIN_CHECK_SECONDS)
            if self._has_failed() and await self._try_again():
                self._retry()
