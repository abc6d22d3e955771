"""The async queues of servings through the current connection.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError

if TYPE_CHECKING:
    from servedeck.async_queue.client import AsyncQueueClient
    from servedeck.cluster.http.connection import Connection
    from servedeck.fleet.views import NamespacedName


class ClusterAsyncQueueService:
    """`tui.ports.async_queue_service.AsyncQueueService` of a cluster."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` returns the current one, which changes with the context."""
        self._connection = connection

    def queue_api(self, key: NamespacedName) -> AsyncQueueClient:
        from servedeck.async_queue.client import AsyncQueueClient

        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return AsyncQueueClient(connection, key.namespace, key.name)
