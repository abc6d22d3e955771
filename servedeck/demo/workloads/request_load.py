"""The simulated requests to one endpoint: more by day than by night, with peaks, and for some with
a swing of a few minutes. Counts are integrals of rates, so no timer has to count requests.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

_DAY = 86_400.0
_DAY_SHARE = 0.45
_SHORT_SHARES = (0.14, 0.08)
_SLOW_BY_DAY = 2.1
"""How the share of slow requests follows the daily curve."""
_CALM_SLOW_SHARE = 0.15
"""With a swing, only so much of the usual share is slow: the swing itself decides."""


class LoadCurve(NamedTuple):
    period: float
    share: float
    phase: float


class RequestCounts(NamedTuple):
    """Requests until a time, or per second. `total` includes the slow ones; the failed ones, which
    were answered with a status of 500 or above, come on top."""

    total: float
    slow: float
    failed: float


class LoadPeak(NamedTuple):
    """A time of too many requests. Its parts are given as multiples of the serving's mean rate, at
    the middle of the peak; they rise from 0 and fall to 0 as a cosine does."""

    begin: float
    """Seconds since the epoch."""
    duration: float
    """Seconds."""
    more: float
    """Requests on top of the usual ones."""
    slow: float
    """How many of these are slow."""
    failed: float

    def height(self, time: float) -> float:
        """0 to 1."""
        share = (time - self.begin) / self.duration
        return (1 - math.cos(2 * math.pi * share)) / 2 if 0 < share < 1 else 0.0

    def seconds(self, time: float) -> float:
        """The integral of `height` until `time`."""
        share = (time - self.begin) / self.duration
        if not 0 < share < 1:  # as it mostly is
            return self.duration / 2 if share >= 1 else 0.0
        return self.duration * (share / 2 - math.sin(2 * math.pi * share) / (4 * math.pi))


class LoadSwing(NamedTuple):
    """A peak that comes again every `period` seconds, from `start` on (seconds since the epoch),
    with calm minutes between; see LoadPeak for `more` and `slow`."""

    period: float
    start: float = 0.0
    more: float = 4.0
    slow: float = 2.2

    def height(self, time: float) -> float:
        """0 to 1."""
        elapsed = time - self.start
        if elapsed <= 0:
            return 0.0
        return ((1 - math.cos(2 * math.pi * elapsed / self.period)) / 2) ** 2

    def seconds(self, time: float) -> float:
        """The integral of `height` until `time`."""
        elapsed, angular = max(0.0, time - self.start), 2 * math.pi / self.period
        once, twice = math.sin(angular * elapsed), math.sin(2 * angular * elapsed)
        return (3 * elapsed - 4 * once / angular + twice / (2 * angular)) / 8


class LoadSettings(NamedTuple):
    """What the Pods of a serving say about its load."""

    mean: float | None = None
    """Requests per second; None for a random rate."""
    replicas: float = 1.0
    """How many replicas the load is meant for: with fewer of them more requests are slow."""
    swing: LoadSwing | None = None


class RequestLoad:
    """Requests per second to one endpoint: a mean with a daily curve and small variations, and
    `peaks`, to which more may be added before they begin.

    A share of them is slow; it grows with the rate, and with the part of the load that one replica
    gets (`crowding`). All rates are sums of sines, so the number of requests in an interval is
    exact and cheap.
    """

    def __init__(
        self,
        mean: float,
        seed: str,
        peaks: Sequence[LoadPeak] = (),
        *,
        replicas: float = 1.0,
        swing: LoadSwing | None = None,
    ) -> None:
        rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self.mean = mean
        self.replicas = max(0.01, replicas)
        self.swing = swing
        daily_phase = rng.uniform(5.0, 9.0) * 3600
        self._day = LoadCurve(_DAY, _DAY_SHARE, daily_phase)
        self._short_curves = (
            LoadCurve(rng.uniform(2100, 2700), _SHORT_SHARES[0], rng.uniform(0, 3600)),
            LoadCurve(rng.uniform(380, 520), _SHORT_SHARES[1], rng.uniform(0, 600)),
        )
        calm = 1.0 if swing is None else _CALM_SLOW_SHARE
        self._slow_mean = rng.uniform(0.05, 0.11) * calm
        self._peaks = peaks

    def rate(self, time: float) -> float:
        return self.rates(time).total

    def rates(self, time: float) -> RequestCounts:
        """Requests per second."""
        day = _curve_value(self._day, time)
        total = 1 + day + sum(_curve_value(w, time) for w in self._short_curves)
        slow = self._slow_mean * (1 + _SLOW_BY_DAY * day)
        failed = 0.0
        if self.swing is not None:
            height = self.swing.height(time)
            total += self.swing.more * height
            slow += self.swing.slow * height
        for peak in self._peaks:
            height = peak.height(time)
            total += peak.more * height
            slow += peak.slow * height
            failed += peak.failed * height
        return RequestCounts(self.mean * total, self.mean * slow, self.mean * failed)

    def integral(self, time: float) -> RequestCounts:
        """Requests since the epoch, up to a constant."""
        day = _curve_integral(self._day, time)
        total = time + day + sum(_curve_integral(w, time) for w in self._short_curves)
        slow = self._slow_mean * (time + _SLOW_BY_DAY * day)
        failed = 0.0
        if self.swing is not None:
            seconds = self.swing.seconds(time)
            total += self.swing.more * seconds
            slow += self.swing.slow * seconds
        for peak in self._peaks:
            seconds = peak.seconds(time)
            total += peak.more * seconds
            slow += peak.slow * seconds
            failed += peak.failed * seconds
        return RequestCounts(self.mean * total, self.mean * slow, self.mean * failed)

    def crowding(self, fraction: float) -> float:
        """How many times as many requests as usual are slow at a replica that gets this fraction
        of the load: 1 at the replicas that the load is meant for, with the square of the load of
        a replica otherwise; never more than there are requests."""
        return min((self.replicas * fraction) ** 2, 1 / self._largest_slow_share)

    @property
    def _largest_slow_share(self) -> float:
        """At any time not more than this share is slow, if the replicas are as many as meant."""
        most = self._slow_mean * (1 + _SLOW_BY_DAY * _DAY_SHARE)
        least = 1 - _DAY_SHARE - sum(_SHORT_SHARES)
        additions = [(peak.slow, peak.more) for peak in self._peaks]
        if self.swing is not None:
            additions.append((self.swing.slow, self.swing.more))
        usual = most / least
        return max([usual, *((most + slow) / (least + more) for slow, more in additions)])


def _curve_value(curve: LoadCurve, time: float) -> float:
    return curve.share * math.cos(2 * math.pi * (time - curve.phase) / curve.period)


def _curve_integral(curve: LoadCurve, time: float) -> float:
    angular_frequency = 2 * math.pi / curve.period
    return curve.share * math.sin(angular_frequency * (time - curve.phase)) / angular_frequency
