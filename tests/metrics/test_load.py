"""What a serving has to do at the moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.demo.process import spawn
from servedeck.metrics.load import LoadReader, ServingLoad, format_estimate, format_rate
from servedeck.metrics.target import MetricsTarget, fetch_target
from tests.cluster.fake_api_server import FakeApiServer, bind_port, make_status
from tests.metrics.fake_prometheus import FakePrometheus, answer_with
from tests.metrics.targets import target
from tests.waiting import wait_until

POD = "llama-6d4f8b7c9-bbbbb"
PAGE = "/api/v1/namespaces/chat/pods/llama-6d4f8b7c9-bbbbb:8000/proxy/metrics"


def settings(**values: Any) -> Settings:
    return Settings(**values, explicit_keys=frozenset(values))


async def read(
    connection: Connection, wanted: Settings, of: MetricsTarget | None = None
) -> ServingLoad:
    reader = LoadReader(connection, wanted, (0.0,))
    [load] = [one async for one in reader.read(of or target(pods=[POD]))]
    return load


# -- sentences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (ServingLoad(), ""),
        (ServingLoad(reason="No Ready Pod has metrics."), ""),
        (
            ServingLoad(reason="Prometheus at a refused the connection.", is_failure=True),
            "Requests per second unknown: Prometheus at a refused the connection.",
        ),
        (
            ServingLoad(12.44, 31, "prometheus", 120),
            "It handles 12.4 requests per second (in the last 2 minutes); 31 in progress.",
        ),
        (
            ServingLoad(0.0, None, "prometheus", 120),
            "No request was finished in the last 2 minutes.",
        ),
        (
            ServingLoad(12.44, 1, "pods", 2.0, 3, 3),
            "It handles about 12 requests per second (25 in 2.0 s); 1 in progress.",
        ),
        (
            ServingLoad(1.3, 0, "pods", 2.0, 18, 20),
            "It handles about 1 request per second (3 in 2.0 s by 18 of its 20 Ready Pods); none "
            "in progress.",
        ),
        (
            ServingLoad(0.0, 2, "pods", 2.0, 1, 1),
            "No request was finished in 2.0 s; 2 in progress.",
        ),
    ],
)
def test_the_sentence(load: ServingLoad, sentence: str):
    assert load.sentence == sentence


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.5, "1,234"), (99.94, "99.9"), (0.254, "0.25"), (0.001, "less than 0.01")],
)
def test_a_rate_has_the_digits_that_are_read(rate: float, text: str):
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("rate", "count", "text"),
    [
        (0.0999, 1, "0.1"),
        (0.66, 1, "0.7"),
        (3.9, 8, "4"),
        (9.96, 20, "10"),
        (12.44, 25, "12"),
        (1234.5, 2469, "1,200"),
    ],
)
def test_an_estimate_has_the_digits_that_its_count_bears_out(rate: float, count: int, text: str):
    assert format_estimate(rate, count) == text


# -- sources ------------------------------------------------------------------------------------


async def test_prometheus_is_asked(
    prometheus: FakePrometheus, api: FakeApiServer, connection: Connection
):
    prometheus.values = {
        "vllm:request_success_total": [({}, "12.5")],
        "vllm:num_requests_running": [({}, "3")],
    }
    load = await read(connection, settings(prometheus_url=prometheus.url))
    assert load == ServingLoad(12.5, 3.0, "prometheus", 120)
    assert load.as_json == {
        "requestsPerSecond": 12.5,
        "runningRequests": 3.0,
        "source": "prometheus",
        "seconds": 120,
        "reason": None,
    }
    assert api.requests == []


async def test_a_serving_that_prometheus_does_not_know_is_read_from_its_pods(
    prometheus: FakePrometheus, api: FakeApiServer, connection: Connection
):
    api.add_route(PAGE, answer_with(200, text="vllm:request_success_total 1"))
    load = await read(connection, settings(prometheus_url=prometheus.url))
    assert (load.source, load.requests_per_second) == ("pods", 0)
    load = await read(connection, settings(prometheus_url=prometheus.url, pod_metrics=False))
    assert (load.source, load.requests_per_second, load.sentence) == ("", None, "")


async def test_a_value_that_is_no_number_is_unknown(
    prometheus: FakePrometheus, connection: Connection
):
    prometheus.values = {"vllm:request_success_total": [({}, "NaN")]}
    load = await read(connection, settings(prometheus_url=prometheus.url, pod_metrics=False))
    assert load.sentence == ""
    assert load.as_json is not None and load.as_json["requestsPerSecond"] is None


async def test_a_prometheus_that_fails_is_said(api: FakeApiServer, connection: Connection):
    with bind_port() as held:
        host = f"127.0.0.1:{held.getsockname()[1]}"
        load = await read(connection, settings(prometheus_url=f"http://{host}"))
    assert load.sentence == (
        f"Requests per second unknown: Prometheus at {host} refused the connection."
    )
    assert api.requests == []
    load = await read(connection, settings(prometheus_url="prometheus:9090"))
    assert load.sentence.startswith("Requests per second unknown: prometheus_url is not an http")


async def test_a_prometheus_that_does_not_answer_is_said(
    prometheus: FakePrometheus, connection: Connection, monkeypatch
):
    async def hang(_: web.Request) -> web.StreamResponse:
        await wait_until(lambda: False)
        raise AssertionError

    monkeypatch.setattr("servedeck.metrics.load.PROMETHEUS_TIMEOUT", 0.01)
    prometheus.handler = hang
    load = await read(connection, settings(prometheus_url=prometheus.url))
    assert load.is_failure and "does not answer within" in load.reason


async def test_a_missing_permission_is_said_only_where_pods_were_asked_for(
    api: FakeApiServer, connection: Connection
):
    api.add_route(PAGE, answer_with(403, make_status(403, "Forbidden", "pods is forbidden")))
    reason = "Reading metrics of Pods needs get on pods/proxy in namespace chat."
    load = await read(connection, settings())
    assert (load.sentence, load.reason) == ("", reason)
    load = await read(connection, settings(pod_metrics=True))
    assert load.sentence == f"Requests per second unknown: {reason}"


async def test_nothing_is_asked_without_pods(
    prometheus: FakePrometheus, api: FakeApiServer, connection: Connection
):
    of = target("triton", pods=[], is_whole=False)
    load = await read(connection, settings(prometheus_url=prometheus.url), of)
    assert (load.sentence, load.as_json) == ("", None)
    assert (api.requests, prometheus.requests) == ([], [])


# -- on the demo --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


async def test_the_pods_of_the_demo_are_read(kubeconfig: Path):
    connection = await Connection.open(ConnectionOptions((kubeconfig,)))
    try:
        wanted = await fetch_target(connection, "chat", "llama-31-8b")
        assert wanted is not None
        assert (wanted.template, wanted.port, len(wanted.ready_pods)) == ("vllm", 8000, 3)
        assert all(one.startswith("llama-31-8b-") for one in wanted.ready_pods)
        load = await LoadReader(connection, Settings(), (0.1,)).read_serving("chat", "llama-31-8b")
        assert (load.source, load.pods, load.ready_pods) == ("pods", 3, 3)
        assert load.requests_per_second is not None and load.requests_per_second >= 0
        assert load.running_requests is not None
        assert await fetch_target(connection, "chat", "nope") is None
        assert (
            await LoadReader(connection, Settings()).read_serving("chat", "nope") == ServingLoad()
        )
    finally:
        await connection.close()
