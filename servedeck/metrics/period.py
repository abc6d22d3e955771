"""Of what time graphs tell, and how finely."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_POINTS = 240
"""Points of a graph."""
MIN_STEP = 15.0
"""Seconds between two points from Prometheus, which seldom scrapes more often."""
SCRAPES_PER_WINDOW = 4
"""A rate is computed of at least so many scrapes, so that one that fails leaves no gap."""
USUAL_SCRAPE_INTERVAL = 30.0
"""Seconds; where it is not known."""

MIN_WINDOW = 60.0
"""Seconds: of less, the quantiles of a few requests are noise."""

_NICE_STEPS = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 360, 450, 600, 900, 1200)


@dataclass(frozen=True, slots=True)
class Period:
    """A time span that can be chosen, which ends now."""

    name: str
    seconds: float


PERIODS = (Period("1h", 3600.0), Period("6h", 21600.0), Period("24h", 86400.0))


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """Evenly spaced times, in seconds since the epoch."""

    start: float
    step: float
    count: int

    @property
    def end(self) -> float:
        """The last one."""
        return self.start + (self.count - 1) * self.step

    @property
    def seconds(self) -> float:
        return (self.count - 1) * self.step

    def times(self) -> list[float]:
        return [self.start + index * self.step for index in range(self.count)]

    def index(self, time: float) -> int | None:
        """Of the time nearest to `time`; None if it is not within half a step."""
        index = round((time - self.start) / self.step)
        return index if 0 <= index < self.count else None


def choose_step(seconds: float, points: int, least: float = MIN_STEP) -> float:
    """The seconds between two of at most `points`, and never less than `least`: a round number, as
    the same times are asked for again a little later."""
    wanted = max(seconds / max(min(points, MAX_POINTS), 1), least)
    return float(next((one for one in _NICE_STEPS if one >= wanted), math.ceil(wanted / 600) * 600))


def make_grid(end: float, seconds: float, points: int, least: float = MIN_STEP) -> TimeGrid:
    """The times of the last `seconds` before `end`, at multiples of the step."""
    step = choose_step(seconds, points, least)
    last = math.floor(end / step) * step
    count = max(round(seconds / step), 1) + 1
    return TimeGrid(last - (count - 1) * step, step, count)


def rate_window(step: float, scrape_interval: float) -> float:
    """The seconds that a rate is computed of: of all requests since the last point, and of at least
    four scrapes."""
    return max(step, SCRAPES_PER_WINDOW * scrape_interval, MIN_WINDOW)
