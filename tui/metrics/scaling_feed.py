"""Reads what a serving is scaled by, and its replicas, and again when there is something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import time as unix_time
from typing import TYPE_CHECKING

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.live_source import SCRAPE_INTERVAL
from servedeck.metrics.period import MIN_STEP, Period, TimeGrid, choose_step
from servedeck.metrics.scaling_history import ScalingHistory, read_scaling_history
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from servedeck.serving.text import one_line
from tui.metrics.feed import (
    LIVE_SECONDS,
    REOPEN_SECONDS,
    RETRY_SECONDS,
    clock_text,
    describe_failure,
)
from tui.ports.metrics_service import MetricsService
from widgets.chart_data import ChartData
from widgets.scaling_charts import message_charts, scaling_charts

if TYPE_CHECKING:
    from servedeck.metrics.cluster_metrics import OpenMetrics

REPLAYED_POINTS = 1440
"""Points that are read at most: one a minute of a day."""
NOT_CONNECTED = "There is no connection to the cluster."
SLOWEST_REFRESH = 60.0
"""Seconds."""


class ScalingFeed:
    """The history of one serving while `follow` runs; what was read stays."""

    def __init__(
        self,
        service: MetricsService,
        key: NamespacedName,
        on_update: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        """`on_update` is called when `history` or `problem` is another one; `clock` is that of the
        cluster."""
        self._service = service
        self._key = key
        self._on_update = on_update
        self._clock = clock
        self._opened: OpenMetrics | None = None
        self._good_at = 0.0
        """When the source was opened, or answered last; in seconds of the event loop's clock."""
        self._has_read = asyncio.Event()
        self.history: ScalingHistory | None = None
        self.period: Period | None = None
        """Of the history."""
        self.problem = ""
        """Why nothing new can be shown, one sentence; "" for nothing."""

    # -- a Watch ------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether something was read, or it is known why not."""
        return self.history is not None or bool(self.problem)

    @property
    def missing_permission(self) -> str:
        """None: what is missing is in `problem`."""
        return ""

    async def close(self) -> None:
        """Stop reading; what was read stays."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    # -- what was read ------------------------------------------------------------------------

    @property
    def source_text(self) -> str:
        """Where it is from: "Prometheus at …", "live only, since 14:02"; "" before it is known."""
        if self._opened is None:
            return ""
        source = self._opened.metrics.source
        if source.since is not None:
            return f"live only, since {clock_text(source.since)}"
        return source.display_name

    @property
    def waiting_text(self) -> str:
        """Why there is no history, one sentence."""
        if self.problem:
            return self.problem
        if self._opened is None:
            return "Looking for the source of the metrics."
        return f"Waiting for {self._opened.metrics.source.display_name}."

    async def follow(self, by: ScaledBy, period: Period) -> None:
        """Read the last `period`, until the task is cancelled; the source stays open until
        `close`."""
        if self.history is not None and self.history.by is not by:
            self.history = None
        previous: ScalingHistory | None = None
        while True:
            await self._open()
            if self._opened is not None:
                previous = await self._read(self._opened, by, period, previous) or previous
            self._on_update()
            await self._wait()

    async def _open(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._opened is not None:
            has_failed = bool(self.problem or self._opened.problem)
            if not has_failed or now - self._good_at < REOPEN_SECONDS:
                return
            await self.close()
        try:
            self._opened = await self._service.open_metrics(self._key, self._has_read.set)
            self._good_at, self.problem = now, ""
        except Exception as error:  # whatever it was, it is said, and tried again
            self.problem = describe_failure(error)

    async def _read(
        self, opened: OpenMetrics, by: ScaledBy, period: Period, previous: ScalingHistory | None
    ) -> ScalingHistory | None:
        target = self._service.target(self._key)
        if target is not None:
            opened.metrics.target = target
        try:
            self.history = await read_scaling_history(
                opened.metrics, by, self._grid(opened, period), previous
            )
        except Exception as error:
            self.problem = describe_failure(error)
            return None
        self.problem, self.period = "", period
        if not opened.is_live:
            self._good_at = asyncio.get_running_loop().time()
        elif not self.history.values and opened.problem:
            self.problem = one_line(opened.problem)
        return self.history

    def _grid(self, opened: OpenMetrics, period: Period) -> TimeGrid:
        since, seconds, least = opened.metrics.source.since, period.seconds, MIN_STEP
        now = unix_time() if opened.is_live else self._clock().timestamp()
        if since is not None:
            seconds, least = min(seconds, max(now - since, LIVE_SECONDS)), SCRAPE_INTERVAL
        return replayed_grid(now, seconds, least)

    async def _wait(self) -> None:
        """Until there can be something new."""
        opened, history = self._opened, self.history
        if opened is None or self.problem:
            await asyncio.sleep(RETRY_SECONDS)
        elif opened.is_live:
            self._has_read.clear()
            await self._has_read.wait()
        else:
            step = history.grid.step if history is not None else MIN_STEP
            await asyncio.sleep(min(max(step, MIN_STEP), SLOWEST_REFRESH))


def feed_charts(
    feed: ScalingFeed | None,
    by: ScaledBy,
    target: float | None,
    max_replicas: int | None,
    now: float,
) -> tuple[ChartData, ChartData]:
    """What `widgets.scaling_charts.ScalingCharts` shows of a feed: the metric with its target, in
    ms or requests per replica, and the replicas; or why there is nothing. `now` is a Unix time; no
    feed is no connection."""
    if feed is None or feed.history is None or feed.history.by is not by:
        text = feed.waiting_text if feed is not None else NOT_CONNECTED
        return message_charts(by, now, text)
    return scaling_charts(feed.history, target, max_replicas)


def replayed_grid(end: float, seconds: float, least: float = MIN_STEP) -> TimeGrid:
    """The times of the last `seconds` before `end`, a Unix time: more than a chart can show, as a
    peak of a minute starts replicas. `least` is the shortest step, in seconds."""
    step = max(choose_step(seconds * 240 / REPLAYED_POINTS, 240, least), least)
    last = end // step * step
    count = max(round(seconds / step), 1) + 1
    return TimeGrid(last - (count - 1) * step, step, count)
