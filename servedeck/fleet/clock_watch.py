"""Notices that the API server's clock or the local one was set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.liveness import ANSWER_SECONDS

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection

CHECK_SECONDS = 30.0
"""Seconds between two checks."""
_STEP = timedelta(seconds=2)
"""A smaller change is none."""


async def watch_clocks(connection: Connection, on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever one of the clocks was set. The server's is in the Date header of a
    response, and a watch, which is one response, lasts for minutes: where no other request was
    answered since the last check, the server is asked for its version."""
    known = connection.clock.offset
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if connection.clock.age >= CHECK_SECONDS:
            with contextlib.suppress(ClusterError):  # the watches report it
                await connection.probe(ANSWER_SECONDS)
        found = connection.clock.offset
        if abs(found - known) > _STEP:
            on_change()
        known = found
