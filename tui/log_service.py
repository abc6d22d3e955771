"""What the screens ask of a cluster beside the living picture: logs, and names to choose from.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import AnswerError, LostError
from servedeck.serving.text import one_line

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection
    from servedeck.cluster.logs import Stream


_PAGE = ("limit", "500")


class ConnectedCluster:
    """`tui.source.Cluster` through the connection that is in force."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` says which one that is; it changes with the context."""
        self._connection = connection

    def follow(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail: int,
        on_stream: Callable[[Stream], None],
        previous: bool = False,
    ) -> AsyncIterator[list[str]]:
        from servedeck.cluster import logs

        return logs.follow(
            self._current(),
            namespace,
            pod,
            container,
            tail=tail,
            previous=previous,
            on_stream=on_stream,
        )

    async def last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        from servedeck.cluster import logs

        return await logs.last_lines(
            self._current(), namespace, pod, container, tail=tail, previous=previous
        )

    async def namespaces(self) -> list[str]:
        """Names of all namespaces, sorted and sanitised. Raises ClusterError."""
        from servedeck.cluster.watch.decode import Decoder
        from servedeck.cluster.watch.kinds import NAMESPACES
        from servedeck.cluster.watch.list_watch_types import read_page

        connection, decode = self._current(), Decoder(NAMESPACES.record).decode
        names: set[str] = set()
        params = [_PAGE]
        while True:
            page = read_page(await connection.get(NAMESPACES.path(None), params))
            for raw in page.items or ():
                with contextlib.suppress(AnswerError):  # one bad item hides no others
                    names.add(one_line(decode(raw).record.metadata.name))
            if not page.metadata.continue_:
                return sorted(names - {""})
            params = [_PAGE, ("continue", page.metadata.continue_)]

    def _current(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise LostError("There is no connection to the API server yet; it is being tried.")
        return connection
