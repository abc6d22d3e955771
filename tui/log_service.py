"""What the screens need of a cluster besides the list: logs, and namespaces to choose from.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ConnectionLostError, InvalidResponseError
from servedeck.serving.text import one_line, sanitize

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection
    from servedeck.logs.lines import LineBatch
    from servedeck.logs.streams import LogSince, LogStreams


_PAGE_LIMIT = ("limit", "500")


class ClusterLogService:
    """`tui.ports.log_service.LogService` through the current connection."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` returns the current one, which changes with the context."""
        self._connection = connection

    def open_streams(
        self,
        since: LogSince,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> LogStreams:
        from servedeck.logs.streams import LogStreams

        return LogStreams(
            self._require_connection(), since=since, on_batch=on_batch, on_change=on_change
        )

    async def read_last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        from servedeck.logs.pod_log import read_last_lines

        return await read_last_lines(
            self._require_connection(), namespace, pod, container, tail=tail, previous=previous
        )

    async def list_namespaces(self) -> list[str]:
        """Names of all namespaces, sorted and sanitized; where these may not be listed, those of
        the user's projects (OpenShift), and without these those that the kubeconfig names for the
        cluster. Raises ClusterError."""
        from servedeck.cluster.http.errors import ApiError
        from servedeck.cluster.resources import NAMESPACE, PROJECT

        connection = self._require_connection()
        try:
            return await self._list_names(connection, NAMESPACE.collection_path(None))
        except ApiError as error:
            if error.code != 403:
                raise
        try:
            return await self._list_names(connection, PROJECT.collection_path(None))
        except ApiError as error:
            if error.code not in (403, 404):
                raise
        names = connection.kubeconfig.cluster_namespaces(connection.context_name)
        return sorted(set(map(one_line, map(sanitize, names))))

    async def _list_names(self, connection: Connection, path: str) -> list[str]:
        from servedeck.cluster.watch.decode import RecordDecoder
        from servedeck.cluster.watch.kinds import NAMESPACES
        from servedeck.cluster.watch.list_watch_types import parse_list_page

        decode = RecordDecoder(NAMESPACES.record_type).decode
        names: set[str] = set()
        params = [_PAGE_LIMIT]
        while True:
            page = parse_list_page(await connection.get(path, params))
            for raw in page.items or ():
                with contextlib.suppress(InvalidResponseError):  # one item must not hide others
                    names.add(one_line(decode(raw).record.metadata.name))
            if not page.metadata.continue_:
                return sorted(names - {""})
            params = [_PAGE_LIMIT, ("continue", page.metadata.continue_)]

    def _require_connection(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        return connection
