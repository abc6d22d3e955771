"""What an autoscaler would have done with a metric as it was recorded.

The rules are those of the HPA controller (kubernetes pkg/controller/podautoscaler: horizontal.go
and replica_calculator.go; https://kubernetes.io/docs/tasks/run-application/
horizontal-pod-autoscale/#algorithm-details), and of KEDA between 0 and 1 replicas (keda
pkg/scaling/executor/scale_scaledobjects.go).
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servedeck.serving.scaling.replay_settings import (
    Assumption,
    PolicyType,
    RecordedMetric,
    ReplaySettings,
    ScalingPolicy,
    finite,
)
from servedeck.serving.scaling.scaling_metrics import MetricType

MAX_REPLAY_STEPS = 100_000
"""Decisions of one replay: 17 days."""
_MILLI = 1000
_MAX_VALUE = 1e15
"""What is more is computed as this: a quantity in thousandths has 64 bits."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the autoscaler would have done."""

    times: tuple[float, ...]
    """Of each decision, in seconds since the epoch."""
    replicas: tuple[int, ...]
    """From each decision to the next one."""
    step: float
    """Seconds between two decisions."""
    values: tuple[float | None, ...]
    """The metric at each decision as it is assumed; for AverageValue the total."""
    assumption: Assumption
    max_replicas: int
    """The setting."""
    scale_ups: int
    scale_downs: int
    seconds_above_target: float
    """How long the metric is above its target; of AverageValue by the ready replicas."""

    @property
    def seconds(self) -> float:
        return len(self.times) * self.step

    @property
    def highest(self) -> int:
        return max(self.replicas, default=0)

    @property
    def lowest(self) -> int:
        return min(self.replicas, default=0)

    @property
    def mean(self) -> float:
        """Replicas on average over the time."""
        return sum(self.replicas) / len(self.replicas) if self.replicas else 0.0

    @property
    def replica_hours(self) -> float:
        return sum(self.replicas) * self.step / 3600.0

    @property
    def scalings(self) -> int:
        """How often the number of replicas changes."""
        return self.scale_ups + self.scale_downs

    @property
    def seconds_at_max(self) -> float:
        return self.step * sum(1 for one in self.replicas if one >= self.max_replicas)


def replay(
    metric: RecordedMetric,
    settings: ReplaySettings,
    *,
    start_replicas: int,
    assumption: Assumption = Assumption.UNCHANGED,
) -> Replay:
    """Let the autoscaler decide at the recorded times, beginning with `start_replicas`, all ready.

    LOAD_PER_REPLICA needs the recorded replicas, and is meant for the type Value: a total does not
    depend on the replicas. Where they are not known, the metric is as it was. Takes about 50 ms for
    a day. Raises ValueError for more than MAX_REPLAY_STEPS decisions.
    """
    times = metric.times
    count = 0
    if times:
        count = max(math.ceil((times[-1] - times[0]) / settings.sync_seconds), 1)
    if count > MAX_REPLAY_STEPS:
        raise ValueError("The time is too long to be replayed.")
    reader = _Reader(metric)
    scaler = _Scaler(settings, max(start_replicas, 0), times[0] if times else 0.0)
    decided: list[int] = []
    seen: list[float | None] = []
    above = 0
    at = [times[0] + number * settings.sync_seconds for number in range(count)]
    for now in at:
        value, observed = reader.read(now)
        if value is not None and assumption is Assumption.LOAD_PER_REPLICA and observed:
            value *= observed / max(scaler.ready(now), 1)
        if value is not None:
            is_average = settings.metric_type is MetricType.AVERAGE_VALUE
            compared = value / max(scaler.ready(now), 1) if is_average else value
            above += compared > settings.target
        scaler.decide(now, value)
        decided.append(scaler.replicas)
        seen.append(value)
    return Replay(
        tuple(at),
        tuple(decided),
        settings.sync_seconds,
        tuple(seen),
        assumption,
        settings.max_replicas,
        scaler.scale_ups,
        scaler.scale_downs,
        above * settings.sync_seconds,
    )


class _Reader:
    """The values of a metric at times."""

    def __init__(self, metric: RecordedMetric) -> None:
        self._metric = metric
        self._observed: list[float | None] = []
        last: float | None = None
        for one in metric.replicas:
            last = last if finite(one) is None else one
            self._observed.append(last)

    def read(self, time: float) -> tuple[float | None, float | None]:
        """The value, and the replicas that there were."""
        index = max(bisect.bisect_right(self._metric.times, time) - 1, 0)
        value = self._metric.values[index]
        observed = self._observed[index] if self._observed else None
        return finite(value), observed


class _Scaler:
    """The state of an autoscaler between its decisions."""

    def __init__(self, settings: ReplaySettings, replicas: int, start: float) -> None:
        self._settings = settings
        self.replicas = replicas
        self.scale_ups = self.scale_downs = 0
        self._starting: deque[tuple[float, int]] = deque()
        """When added replicas are ready, and how many."""
        self._last_active = start
        self._highest = _Recommendations(settings.scale_in_delay, lambda a, b: a >= b)
        self._lowest = _Recommendations(settings.scale_up_window, lambda a, b: a <= b)
        self._changes = _Changes(settings.scale_up_policies, settings.scale_down_policies)
        self._record(start, replicas)

    def ready(self, now: float) -> int:
        """Replicas that are ready."""
        while self._starting and self._starting[0][0] <= now:
            self._starting.popleft()
        return self.replicas - sum(count for _, count in self._starting)

    def decide(self, now: float, value: float | None) -> None:
        settings = self._settings
        if value is None and settings.missing_is_zero:
            value = 0.0
        if settings.min_replicas == 0 and value is not None:
            if value > 0:
                self._last_active = now
                if not self.replicas:
                    self._scale(now, 1, is_by_keda=True)
                    return
            elif self.replicas and now - self._last_active >= settings.scale_in_delay:
                self._scale(now, 0, is_by_keda=True)
                return
        least = max(settings.min_replicas, 1)
        if not self.replicas and settings.min_replicas == 0:
            return  # an HPA leaves a target of zero replicas alone
        if self.replicas > settings.max_replicas:
            self._scale(now, settings.max_replicas)
        elif self.replicas < least:
            self._scale(now, least)
        elif value is not None:
            wanted = self._recommend(now, value)
            self._scale(now, self._limit(now, self._stabilize(now, wanted), least))

    def _recommend(self, now: float, value: float) -> int:
        """By the formula, of values in thousandths as the controller has them. No fewer than 0 and
        no more than what matters."""
        settings, current = self._settings, self.replicas
        amount = round(min(max(value, 0.0), _MAX_VALUE) * _MILLI)
        target = round(settings.target * _MILLI)
        is_average = settings.metric_type is MetricType.AVERAGE_VALUE
        ratio = amount / (target * current) if is_average else amount / target
        if 1.0 - settings.tolerance <= ratio <= 1.0 + settings.tolerance:
            return current
        wanted = amount / target if is_average else ratio * self.ready(now)
        return min(math.ceil(wanted), settings.max_replicas + 1)

    def _stabilize(self, now: float, wanted: int) -> int:
        """What there is, raised at most to the lowest recommendation of the window of scaling up,
        or lowered at most to the highest of the one of scaling down."""
        lowest, highest = self._lowest.best(now), self._highest.best(now)
        low = wanted if lowest is None else min(wanted, lowest)
        high = wanted if highest is None else max(wanted, highest)
        self._record(now, wanted)
        return min(max(self.replicas, low), high)

    def _record(self, now: float, wanted: int) -> None:
        self._lowest.add(now, wanted)
        self._highest.add(now, wanted)

    def _limit(self, now: float, wanted: int, least: int) -> int:
        """Within the policies, Min Replicas and Max Replicas."""
        current, settings = self.replicas, self._settings
        if wanted > current:
            limit = self._changes.limit(now, current, is_up=True)
            return min(wanted, settings.max_replicas, max(limit, current))
        if wanted < current:
            limit = self._changes.limit(now, current, is_up=False)
            return max(wanted, least, min(limit, current))
        return wanted

    def _scale(self, now: float, replicas: int, *, is_by_keda: bool = False) -> None:
        """The policies are those of the HPA controller, which counts only its own changes."""
        change = replicas - self.replicas
        if not change:
            return
        if not is_by_keda:
            self._changes.add(now, change)
        if change > 0:
            self.scale_ups += 1
            if self._settings.startup_seconds > 0:
                self._starting.append((now + self._settings.startup_seconds, change))
        else:
            self.scale_downs += 1
            left = -change
            while left and self._starting:  # Pods that are not ready are deleted first
                ready_at, count = self._starting.pop()
                if count > left:
                    self._starting.append((ready_at, count - left))
                left -= min(count, left)
        self.replicas = replicas


class _Recommendations:
    """The best one of a window, which the controller looks up in a list of all."""

    def __init__(self, window: float, is_better: Callable[[int, int], bool]) -> None:
        self._window = window
        self._is_better = is_better
        self._kept: deque[tuple[float, int]] = deque()
        """Each is better than all that follow."""

    def add(self, time: float, wanted: int) -> None:
        while self._kept and self._is_better(wanted, self._kept[-1][1]):
            self._kept.pop()
        self._kept.append((time, wanted))

    def best(self, now: float) -> int | None:
        while self._kept and self._kept[0][0] <= now - self._window:
            self._kept.popleft()
        return self._kept[0][1] if self._kept else None


class _Changes:
    """Replicas that were added and removed lately, and how many there may be by the policies."""

    def __init__(self, up: Sequence[ScalingPolicy], down: Sequence[ScalingPolicy]) -> None:
        self._up = up
        self._down = down
        self._longest = max((one.period_seconds for one in (*up, *down)), default=0.0)
        self._changes: deque[tuple[float, int]] = deque()

    def add(self, time: float, change: int) -> None:
        """`change` is less than 0 for replicas that were removed."""
        self._changes.append((time, change))

    def limit(self, now: float, current: int, *, is_up: bool) -> int:
        """The most, or with not `is_up` the fewest, replicas that the policies allow."""
        while self._changes and self._changes[0][0] <= now - self._longest:
            self._changes.popleft()
        policies = self._up if is_up else self._down
        if not policies:
            return 2**31 - 1 if is_up else 0
        allowed = [self._allowed(one, now, current, is_up=is_up) for one in policies]
        return max(allowed) if is_up else min(allowed)

    def _allowed(self, policy: ScalingPolicy, now: float, current: int, *, is_up: bool) -> int:
        since = now - policy.period_seconds
        # What there was when the period began: changes of both directions count.
        start = current - sum(change for time, change in self._changes if time > since)
        sign = 1 if is_up else -1
        if policy.type is PolicyType.PODS:
            return start + sign * policy.value
        share = start * (1 + sign * policy.value / 100)
        return math.ceil(share) if is_up else int(share)
