"""Metrics of servings that tests set by hand, in place of those of a cluster."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from servedeck.fleet.views import NamespacedName
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.load import ServingLoad
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.target import MetricsTarget, TargetPod
from servedeck.promql.expressions import Expression, format_expression
from servedeck.serving.objectives import Objectives
from tests.tui import fakes

SOURCE = "Prometheus at metrics.example:9090"
BY_POD = "sum by (pod"
QUANTILES = {"histogram_quantile(0.5,": 0.4, "histogram_quantile(0.95,": 1.6, "_quantile(0.99": 4.0}
LEVELS: Mapping[str, float] = {
    "request_success_total": 12.0,
    "http_requests_total": 0.25,
    "num_requests_running": 24.0,
    "num_requests_waiting": 3.0,
    "e2e_request_latency": 1.0,
    "time_to_first_token": 0.2,
    "inter_token_latency": 0.02,
    "prompt_tokens_total": 5400.0,
    "generation_tokens_total": 1900.0,
    "cache_usage_perc": 0.62,
    "prefix_cache_hits": 0.45,
    "num_preemptions": 0.1,
    "spec_replicas": 2.0,
    "replicas_ready": 2.0,
    "GPU_UTIL": 0.87,
    "FB_USED": 70e9,
    "GPU_TEMP": 61.0,
    "POWER_USAGE": 520.0,
    "cpu_usage_seconds_total": 3.5,
    "memory_working_set_bytes": 42e9,
}
"""About what a series is, by a part of its expression."""

Answer = Callable[[str, TimeGrid], Sequence[FoundSeries]]


def wave(level: float, grid: TimeGrid) -> list[float]:
    """Values around `level` that depend on nothing but the time."""
    return [
        level * (1 + 0.3 * math.sin(one / 1700) + 0.1 * math.sin(one / 211)) for one in grid.times()
    ]


def usual_answer(text: str, grid: TimeGrid) -> list[FoundSeries]:
    """What a busy server has; by Pod, of the two Pods of `fakes.serving`."""
    level = next((value for part, value in LEVELS.items() if part in text), None)
    if level is None:
        return []
    level *= next((value for part, value in QUANTILES.items() if part in text), 1.0)
    if "by (pod" in text:
        names = ("llama-8b-7d9c-x2x1q", "llama-8b-7d9c-b8k2m")
        return [
            FoundSeries({"pod": one}, wave(level / number, grid))
            for number, one in enumerate(names, 1)
        ]
    if "by (status)" in text:
        codes = ("400", "429", "500")
        return [
            FoundSeries({"status": one}, wave(level / number, grid))
            for number, one in enumerate(codes, 1)
        ]
    return [FoundSeries({}, wave(level, grid))]


def constant(value: float | None, *labels: Mapping[str, str]) -> Answer:
    """Series that always have the same value."""

    def answer(_: str, grid: TimeGrid) -> list[FoundSeries]:
        return [FoundSeries(one, (value,) * grid.count) for one in labels or ({},)]

    return answer


@dataclass(frozen=True)
class Asked:
    text: str
    """PromQL."""
    grid: TimeGrid
    is_range: bool


class FakeMetricsSource:
    """A source whose answers a test sets, holds back or replaces by an error."""

    display_name = SOURCE

    def __init__(self) -> None:
        self.answer: Answer = usual_answer
        self.error = ""
        """What it fails with."""
        self.failing = ""
        """Only expressions with this part fail."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.since: float | None = None
        self.warning = ""
        self.asked: list[Asked] = []
        self.answered = 0
        self.cancelled: list[str] = []
        self.names: Collection[str] | None = None

    @property
    def ranges(self) -> list[Asked]:
        return [one for one in self.asked if one.is_range]

    @property
    def in_flight(self) -> int:
        return len(self.asked) - self.answered - len(self.cancelled)

    def forget(self) -> None:
        """Count from here on; nothing is being asked for."""
        assert not self.in_flight
        self.asked.clear()
        self.cancelled.clear()
        self.answered = 0

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        assert time is not None
        return await self._answer(
            Asked(format_expression(expression), TimeGrid(time, 1.0, 1), False)
        )

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult:
        return await self._answer(Asked(format_expression(expression), grid, True))

    async def _answer(self, asked: Asked) -> QueryResult:
        self.asked.append(asked)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(asked.text)
            raise
        self.answered += 1
        if self.error and self.failing in asked.text:
            raise MetricsError(self.error)
        return QueryResult(tuple(self.answer(asked.text, asked.grid)), self.warning)

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        return self.names

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        return 15.0

    async def close(self) -> None:
        """It stays open for other servings."""


class FakeOpenMetrics:
    """As `servedeck.metrics.cluster_metrics.OpenMetrics`."""

    def __init__(self, metrics: ServingMetrics, on_read: Callable[[], None]) -> None:
        self.metrics = metrics
        self.on_read = on_read
        self.is_live = metrics.source.since is not None
        self.problem = ""
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class FakeMetricsService:
    """The metrics of all servings from one source."""

    def __init__(self) -> None:
        self.source = FakeMetricsSource()
        self.error = ""
        """Why no source can be opened."""
        self.problem = ""
        self.names_problem = ""
        self.link = ""
        self.wanted = Objectives()
        self.opened: list[FakeOpenMetrics] = []
        self.servings = fakes.FakeSource()

    @property
    def open_now(self) -> list[FakeOpenMetrics]:
        return [one for one in self.opened if not one.is_closed]

    async def read_load(self, key: NamespacedName) -> AsyncIterator[ServingLoad]:
        for one in ():
            yield one

    async def read_pod_load(self, namespace: str, pod: str) -> AsyncIterator[ServingLoad]:
        for one in ():
            yield one

    def target(self, key: NamespacedName) -> MetricsTarget | None:
        view = self.servings.fleet.view(key)
        if view is None:
            return None
        pods: Iterable[TargetPod] = (TargetPod(one.name, one.is_ready) for one in view.pods)
        return MetricsTarget(
            key.namespace,
            key.name,
            view.template,
            8000,
            False,
            tuple(pods),
            is_deployment=key.is_deployment,
            wanted_replicas=view.desired,
            names_problem=self.names_problem,
        )

    def objectives(self, key: NamespacedName) -> Objectives:
        return self.wanted

    async def open_metrics(
        self, key: NamespacedName, on_read: Callable[[], None]
    ) -> FakeOpenMetrics:
        await asyncio.sleep(0)
        target = self.target(key)
        if target is None:
            raise MetricsError("The serving does not exist any more.")
        if self.error:
            raise MetricsError(self.error)
        opened = FakeOpenMetrics(ServingMetrics(self.source, target), on_read)
        opened.problem = self.problem
        self.opened.append(opened)
        return opened

    async def close(self) -> None:
        """There is no connection."""

    def grafana_link(self, key: NamespacedName, start: float, end: float) -> str:
        return self.link.replace("{name}", quote(key.name, safe=""))
