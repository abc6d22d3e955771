"""The metrics of the servings of one cluster, from the source that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.connection import Connection
from servedeck.metrics.discovery import find_prometheus
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.fleet_reader import FleetReader
from servedeck.metrics.live_fleet import LiveFleet
from servedeck.metrics.live_scraper import GetTarget, LiveScraper
from servedeck.metrics.live_source import LiveSource
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.target import MetricsTarget
from servedeck.metrics.transports import PrometheusOptions, open_transport

if TYPE_CHECKING:
    from servedeck.config import Settings


class OpenMetrics:
    """The metrics of one serving, from `ClusterMetrics.open` to `close`."""

    def __init__(
        self, metrics: ServingMetrics, scraper: LiveScraper | None = None, problem: str = ""
    ) -> None:
        self.metrics = metrics
        self.scraper = scraper
        self._problem = problem

    @property
    def is_live(self) -> bool:
        """Whether the Pods themselves are read."""
        return self.scraper is not None

    @property
    def problem(self) -> str:
        """What of the Pods cannot be read, and why the metrics are not those of Prometheus, in
        sentences; "" for nothing."""
        own = self.scraper.problem if self.scraper is not None else ""
        return f"{own} {self._problem}".strip()

    async def close(self) -> None:
        if self.scraper is not None:
            await self.scraper.close()


class ClusterMetrics:
    """Finds the source once. What was read from Pods is in `ring`."""

    def __init__(self, connection: Connection, settings: Settings, ring: SampleRing) -> None:
        self._connection = connection
        self._settings = settings
        self._ring = ring
        self._prometheus: PrometheusSource | None = None

    async def open(
        self, get_target: GetTarget, on_read: Callable[[], None] = lambda: None
    ) -> OpenMetrics:
        """The metrics of a serving: those of Prometheus, or if there is none, or it does not answer
        or does not know the serving, those of its Pods from now on. Raises MetricsError if there is
        no source."""
        target = get_target()
        if target is None:
            raise MetricsError("The serving does not exist any more.")
        problem = ""
        try:
            source = await self.prometheus()
            metrics = ServingMetrics(source, target)
            await metrics.prepare()
            if await metrics.has_values():
                return OpenMetrics(metrics)
            problem = f"{source.display_name} has no metrics of it."
        except MetricsError as error:
            problem = str(error)
            self._forget_found()
        if not self._settings.pod_metrics:
            raise MetricsError(f"{problem} Its Pods are not read: pod_metrics is false.")
        return self._open_live(target, get_target, on_read, problem)

    def _open_live(
        self,
        target: MetricsTarget,
        get_target: GetTarget,
        on_read: Callable[[], None],
        problem: str,
    ) -> OpenMetrics:
        scraper = LiveScraper(self._connection, self._ring, get_target, on_read)
        scraper.start()
        return OpenMetrics(ServingMetrics(LiveSource(self._ring, target), target), scraper, problem)

    def fleet_reader(self) -> FleetReader:
        """Reads the figures of many servings at once."""
        live = LiveFleet(self._connection, self._ring) if self._settings.pod_metrics else None
        return FleetReader(self.prometheus, live, on_failure=self._forget_found)

    async def prometheus(self) -> PrometheusSource:
        """The Prometheus that the settings name, or that is found in the cluster. Raises
        MetricsError if there is none."""
        if self._prometheus is None:
            options = PrometheusOptions.from_settings(self._settings)
            if options.is_configured:
                client = PrometheusClient(open_transport(self._connection, options))
            elif self._settings.prometheus_discovery:
                client = await find_prometheus(self._connection)
            else:
                raise MetricsError("The settings name no Prometheus.")
            self._prometheus = PrometheusSource(client)
        return self._prometheus

    def _forget_found(self) -> None:
        """Look for another one the next time; one that the settings name has the same address, and
        is asked for other servings meanwhile."""
        if not PrometheusOptions.from_settings(self._settings).is_configured:
            self._prometheus = None  # through the API server: there is nothing to close

    async def close(self) -> None:
        source, self._prometheus = self._prometheus, None
        if source is not None:
            await source.close()
