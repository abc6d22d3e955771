"""The difference between the API server's clock and the local one, from responses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_TOLERANCE = 2.0
"""Seconds: a smaller difference is none. Times in Kubernetes' objects are whole seconds."""


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
    one of the clocks was set, replaces it.
    """

    def __init__(self, local_time: Callable[[], float] = time.time) -> None:
        """`local_time` returns seconds since the epoch."""
        self.local_time = local_time
        self.on_change: Callable[[], None] | None = None
        """Called when `offset` has changed by more than the precision."""
        self._sample: _Sample | None = None
        self._offset = 0.0

    @property
    def offset(self) -> timedelta:
        """The server's clock minus the local one; 0 if unknown or not larger than the precision."""
        return timedelta(seconds=self._offset)

    def add_response(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Use the Date header of a response whose headers have just arrived. `sent_at` is
        `local_time` when the request was sent."""
        if "Age" in headers:  # a cache sent it, with the date of an earlier response
            return
        date = _parse_date(headers.get("Date", ""))
        received_at = self.local_time()
        if date is None or received_at < sent_at:
            return
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
