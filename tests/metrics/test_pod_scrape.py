"""Metrics from the Pods' own pages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster.http.connection import Connection
from servedeck.metrics import pod_scrape
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import MetricName, server_names
from servedeck.metrics.pod_scrape import (
    PodPage,
    ScrapedMetrics,
    counter_increase,
    evaluate,
    scrape,
)
from servedeck.metrics.queries import Metric
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import parse_page
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.metrics.fake_prometheus import Handler, answer_with
from tests.metrics.targets import target

RATE, RUNNING = Metric.REQUESTS, Metric.RUNNING
A, B, C = "llama-6d4f8b7c9-aaaaa", "llama-6d4f8b7c9-bbbbb", "llama-6d4f8b7c9-ccccc"


def page(stop: float, length: float = 0, running: float = 0) -> str:
    name = "vllm:request_success_total"
    return (
        f'{name}{{finished_reason="stop"}} {stop}\n{name}{{finished_reason="length"}} {length}\n'
        f"vllm:num_requests_running {running}\n"
    )


def pod_page(text: str, time: float) -> PodPage:
    names = ("vllm:request_success_total", "vllm:num_requests_running")
    samples = parse_page(text.encode(), names)
    return PodPage(time, {(one.name, one.labels): one.value for one in samples})


def names_of(*metrics: Metric) -> dict[Metric, tuple[tuple[MetricName, ...], ...]]:
    return {one: server_names(one, "vllm") for one in metrics}


# -- figures ------------------------------------------------------------------------------------


def test_the_rates_of_the_pods_are_added():
    before = {A: pod_page(page(100, 10), 0), B: pod_page(page(5), 1)}
    after = {A: pod_page(page(108, 12, running=3), 2), B: pod_page(page(9, running=2), 5)}
    found = evaluate(before, after, names_of(RATE, RUNNING))
    assert found == ScrapedMetrics({RATE: 10 / 2 + 4 / 4, RUNNING: 5}, pods=2, seconds=2)


def test_a_pod_that_is_gone_or_new_does_not_count():
    before = {A: pod_page(page(100), 0), B: pod_page(page(5), 0)}
    after = {A: pod_page(page(104), 2), C: pod_page(page(1000), 2)}
    found = evaluate(before, after, names_of(RATE))
    assert found == ScrapedMetrics({RATE: 2}, pods=1, seconds=2)
    assert evaluate(before, {}, names_of(RATE)) is None


def test_a_server_that_was_restarted_has_counted_from_0():
    before = {A: pod_page(page(100, 50), 0)}
    after = {A: pod_page(page(4, 2), 2)}
    found = evaluate(before, after, names_of(RATE))
    assert found is not None and found.values[RATE] == 3


def test_metrics_that_a_pod_does_not_have_are_unknown_and_not_0():
    before = {A: pod_page("vllm:num_requests_running 1", 0)}
    found = evaluate(before, before, names_of(RATE, RUNNING))
    assert found is not None and dict(found.values) == {RATE: None, RUNNING: 1}


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=20))
def test_an_increase_is_what_was_counted_since_the_last_reset(steps: Sequence[tuple[int, bool]]):
    # of one counter that is read after each step, and that may be reset before it
    key = ("a", ())
    value, total, counted = 0.0, 0.0, 0.0
    for added, is_reset in steps:
        before = {key: value}
        start = 0.0 if is_reset else value
        value = start + added
        total += counter_increase(before, {key: value})
        counted += added
    # A reset is not seen where the counter is past its old value again.
    assert total <= counted
    if not any(is_reset for _, is_reset in steps):
        assert total == counted


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_increase_is_never_negative(old: float, new: float):
    assert counter_increase({("a", ()): old}, {("a", ()): new}) >= 0


# -- reading ------------------------------------------------------------------------------------


def path(pod: str, port: str = "8000") -> str:
    return f"/api/v1/namespaces/chat/pods/{pod}:{port}/proxy/metrics"


def pages(*texts: str) -> Handler:
    """A handler that answers with each page once, and then with the last."""
    left = list(texts)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=left.pop(0) if len(left) > 1 else left[0])

    return handler


async def test_the_names_that_a_serving_gives_are_read(api: FakeApiServer, connection: Connection):
    api.add_route(path(A), pages("my_total 5\nmy_running 2\n"))
    names = {RATE: (MetricName("my_total"),), RUNNING: (MetricName("my_running"),)}
    (found,) = await read(connection, target("custom", pods=[A], own_names=names))
    assert found.values == {RATE: 0.0, RUNNING: 2.0}


async def read(
    connection: Connection, wanted: MetricsTarget, intervals: Sequence[float] = (2.0,)
) -> list[ScrapedMetrics]:
    async def sleep(seconds: float) -> None:
        assert seconds in intervals

    found = scrape(connection, wanted, (RATE, RUNNING), intervals=intervals, sleep=sleep)
    return [one async for one in found]


async def test_the_pods_are_read_through_the_api_server(api: FakeApiServer, connection: Connection):
    api.add_route(path(A), pages(page(100), page(103, running=2)))
    api.add_route(path(B), answer_with(503, make_status(503, "ServiceUnavailable", "refused")))
    [found] = await read(connection, target(pods=[A, B], unready=[C]))
    assert found.pods == 1 and found.seconds > 0
    assert found.values[RATE] == pytest.approx(3 / found.seconds)
    assert found.values[RUNNING] == 2
    # One that did not answer is not asked again, and one that is not Ready never.
    # The first two come at once.
    asked = [one.path for one in api.requests]
    assert sorted(asked[:2]) == [path(A), path(B)] and asked[2:] == [path(A)]
    assert api.requests[0].headers["Accept"] == "text/plain;version=0.0.4"


async def test_each_interval_gives_a_figure_since_the_first_page(
    api: FakeApiServer, connection: Connection
):
    api.add_route(path(A), pages(page(100), page(101), page(105)))
    first, second = await read(connection, target(pods=[A]), (2.0, 8.0))
    assert first.values[RATE] == pytest.approx(1 / first.seconds)
    assert second.values[RATE] == pytest.approx(5 / second.seconds)


async def test_a_server_with_tls(api: FakeApiServer, connection: Connection):
    api.add_route(path(f"https:{A}", "8443"), pages(page(1)))
    assert await read(connection, target(pods=[A], port=8443, is_tls=True))


async def test_pods_without_known_metrics_are_read_once(api: FakeApiServer, connection: Connection):
    api.add_route(path(A), pages("<html>log in</html>"))
    assert await read(connection, target(pods=[A])) == []
    assert len(api.requests) == 1


async def test_a_server_without_the_wanted_metrics_is_not_read(
    api: FakeApiServer, connection: Connection
):
    api.add_route(path(A), pages("nv_inference_request_success 1"))
    found = scrape(connection, target("triton", pods=[A]), (RUNNING,), intervals=(0.0,))
    assert [one async for one in found] == []
    assert api.requests == []


async def test_few_of_many_pods_are_read(api: FakeApiServer, connection: Connection, monkeypatch):
    monkeypatch.setattr(pod_scrape, "MAX_PODS", 2)
    for pod in (A, B, C):
        api.add_route(path(pod), pages(page(1)))
    [found] = await read(connection, target(pods=[A, B, C]))
    assert found.pods == 2
    assert path(C) not in [one.path for one in api.requests]


async def test_a_missing_permission_is_said_after_one_request(
    api: FakeApiServer, connection: Connection, monkeypatch
):
    api.add_route(path(A), answer_with(403, make_status(403, "Forbidden", "pods is forbidden")))
    monkeypatch.setattr(pod_scrape, "CONCURRENT_REQUESTS", 1)
    with pytest.raises(MetricsError) as raised:
        await read(connection, target(pods=[A, B, C]))
    assert [one.path for one in api.requests] == [path(A)]
    assert str(raised.value) == "Reading metrics of Pods needs get on pods/proxy in namespace chat."


async def test_a_server_that_forbids_its_metrics_has_none(
    api: FakeApiServer, connection: Connection
):
    api.add_route(path(A), answer_with(403, text="no"))
    assert await read(connection, target(pods=[A])) == []


async def test_a_huge_page_does_not_count(api: FakeApiServer, connection: Connection, monkeypatch):
    monkeypatch.setattr(pod_scrape, "MAX_PAGE_BYTES", 1000)
    api.add_route(path(A), pages(page(1) + "#" * 2000))
    assert await read(connection, target(pods=[A])) == []
