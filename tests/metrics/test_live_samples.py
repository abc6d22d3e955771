"""The Pods of one serving, read again and again."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.metrics import live_scraper
from servedeck.metrics.live_scraper import MAX_PODS, RESOURCES_INTERVAL, LiveScraper
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.evaluation import evaluate
from servedeck.promql.parser import parse_expression
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.metrics.fake_prometheus import answer_with
from tests.metrics.targets import target

START = 1_700_000_000.0
A, B = "llama-6d4f8b7c9-bbbbb", "llama-6d4f8b7c9-ccccc"
RESOURCES = "/apis/metrics.k8s.io/v1beta1/namespaces/chat/pods"
RUNNING = "sum(vllm:num_requests_running)"
MEMORY = "sum(container_memory_working_set_bytes)"


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(live_scraper, "unix_time", made)
    return made


def add_pods(api: FakeApiServer, *pods: str) -> None:
    for one in pods:
        path = f"/api/v1/namespaces/chat/pods/{one}:8000/proxy/metrics"
        api.add_route(path, answer_with(200, text="vllm:num_requests_running 8\n"))


def add_resources(api: FakeApiServer, *pods: str) -> None:
    usage = {"name": "inference-server", "usage": {"cpu": "500m", "memory": "1Gi"}}
    items = [{"metadata": {"name": one}, "containers": [usage]} for one in pods]
    api.add_route(RESOURCES, answer_with(200, {"items": items}))


def make_scraper(connection: Connection, ring: SampleRing, of: MetricsTarget) -> LiveScraper:
    return LiveScraper(connection, ring, lambda: of)


def value(ring: SampleRing, text: str, time: float) -> float | None:
    found = evaluate(parse_expression(text), ring, time + 1.0)
    return found[0].values[0] if found else None


async def test_a_pod_that_ended_while_the_tab_was_closed_does_not_count(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    ring = SampleRing()
    add_pods(api, A, B)
    add_resources(api, A)
    await make_scraper(connection, ring, target(pods=[A])).read_once()
    assert value(ring, RUNNING, clock.time) == 8.0
    assert value(ring, MEMORY, clock.time) == float(1 << 30)
    clock.time += 20.0
    add_resources(api, B)
    await make_scraper(connection, ring, target(pods=[B])).read_once()
    assert value(ring, RUNNING, clock.time) == 8.0
    assert value(ring, MEMORY, clock.time) == float(1 << 30)


async def test_pods_of_other_servings_go_on(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    ring = SampleRing()
    other = "embed-6d4f8b7c9-bbbbb"
    add_pods(api, A, other)
    await make_scraper(connection, ring, target(name="embed", pods=[other])).read_once()
    clock.time += 1.0
    await make_scraper(connection, ring, target(pods=[A])).read_once()
    assert value(ring, RUNNING, clock.time) == 16.0


async def test_pods_beyond_the_bound_are_said(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    letters = "bcdfghjklmnpqrstvwxz"
    pods = [f"llama-6d4f8b7c9-bbb{one}{other}" for one in letters for other in letters][:80]
    add_pods(api, *pods)
    scraper = make_scraper(connection, SampleRing(), target(pods=pods))
    await scraper.read_once()
    assert scraper.problem.startswith(f"Only {MAX_PODS} of its 80 Ready Pods are read.")


@pytest.mark.parametrize(
    ("status", "problem", "requests"),
    [
        (
            make_status(403, "Forbidden", "no"),
            "CPU and memory need list on pods in metrics.k8s.io in namespace chat.",
            1,
        ),
        (make_status(404, "NotFound", "no such API"), "", 1),
        (make_status(503, "ServiceUnavailable", "no endpoints"), "", 2),
    ],
)
async def test_why_cpu_and_memory_are_not_known(
    api: FakeApiServer,
    connection: Connection,
    clock: Clock,
    status: dict[str, Any],
    problem: str,
    requests: int,
):
    add_pods(api, A)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response(status, status=status["code"])

    api.add_route(RESOURCES, handler)
    scraper = make_scraper(connection, SampleRing(), target(pods=[A]))
    for _ in range(2):
        await scraper.read_once()
        clock.time += RESOURCES_INTERVAL
    assert (scraper.problem, len(asked)) == (problem, requests)


async def test_a_missing_permission_is_said(
    api: FakeApiServer, connection: Connection, clock: Clock
):
    path = f"/api/v1/namespaces/chat/pods/{A}:8000/proxy/metrics"
    api.add_route(path, answer_with(403, make_status(403, "Forbidden", "no")))
    add_resources(api, A)
    ring = SampleRing()
    scraper = make_scraper(connection, ring, target(pods=[A]))
    await scraper.read_once()
    assert scraper.problem == "Reading metrics of Pods needs get on pods/proxy in namespace chat."
    assert value(ring, MEMORY, clock.time) == float(1 << 30)
