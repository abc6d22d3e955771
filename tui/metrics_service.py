"""Metrics of servings through the current connection."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from servedeck.fleet.views import NamespacedName

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection
    from servedeck.fleet.session import ClusterSession
    from servedeck.fleet.views import PodView
    from servedeck.metrics.cluster_metrics import ClusterMetrics, OpenMetrics
    from servedeck.metrics.fleet_reader import FleetReader, FleetReading
    from servedeck.metrics.load import ServingLoad
    from servedeck.metrics.sample_ring import SampleRing
    from servedeck.metrics.target import MetricsTarget
    from servedeck.serving.objectives import Objectives

_TARGETS_AT_ONCE = 20
"""Servings that are looked up without a break: in a few milliseconds."""


class ClusterMetricsService:
    """The `tui.ports.metrics_service.MetricsService` of a cluster. The Pods are those that are
    watched, so that nothing is listed."""

    def __init__(self, session: Callable[[], ClusterSession | None]) -> None:
        """`session` returns the current one."""
        self._session = session
        self._rings: dict[str, SampleRing] = {}
        """What was read from Pods, by context: it lives as long as servedeck runs."""
        self._opened: tuple[Connection, ClusterMetrics] | None = None
        self._fleet_reader: tuple[ClusterMetrics, FleetReader] | None = None

    def read_load(self, key: NamespacedName) -> AsyncIterator[ServingLoad]:
        session = self._session()
        view = session.fleet.view(key) if session is not None else None
        return self._read(key, view.pods if view is not None else (), is_whole=True)

    def read_pod_load(self, namespace: str, pod: str) -> AsyncIterator[ServingLoad]:
        session = self._session()
        views = session.fleet.views() if session is not None else ()
        for view in views:
            found = [one for one in view.pods if (one.namespace, one.name) == (namespace, pod)]
            if found:
                return self._read(view.key, found, is_whole=False)
        return self._read(NamespacedName(namespace, ""), (), is_whole=False)

    async def _read(
        self, key: NamespacedName, pods: Iterable[PodView], *, is_whole: bool
    ) -> AsyncIterator[ServingLoad]:
        from servedeck.metrics.load import LoadReader

        session = self._session()
        connection = session.connection if session is not None else None
        target = self._make_target(key, pods, is_whole=is_whole)
        if session is None or connection is None or target is None:
            return
        async for load in LoadReader(connection, session.settings).read(target):
            yield load

    def target(self, key: NamespacedName) -> MetricsTarget | None:
        session = self._session()
        view = session.fleet.view(key) if session is not None else None
        return self._make_target(key, view.pods, is_whole=True) if view is not None else None

    def _make_target(
        self, key: NamespacedName, pods: Iterable[PodView], *, is_whole: bool
    ) -> MetricsTarget | None:
        from servedeck.metrics.target import TargetPod, make_target

        session = self._session()
        workload = session.fleet.workload(key) if session is not None else None
        if session is None or workload is None:
            return None
        return make_target(
            workload,
            [TargetPod(one.name, one.is_ready) for one in pods],
            is_whole=is_whole,
            is_deployment=key.is_deployment,
            metric_names=session.settings.metric_names,
        )

    def objectives(self, key: NamespacedName) -> Objectives:
        from servedeck.serving.objectives import Objectives, parse_objectives

        session = self._session()
        workload = session.fleet.workload(key) if session is not None else None
        if workload is None:
            return Objectives()
        return parse_objectives(workload.metadata.annotations.objectives)[0]

    async def open_metrics(self, key: NamespacedName, on_read: Callable[[], None]) -> OpenMetrics:
        metrics = await self._cluster_metrics()
        return await metrics.open(lambda: self.target(key), on_read)

    async def _cluster_metrics(self) -> ClusterMetrics:
        """Of the current connection: another one may lead to another cluster."""
        from servedeck.metrics.cluster_metrics import ClusterMetrics
        from servedeck.metrics.errors import MetricsError
        from servedeck.metrics.sample_ring import SampleRing

        session = self._session()
        connection = session.connection if session is not None else None
        if session is None or connection is None:
            raise MetricsError("There is no connection to the cluster.")
        if self._opened is None or self._opened[0] is not connection:
            await self.close()
            ring = self._rings.setdefault(session.context, SampleRing())
            self._opened = connection, ClusterMetrics(connection, session.settings, ring)
        return self._opened[1]

    async def list_metrics(
        self, keys: Sequence[NamespacedName], *, with_recent: bool
    ) -> FleetReading:
        await asyncio.to_thread(importlib.import_module, "servedeck.metrics.cluster_metrics")
        metrics = await self._cluster_metrics()
        if self._fleet_reader is None or self._fleet_reader[0] is not metrics:
            self._fleet_reader = metrics, metrics.fleet_reader()
        targets: list[MetricsTarget] = []
        for at, key in enumerate(keys, 1):
            if (target := self.target(key)) is not None:
                targets.append(target)
            if at % _TARGETS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return await self._fleet_reader[1].read(targets, with_recent=with_recent)

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[1].close()

    def grafana_link(self, key: NamespacedName, start: float, end: float) -> str:
        session = self._session()
        template = session.settings.grafana_url if session is not None else ""
        values = {
            "{namespace}": quote(key.namespace, safe=""),
            "{name}": quote(key.name, safe=""),
            "{from}": f"{start * 1000:.0f}",
            "{to}": f"{end * 1000:.0f}",
        }
        for placeholder, value in values.items():
            template = template.replace(placeholder, value)
        return template
