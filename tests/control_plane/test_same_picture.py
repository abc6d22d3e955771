"""The same samples in Prometheus and in what was read from Pods give the same graphs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from servedeck.metrics.graphs import POD_GRAPHS, GraphKey
from servedeck.metrics.live_source import LiveSource
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.prometheus_source import PrometheusSource
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import Sample
from tests.control_plane.metrics_day import HOUR, INTERVAL, Day, Pod
from tests.control_plane.prometheus import run_past
from tests.control_plane.test_metrics_truth import is_undisturbed, open_source, target_of
from tests.control_plane.written_queries import FURIOSA, LLAMA, Written

pytestmark = pytest.mark.xdist_group("metrics_same")

SHIFT = 7
"""Seconds between a time of the graphs and the samples: Prometheus 2 counts one at the begin of a
range, and 3 does not."""
COVERED = {
    GraphKey.REQUESTS,
    GraphKey.LATENCY,
    GraphKey.ERRORS,
    GraphKey.QUEUE,
    GraphKey.TTFT,
    GraphKey.ITL,
    GraphKey.TOKENS,
    GraphKey.KV_CACHE,
    GraphKey.PREFIX_CACHE,
}
"""Graphs of what the Pods export."""


class Both(NamedTuple):
    day: Day
    present: int
    """Seconds since the epoch."""
    url: str
    ring: SampleRing


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    present, day = int(time.time()) // HOUR * HOUR, Day()
    lines = list(day.lines(present))
    with run_past(lines) as url:
        yield Both(day, present, url, read_ring(lines))


def read_ring(lines: Sequence[str]) -> SampleRing:
    """What a reading of each Pod at each time would have given."""
    pages: dict[tuple[float, str], list[Sample]] = {}
    text = "\n".join(one for one in lines if not one.startswith("#")) + "\n"
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = dict(one.labels)
            pod = labels.pop("pod", "")
            if not pod or labels.pop("namespace", "") != "chat":
                continue  # proxies and the platform are not read from Pods
            assert one.timestamp is not None
            sample = Sample(one.name, tuple(sorted(labels.items())), float(one.value))
            # the parser takes times for milliseconds, as in the older format
            pages.setdefault((float(one.timestamp) * 1000, pod), []).append(sample)
    ring = SampleRing(max_bytes=1 << 30)
    for (at, pod), samples in sorted(pages.items()):
        ring.append({"namespace": "chat", "pod": pod}, at, samples)
    return ring


class RecordedSource(LiveSource):
    """Pods that were read as seldom as Prometheus did."""

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        return INTERVAL


@pytest.fixture
async def prometheus(both: Both) -> AsyncIterator[PrometheusSource]:
    found = open_source(both.url)
    yield found
    await found.close()


@pytest.mark.parametrize("hours", [1, 6, 24])
@pytest.mark.parametrize("written", [LLAMA, FURIOSA], ids=["vllm", "furiosa-llm"])
async def test_each_graph(both: Both, prometheus: PrometheusSource, written: Written, hours: int):
    pods: list[Pod] = getattr(both.day, written.pods)
    target = target_of(written.name, written.template, pods)
    recorded = ServingMetrics(prometheus, target)
    live = ServingMetrics(RecordedSource(both.ring), target)
    await recorded.prepare()
    step = max(15.0, hours * HOUR / 240)
    end = both.present - INTERVAL + SHIFT
    grid = TimeGrid(end - hours * HOUR, step, int(hours * HOUR / step) + 1)
    compared = 0
    for key in COVERED:
        for by_pod in (False, True) if key in POD_GRAPHS else (False,):
            expected = await recorded.graph(key, grid, by_pod=by_pod)
            found = await live.graph(key, grid, by_pod=by_pod)
            assert found.queries == expected.queries
            lines = {one.label: one.values for one in expected.lines}
            assert {one.label for one in found.lines} == set(lines), (key, found.reason)
            for line in found.lines:
                for at, a, b in zip(grid.times(), line.values, lines[line.label], strict=True):
                    # of a counter that begins in a window, Prometheus 2 extrapolates more
                    if is_undisturbed(at - both.present, int(max(step, 4 * INTERVAL)), pods):
                        assert a == (None if b is None else pytest.approx(b, rel=1e-9)), (key, at)
                        compared += b is not None
    assert compared > 500
