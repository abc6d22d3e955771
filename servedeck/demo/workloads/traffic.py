"""The simulated requests to servings: more by day than by night, shared among the ready Pods.
Counts are integrals of rates, so no timer has to count requests.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

_DAY = 86_400.0


class LoadCurve(NamedTuple):
    period: float
    share: float
    phase: float


class RequestLoad:
    """Requests per second to one serving: a mean with a daily curve and small variations.

    A share of them is slow; it grows with the rate. Both rates are sums of sines, so the number of
    requests in an interval is exact and cheap.
    """

    def __init__(self, mean: float, seed: str) -> None:
        rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self.mean = mean
        daily_phase = rng.uniform(5.0, 9.0) * 3600
        self._day = LoadCurve(_DAY, 0.45, daily_phase)
        self._short_curves = (
            LoadCurve(rng.uniform(2100, 2700), 0.14, rng.uniform(0, 3600)),
            LoadCurve(rng.uniform(380, 520), 0.08, rng.uniform(0, 600)),
        )
        self._slow_mean = rng.uniform(0.05, 0.11)

    def rate(self, time: float) -> float:
        return self.mean * (
            1 + sum(_curve_value(w, time) for w in (self._day, *self._short_curves))
        )

    def slow_rate(self, time: float) -> float:
        return self.mean * self._slow_mean * (1 + 2.1 * _curve_value(self._day, time))

    def integral(self, time: float) -> tuple[float, float]:
        """(all requests, slow ones) since the epoch, up to a constant."""
        total = time + sum(_curve_integral(w, time) for w in (self._day, *self._short_curves))
        slow = self._slow_mean * (time + 2.1 * _curve_integral(self._day, time))
        return self.mean * total, self.mean * slow


def _curve_value(curve: LoadCurve, time: float) -> float:
    return curve.share * math.cos(2 * math.pi * (time - curve.phase) / curve.period)


def _curve_integral(curve: LoadCurve, time: float) -> float:
    angular_frequency = 2 * math.pi / curve.period
    return curve.share * math.sin(angular_frequency * (time - curve.phase)) / angular_frequency


class ShareChange(NamedTuple):
    """From `time` on, the load is divided among `receivers` instances (0: this one gets none)."""

    time: float
    total: float
    slow: float
    receivers: int


@dataclass
class TrafficShare:
    """The requests that one instance of an inference server has received."""

    load: RequestLoad
    points: list[ShareChange] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def set_receivers(self, time: float, among: int) -> None:
        """From `time` on, the load is divided among that many instances, this one included."""
        total, slow = self.counts_at(time)
        if self.points and self.points[-1].receivers == among:
            return
        self.points.append(ShareChange(time, total, slow, among))
        self.times.append(time)

    def counts_at(self, time: float) -> tuple[float, float]:
        """(all requests, slow ones) until `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0:
            return 0.0, 0.0
        point = self.points[index]
        if not point.receivers:
            return point.total, point.slow
        now, before = self.load.integral(time), self.load.integral(point.time)
        return (
            point.total + max(0.0, now[0] - before[0]) / point.receivers,
            point.slow + max(0.0, now[1] - before[1]) / point.receivers,
        )

    def interval(self, begin: float, end: float) -> tuple[float, float]:
        """(requests until `begin`, until `end`), as expected at `begin`: later changes of the
        receivers are ignored, so that log lines once written do not change."""
        before = self.counts_at(begin)[0]
        index = bisect_right(self.times, begin) - 1
        if index < 0 or not self.points[index].receivers:
            return before, before
        added = self.load.integral(end)[0] - self.load.integral(begin)[0]
        return before, before + max(0.0, added) / self.points[index].receivers

    def rate(self, time: float) -> tuple[float, float]:
        """(all requests, slow ones) per second at `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0 or not self.points[index].receivers:
            return 0.0, 0.0
        among = self.points[index].receivers
        return self.load.rate(time) / among, self.load.slow_rate(time) / among


class Traffic:
    """Shares the load of each serving among its ready instances."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loads: dict[str, RequestLoad] = {}
        self._shares: dict[str, dict[str, TrafficShare]] = {}

    def load(self, serving: str, mean: float | None = None) -> RequestLoad:
        """The load of a serving ("namespace/name"), created at the first call."""
        found = self._loads.get(serving)
        if found is None or (mean is not None and found.mean != mean):
            rng = random.Random(f"{self._seed}/{serving}/mean")  # noqa: S311
            chosen = mean if mean is not None else math.exp(rng.uniform(-1.2, 1.3))
            found = self._loads[serving] = RequestLoad(chosen, f"{self._seed}/{serving}")
        return found

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
