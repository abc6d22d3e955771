"""What the cluster's exporters say of one instance, as functions of the time.

An exporter is scraped from `begin` until before `end`. Between two scrapes nothing is stored: a
series is a function of the state at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from servedeck.demo.prometheus.scrape_times import ScrapeGrid
from servedeck.demo.workloads import metrics
from servedeck.demo.workloads.instance_history import PastInstance
from servedeck.demo.workloads.server_config import OTHER
from servedeck.promql.samples import Labels


class ExportedSeries(NamedTuple):
    labels: Labels
    value: Callable[[Any], float]
    """Of the exporter's state at a time."""


class Exporter(Protocol):
    """A part of an exporter's page: series that are scraped, begin and end together."""

    @property
    def grid(self) -> ScrapeGrid:
        """When it is scraped."""

    @property
    def series(self) -> Mapping[str, tuple[ExportedSeries, ...]]:
        """By name."""

    @property
    def begin(self) -> float:
        """Seconds since the epoch."""

    @property
    def end(self) -> float:
        """Seconds since the epoch, infinite while it is there."""

    def state(self, time: float) -> Any:
        """What the values of the series at this time follow from."""


class InstanceExporter:
    """An exporter's series of one instance: from its start until its end, as functions of the
    time."""

    def __init__(
        self, target: str, past: PastInstance, series: Mapping[str, tuple[ExportedSeries, ...]]
    ) -> None:
        """`target`: what the label `instance` says."""
        self.grid = ScrapeGrid.of_target(target)
        self.past = past
        self.series = series

    @property
    def begin(self) -> float:
        return self.past.instance.started

    @property
    def end(self) -> float:
        return self.past.ended

    def state(self, time: float) -> Any:
        return time


class PageExporter(InstanceExporter):
    """The page of an inference server, as a PodMonitor has it scraped. One that does not listen
    yet, or has stopped answering, has no samples."""

    def __init__(self, past: PastInstance) -> None:
        own = target_labels(past)
        found: dict[str, list[ExportedSeries]] = {}
        for family in metrics.metric_families(past.instance):
            for name, labels, value in family.series:
                found.setdefault(name, []).append(
                    ExportedSeries(sorted_labels({**own, **labels}), value)
                )
        series = {name: tuple(entries) for name, entries in found.items()}
        super().__init__(own["instance"], past, series)

    @property
    def begin(self) -> float:
        return self.past.instance.ready_at

    @property
    def end(self) -> float:
        instance = self.past.instance
        hangs = instance.plan.hangs_at
        return min(self.past.ended, math.inf if hangs is None else instance.started + hangs)

    def state(self, time: float) -> metrics.InstanceState:
        return metrics.InstanceState(self.past.instance, time)


class UpExporter(InstanceExporter):
    """Whether the scrape of an inference server's page succeeded. The Pod is a target until it is
    deleted, whatever its containers do."""

    def __init__(self, page: PageExporter) -> None:
        labels = target_labels(page.past)

        def value(time: float) -> float:
            return float(page.begin <= time < page.end)

        series = {"up": (ExportedSeries(sorted_labels(labels), value),)}
        super().__init__(labels["instance"], page.past, series)

    @property
    def end(self) -> float:
        return self.past.replaced


def instance_exporters(past: PastInstance) -> Iterator[Exporter]:
    """The exporters of an inference server's own page; none for another program."""
    if past.instance.server.engine != OTHER:
        page = PageExporter(past)
        yield page
        yield UpExporter(page)


def target_labels(past: PastInstance) -> dict[str, str]:
    """The labels that Prometheus gives to a target of a PodMonitor."""
    instance = past.instance
    return {
        "container": instance.container,
        "endpoint": "http",
        "instance": f"{past.place.address}:{instance.server.port}",
        "job": f"{instance.namespace}/inference-servers",
        "namespace": instance.namespace,
        "pod": instance.pod,
    }


def sorted_labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
