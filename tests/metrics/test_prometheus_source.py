"""Prometheus as a source of metrics: grids, limits, timeouts, and what is known of Pods."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import warnings
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from servedeck.metrics import prometheus as client_module
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.prometheus_source import (
    QUERIES_IN_FLIGHT,
    QUERY_TIMEOUT,
    PrometheusSource,
)
from servedeck.metrics.source import FoundSeries, QueryResult
from servedeck.metrics.transports import PrometheusOptions, UrlTransport
from servedeck.promql.expressions import Selector
from tests.metrics.fake_prometheus import FakePrometheus, Handler, answer_with, error_body
from tests.metrics.targets import target
from tests.waiting import TimeSkipper, wait_until, with_timeout

UP = Selector("up")
GRID = TimeGrid(1000.0, 15.0, 4)


@pytest.fixture
async def source(prometheus: FakePrometheus) -> AsyncIterator[PrometheusSource]:
    found = PrometheusSource(PrometheusClient(UrlTransport(PrometheusOptions(prometheus.url))))
    yield found
    await found.close()


def success(result: Any, kind: str = "matrix", **more: Any) -> Handler:
    data = {"resultType": kind, "result": result}
    return answer_with(200, {"status": "success", "data": data, **more})


class Hanging:
    """A handler that answers nothing before it is released."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.begun = 0
        self.cancelled = 0
        self.release = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.running += 1
        self.begun += 1
        self.most = max(self.most, self.running)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return await success([], "vector")(request)


# -- answers ------------------------------------------------------------------------------------


async def test_values_are_put_on_the_grid(prometheus: FakePrometheus, source: PrometheusSource):
    values = [[985, "9"], [1000, "1"], [1015.004, "NaN"], [1044.996, "+Inf"], [1060, "9"]]
    late = [[1030, "2.5"], [1045, "-1e3"]]
    prometheus.handler = success(
        [{"metric": {"pod": "a"}, "values": values}, {"metric": {}, "values": late}]
    )
    assert await source.query_range(UP, GRID) == QueryResult(
        (
            FoundSeries({"pod": "a"}, [1.0, None, None, None]),
            FoundSeries({}, [None, None, 2.5, -1000.0]),
        )
    )
    asked = {"query": "up", "start": "1000.000", "end": "1045.000", "step": "15.000"}
    assert dict(prometheus.requests[0].query) == asked


async def test_a_value_now_and_at_a_time(prometheus: FakePrometheus, source: PrometheusSource):
    prometheus.values["up"] = [({"pod": "a"}, "1"), ({"pod": "b"}, "NaN")]
    expected = QueryResult((FoundSeries({"pod": "a"}, (1.0,)), FoundSeries({"pod": "b"}, (None,))))
    assert await source.query(UP) == expected
    assert await source.query(UP, 12.5) == expected
    assert [dict(one.query) for one in prometheus.requests] == [
        {"query": "up"},
        {"query": "up", "time": "12.500"},
    ]


async def test_a_partial_answer_is_said(prometheus: FakePrometheus, source: PrometheusSource):
    # https://thanos.io/tip/components/query.md/#partial-response
    said = ["No StoreAPIs matched\x1b[31m", "b", "c", "d"]
    prometheus.handler = success([], warnings=said)
    assert (await source.query_range(UP, GRID)).warning == "No StoreAPIs matched; b; c"
    prometheus.handler = success([], "vector", warnings=said[1:2])
    assert await source.query(UP) == QueryResult((), "b")


async def test_of_a_huge_answer_a_part_is_read_and_that_is_said(
    prometheus: FakePrometheus, source: PrometheusSource, monkeypatch
):
    monkeypatch.setattr(client_module, "MAX_ANSWER_POINTS", 5000)
    values = [[1000 + 15 * one, "1"] for one in range(1000)]
    result = [{"metric": {"pod": f"{one:03}"}, "values": values} for one in range(40)]
    assert len(json.dumps(result)) > client_module.LARGE_ANSWER_BYTES
    prometheus.handler = success(result, warnings=["partial"])
    found = await source.query_range(UP, TimeGrid(1000.0, 15.0, 1000))
    assert [one.labels["pod"] for one in found.series] == ["000", "001", "002", "003", "004"]
    assert all(list(one.values) == [1.0] * 1000 for one in found.series)
    assert found.warning == "only 5 of the 40 series are read; partial"


@pytest.mark.parametrize("result", [[5], [{"metric": 5}], [{"values": [[1]]}], {"a": 1}])
async def test_a_result_that_is_none(
    prometheus: FakePrometheus, source: PrometheusSource, result: Any
):
    prometheus.handler = success(result)
    with pytest.raises(MetricsError, match=r"answers with a result that is not one of Prometheus"):
        await source.query_range(UP, GRID)


# -- limits -------------------------------------------------------------------------------------


async def test_few_queries_are_in_flight(prometheus: FakePrometheus, source: PrometheusSource):
    prometheus.handler = hanging = Hanging()
    tasks = [asyncio.create_task(source.query(UP)) for _ in range(3 * QUERIES_IN_FLIGHT)]
    await wait_until(lambda: hanging.running == QUERIES_IN_FLIGHT)
    for _ in range(20):
        await asyncio.sleep(0)
    assert hanging.begun == QUERIES_IN_FLIGHT == 4
    hanging.release.set()
    await with_timeout(asyncio.gather(*tasks))
    assert (hanging.begun, hanging.most) == (12, QUERIES_IN_FLIGHT)


async def test_a_query_that_is_given_up_is_cancelled_at_the_server(
    prometheus: FakePrometheus, source: PrometheusSource
):
    prometheus.handler = hanging = Hanging()
    task = asyncio.create_task(source.query_range(UP, GRID))
    await wait_until(lambda: hanging.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: hanging.cancelled == 1)


async def test_a_query_that_is_given_up_before_its_turn_is_not_sent(
    prometheus: FakePrometheus, source: PrometheusSource
):
    prometheus.handler = hanging = Hanging()
    running = [asyncio.create_task(source.query(UP)) for _ in range(QUERIES_IN_FLIGHT)]
    await wait_until(lambda: hanging.running == QUERIES_IN_FLIGHT)
    waiting = [asyncio.create_task(source.query(UP)) for _ in range(3)]
    await asyncio.sleep(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        while waiting:
            waiting[-1].cancel()
            await asyncio.wait([waiting.pop()])
        gc.collect()
    assert [str(one.message) for one in caught if "never awaited" in str(one.message)] == []
    hanging.release.set()
    await with_timeout(asyncio.gather(*running))
    assert hanging.begun == QUERIES_IN_FLIGHT
    await with_timeout(source.query(UP))  # the turns are free again


async def test_a_prometheus_that_does_not_answer_is_said(
    prometheus: FakePrometheus, source: PrometheusSource
):
    prometheus.handler = hanging = Hanging()
    skip = TimeSkipper(asyncio.get_running_loop())
    task = asyncio.create_task(source.query(UP))
    await wait_until(lambda: hanging.running == 1)
    skip(QUERY_TIMEOUT - 15)
    await asyncio.sleep(0)
    assert not task.done()
    skip(16)
    host = prometheus.url.removeprefix("http://")
    with pytest.raises(MetricsError) as raised:
        await with_timeout(task)
    assert str(raised.value) == f"Prometheus at {host} does not answer within 20 s."
    await wait_until(lambda: hanging.cancelled == 1)


async def test_the_time_before_its_turn_does_not_count(
    prometheus: FakePrometheus, source: PrometheusSource
):
    prometheus.handler = hanging = Hanging()
    skip = TimeSkipper(asyncio.get_running_loop())
    tasks = [asyncio.create_task(source.query(UP)) for _ in range(QUERIES_IN_FLIGHT + 1)]
    await wait_until(lambda: hanging.running == QUERIES_IN_FLIGHT)
    skip(QUERY_TIMEOUT + 1)
    done = await with_timeout(asyncio.gather(*tasks[:-1], return_exceptions=True))
    assert all(isinstance(one, MetricsError) for one in done)
    await wait_until(lambda: hanging.begun == QUERIES_IN_FLIGHT + 1)
    hanging.release.set()
    assert await with_timeout(tasks[-1]) == QueryResult(())


async def test_two_first_queries_share_one_session(
    prometheus: FakePrometheus, source: PrometheusSource, monkeypatch
):
    opened: list[aiohttp.ClientSession] = []
    session = aiohttp.ClientSession

    def open_session(*positional: Any, **named: Any) -> aiohttp.ClientSession:
        opened.append(session(*positional, **named))
        return opened[-1]

    monkeypatch.setattr(aiohttp, "ClientSession", open_session)
    await asyncio.gather(*(source.query(UP) for _ in range(QUERIES_IN_FLIGHT)))
    assert len(opened) == 1
    await source.close()
    assert opened[0].closed


async def test_an_error_frees_its_turn(prometheus: FakePrometheus, source: PrometheusSource):
    prometheus.handler = answer_with(422, error_body("execution", "too many samples"))
    for _ in range(2 * QUERIES_IN_FLIGHT):
        with pytest.raises(MetricsError, match="cannot run the query: too many samples"):
            await with_timeout(source.query(UP))


# -- Pods ---------------------------------------------------------------------------------------


async def test_the_names_of_a_day(prometheus: FakePrometheus, source: PrometheusSource):
    names = ["vllm:num_requests_running", "python_info"]
    prometheus.handler = answer_with(200, {"status": "success", "data": names})
    before = time.time()
    assert await source.known_names(target()) == frozenset(names)
    [request] = prometheus.requests
    assert request.path == "/api/v1/label/__name__/values"
    assert request.query["match[]"].startswith('{namespace="chat",pod=~"llama-')
    start, end = float(request.query["start"]), float(request.query["end"])
    assert end - start == pytest.approx(86400, abs=0.01)
    assert before - 0.01 <= end <= time.time() + 0.01
    # of a serving without Pods, what they had
    assert await source.known_names(target(pods=[])) == frozenset(names)


async def test_nothing_is_asked_of_no_pods(prometheus: FakePrometheus, source: PrometheusSource):
    none = target(pods=[], is_whole=False)
    assert await source.known_names(none) is await source.scrape_interval(none) is None
    assert prometheus.requests == []
    whole = target(pods=[], is_deployment=False)
    assert await source.known_names(whole) is await source.scrape_interval(whole) is None
    [query] = prometheus.queries  # of the proxies alone
    assert "istio_requests_total" in query and "vllm:" not in query


@pytest.mark.parametrize("names", [[1], {"a": "b"}, "a"])
async def test_names_that_are_none(prometheus: FakePrometheus, source: PrometheusSource, names):
    prometheus.handler = answer_with(200, {"status": "success", "data": names})
    with pytest.raises(MetricsError, match=r"answers with a result that is not one of Prometheus"):
        await source.known_names(target())


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        ("301", 1),  # Prometheus 2, whose windows have both of their ends
        ("300", 1),
        ("60", 5),
        ("31", 10),
        ("21", 15),
        ("20", 15),
        ("19", 15),  # of which one has failed
        ("16", 20),
        ("10", 30),
        ("6", 60),
        ("5", 60),
        ("2", 150),
        ("1", 300),
    ],
)
async def test_the_interval_of_the_scrapes(
    prometheus: FakePrometheus, source: PrometheusSource, count: str, seconds: float
):
    prometheus.values["count_over_time"] = [({}, count)]
    assert await source.scrape_interval(target()) == seconds


async def test_the_interval_is_that_of_series_as_old_as_the_window(
    prometheus: FakePrometheus, source: PrometheusSource
):
    assert await source.scrape_interval(target()) is None
    safe = "[bcdfghjklmnpqrstvwxz2456789]"
    labels = f'{{namespace="chat",pod=~"llama-{safe}{{7,10}}-{safe}{{5}}"}}'
    running, requests = "vllm:num_requests_running", "vllm:request_success_total"
    proxies = (
        'istio_requests_total{reporter="destination",destination_workload="llama",'
        'destination_workload_namespace="chat"}',
        'istio_requests_total{reporter="source",destination_service_name="llama",'
        'destination_service_namespace="chat"}',
        r'envoy_cluster_upstream_rq_total{envoy_cluster_name=~"httproute/chat/llama/rule/\\d+"}',
    )
    selectors = [f"{requests}{labels}", *proxies, f"{running}{labels}", f"up{labels}"]
    assert prometheus.queries == [
        " or ".join(f"max(count_over_time({one}[300s]) and {one} offset 300s)" for one in selectors)
    ]


async def test_the_interval_of_an_unknown_server_is_a_short_question(
    prometheus: FakePrometheus, source: PrometheusSource
):
    # a proxy in front of Prometheus may refuse addresses of more than 8 KiB
    prometheus.values["up{"] = [({}, "20")]
    assert await source.scrape_interval(target("custom")) == 15
    [request] = prometheus.requests
    assert "istio_requests_total" in request.query["query"]
    assert "sglang:" not in request.query["query"]
    assert len(str(request.rel_url)) < 4096


async def test_two_names_of_an_interval_are_not_counted_in_one_vector(
    prometheus: FakePrometheus, source: PrometheusSource
):
    # Prometheus refuses it: "vector cannot contain metrics with the same labelset"
    await source.scrape_interval(target("sglang", is_whole=False))
    [query] = prometheus.queries
    assert "__name__" not in query
    new, old = "sglang:num_requests_total", "sglang:e2e_request_latency_seconds_count"
    assert f"count_over_time({new}{{" in query and f" or count_over_time({old}{{" in query
