"""Phases, timeouts and backoff of a reflector."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class ReflectorPhase(StrEnum):
    CONNECTING = "connecting"
    """No response received yet."""
    LISTING = "listing"
    """The first list is being received; see `loaded_count` and `remaining_count`."""
    LIVE = "live"
    RETRYING = "retrying"
    """The server is unreachable or fails; the store is as of `last_contact`."""
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    """The cluster does not serve this kind."""
    UNAUTHORIZED = "unauthorized"


@dataclass(frozen=True)
class ReflectorConfig:
    """Times are in seconds. Pairs are the bounds of a uniform distribution."""

    page_size: int = 500
    """Maximum number of objects per page of a list."""
    watch_read_timeout: float = 90.0
    """Time without data after which a watch counts as dead; bookmarks arrive every 60 s."""
    watch_duration: tuple[float, float] = (300.0, 600.0)
    """Requested duration of a watch (timeoutSeconds)."""
    watch_duration_without_bookmarks: tuple[float, float] = (60.0, 90.0)
    """Duration for kinds without bookmarks, where only its end shows that the connection works."""
    list_read_timeout: float = 60.0
    retry_delay: tuple[float, float] = (0.8, 30.0)
    """Initial and maximum delay of the backoff, before jitter."""
    backoff_reset_after: float = 120.0
    """Time without failure after which the backoff is reset."""
    relist_delay: tuple[float, float] = (0.0, 1.0)
    """Delay before a relist when the resource version has expired."""
    unavailable_delay: tuple[float, float] = (60.0, 300.0)
    """Delay before retrying a forbidden or missing kind."""
    unauthorized_delay: tuple[float, float] = (30.0, 60.0)
    min_watch_duration: float = 5.0
    """A watch that ends earlier without a change of an object counts as failed: the delay before
    the next one grows."""
    short_watch_delay: float = 1.0
    """Maximum delay after a watch that ended so early, but brought a change."""
    time_slice: float = 0.004
    """Maximum time of synchronous work between yields to the event loop."""


class Backoff:
    """Exponential backoff with jitter of up to 100 %."""

    def __init__(
        self, config: ReflectorConfig, rng: random.Random, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._rng = rng
        self._clock = clock
        self._failures = 0
        self._failed_at = 0.0

    def next_delay(self) -> float:
        """Seconds to wait after another failure."""
        now = self._clock()
        initial, maximum = self._config.retry_delay
        if now - self._failed_at > self._config.backoff_reset_after + 2 * maximum:
            self._failures = 0
        self._failed_at = now
        delay: float = min(maximum, initial * 2 ** min(self._failures, 16))
        self._failures += 1
        return delay * (1 + self._rng.random())

    def reset(self) -> None:
        """Start again with the initial delay."""
        self._failures = 0
