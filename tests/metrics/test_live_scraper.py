"""Pods that are read again and again, without a Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.metrics import live_scraper, pod_scrape
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.live_scraper import LiveScraper
from servedeck.metrics.live_source import LiveSource
from servedeck.metrics.period import make_grid
from servedeck.metrics.platform_queries import CPU_CORES, REPLICAS_READY, REPLICAS_WANTED
from servedeck.metrics.pod_scrape import CONCURRENT_REQUESTS
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.serving_metrics import ServingMetrics
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import Sample
from servedeck.promql.expressions import Matcher
from servedeck.promql.samples import is_stale
from tests.cluster.fake_api_server import FakeApiServer, make_status, respond_with_status
from tests.metrics.fake_prometheus import answer_with
from tests.metrics.targets import target
from tests.waiting import TimeSkipper, wait_until, with_timeout

A, B, C = "llama-6d4f8b7c9-bbbbb", "llama-6d4f8b7c9-ccccc", "llama-6d4f8b7c9-ddddd"
RESOURCES = "/apis/metrics.k8s.io/v1beta1/namespaces/chat/pods"
RUNNING = "vllm:num_requests_running"
REQUESTS = "vllm:request_success_total"


class Pods:
    """What the Pods answer, by name; a test changes it."""

    def __init__(self, api: FakeApiServer) -> None:
        self.pages: dict[str, Any] = {}
        self.api = api
        self.target: MetricsTarget | None = target(pods=[A, B], wanted_replicas=3)

    def set(self, pod: str, page: Any) -> None:
        """A number of running requests, or a handler."""
        self.pages[pod] = page
        path = f"/api/v1/namespaces/chat/pods/{pod}:8000/proxy/metrics"
        self.api.add_route(path, page if callable(page) else self._handler(pod))

    def _handler(self, pod: str) -> Any:
        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(text=f"{RUNNING} {self.pages[pod]}\nother 1\n")

        return handler

    def asked(self, part: str) -> int:
        return sum(part in one.path for one in self.api.requests)


@pytest.fixture
def pods(api: FakeApiServer) -> Pods:
    found = Pods(api)
    found.set(A, 1)
    found.set(B, 2)
    return found


@pytest.fixture
def ring() -> SampleRing:
    return SampleRing()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds pass before each reading."""
    times = count(1_700_000_000.0, 5.0)
    monkeypatch.setattr(live_scraper, "unix_time", lambda: next(times))


def make_scraper(connection: Connection, ring: SampleRing, pods: Pods) -> LiveScraper:
    return LiveScraper(connection, ring, lambda: pods.target)


def values(ring: SampleRing, name: str, **labels: str) -> list[float | None]:
    """Of the one series with these labels; None for its end."""
    matchers = [Matcher(one, "=", text) for one, text in labels.items()]
    found = list(ring.select(name, matchers, float("-inf"), float("inf")))
    assert len(found) <= 1
    return [None if is_stale(one) else one for series in found for one in series.values]


async def test_the_pods_are_read_with_their_names(
    pods: Pods, connection: Connection, ring: SampleRing
):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    pods.set(A, 7)
    await scraper.read_once()
    assert values(ring, RUNNING, pod=A, namespace="chat") == [1, 7]
    assert values(ring, RUNNING, pod=B) == [2, 2]
    assert "other" not in ring.names(), "what no graph shows is not kept"
    assert scraper.problem == ""


async def test_the_replicas_are_those_of_the_watch(
    pods: Pods, connection: Connection, ring: SampleRing
):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    pods.target = target(pods=[A], wanted_replicas=1)
    await scraper.read_once()
    assert values(ring, REPLICAS_READY, deployment="llama", namespace="chat") == [2, 1]
    assert values(ring, REPLICAS_WANTED, deployment="llama") == [3, 1]


@pytest.mark.parametrize("more", [{"is_deployment": False}, {"is_whole": False}])
async def test_a_part_and_another_workload_have_no_replicas(
    pods: Pods, connection: Connection, ring: SampleRing, more: Mapping[str, bool]
):
    pods.target = target(pods=[A], wanted_replicas=1, **more)
    await make_scraper(connection, ring, pods).read_once()
    assert not ring.names() & {REPLICAS_READY, REPLICAS_WANTED}


# -- Pods that come and go ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gone", "unready", "refuses", "forbids"])
async def test_a_pod_that_does_not_answer_any_more_ends(
    pods: Pods, connection: Connection, ring: SampleRing, how: str
):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    if how == "gone":
        pods.target = target(pods=[A])
    elif how == "unready":
        pods.target = target(pods=[A], unready=[B])
    elif how == "refuses":
        pods.set(B, respond_with_status(503, "ServiceUnavailable"))
    else:
        pods.set(B, answer_with(403, text="no"))
    await scraper.read_once()
    await scraper.read_once()
    assert values(ring, RUNNING, pod=B) == [2, None]
    assert values(ring, RUNNING, pod=A) == [1, 1, 1]
    pods.target = target(pods=[A, B])
    pods.set(B, 5)
    await scraper.read_once()
    assert values(ring, RUNNING, pod=B)[-1] == 5


async def test_a_pod_that_hangs_does_not_hold_up_the_others(
    pods: Pods,
    connection: Connection,
    ring: SampleRing,
    monkeypatch: pytest.MonkeyPatch,
    skip_time: TimeSkipper,
):
    hanging: list[str] = []
    pages: list[bytes] = []
    parse = pod_scrape.parse_page

    async def hang(request: web.Request) -> web.StreamResponse:
        hanging.append(request.path)
        await asyncio.Event().wait()
        raise AssertionError

    def note_page(page: bytes, names: Iterable[str]) -> list[Sample]:
        pages.append(page)
        return parse(page, names)

    monkeypatch.setattr(pod_scrape, "parse_page", note_page)
    # long enough for the Pod that answers, on a busy machine too, and less than the seconds after
    # which the connection itself gives a request up
    monkeypatch.setattr(pod_scrape, "POD_TIMEOUT", 25.0)
    count = CONCURRENT_REQUESTS + 1
    for number in range(count):
        pods.set(f"llama-6d4f8b7c9-hang{number}", hang)
    pods.target = target(pods=[*(f"llama-6d4f8b7c9-hang{n}" for n in range(count)), A])
    reading = asyncio.create_task(make_scraper(connection, ring, pods).read_once())
    await wait_until(lambda: len(hanging) == CONCURRENT_REQUESTS, "the Pods that hang")
    skip_time(26.0)
    await wait_until(lambda: pages and len(hanging) == count, "the page after them")
    skip_time(26.0)
    await with_timeout(reading)
    assert values(ring, RUNNING, pod=A) == [1]


async def test_a_deleted_serving_is_not_read(pods: Pods, connection: Connection, ring: SampleRing):
    pods.target = None
    await make_scraper(connection, ring, pods).read_once()
    assert pods.api.requests == []


async def test_a_new_pod_is_read(pods: Pods, connection: Connection, ring: SampleRing):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    pods.set(C, 9)
    pods.target = target(pods=[A, B, C])
    await scraper.read_once()
    assert values(ring, RUNNING, pod=C) == [9]


# -- what is said -------------------------------------------------------------------------------


async def test_few_of_many_pods_are_read_and_it_is_said(
    pods: Pods, connection: Connection, ring: SampleRing
):
    names = [f"llama-6d4f8b7c9-{number:05}" for number in range(80)]
    for one in names:
        pods.set(one, 1)
    pods.target = target(pods=names)
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    assert pods.asked("/proxy/metrics") == 50
    assert scraper.problem == "Only 50 of its 80 Ready Pods are read."
    pods.target = target(pods=names[:50])
    await scraper.read_once()
    assert scraper.problem == ""


async def test_pods_without_metrics_are_said(pods: Pods, connection: Connection, ring: SampleRing):
    for one in (A, B):
        pods.set(one, respond_with_status(503, "ServiceUnavailable", "refused"))
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    assert scraper.problem == "No Ready Pod answers with metrics on port 8000."
    pods.target = target(pods=[], unready=[A])
    await scraper.read_once()
    assert scraper.problem == "", "a serving without a Ready Pod says so itself"


async def test_a_missing_permission_is_said_until_it_is_given(
    pods: Pods, connection: Connection, ring: SampleRing
):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    forbidden = answer_with(403, make_status(403, "Forbidden", "pods is forbidden"))
    pods.set(A, forbidden)
    pods.set(B, forbidden)
    await scraper.read_once()
    assert scraper.problem == "Reading metrics of Pods needs get on pods/proxy in namespace chat."
    assert values(ring, RUNNING, pod=A) == [1, None]
    pods.set(A, 3)
    pods.set(B, 4)
    await scraper.read_once()
    assert scraper.problem == ""
    assert values(ring, RUNNING, pod=A)[-1] == 3


# -- CPU and memory -----------------------------------------------------------------------------


def usage(cpu: str) -> Any:
    container = {"name": "server", "usage": {"cpu": cpu, "memory": "1Gi"}}
    return answer_with(200, {"items": [{"metadata": {"name": A}, "containers": [container]}]})


async def test_cpu_and_memory_are_read_less_often(
    pods: Pods, connection: Connection, ring: SampleRing
):
    pods.api.add_route(RESOURCES, usage("1500m"))
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    await scraper.read_once()
    assert pods.asked("metrics.k8s.io") == 1
    assert values(ring, CPU_CORES, pod=A, container="server") == [1.5]
    scraper._resources_due = 0.0
    await scraper.read_once()
    assert pods.asked("metrics.k8s.io") == 2


@pytest.mark.parametrize(("code", "requests"), [(403, 1), (404, 1), (503, 2)])
async def test_a_cluster_without_them_is_asked_once(
    pods: Pods, connection: Connection, ring: SampleRing, code: int, requests: int
):
    pods.api.add_route(RESOURCES, respond_with_status(code, "Odd", "no"))
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    scraper._resources_due = 0.0
    await scraper.read_once()
    assert pods.asked("metrics.k8s.io") == requests
    missing = "CPU and memory need list on pods in metrics.k8s.io in namespace chat."
    assert scraper.problem == (missing if code == 403 else "")
    assert values(ring, RUNNING, pod=A) == [1, 1]


# -- again and again ----------------------------------------------------------------------------


async def test_it_reads_until_it_is_closed(pods: Pods, connection: Connection, ring: SampleRing):
    delays: list[float] = []
    readings: list[int] = []
    turn = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        await turn.acquire()

    scraper = LiveScraper(connection, ring, lambda: pods.target, lambda: readings.append(1), sleep)
    scraper.start()
    scraper.start()
    for number in (1, 2, 3):
        await wait_until(lambda number=number: len(delays) == number, "a reading")
        assert len(readings) == number
        turn.release()
    await wait_until(lambda: len(delays) == 4, "a reading")
    assert delays == [2.0, 5.0, 5.0, 5.0]
    assert len(values(ring, RUNNING, pod=A)) == 4
    await scraper.close()
    asked = len(pods.api.requests)
    turn.release()
    await asyncio.sleep(0)
    assert len(pods.api.requests) == asked


async def test_a_page_that_cannot_be_read_does_not_end_it(
    pods: Pods, connection: Connection, ring: SampleRing, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any) -> Any:
        raise ValueError("odd")

    readings: list[int] = []
    turn = asyncio.Semaphore(0)

    async def sleep(_: float) -> None:
        await turn.acquire()

    scraper = LiveScraper(connection, ring, lambda: pods.target, lambda: readings.append(1), sleep)
    with monkeypatch.context() as patched:
        patched.setattr(live_scraper, "_pod_labels", fail)
        scraper.start()
        await wait_until(lambda: readings, "a reading")
    turn.release()
    await wait_until(lambda: len(readings) == 2, "a reading")
    assert values(ring, RUNNING, pod=A) == [1]
    await scraper.close()


async def test_graphs_of_what_was_read(pods: Pods, connection: Connection, ring: SampleRing):
    scraper = make_scraper(connection, ring, pods)
    await scraper.read_once()
    source = LiveSource(ring)
    assert pods.target is not None
    metrics = ServingMetrics(source, pods.target)
    since = source.since
    assert since is not None
    found = await metrics.graph(GraphKey.QUEUE, make_grid(since + 5, 300, 100, 5.0))
    running = next(one for one in found.lines if one.label == "running")
    assert running.values[-1] == 3
    assert found.queries and RUNNING in found.queries[0]


async def test_the_rate_of_a_busy_serving_is_right_from_the_second_reading_on(
    pods: Pods, connection: Connection, ring: SampleRing
):
    """Its Pods were not idle before they were read."""
    assert pods.target is not None
    begin = time.time()
    source = LiveSource(ring, pods.target)
    ring.note_reading(pods.target.namespace, pods.target.name, begin)
    for number in range(3):
        sample = Sample(REQUESTS, (("finished_reason", "stop"),), 9000.0 + 10 * number)
        ring.append({"namespace": "chat", "pod": A}, begin + 5 * number, [sample])
    figures = await ServingMetrics(source, pods.target).figures(3600.0, begin + 10)
    assert figures.request_rate == pytest.approx(2.0)
    assert figures.total_requests == pytest.approx(22.5, abs=2.6)
