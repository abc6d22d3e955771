"""Attempts that the inference server fails one after the other, which say that it serves nobody."""

from __future__ import annotations

import time
from collections.abc import Callable

from servedeck.gateway.delivery.retry_policy import (
    FIRST_ERROR_STATUS,
    Result,
    describe_status,
    is_temporary,
)

_ENOUGH = 3
"""Fewer may be due to what was asked."""
_ENOUGH_SECONDS = 5.0
"""Shorter ones come and go while other requests are answered."""


class FailureStreak:
    """Of one process. `clock`: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._count = 0
        self._began = 0.0
        self._message = ""

    def learn(self, result: Result) -> bool:
        """Whether `message` is another one because of it."""
        before = self.message
        if result.reason is not None or not result.is_counted:
            return False  # says nothing of the inference server
        status = result.status
        is_cut = bool(result.problem) and status is not None and status < FIRST_ERROR_STATUS
        if status is None or is_temporary(status) or is_cut:
            if not self._count:
                self._began = self._clock()
            self._count += 1
            self._message = result.problem or describe_status(status)
        else:
            self._count = 0
        return self.message != before

    @property
    def message(self) -> str:
        """Why the last attempts failed, one sentence; "" if they did not, or were too few, or
        not for long."""
        is_long = self._count >= _ENOUGH and self._clock() - self._began >= _ENOUGH_SECONDS
        return self._message if is_long else ""

    @property
    def since(self) -> float | None:
        """When the first of them ended; None if they did not fail."""
        return self._began if self.message else None
