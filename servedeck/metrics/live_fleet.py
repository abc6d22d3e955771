"""Reads the /metrics of the Pods of many servings, for a list of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import time as unix_time
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import Metric, sample_names
from servedeck.metrics.fleet_metrics import FleetKey, target_key
from servedeck.metrics.pod_scrape import PodReader
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import NO_READY_POD, MetricsTarget
from servedeck.promql.exposition import Sample, load_library

MAX_PODS = 100
"""Pods of all servings together that are read, at most. The Pods of a serving are all read or none
of them, as a sum of some is not that of the serving."""
INTERVAL = 15.0
"""Seconds between two readings of a Pod."""
FIRST_INTERVAL = 2.0
"""Seconds to the second reading: a rate needs two."""
USELESS_INTERVAL = 120.0
"""Seconds to the next reading of a Pod that has never answered, or has no metric that is known."""
SERVINGS_AT_ONCE = 4
"""Servings whose Pods are read at the same time."""

_METRICS = (Metric.REQUESTS, Metric.LATENCY, Metric.WAITING)
_EARLY = 1.0
"""Seconds by which a reading may come before its interval is over."""


class LiveReading(NamedTuple):
    reasons: dict[FleetKey, str]
    """Why not everything is known of a serving, one sentence."""
    is_first: bool
    """Whether a Pod was read for the first time, so that its rates are not known yet."""


class _Readings(NamedTuple):
    """Of one Pod."""

    last: float
    """When the last one began, in seconds since the epoch."""
    answered: int
    """How many were answered, without a gap."""
    has_samples: bool = False
    """Whether the last page that arrived had metrics that are known."""

    @property
    def is_first(self) -> bool:
        return self.has_samples and self.answered == 1

    def is_due(self, now: float) -> bool:
        interval = FIRST_INTERVAL if self.is_first else INTERVAL
        if not self.has_samples:
            interval = USELESS_INTERVAL
        return not 0 <= now - self.last < interval - min(_EARLY, interval / 2)


class LiveFleet:
    """Reads Pods into a ring, each as often as INTERVAL allows."""

    def __init__(
        self, connection: Connection, ring: SampleRing, clock: Callable[[], float] = unix_time
    ) -> None:
        self.ring = ring
        self._connection = connection
        self._clock = clock
        self._readings: dict[FleetKey, dict[str, _Readings]] = {}
        self._denials: dict[FleetKey, str] = {}
        """The missing permissions, in sentences."""
        self._has_library = False

    async def read(self, targets: Sequence[MetricsTarget]) -> LiveReading:
        """Read the Ready Pods of the servings that are due, of the first servings first."""
        if not self._has_library:
            await asyncio.to_thread(load_library)
            self._has_library = True
        reasons: dict[FleetKey, str] = {}
        chosen = list(_choose(targets, reasons))
        self._forget_old()
        slots = asyncio.Semaphore(SERVINGS_AT_ONCE)

        async def read(target: MetricsTarget) -> None:
            async with slots:
                if reason := await self._read_serving(target):
                    reasons[target_key(target)] = reason

        await asyncio.gather(*map(read, chosen))
        readings = [self._readings[target_key(one)].values() for one in chosen]
        is_first = any(one.is_first for each in readings for one in each)
        return LiveReading(reasons, is_first)

    async def _read_serving(self, target: MetricsTarget) -> str:
        """Read its Pods that are due; returns why not everything is known."""
        known = self._readings.setdefault(target_key(target), {})
        now, ready = self._clock(), target.ready_pods
        for pod in known.keys() - set(ready):
            del known[pod]
            self._ring_ends(target, pod, now)
        due = [pod for pod in ready if pod not in known or known[pod].is_due(now)]
        try:
            pages = await PodReader(self._connection, target, _wanted_names(target)).read(due)
        except MetricsError as error:
            known.update((pod, _Readings(now, 0)) for pod in due)
            self._denials[target_key(target)] = str(error)
            return str(error)
        if due:
            self._denials.pop(target_key(target), None)
        for pod in due:
            page = pages.get(pod)
            before = known.get(pod, _Readings(now, 0))
            if page is None:  # it may be too busy: what has answered before is asked soon again
                known[pod] = _Readings(now, 0, before.has_samples)
                self._ring_ends(target, pod, now)
                continue
            known[pod] = _Readings(now, before.answered + 1, bool(page.samples))
            samples = [Sample(*key, value) for key, value in page.samples.items()]
            self.ring.append(_pod_labels(target, pod), page.unix_time, samples)
        if denial := self._denials.get(target_key(target), ""):
            return denial
        silent = sum(not known[pod].answered for pod in ready)
        if not silent:
            return ""
        if silent == len(ready):
            return "Its Ready Pods do not answer with metrics."
        return f"{silent} of its {len(ready)} Ready Pods do not answer with metrics."

    def _forget_old(self) -> None:
        """Servings that were deleted, or have left the screen for long: the ring has no sample of
        them that a rate is made of."""
        since = self._clock() - USELESS_INTERVAL
        for key, known in list(self._readings.items()):
            if all(one.last < since for one in known.values()):
                del self._readings[key]
                self._denials.pop(key, None)

    def _ring_ends(self, target: MetricsTarget, pod: str, now: float) -> None:
        self.ring.mark_stale(_pod_labels(target, pod), now)


def _choose(
    targets: Iterable[MetricsTarget], reasons: dict[FleetKey, str]
) -> Iterable[MetricsTarget]:
    """The servings whose Pods are read, and the reasons why others are not."""
    left = MAX_PODS
    for target in targets:
        count = len(target.ready_pods)
        if not count:
            reasons[target_key(target)] = NO_READY_POD
        elif count > left:
            reasons[target_key(target)] = (
                f"Its Pods are not read: without a Prometheus at most {MAX_PODS} Pods are."
            )
        else:
            left -= count
            yield target


def _wanted_names(target: MetricsTarget) -> list[str]:
    found: dict[str, None] = {}
    for metric in _METRICS:
        for names in target.metric_names(metric):
            for one in names:
                found.update(dict.fromkeys(sample_names(metric, one.name)))
    return list(found)


def _pod_labels(target: MetricsTarget, pod: str) -> dict[str, str]:
    return {"namespace": target.namespace, "pod": pod}
