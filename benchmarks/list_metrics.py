"""The figures of a list of 5,000 servings: how long a reading keeps the event loop from keys.

    python -m benchmarks.list_metrics

prints milliseconds of CPU time as JSON: the longest step of the loop while figures are read, in an
app of 240x60 cells whose Prometheus answers at once, each time with others. First those of the rows
on the screen, then with the list sorted by P95, which asks for 500 servings. Exits with 1 when a
step of the first takes more than BUDGET_MS.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.config import Settings
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.session import ClusterSession
from servedeck.metrics.cluster_metrics import ClusterMetrics
from servedeck.metrics.prometheus import QUERY_PATH, HttpAnswer, PrometheusClient
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.sample_ring import SampleRing
from tests.fleet.factories import KIND_BY_RECORD, START, deployment, pod, replicaset
from tests.tui import fakes
from tests.tui.helpers import make_app
from tui.app import ServedeckApp
from tui.metrics_service import ClusterMetricsService

SERVINGS = 5_000
SIZE = (240, 60)
ROUNDS = 20
BUDGET_MS = 10.0
_NAMES = re.compile(r"pod=~\"\(\?:([^)]*)\)-")


class Transport:
    """A Prometheus that knows every serving that it is asked for."""

    display_name = "Prometheus"

    def __init__(self) -> None:
        self._chance = random.Random(1)

    async def get(self, path: str, params: Sequence[tuple[str, str]], max_bytes: int) -> HttpAnswer:
        asked = dict(params)
        return HttpAnswer(200, await asyncio.to_thread(self._answer, path, asked))

    def _answer(self, path: str, asked: dict[str, str]) -> bytes:
        found = _NAMES.search(asked["query"])
        names = found[1].split("|") if found is not None else []
        if path == QUERY_PATH:
            result = [
                {"metric": {**labels(name), "figure": figure}, "value": [0, self._value()]}
                for name in names
                for figure in ("rate", "p95", "waiting")
            ]
        else:
            start, end, step = (float(asked[one]) for one in ("start", "end", "step"))
            times = [start + step * number for number in range(round((end - start) / step) + 1)]
            result = [
                {"metric": labels(name), "values": [[one, self._value()] for one in times]}
                for name in names
            ]
        return json.dumps({"status": "success", "data": {"result": result}}).encode()

    def _value(self) -> str:
        return f"{self._chance.expovariate(0.1):.17g}"

    async def close(self) -> None: ...


def labels(name: str) -> dict[str, str]:
    return {"namespace": "team-a", "serving": name}


def make_fleet() -> Fleet:
    fleet = Fleet()
    for number in range(SERVINGS):
        name = f"serving-{number:05}"
        for record in (
            deployment(name),
            replicaset(f"r-{name}", f"d-{name}"),
            pod(f"p-{name}", f"r-{name}"),
        ):
            fleet.apply(RecordChange(KIND_BY_RECORD[type(record)], "ADDED", record))
    fleet.flush(START)
    return fleet


def make_list() -> ServedeckApp:
    fleet, connection = make_fleet(), cast(Connection, object())
    settings = Settings(prometheus_url="http://prometheus", pod_metrics=False)
    session = SimpleNamespace(
        fleet=fleet, connection=connection, settings=settings, context="prod-seoul"
    )
    metrics = ClusterMetrics(connection, settings, SampleRing())
    metrics._prometheus = PrometheusSource(PrometheusClient(Transport()))
    service = ClusterMetricsService(lambda: cast(ClusterSession, session))
    service._opened = connection, metrics
    source = fakes.FakeSource().add_views(*fleet.views())
    return make_app(source, metrics_service=service)


class LoopWatch:
    """Measures the CPU time of the loop between two of its rounds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)

    def close(self) -> None:
        self._task.cancel()


async def measure_readings(app: ServedeckApp) -> dict[str, float]:
    """The longest step of a reading and of its paint, in milliseconds."""
    longest = []
    metrics = app.servings._metrics
    for _ in range(ROUNDS):
        while metrics._is_reading:
            await asyncio.sleep(0)
        metrics._due_at = 0.0
        watch = LoopWatch()
        app.servings._check_metrics(is_new_order=True)
        while metrics._is_reading:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)  # the paint
        watch.close()
        longest.append(1000 * watch.longest)
    return {"median": round(statistics.median(longest), 1), "worst": round(max(longest), 1)}


async def measure_list() -> dict[str, Any]:
    app = make_list()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        result: dict[str, Any] = {"rows on the screen": await measure_readings(app)}
        assert app.servings._metrics.find(app.servings._views[0].key) is not None
        app.servings._set_sort("p95", True)
        result["sorted by P95"] = await measure_readings(app)
    return result


if __name__ == "__main__":
    figures = asyncio.run(measure_list())
    print(json.dumps(figures, indent=1))
    sys.exit(figures["rows on the screen"]["median"] > BUDGET_MS)
