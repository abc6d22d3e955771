"""Reads the metrics that are on the screen, and again when there is something new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from time import time as unix_time
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import describe_error
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.live_source import SCRAPE_INTERVAL
from servedeck.metrics.objective_status import GRAPHS, ObjectiveStatus
from servedeck.metrics.period import MIN_STEP, Period, TimeGrid, make_grid
from servedeck.metrics.serving_metrics import Figures, ShownGraph
from servedeck.metrics.serving_objectives import read_statuses
from servedeck.serving.objectives import ObjectiveKind, Objectives
from servedeck.serving.text import one_line
from tui.metrics.figures import NOW
from tui.ports.metrics_service import MetricsService
from widgets.chart_data import TimeRange

if TYPE_CHECKING:
    from servedeck.metrics.cluster_metrics import OpenMetrics

RETRY_SECONDS = 15.0
"""After which a source that did not answer is asked again."""
REOPEN_SECONDS = 120.0
"""After which Prometheus is looked for again where the Pods are read in its place, and the Pods are
read where Prometheus does not answer any more."""

LIVE_SECONDS = 300.0
"""The shortest time that is shown of what is read from now on."""

_log = logging.getLogger(__name__)

Wanted = Callable[[], tuple[tuple[GraphKey, ...], bool, int]]
"""Gives the graphs on the screen, whether they are by Pod, and how many points they can show."""


class MetricsFeed:
    """The metrics of one serving for as long as its tab is kept. `follow` reads; what was read
    stays until the time is another one."""

    def __init__(
        self,
        service: MetricsService,
        key: NamespacedName,
        on_update: Callable[[GraphKey | None], None],
        clock: Callable[[], datetime],
    ) -> None:
        """`on_update` is called with the graph that has arrived, with None for all else."""
        self._service = service
        self._key = key
        self._on_update = on_update
        self._clock = clock
        self._period: Period | None = None
        self._range: TimeRange | None = None
        self._graphs: dict[tuple[GraphKey, bool], ShownGraph] = {}
        self._old_graphs: dict[tuple[GraphKey, bool], ShownGraph] = {}
        """Of another time than the one that was chosen."""
        self._graph_problems: dict[GraphKey, str] = {}
        self._objectives_read = Objectives()
        self._opened: OpenMetrics | None = None
        self._has_read = asyncio.Event()
        self._problem = ""
        self._good_at = 0.0
        """When the source was opened, or answered last; in seconds of the event loop's clock."""
        self.figures: Figures | None = None
        self.objectives: tuple[ObjectiveStatus, ...] = ()
        self.time_grid: TimeGrid | None = None
        self.updated_at = 0.0
        """Seconds since the epoch; 0 before anything was read."""
        self.refresh_seconds = MIN_STEP
        self.has_loaded = False

    # -- a Watch ------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether all that is on the screen was read."""
        return self.has_loaded

    @property
    def missing_permission(self) -> str:
        """None: what is missing is said above the cards."""
        return ""

    async def close(self) -> None:
        """Stop reading; what was read stays."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    # -- what was read ------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the epoch: by the cluster's clock, or by that of this machine, which notes
        when the Pods were read."""
        is_live = self._opened is not None and self._opened.is_live
        return unix_time() if is_live else self._clock().timestamp()

    @property
    def period_name(self) -> str:
        """How long the totals are of: "1h", or since when."""
        if self._range is not None:
            return f"{clock_text(self._range.start)}–{clock_text(self._range.end)}"
        since = self._since
        start = self.now - (self._period.seconds if self._period is not None else 0.0)
        if since is not None and since > start:
            return f"the time since {clock_text(since)}"
        return self._period.name if self._period is not None else ""

    @property
    def moment(self) -> str:
        """Of the figures that are not totals: "now", or the end of the time that is shown."""
        return f"at {clock_text(self._range.end)}" if self._range is not None else NOW

    @property
    def problem(self) -> str:
        """Why nothing new, or not everything, can be shown, one sentence; "" for nothing."""
        if self._problem:
            return self._problem
        return one_line(self._opened.problem) if self._opened is not None else ""

    @property
    def warning(self) -> str:
        """What the source says about the values, one sentence: some are missing. Else what is wrong
        with the names of the metrics."""
        graphs = (one.warning for one in self._graphs.values() if one.warning)
        found = self.figures.warning if self.figures is not None else ""
        names = self._opened.metrics.target.names_problem if self._opened is not None else ""
        return one_line(found or next(graphs, "") or names)

    @property
    def source_name(self) -> str:
        return self._opened.metrics.source.display_name if self._opened is not None else "Loading."

    @property
    def waiting_text(self) -> str:
        """What is awaited before there is something to show, one sentence."""
        if self._opened is None:
            return "Looking for the source of the metrics."
        return "Reading the Pods." if self._opened.is_live else f"Waiting for {self.source_name}."

    @property
    def live_note(self) -> str:
        """ "live only, since 14:02"; "" where the source has a past."""
        since = self._since
        return f"live only, since {clock_text(since)}" if since is not None else ""

    @property
    def step(self) -> float:
        return self.time_grid.step if self.time_grid is not None else 0.0

    @property
    def _since(self) -> float | None:
        return self._opened.metrics.source.since if self._opened is not None else None

    def graph(self, key: GraphKey, is_by_pod: bool) -> ShownGraph | None:
        return self._graphs.get((key, is_by_pod))

    def old_graph(self, key: GraphKey, is_by_pod: bool) -> ShownGraph | None:
        """A graph of another time, which is shown until its successor is read, and says so."""
        old = self._old_graphs.get((key, is_by_pod))
        if old is None or self.graph_problem(key):
            return None
        return replace(old, warning="loading")

    @property
    def objectives_changed(self) -> bool:
        """Whether the objectives are others than those that are shown."""
        return self._service.objectives(self._key) != self._objectives_read

    def graph_problem(self, key: GraphKey) -> str:
        """Why a graph could not be read, one sentence."""
        return self._graph_problems.get(key, "") or self._problem

    # -- reading ------------------------------------------------------------------------------

    def set_time(self, period: Period, zoomed: TimeRange | None) -> None:
        """The time that is shown from now on; what was read of another one is forgotten."""
        if (period, zoomed) != (self._period, self._range):
            self._period, self._range = period, zoomed
            self._old_graphs |= self._graphs
            self._graphs.clear()
            self._graph_problems.clear()
            self.figures, self.objectives = None, ()
            self.updated_at = 0.0

    async def follow(self, wanted: Wanted) -> None:
        """Read what is wanted, until the task is cancelled; the source stays open until `close`."""
        while True:
            await self._open()
            if self._opened is not None:
                await self._read(wanted)
            await self._wait()

    async def _open(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._opened is not None:
            if now - self._good_at < REOPEN_SECONDS or not self.problem:
                return
            await self.close()
        try:
            self._opened = await self._service.open_metrics(self._key, self._has_read.set)
            self._good_at, self._problem = now, ""
        except Exception as error:  # whatever it was, it is said, and tried again
            self._problem = describe_failure(error)
        self._on_update(None)

    async def _read(self, wanted: Wanted) -> None:
        opened = self._opened
        assert opened is not None and self._period is not None
        target = self._service.target(self._key)
        if target is not None:
            opened.metrics.target = target
        keys, is_by_pod, points = wanted()
        objectives = self._objectives_read = self._service.objectives(self._key)
        # Since when one is missed, its graph tells.
        more = [GRAPHS[kind] for kind in objectives.targets if kind in GRAPHS]
        grid = self._make_grid(points)
        self.time_grid = grid
        self.refresh_seconds = SCRAPE_INTERVAL if opened.is_live else max(grid.step, MIN_STEP)
        problems: list[str] = []
        await asyncio.gather(
            self._read_figures(opened, problems),
            *(self._read_graph(opened, key, grid, is_by_pod, problems) for key in keys),
            *(
                self._read_graph(opened, key, grid, False, problems)
                for key in more
                if is_by_pod or key not in keys
            ),
        )
        await self._read_objectives(opened, objectives, grid, problems)
        self._problem = problems[0] if problems else ""
        if not self._problem:
            self.updated_at = self.now
            self.has_loaded = True
            if not opened.is_live:
                self._good_at = asyncio.get_running_loop().time()
        self._on_update(None)

    def _make_grid(self, points: int) -> TimeGrid:
        assert self._period is not None
        least = SCRAPE_INTERVAL if self._since is not None else MIN_STEP
        if self._range is not None:
            return make_grid(self._range.end, self._range.seconds, points, least)
        now, seconds, since = self.now, self._period.seconds, self._since
        if since is not None:
            seconds = min(seconds, max(now - since, LIVE_SECONDS))
        return make_grid(now, seconds, points, least)

    async def _read_figures(self, opened: OpenMetrics, problems: list[str]) -> None:
        assert self._period is not None
        shown = self._range
        try:
            if shown is not None:
                self.figures = await opened.metrics.figures(shown.seconds, shown.end)
            else:
                self.figures = await opened.metrics.figures(self._period.seconds, self.now)
        except Exception as error:
            problems.append(describe_failure(error))
        self._on_update(None)

    async def _read_graph(
        self,
        opened: OpenMetrics,
        key: GraphKey,
        grid: TimeGrid,
        is_by_pod: bool,
        problems: list[str],
    ) -> None:
        place = key, is_by_pod
        try:
            self._graphs[place] = await opened.metrics.graph(
                key, grid, by_pod=is_by_pod, previous=self._graphs.get(place)
            )
            self._graph_problems.pop(key, None)
            self._old_graphs.pop(place, None)
        except Exception as error:
            self._graph_problems[key] = describe_failure(error)
            problems.append(self._graph_problems[key])
        self._on_update(key)

    async def _read_objectives(
        self,
        opened: OpenMetrics,
        objectives: Objectives,
        grid: TimeGrid,
        problems: list[str],
    ) -> None:
        figures, before = self.figures, self.objectives
        if objectives.is_empty or figures is None:
            self.objectives = ()
        else:
            try:
                self.objectives = await read_statuses(
                    opened.metrics, objectives, figures, self._graphs.values(), grid
                )
            except Exception as error:
                problems.append(describe_failure(error))
        if _targets(before) != _targets(self.objectives):
            for key in GRAPHS.values():  # which have a line at the target
                self._on_update(key)

    async def _wait(self) -> None:
        """Until there can be something new."""
        opened = self._opened
        if opened is None:
            await asyncio.sleep(RETRY_SECONDS)
        elif self._range is not None and not self._problem:
            await asyncio.Event().wait()  # the past does not change
        elif opened.is_live:
            self._has_read.clear()
            await self._has_read.wait()
        else:
            await asyncio.sleep(RETRY_SECONDS if self._problem else self.refresh_seconds)


def describe_failure(error: Exception) -> str:
    """What failed, one sentence; what is not an error of a source is logged."""
    if not isinstance(error, MetricsError):
        _log.error("metrics could not be read", exc_info=error)
    return one_line(describe_error(error))


def _targets(objectives: Iterable[ObjectiveStatus]) -> set[tuple[ObjectiveKind, float]]:
    return {(one.kind, one.target) for one in objectives}


def clock_text(time: float) -> str:
    """The local time, "14:02"."""
    return datetime.fromtimestamp(time).astimezone().strftime("%H:%M")
