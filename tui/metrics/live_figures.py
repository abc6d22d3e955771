"""The figures of one serving as they are now, read again when there is something new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from servedeck.cluster.http.errors import describe_error
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.serving_metrics import Figures
from servedeck.serving.text import one_line
from tui.ports.metrics_service import MetricsService

REFRESH_SECONDS = 15.0
"""Between two readings from Prometheus, which seldom scrapes more often."""
RETRY_SECONDS = 15.0
"""After which a source that did not answer is asked again."""
PERIOD_SECONDS = 300.0
"""That totals are of."""

_log = logging.getLogger(__name__)


class LiveFigures:
    """What is known of a serving while `follow` runs."""

    def __init__(
        self, service: MetricsService, key: NamespacedName, on_update: Callable[[], None]
    ) -> None:
        self._service = service
        self._key = key
        self._on_update = on_update
        self._has_read = asyncio.Event()
        self.figures: Figures | None = None
        """None before anything was read."""
        self.problem = ""
        """Why nothing new can be read, one sentence."""

    async def follow(self) -> None:
        """Read again and again, until the task is cancelled; the source is closed then."""
        while True:
            try:
                await self._read_until_error()
            except Exception as error:  # whatever it was, it is said, and tried again
                if not isinstance(error, MetricsError):
                    _log.error("metrics could not be read", exc_info=error)
                self.problem = one_line(describe_error(error))
                self._on_update()
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_until_error(self) -> None:
        opened = await self._service.open_metrics(self._key, self._has_read.set)
        try:
            while True:
                if (target := self._service.target(self._key)) is not None:
                    opened.metrics.target = target
                self.figures = await opened.metrics.figures(PERIOD_SECONDS)
                self.problem = ""
                self._on_update()
                if opened.is_live:
                    self._has_read.clear()
                    await self._has_read.wait()
                else:
                    await asyncio.sleep(REFRESH_SECONDS)
        finally:
            await opened.close()
