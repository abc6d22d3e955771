"""Logs through the connection that the living picture has at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from servedeck.cluster import logs
from servedeck.cluster.connection import Connection
from servedeck.cluster.errors import LostError


class ClusterLogs:
    """What `tui.source.Logs` asks for, of a cluster."""

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        """`connection` says which one is in force; it changes with the context."""
        self._connection = connection

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> AsyncIterator[list[str]]:
        return logs.follow(self._current(), namespace, pod, container, tail=tail, previous=previous)

    async def last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        return await logs.last_lines(
            self._current(), namespace, pod, container, tail=tail, previous=previous
        )

    def _current(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise LostError("Logs can be read once the API server is reached; it is being tried.")
        return connection
