"""How long the Pods of servings took to start, as far as they were seen while servedeck runs."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.fleet.views import PodView
from servedeck.serving.status.start_times import MAX_STARTS, Start, latest_starts

MAX_SERVINGS = 20_000
"""Servings, deleted ones included, whose starts are remembered."""


class StartRecorder:
    """The last starts of each serving by the uid of its Deployment; those of Pods that have ended
    stay. Not thread-safe."""

    def __init__(self) -> None:
        self._starts: dict[str, dict[str, Start]] = {}
        """By uid of the Pod, the latest MAX_STARTS by the time at which they began."""

    def record(self, serving_uid: str, container: str, pods: Iterable[PodView]) -> None:
        """Pods of a serving were added or changed; `container` is that of its inference server.

        The first duration that is seen of a Pod counts: later it may stop to be ready, and be ready
        again.
        """
        for pod in pods:
            for one in pod.containers:
                if one.name == container and one.start is not None:
                    self._add(serving_uid, pod.uid, one.start)

    def _add(self, serving_uid: str, pod_uid: str, start: Start) -> None:
        known = self._starts.get(serving_uid)
        if known is None:
            known = self._starts[serving_uid] = {}
            if len(self._starts) > MAX_SERVINGS:
                del self._starts[next(iter(self._starts))]
        known.setdefault(pod_uid, start)
        if len(known) > MAX_STARTS:
            del known[min(known, key=lambda uid: known[uid].started_at)]

    def durations(self, serving_uid: str) -> tuple[int, ...]:
        """The durations of the last starts of a serving in seconds, newest first, at most
        MAX_STARTS; () if none was seen."""
        return latest_starts(self._starts.get(serving_uid, {}).values())
