"""How many replicas a HorizontalPodAutoscaler sets, given what its metrics recommend: limits,
stabilization windows and scaling policies.

Source: kubernetes pkg/controller/podautoscaler/horizontal.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

DOWNSCALE_WINDOW_SECONDS = 300.0
"""Where the autoscaler has no own (--horizontal-pod-autoscaler-downscale-stabilization)."""
_DISABLED = "Disabled"
_MIN_POLICY = "Min"
_SCALE_UP_FACTOR = 2.0
_SCALE_UP_MINIMUM = 4
"""Without a behavior at most so many times the replicas, or so many replicas."""

IN_RANGE = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
)
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST_UP = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
TOO_FAST_DOWN = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
READY_TO_SCALE = ("ReadyForNewScale", "recommended size matches current size")
STABILIZED_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
STABILIZED_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent "
    "recommendation",
)


class ReplicaLimits(NamedTuple):
    least: int
    most: int


class Decision(NamedTuple):
    """What to set, and why. `able` and `limited` are (reason, message) of the conditions
    AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    is_limited: bool


class _Past(NamedTuple):
    time: float
    value: int


class ScalingPast:
    """The recommendations and the changes of one autoscaler. Times are in seconds since the
    epoch."""

    def __init__(self) -> None:
        self._recommendations: list[_Past] = []
        self._changes: list[_Past] = []
        """The value is less than 0 for replicas that were removed."""

    def begin(self, current: int, now: float) -> None:
        """The autoscaler sees the replicas for the first time."""
        if not self._recommendations:
            self._recommendations.append(_Past(now, current))

    def changed(self, before: int, after: int, now: float) -> None:
        """The autoscaler has set other replicas."""
        self._changes.append(_Past(now, after - before))
        del self._changes[:-400]

    def decide(
        self,
        behavior: Json | None,
        current: int,
        recommended: int,
        limits: ReplicaLimits,
        now: float,
    ) -> Decision:
        """The replicas for a recommendation. `behavior` has the API server's defaults, if any."""
        up = None if behavior is None else behavior.get("scaleUp") or {}
        down = None if behavior is None else behavior.get("scaleDown") or {}
        stable, able = self._stabilize(up, down, current, recommended, now)
        replicas, limited = self._limit(up, down, current, stable, limits, now)
        return Decision(replicas, able, limited, replicas != stable)

    def _stabilize(
        self, up: Json | None, down: Json | None, current: int, recommended: int, now: float
    ) -> tuple[int, tuple[str, str]]:
        up_window = float((up or {}).get("stabilizationWindowSeconds") or 0)
        given = (down or {}).get("stabilizationWindowSeconds")
        down_window = DOWNSCALE_WINDOW_SECONDS if given is None else float(given)
        low = min([recommended, *self._recent(now - up_window)])
        high = max([recommended, *self._recent(now - down_window)])
        rises = up is not None and recommended >= current
        # Without a behavior only the window of scaling down is looked at.
        found = high if up is None else min(max(current, low), high)
        longest = max(up_window, down_window)
        self._recommendations = [
            one for one in self._recommendations if one.time > now - longest
        ] + [_Past(now, recommended)]
        if found == recommended:
            return found, READY_TO_SCALE
        return found, STABILIZED_UP if rises else STABILIZED_DOWN

    def _recent(self, since: float) -> list[int]:
        return [one.value for one in self._recommendations if one.time > since]

    def _limit(
        self,
        up: Json | None,
        down: Json | None,
        current: int,
        wanted: int,
        limits: ReplicaLimits,
        now: float,
    ) -> tuple[int, tuple[str, str]]:
        if up is None or down is None:
            return _limit_without_behavior(current, wanted, limits)
        if wanted > current:
            allowed = max(current, _up_limit(up, current, self._changes, now))
            if allowed < limits.most:
                most, reason = allowed, TOO_FAST_UP
            else:
                most, reason = limits.most, TOO_MANY
            return (most, reason) if wanted > most else (wanted, IN_RANGE)
        if wanted < current:
            allowed = min(current, _down_limit(down, current, self._changes, now))
            if allowed > limits.least:
                least, reason = allowed, TOO_FAST_DOWN
            else:
                least, reason = limits.least, TOO_FEW
            return (least, reason) if wanted < least else (wanted, IN_RANGE)
        return wanted, IN_RANGE


def _limit_without_behavior(
    current: int, wanted: int, limits: ReplicaLimits
) -> tuple[int, tuple[str, str]]:
    fastest = int(max(_SCALE_UP_FACTOR * current, _SCALE_UP_MINIMUM))
    most, reason = (fastest, TOO_FAST_UP) if limits.most > fastest else (limits.most, TOO_MANY)
    if wanted < limits.least:
        return limits.least, TOO_FEW
    return (most, reason) if wanted > most else (wanted, IN_RANGE)


def _up_limit(rules: Json, current: int, changes: Sequence[_Past], now: float) -> int:
    if rules.get("selectPolicy") == _DISABLED:
        return current
    proposals = []
    for policy in _policies(rules):
        start = current - _changed_within(changes, policy, now)
        value = int(policy.get("value") or 0)
        if policy.get("type") == "Pods":
            proposals.append(start + value)
        else:
            proposals.append(math.ceil(start * (1 + value / 100)))
    choose = min if rules.get("selectPolicy") == _MIN_POLICY else max
    return choose(proposals, default=current)


def _down_limit(rules: Json, current: int, changes: Sequence[_Past], now: float) -> int:
    if rules.get("selectPolicy") == _DISABLED:
        return current
    proposals = []
    for policy in _policies(rules):
        start = current - _changed_within(changes, policy, now)
        value = int(policy.get("value") or 0)
        if policy.get("type") == "Pods":
            proposals.append(start - value)
        else:
            proposals.append(int(start * (1 - value / 100)))
    choose = max if rules.get("selectPolicy") == _MIN_POLICY else min
    return choose(proposals, default=current)


def _policies(rules: Json) -> list[Mapping[str, Any]]:
    return list(rules.get("policies") or ())


def _changed_within(changes: Sequence[_Past], policy: Mapping[str, Any], now: float) -> int:
    """Replicas that were added, less those that were removed."""
    since = now - float(policy.get("periodSeconds") or 0)
    return sum(one.value for one in changes if one.time > since)
