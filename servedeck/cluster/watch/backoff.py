"""What a reflector can be doing, and how long it waits for what."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class ReflectorPhase(StrEnum):
    CONNECTING = "connecting"
    """Nothing has been heard yet."""
    LISTING = "listing"
    """The first list is on its way; `loaded` and `remaining` count."""
    LIVE = "live"
    RETRYING = "retrying"
    """The server is away or refuses for now; the store is as it was at `last_news`."""
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    """The cluster does not have this kind."""
    UNAUTHORIZED = "unauthorized"


@dataclass(frozen=True)
class ReflectorConfig:
    """All times in seconds. Pairs are the ends of a range that is drawn from evenly."""

    page_size: int = 500
    """Objects in one page of a list."""
    watch_read_timeout: float = 90.0
    """Silence after which a watch counts as dead; bookmarks come each 60 s."""
    watch_duration: tuple[float, float] = (300.0, 600.0)
    """Length of a watch, by the server's clock."""
    watch_duration_without_bookmarks: tuple[float, float] = (60.0, 90.0)
    """The same where no bookmarks come: its end is the sign of life."""
    list_read_timeout: float = 60.0
    retry_delay: tuple[float, float] = (0.8, 30.0)
    """First and longest wait of the back-off, before jitter."""
    backoff_reset_after: float = 120.0
    """Time without failure after which the back-off begins anew."""
    relist_delay: tuple[float, float] = (0.0, 1.0)
    """Wait before listing anew when the server forgot our version."""
    unavailable_delay: tuple[float, float] = (60.0, 300.0)
    """Wait before asking again for what is forbidden or missing."""
    unauthorized_delay: tuple[float, float] = (30.0, 60.0)
    min_watch_duration: float = 1.0
    """A watch that ends sooner than this, with nothing to say, is a failure."""
    time_slice: float = 0.004
    """Longest stretch of work without a turn for others on the event loop."""


class Backoff:
    """Waits between attempts: doubled each time, with as much again as jitter."""

    def __init__(
        self, config: ReflectorConfig, rng: random.Random, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._rng = rng
        self._clock = clock
        self._failures = 0
        self._failed_at = 0.0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        now = self._clock()
        first, most = self._config.retry_delay
        if now - self._failed_at > self._config.backoff_reset_after + 2 * most:
            self._failures = 0
        self._failed_at = now
        wait: float = min(most, first * 2 ** min(self._failures, 16))
        self._failures += 1
        return wait * (1 + self._rng.random())

    def reset(self) -> None:
        """Begin anew with the shortest wait."""
        self._failures = 0
