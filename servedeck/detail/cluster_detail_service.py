"""What the page of a serving needs of a cluster: watches that are open while a tab is shown.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection
    from servedeck.detail.endpoint_try import EndpointAnswer, EndpointTarget
    from servedeck.detail.inference_client import InferenceClient
    from servedeck.detail.object_watch import EventWatch, ObjectQuery, ObjectWatch


class ClusterDetailService:
    """`servedeck.detail.detail_service.DetailService` through the current connection."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` returns the current one, which changes with the context."""
        self._connection = connection

    def watch_objects(
        self, query: ObjectQuery, on_change: Callable[[], None]
    ) -> ObjectWatch | None:
        from servedeck.detail.object_watch import ObjectWatch

        connection = self._connection()
        if connection is None:
            return None
        watch = ObjectWatch(connection, query, on_change)
        watch.start()
        return watch

    def watch_events(
        self, namespace: str, on_change: Callable[[], None], *, object_uid: str = ""
    ) -> EventWatch | None:
        from servedeck.detail.object_watch import EventWatch

        connection = self._connection()
        if connection is None:
            return None
        watch = EventWatch(connection, namespace, on_change, object_uid=object_uid)
        watch.start()
        return watch

    async def read_secret_value(self, namespace: str, secret: str, key: str) -> str:
        from servedeck.detail.secrets import read_secret_value

        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return await read_secret_value(connection, namespace, secret, key)

    async def try_endpoint(self, target: EndpointTarget, path: str) -> EndpointAnswer:
        from servedeck.detail.endpoint_try import try_endpoint

        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return await try_endpoint(connection, target, path)

    def open_inference_client(self) -> InferenceClient:
        from servedeck.detail.inference_client import InferenceClient

        return InferenceClient(self._connection)
