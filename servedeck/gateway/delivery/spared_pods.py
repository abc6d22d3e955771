"""Pods that have asked, by Retry-After, not to be sent requests for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from servedeck.gateway.delivery.retry_policy import Result

_OVERLOADED = 503
"""The status by which a server speaks of itself. 429 may be for one caller alone, whom the others
must not wait for."""


class SparedPods:
    """Of one process: each learns it from its own requests. `longest`: seconds that a Pod is spared
    at most, whatever it asks."""

    def __init__(self, longest: float, clock: Callable[[], float] = monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._until: dict[str, float] = {}

    def learn(self, pod: str, result: Result) -> bool:
        """Whether the Pod is spared because of what it answered."""
        if result.status != _OVERLOADED or not result.retry_after:
            return False
        until = self._clock() + min(result.retry_after, self._longest)
        self._until[pod] = max(until, self._until.get(pod, until))
        return True

    def usable(self, ready: Mapping[str, str]) -> Mapping[str, str]:
        """`ready` (URLs by Pod) without those that are spared. A Pod that is not among them was
        replaced or restarted: what it asked is forgotten."""
        if self._until:
            now = self._clock()
            self._until = {
                pod: until for pod, until in self._until.items() if until > now and pod in ready
            }
        if not self._until:
            return ready
        return {pod: url for pod, url in ready.items() if pod not in self._until}

    def seconds_left(self) -> float | None:
        """Until the first of them is used again; None if none is spared."""
        return min(self._until.values()) - self._clock() if self._until else None
