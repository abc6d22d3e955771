"""Reads the last lines of a container for a `servedeck.fleet.session.ClusterSession`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection


async def read_container_end(
    connection: Connection, namespace: str, pod: str, container: str, *, tail: int, previous: bool
) -> list[str]:
    """`servedeck.fleet.session.ReadLastLines`; what it needs is imported when a log is read."""
    from servedeck.logs.pod_log import read_last_lines

    return await read_last_lines(
        connection, namespace, pod, container, tail=tail, previous=previous
    )
