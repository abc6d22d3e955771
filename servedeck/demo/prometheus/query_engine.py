"""Evaluates queries over what the demo cluster's instances have done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from servedeck.demo.clock import Clock
from servedeck.demo.prometheus.cluster_exporters import DeploymentExporter, cluster_exporters
from servedeck.demo.prometheus.device_exporters import device_exporters
from servedeck.demo.prometheus.exporters import Exporter, instance_exporters
from servedeck.demo.prometheus.replica_history import DeploymentPast, ReplicaHistory
from servedeck.demo.prometheus.sample_source import ComputedSamples
from servedeck.demo.prometheus.scrape_times import SCRAPE_INTERVAL_SECONDS, NeededScrapes
from servedeck.demo.workloads.instance_history import (
    RETENTION_SECONDS,
    InstanceHistory,
    PastInstance,
)
from servedeck.promql.evaluation import evaluate_range
from servedeck.promql.expressions import Expression, Selector
from servedeck.promql.samples import RangeSeries


class QueryEngine:
    """Queries over the last RETENTION_SECONDS, until now."""

    def __init__(self, instances: InstanceHistory, replicas: ReplicaHistory, clock: Clock) -> None:
        self._instances = instances
        self._replicas = replicas
        self._clock = clock
        self._known: WeakKeyDictionary[PastInstance | DeploymentPast, tuple[Exporter, ...]] = (
            WeakKeyDictionary()
        )

    def now(self) -> float:
        """Seconds since the epoch, in whole milliseconds."""
        return math.floor(self._clock.time() * 1000) / 1000

    def oldest(self) -> float:
        """There are no samples before this time."""
        return self.now() - RETENTION_SECONDS

    def evaluate(
        self, expression: Expression, start: float, end: float, step: float
    ) -> list[RangeSeries]:
        """The values at evenly spaced times. All times are in seconds. Raises PromqlError."""
        count = math.floor(round((end - start) / step, 6)) + 1
        times = [round(start + number * step, 3) for number in range(count)]
        needed = NeededScrapes(expression, times)
        source = self._samples(needed, needed.start, needed.end)
        return evaluate_range(expression, source, start, end, step)

    def find_series(
        self, selectors: Sequence[Selector], start: float, end: float
    ) -> list[tuple[str, dict[str, str]]]:
        """Names and labels of the series with samples between these times that one of the
        selectors selects, of all series if there is no selector. Raises PromqlError."""
        needed = NeededScrapes(Selector(""), (start, end))
        source = self._samples(needed, start, end)
        found = {
            key: dict(key[1])
            for selector in selectors or (Selector(""),)
            for key in source.find(selector.name, selector.matchers)
        }
        return [(name, labels) for (name, _), labels in sorted(found.items())]

    def _samples(self, needed: NeededScrapes, start: float, end: float) -> ComputedSamples:
        exporters = [one for one in self._exporters(start, end) if one.begin <= end]
        return ComputedSamples(exporters, needed, self.oldest(), self.now())

    def _exporters(self, start: float, end: float) -> Iterator[Exporter]:
        reach = start - 2 * SCRAPE_INTERVAL_SECONDS  # where an end is noticed later
        for past in self._instances.between(reach, end):
            found = self._known.get(past)
            if found is None:
                found = (
                    *instance_exporters(past),
                    *cluster_exporters(past),
                    *device_exporters(past),
                )
                self._known[past] = found
            yield from found
        for deployment in self._replicas.between(reach, end):
            known = self._known.get(deployment)
            if known is None:
                known = self._known[deployment] = (DeploymentExporter(deployment),)
            yield from known
