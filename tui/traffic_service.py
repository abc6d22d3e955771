"""The division of requests through the current connection.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError

if TYPE_CHECKING:
    from servedeck.changes.traffic_split.plan import TrafficOptions, TrafficPlan, TrafficResult
    from servedeck.changes.traffic_split.revisions import RevisionStart, Takeover
    from servedeck.changes.traffic_split.state import TrafficState
    from servedeck.cluster.http.connection import Connection
    from servedeck.fleet.views import NamespacedName


class ClusterTrafficService:
    """`tui.ports.traffic_service.TrafficService` of a cluster."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` returns the current one, which changes with the context."""
        self._connection = connection

    def _require_connection(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return connection

    async def read(self, key: NamespacedName, other: str = "") -> TrafficState:
        from servedeck.changes.traffic_split.state import read_state

        return await read_state(self._require_connection(), key.namespace, key.name, other)

    async def plan(self, options: TrafficOptions) -> TrafficPlan:
        from servedeck.changes.traffic_split.planning import plan_traffic

        return await plan_traffic(self._require_connection(), options)

    async def run(self, plan: TrafficPlan) -> TrafficResult:
        from servedeck.changes.traffic_split.execution import run_traffic

        return await run_traffic(self._require_connection(), plan)

    async def start_revision(self, key: NamespacedName, number: int = 0) -> RevisionStart:
        from servedeck.changes.traffic_split.revisions import start_revision

        connection = self._require_connection()
        return await start_revision(connection, key.namespace, key.name, number=number)

    async def start_takeover(self, key: NamespacedName) -> Takeover:
        from servedeck.changes.traffic_split.revisions import start_takeover

        return await start_takeover(self._require_connection(), key.namespace, key.name)

    async def find_takeover_obstacle(self, key: NamespacedName, other: str) -> str:
        from servedeck.changes.traffic_split.revisions import find_takeover_obstacle

        connection = self._require_connection()
        return await find_takeover_obstacle(connection, key.namespace, key.name, other)
