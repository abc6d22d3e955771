"""The HTTP API of the demo's Prometheus, and the way to it."""

from __future__ import annotations

import json
import math
from typing import Any

import aiohttp
import pytest

from servedeck.demo.api.kubelet_api import ProxyRequest
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.prometheus.api import format_value
from servedeck.demo.workloads.instance_log import InstanceLog
from tests.demo.prometheus_fixture import NOW, PrometheusFixture, scenario_prometheus


@pytest.fixture(scope="module")
def prometheus() -> PrometheusFixture:
    return scenario_prometheus()


async def test_it_is_reached_through_the_proxy_of_its_service() -> None:
    async with DemoCluster(live=False) as demo, aiohttp.ClientSession() as session:
        kubeconfig = json.loads(demo.kubeconfig.read_text())
        server = kubeconfig["clusters"][0]["cluster"]["server"]
        base = f"{server}/api/v1/namespaces/monitoring/services/prometheus:9090/proxy"
        async with session.get(f"{base}/-/ready") as response:
            assert (response.status, await response.text()) == (
                200,
                "Prometheus Server is Ready.\n",
            )
        async with session.get(f"{base}/api/v1/query", params={"query": "up == 1"}) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            body = await response.json()
        assert len(body["data"]["result"]) >= 10
        form = {"query": "time()", "start": "1", "end": "3", "step": "1"}
        async with session.post(f"{base}/api/v1/query_range", data=form) as response:
            found = await response.json()
        assert found["data"] == {
            "resultType": "matrix",
            "result": [{"metric": {}, "values": [[1.0, "1"], [2.0, "2"], [3.0, "3"]]}],
        }


def test_a_query_gives_a_vector_or_a_scalar(prometheus: PrometheusFixture) -> None:
    found = prometheus.data("/api/v1/query", query='up{namespace="chat"}')
    assert found["resultType"] == "vector"
    for one in found["result"]:
        assert one["metric"]["__name__"] == "up"
        assert one["value"] == [NOW, "1"]
    scalar = prometheus.data("/api/v1/query", query="1 / 0", time="2026-11-24T00:00:00.5Z")
    assert scalar == {"resultType": "scalar", "result": [1795478400.5, "+Inf"]}


def test_a_form_is_read_as_a_query_is(prometheus: PrometheusFixture) -> None:
    parameters = {"query": "sum(up)", "start": NOW - 600, "end": NOW, "step": "1m"}
    _, asked = prometheus.answer("/api/v1/query_range", **parameters)
    _, posted = prometheus.answer("/api/v1/query_range", post=True, **parameters)
    assert asked == posted
    assert len(asked["data"]["result"][0]["values"]) == 11


@pytest.mark.parametrize(
    ("path", "parameters", "kind", "message"),
    [
        ("query", {"query": "sum("}, "bad_data", 'invalid parameter "query": parse error: '),
        ("query", {}, "bad_data", 'invalid parameter "query": parse error: '),
        ("query", {"query": "up[5m]"}, "bad_data", 'invalid parameter "query": '),
        (
            "query",
            {"query": "up", "time": "noon"},
            "bad_data",
            'invalid parameter "time": cannot parse "noon" to a valid timestamp',
        ),
        (
            "query_range",
            {"query": "up", "end": 10, "step": 1},
            "bad_data",
            'invalid parameter "start": cannot parse "" to a valid timestamp',
        ),
        (
            "query_range",
            {"query": "up", "start": 10, "end": 5, "step": 1},
            "bad_data",
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        (
            "query_range",
            {"query": "up", "start": 10, "end": 50, "step": 0},
            "bad_data",
            'invalid parameter "step": zero or negative query resolution step widths',
        ),
        (
            "query_range",
            {"query": "up", "start": 10, "end": 50, "step": "often"},
            "bad_data",
            'invalid parameter "step": cannot parse "often" to a valid duration',
        ),
        (
            "query_range",
            {"query": "up", "start": 0, "end": 11_001, "step": 1},
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries.",
        ),
        ("series", {}, "bad_data", "no match[] parameter provided"),
        ("series", {"match": "up + up"}, "bad_data", 'invalid parameter "match[]": '),
        (
            "query",
            {"query": 'up{job=~"a"} * up{namespace="chat"} + on'},
            "bad_data",
            'invalid parameter "query": ',
        ),
        ("nothing", {}, "not_found", "404 page not found"),
    ],
)
def test_errors_have_the_form_of_prometheus(
    prometheus: PrometheusFixture, path: str, parameters: dict[str, Any], kind: str, message: str
) -> None:
    status, body = prometheus.answer(f"/api/v1/{path}", **parameters)
    assert status == {"bad_data": 400, "not_found": 404}[kind]
    assert (body["status"], body["errorType"]) == ("error", kind)
    assert body["error"].startswith(message)


def test_what_cannot_be_computed_is_an_execution_error(
    prometheus: PrometheusFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.demo.prometheus.sample_source.MAX_SAMPLES", 100)
    status, body = prometheus.answer("/api/v1/query", query="count_over_time(up[1h])")
    assert (status, body["errorType"]) == (422, "execution")
    assert body["error"].startswith("query processing would load too many samples into memory")


def test_only_get_and_post_are_answered(prometheus: PrometheusFixture) -> None:
    assert prometheus.api.handle(ProxyRequest("DELETE", "/api/v1/query")).status == 405
    assert prometheus.api.handle(ProxyRequest("GET", "/graph")).status == 404


def test_names_and_labels_of_what_matches(prometheus: PrometheusFixture) -> None:
    names = prometheus.data("/api/v1/label/__name__/values", match='{namespace="npu-lab"}')
    assert "furiosa_llm_request_success_total" in names
    assert not any(name.startswith(("vllm:", "DCGM")) for name in names)
    devices = prometheus.data(
        "/api/v1/label/__name__/values", match='{exported_namespace="npu-lab"}'
    )
    assert "furiosa_npu_hw_temperature" in devices
    found = prometheus.data("/api/v1/series", match=['up{namespace="chat"}', "up"])
    keys = [json.dumps(one, sort_keys=True) for one in found]
    assert len(keys) == len(set(keys)) > 5
    namespaces = prometheus.data("/api/v1/label/namespace/values", match="up")
    assert {"chat", "search", "npu-lab"} <= set(namespaces)
    assert "exported_pod" in prometheus.data("/api/v1/labels", match="DCGM_FI_DEV_GPU_TEMP")


def test_series_are_those_that_were_there_at_the_time(prometheus: PrometheusFixture) -> None:
    selector = 'up{namespace="chat",pod=~"llama-31-8b-.*"}'
    now = {one["pod"] for one in prometheus.data("/api/v1/series", match=selector, start=NOW - 60)}
    day = {one["pod"] for one in prometheus.data("/api/v1/series", match=selector)}
    assert len(now) == 3
    assert now < day, "the Pods before the rollout are in the past"


def test_the_build_is_said(prometheus: PrometheusFixture) -> None:
    assert prometheus.data("/api/v1/status/buildinfo")["version"].startswith("3.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1.5e-7, "0.00000015"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (-0.5, "-0.5"),
    ],
)
def test_values_have_no_exponent(value: float, text: str) -> None:
    assert format_value(value) == text


async def test_its_log_is_that_of_prometheus(prometheus: PrometheusFixture) -> None:
    kubelet = prometheus.controllers.kubelet
    (past,) = [
        one for one in kubelet.history.between(NOW, NOW) if one.instance.server.is_prometheus
    ]
    log = InstanceLog(past.instance)
    lines = log.tail(4, NOW)
    assert len(lines) == 4
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    for line in lines:
        assert line.text.startswith("time=2026-11-") and " level=INFO " in line.text
    messages = {line.text.split('"')[1] for line in lines}
    assert messages == {"write block completed", "Head GC completed"}
    texts = [line.text for block in log.blocks(NOW - 86_400, NOW) for line in block]
    assert len(texts) == 24 and not any("POST" in text for text in texts)
