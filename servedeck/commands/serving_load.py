"""The load of a serving at the moment, read beside the plan of what ends its Pods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from servedeck.changes.platform_settings import complete_settings
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.config import Settings
from servedeck.metrics.load import LoadReader, ServingLoad

_log = logging.getLogger(__name__)

LOAD_TIMEOUT = 3.0
"""Seconds from the beginning of a plan after which it does without."""
POD_INTERVALS = (1.5,)
"""Seconds between the readings of a Pod."""


class LoadSource(Protocol):
    """Reads the load of servings; what fails is in the result."""

    async def read_serving(self, namespace: str, name: str) -> ServingLoad: ...

    @property
    def is_configured(self) -> bool:
        """Whether the settings ask for metrics."""


class CommandLoads:
    """The `LoadSource` of a command: its settings, completed by the cluster's ConfigMap when they
    are first needed."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._is_completed = False

    @property
    def is_configured(self) -> bool:
        return self._reader.is_configured

    async def read_serving(self, namespace: str, name: str) -> ServingLoad:
        if not self._is_completed:
            with suppress(ClusterError):  # what is set without it may do
                self._settings = await complete_settings(self._connection, self._settings)
            self._is_completed = True
        return await self._reader.read_serving(namespace, name)

    @property
    def _reader(self) -> LoadReader:
        return LoadReader(self._connection, self._settings, POD_INTERVALS)


class PendingLoad:
    """A load that is being read."""

    def __init__(self, source: LoadSource, namespace: str, name: str) -> None:
        self._source = source
        self._task = asyncio.ensure_future(source.read_serving(namespace, name))
        self._deadline = asyncio.get_running_loop().time() + LOAD_TIMEOUT

    async def result(self) -> ServingLoad:
        """The load, once it is known or the time is over."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await asyncio.shield(self._task)
        except TimeoutError:
            reason = f"The metrics did not arrive within {LOAD_TIMEOUT:.0f} s."
            return ServingLoad(reason=reason, is_failure=self._source.is_configured)
        except Exception as error:  # any error: the plan does not depend on the metrics
            _log.exception("the load could not be read")
            return ServingLoad(reason=describe_error(error), is_failure=self._source.is_configured)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@asynccontextmanager
async def reading_load(
    source: LoadSource | None, namespace: str, name: str
) -> AsyncIterator[PendingLoad | None]:
    """Read the load of a serving meanwhile; None without a source. What has not arrived at the end
    is dropped."""
    if source is None:
        yield None
        return
    pending = PendingLoad(source, namespace, name)
    try:
        yield pending
    finally:
        await pending.close()
