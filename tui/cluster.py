"""What the screens ask of a cluster beside the living picture: logs, and names to choose from.

Its modules are imported when they are needed, after the first frame.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from servedeck.cluster.errors import LostError
from servedeck.serving.text import one_line, sanitise

if TYPE_CHECKING:
    from servedeck.cluster.connection import Connection


class ConnectedCluster:
    """`tui.source.Cluster` through the connection that is in force."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` says which one that is; it changes with the context."""
        self._connection = connection

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> AsyncIterator[list[str]]:
        from servedeck.cluster import logs

        return logs.follow(self._current(), namespace, pod, container, tail=tail, previous=previous)

    async def last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        from servedeck.cluster import logs

        return await logs.last_lines(
            self._current(), namespace, pod, container, tail=tail, previous=previous
        )

    async def namespaces(self) -> list[str]:
        from servedeck.cluster.kinds import NAMESPACES

        answer = json.loads(await self._current().get(NAMESPACES.path(None), ()))
        names = (item["metadata"]["name"] for item in answer["items"])
        return sorted(one_line(sanitise(name)) for name in names)

    def _current(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise LostError("There is no connection to the API server yet; it is being tried.")
        return connection
