"""The difference between the API server's clock and the local one, from responses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_TOLERANCE = 2.0
"""Seconds: a smaller difference is none. Times in Kubernetes' objects are whole seconds."""


def read_boot_time() -> float:
    """Seconds since the system was started, with those that it was suspended for. That is what
    CLOCK_MONOTONIC counts on macOS, which has no CLOCK_BOOTTIME (clock_gettime(3))."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Sample(NamedTuple):
    """Bounds of the server's clock minus the local one, in seconds: the server wrote a date of
    whole seconds at some time of the round trip."""

    least: float
    most: float

    @property
    def width(self) -> float:
        return self.most - self.least

    def contradicts(self, other: _Sample) -> bool:
        return self.least > other.most + _TOLERANCE or other.least > self.most + _TOLERANCE


class ServerClock:
    """What is known of the server's clock. Not thread-safe.

    The response with the shortest round trip is the most precise. One that contradicts it, after
    the server's clock was set, replaces it. That the local one was set is known without a response:
    the time since boot goes on as before.
    """

    def __init__(
        self,
        local_time: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = read_boot_time,
    ) -> None:
        """`local_time` returns seconds since the epoch, `since_boot` those since the system was
        started, with those that it was suspended for."""
        self._wall_time, self._since_boot = local_time, since_boot
        self._booted_at = local_time() - since_boot()
        """When the system was started, by the local clock as it was first."""
        self.on_change: Callable[[], None] | None = None
        """Called when `offset` has changed by more than the precision."""
        self._responded_at = -math.inf
        self._sample: _Sample | None = None
        self._offset = 0.0

    @property
    def offset(self) -> timedelta:
        """The server's clock minus the local one; 0 if unknown or not larger than the precision."""
        if self._sample is None:
            return timedelta()
        offset = self._offset - self._local_step()
        return timedelta(seconds=offset if abs(offset) > _TOLERANCE else 0.0)

    def server_time(self) -> float:
        """Seconds since the epoch by the server's clock, by the local one while that is unknown."""
        return self._wall_time() + self.offset.total_seconds()

    @property
    def age(self) -> float:
        """Seconds since the Date header of the last response; infinite before the first."""
        return self._since_boot() - self._responded_at

    def local_time(self) -> float:
        """Seconds since the epoch by the local clock, as it was before it was set."""
        return self._booted_at + self._since_boot()

    def _local_step(self) -> float:
        """Seconds that the local clock was set forward by since it was read first."""
        step = self._wall_time() - self.local_time()
        return step if abs(step) > _TOLERANCE else 0.0

    def add_response(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Use the Date header of a response whose headers have just arrived. `sent_at` is
        `local_time` when the request was sent."""
        if "Age" in headers:  # a cache sent it, with the date of an earlier response
            return
        date = _parse_date(headers.get("Date", ""))
        received_at = self.local_time()
        if date is None or received_at < sent_at:
            return
        self._responded_at = self._since_boot()
        sample = _Sample(date - received_at, date + 1 - sent_at)
        before = self._sample
        if before is None or sample.width < before.width or sample.contradicts(before):
            self._sample = sample
            self._update(sample)

    def _update(self, sample: _Sample) -> None:
        is_none = sample.least <= _TOLERANCE and sample.most >= -_TOLERANCE
        offset = 0.0 if is_none else (sample.least + sample.most) / 2
        before, self._offset = self._offset, offset
        if abs(offset - before) > _TOLERANCE and self.on_change is not None:
            self.on_change()


def _parse_date(text: str) -> float | None:
    """Seconds since the epoch of an HTTP date, None for another text."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
