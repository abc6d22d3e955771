"""Metrics of servings through the current connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

from servedeck.fleet.views import NamespacedName

if TYPE_CHECKING:
    from servedeck.fleet.session import ClusterSession
    from servedeck.fleet.views import PodView
    from servedeck.metrics.load import ServingLoad


class ClusterMetricsService:
    """The `tui.ports.metrics_service.MetricsService` of a cluster. The Pods are those that are
    watched, so that nothing is listed."""

    def __init__(self, session: Callable[[], ClusterSession | None]) -> None:
        """`session` returns the current one."""
        self._session = session

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
        from servedeck.metrics.target import TargetPod, make_target

        session = self._session()
        connection = session.connection if session is not None else None
        deployment = session.fleet.deployment(key) if session is not None else None
        if session is None or connection is None or deployment is None:
            return
        known = [TargetPod(one.name, one.is_ready) for one in pods]
        target = make_target(deployment, known, is_whole=is_whole)
        async for load in LoadReader(connection, session.settings).read(target):
            yield load
