"""The simulated requests to servings: more by day than by night, shared among the ready Pods.
Counts are integrals of rates, so no timer has to count requests.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_DAY = 86_400.0


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


class RequestLoad:
    """Requests per second to one serving: a mean with a daily curve and small variations, and
    `peaks`, to which more may be added before they begin.

    A share of them is slow; it grows with the rate. All rates are sums of sines, so the number of
    requests in an interval is exact and cheap.
    """

    def __init__(self, mean: float, seed: str, peaks: Sequence[LoadPeak] = ()) -> None:
        rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self.mean = mean
        daily_phase = rng.uniform(5.0, 9.0) * 3600
        self._day = LoadCurve(_DAY, 0.45, daily_phase)
        self._short_curves = (
            LoadCurve(rng.uniform(2100, 2700), 0.14, rng.uniform(0, 3600)),
            LoadCurve(rng.uniform(380, 520), 0.08, rng.uniform(0, 600)),
        )
        self._slow_mean = rng.uniform(0.05, 0.11)
        self._peaks = peaks

    def rate(self, time: float) -> float:
        return self.rates(time).total

    def rates(self, time: float) -> RequestCounts:
        """Requests per second."""
        day = _curve_value(self._day, time)
        total = 1 + day + sum(_curve_value(w, time) for w in self._short_curves)
        slow = self._slow_mean * (1 + 2.1 * day)
        failed = 0.0
        for peak in self._peaks:
            height = _peak_value(peak, time)
            total += peak.more * height
            slow += peak.slow * height
            failed += peak.failed * height
        return RequestCounts(self.mean * total, self.mean * slow, self.mean * failed)

    def integral(self, time: float) -> RequestCounts:
        """Requests since the epoch, up to a constant."""
        day = _curve_integral(self._day, time)
        total = time + day + sum(_curve_integral(w, time) for w in self._short_curves)
        slow = self._slow_mean * (time + 2.1 * day)
        failed = 0.0
        for peak in self._peaks:
            seconds = _peak_integral(peak, time)
            total += peak.more * seconds
            slow += peak.slow * seconds
            failed += peak.failed * seconds
        return RequestCounts(self.mean * total, self.mean * slow, self.mean * failed)


def _curve_value(curve: LoadCurve, time: float) -> float:
    return curve.share * math.cos(2 * math.pi * (time - curve.phase) / curve.period)


def _curve_integral(curve: LoadCurve, time: float) -> float:
    angular_frequency = 2 * math.pi / curve.period
    return curve.share * math.sin(angular_frequency * (time - curve.phase)) / angular_frequency


def _peak_value(peak: LoadPeak, time: float) -> float:
    """0 to 1."""
    share = (time - peak.begin) / peak.duration
    return (1 - math.cos(2 * math.pi * share)) / 2 if 0 < share < 1 else 0.0


def _peak_integral(peak: LoadPeak, time: float) -> float:
    share = min(1.0, max(0.0, (time - peak.begin) / peak.duration))
    return peak.duration * (share / 2 - math.sin(2 * math.pi * share) / (4 * math.pi))


class ShareChange(NamedTuple):
    """From `time` on, the load is divided among `receivers` instances (0: this one gets none).
    `before` has been received until then, `integral` is the load's at that time."""

    time: float
    before: RequestCounts
    integral: RequestCounts
    receivers: int


_NOTHING = RequestCounts(0.0, 0.0, 0.0)


@dataclass
class TrafficShare:
    """The requests that one instance of an inference server has received."""

    load: RequestLoad
    points: list[ShareChange] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def set_receivers(self, time: float, among: int) -> None:
        """From `time` on, the load is divided among that many instances, this one included."""
        if self.points and self.points[-1].receivers == among:
            return
        before = self.counts_at(time)
        self.points.append(ShareChange(time, before, self.load.integral(time), among))
        self.times.append(time)

    def counts_at(self, time: float) -> RequestCounts:
        """Requests until `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0:
            return _NOTHING
        _, (total, slow, failed), since, receivers = self.points[index]
        if not receivers:
            return self.points[index].before
        now = self.load.integral(time)
        return RequestCounts(
            total + max(0.0, now[0] - since[0]) / receivers,
            slow + max(0.0, now[1] - since[1]) / receivers,
            failed + max(0.0, now[2] - since[2]) / receivers,
        )

    def interval(self, begin: float, end: float) -> tuple[float, float]:
        """(requests until `begin`, until `end`), as expected at `begin`: later changes of the
        receivers are ignored, so that log lines once written do not change."""
        before = self.counts_at(begin).total
        index = bisect_right(self.times, begin) - 1
        if index < 0 or not self.points[index].receivers:
            return before, before
        added = self.load.integral(end).total - self.load.integral(begin).total
        return before, before + max(0.0, added) / self.points[index].receivers

    def rate(self, time: float) -> RequestCounts:
        """Requests per second at `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0 or not self.points[index].receivers:
            return _NOTHING
        among = self.points[index].receivers
        total, slow, failed = self.load.rates(time)
        return RequestCounts(total / among, slow / among, failed / among)


class Traffic:
    """Shares the load of each serving among its ready instances."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loads: dict[str, RequestLoad] = {}
        self._peaks: dict[str, list[LoadPeak]] = {}
        self._shares: dict[str, dict[str, TrafficShare]] = {}

    def load(self, serving: str, mean: float | None = None) -> RequestLoad:
        """The load of a serving ("namespace/name"), created at the first call."""
        found = self._loads.get(serving)
        if found is None or (mean is not None and found.mean != mean):
            rng = random.Random(f"{self._seed}/{serving}/mean")  # noqa: S311
            chosen = mean if mean is not None else math.exp(rng.uniform(-1.2, 1.3))
            peaks = self._peaks.setdefault(serving, [])
            found = self._loads[serving] = RequestLoad(chosen, f"{self._seed}/{serving}", peaks)
        return found

    def add_peak(self, serving: str, peak: LoadPeak) -> None:
        """Adds a peak to the load of a serving ("namespace/name"); it must not have begun."""
        self._peaks.setdefault(serving, []).append(peak)

    def new_share(self, serving: str, mean: float | None = None) -> TrafficShare:
        return TrafficShare(self.load(serving, mean))

    def add_instance(self, serving: str, instance: str, share: TrafficShare, time: float) -> None:
        """The instance starts to receive requests."""
        self._shares.setdefault(serving, {})[instance] = share
        self._redistribute(serving, time)

    def remove_instance(self, serving: str, instance: str, time: float) -> None:
        """The instance receives no more requests; no effect where it received none."""
        share = self._shares.get(serving, {}).pop(instance, None)
        if share is not None:
            share.set_receivers(time, 0)
            self._redistribute(serving, time)

    def _redistribute(self, serving: str, time: float) -> None:
        shares = self._shares[serving].values()
        for share in shares:
            share.set_receivers(time, len(shares))
