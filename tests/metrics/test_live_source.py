"""What was read from the Pods, as the source of one serving."""

from __future__ import annotations

import time

import pytest

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.live_source import LiveSource
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.promql.exposition import Sample
from servedeck.promql.parser import parse_expression
from tests.metrics.targets import PODS, target

NOW = 1_700_000_000.0
GRID = TimeGrid(NOW - 60.0, 15.0, 5)
REQUESTS = "vllm:request_success_total"
POD = {"namespace": "chat", "pod": PODS[0]}
OTHER = {"namespace": "chat", "pod": "embed-6d4f8b7c9-x7k2p"}


def read(ring: SampleRing, pod: dict[str, str], start: float = NOW - 300.0) -> None:
    for number in range(int((NOW - start) / 5) + 1):
        at = start + 5.0 * number
        ring.append(pod, at, [Sample(REQUESTS, (), 10.0 * number)])


async def test_the_time_since_is_that_of_the_serving_alone():
    ring = SampleRing()
    read(ring, OTHER, NOW - 3000.0)
    source = LiveSource(ring, target())
    before = time.time()
    since = source.since
    assert since is not None and since >= before
    read(ring, POD)
    assert source.since == NOW - 300.0


async def test_names_of_other_servings_are_not_known():
    ring = SampleRing()
    read(ring, OTHER)
    metrics = ServingMetrics(LiveSource(ring, target()), target())
    assert await metrics.source.known_names(target()) is None
    graph = await metrics.graph(GraphKey.REQUESTS, GRID)
    assert graph.lines == ()
    assert graph.reason == "A rate is known from the second reading of its Pods on."


async def test_an_unknown_server_is_shown_as_soon_as_it_is_read():
    ring = SampleRing()
    metrics = ServingMetrics(LiveSource(ring, target("custom")), target("custom"))
    await metrics.prepare()  # before the first page has arrived
    read(ring, POD)
    (line,) = (await metrics.graph(GraphKey.REQUESTS, GRID)).lines
    assert line.values == pytest.approx((2.0,) * GRID.count)


async def test_the_replicas_are_those_of_the_serving():
    ring = SampleRing()
    for name in ("llama", "embed"):
        labels = {"namespace": "chat", "job": f"deployment/{name}"}
        ring.append(labels, NOW, [Sample(f"of_{name}", (), 1.0)])
    assert await LiveSource(ring).known_names(target()) == {"of_llama"}


async def test_what_was_read_before_stays_as_it_was_when_it_is_read_again():
    """A Pod that began to count while others were read is not taken for one that was not read."""
    ring = SampleRing()
    ring.note_reading("chat", "llama", NOW - 300.0)
    read(ring, POD)
    read(ring, {"namespace": "chat", "pod": PODS[1]}, NOW - 150.0)
    grid = TimeGrid(NOW - 200.0, 5.0, 30)
    found = []
    for begin in (NOW, NOW + 600.0):
        metrics = ServingMetrics(LiveSource(ring, target()), target())
        found.append((await metrics.graph(GraphKey.REQUESTS, grid)).lines)
        ring.note_reading("chat", "llama", begin)
    before, again = found
    assert again == before
    rising = [one for one in before[0].values if one is not None]
    assert rising[0] == pytest.approx(2.0) and rising[-1] == pytest.approx(4.0)
    assert rising == pytest.approx(sorted(rising))  # the second Pod's rate is of the whole minute


async def test_what_was_computed_of_the_samples_before_is_computed_again():
    ring = SampleRing()
    read(ring, POD)
    source, total = LiveSource(ring, target()), parse_expression(f"sum({REQUESTS})")
    before = await source.query(total, NOW + 5.0)
    assert await source.query(total, NOW + 5.0) == before
    ring.append(POD, NOW + 5.0, [Sample(REQUESTS, (), 1e6)])
    (after,) = (await source.query(total, NOW + 5.0)).series
    assert list(after.values) == [1e6] != list(before.series[0].values)
