"""The queries of the scaler's triggers in a real Prometheus: the numbers that KEDA would compare
with the targets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from servedeck.serving.spec.mapping.reporters import Proxy, Reporter
from servedeck.serving.spec.mapping.scaling_queries import build_scaling_query
from servedeck.serving.spec.scaling import TRIGGERS
from tests.control_plane.prometheus import run_past
from tests.control_plane.test_metrics_truth import ask

RESPONSE_TIME, WAITING = TRIGGERS
NOTHING = Proxy.NONE
ISTIO = Proxy.ISTIO
ENVOY = Proxy.ENVOY_GATEWAY

INTERVAL = 15
MINUTES = 30
BOUNDS = (1.0, 2.5, 5.0, 10.0, 20.0)
"""Of the buckets, in seconds."""

VLLM = "vllm:e2e_request_latency_seconds"
FURIOSA = "furiosa_llm_e2e_request_latency_seconds"
ISTIO_TIME = "istio_request_duration_milliseconds"
ENVOY_TIME = "envoy_cluster_upstream_rq_time"


class Server(NamedTuple):
    """What Prometheus has of one server, or of the gateway before it."""

    metric: str
    labels: str
    latencies: Sequence[float] = ()
    """Seconds of the requests that it finishes between two scrapes."""
    waiting: float | None = None
    unit: float = 1.0
    """How many of the metric's unit are a second."""
    ended: int = 0
    """Minutes ago, when it was scraped last."""


def pod(name: str) -> str:
    return f'namespace="chat",pod="{name}"'


def workload(name: str, reporter: str = "destination") -> str:
    return (
        f'reporter="{reporter}",destination_workload="{name}",destination_workload_namespace="chat"'
    )


def sent(name: str, reporter: str = "source") -> str:
    """Of a gateway that does not know the workload."""
    return (
        f'reporter="{reporter}",destination_workload="unknown",'
        f'destination_service="{name}.chat.svc.cluster.local"'
    )


SERVERS = (
    # 40 requests: 38 of 1 to 2.5 s, 2 of 5 to 10 s. The 95 % are exactly those below 2.5 s.
    Server(VLLM, pod("llama-55c7d8f6b-bbbbb"), [2.0] * 19 + [7.0], 3),
    Server(VLLM, pod("llama-55c7d8f6b-ccccc"), [2.0] * 19 + [7.0], 4),
    Server(VLLM, pod("llama-v2-6d4f8b7c9-ddddd"), [15.0] * 50, 100),
    Server(VLLM, 'namespace="other",pod="llama-55c7d8f6b-fffff"', [15.0] * 50, 100),
    Server(VLLM, pod("idle-6d4f8b7c9-bbbbb"), [], 0),
    # One of its Pods has nothing to do.
    Server(VLLM, pod("half-6d4f8b7c9-bbbbb"), [4.0] * 10, 0),
    Server(VLLM, pod("half-6d4f8b7c9-ccccc"), [], 0),
    Server(VLLM, pod("slow-6d4f8b7c9-bbbbb"), [60.0] * 5, 1),
    Server(VLLM, pod("lost-6d4f8b7c9-bbbbb"), [4.0] * 10, 8, ended=10),
    Server(FURIOSA, pod("furi-7c9d5b6f8-bbbbb"), [4.0] * 10, 2),
    Server(ISTIO_TIME, workload("front"), [4.0] * 10, unit=1000),
    Server(ISTIO_TIME, workload("front", "source"), [60.0] * 10, unit=1000),
    Server(ISTIO_TIME, workload("front-v2"), [60.0] * 10, unit=1000),
    Server(ISTIO_TIME, sent("edge"), [4.0] * 10, unit=1000),
    Server(ISTIO_TIME, sent("edge-v2"), [60.0] * 10, unit=1000),
    Server(ISTIO_TIME, sent("passed", "waypoint"), [4.0] * 10, unit=1000),
    Server(ISTIO_TIME, sent("quiet"), unit=1000),
    Server(ENVOY_TIME, 'envoy_cluster_name="httproute/chat/gated/rule/0"', [4.0], unit=1000),
    Server(ENVOY_TIME, 'envoy_cluster_name="httproute/chat/gated/rule/1"', [4.0], unit=1000),
    Server(ENVOY_TIME, 'envoy_cluster_name="httproute/chat/gated-v2/rule/0"', [60.0], unit=1000),
)


def lines(present: int) -> Iterator[str]:
    for server in SERVERS:
        end = present - server.ended * 60
        for number, at in enumerate(range(end - MINUTES * 60, end + 1, INTERVAL)):
            for bound in (*BOUNDS, float("inf")):
                count = number * sum(one <= bound for one in server.latencies)
                le = "+Inf" if bound == float("inf") else repr(bound * server.unit)
                yield f'{server.metric}_bucket{{{server.labels},le="{le}"}} {count} {at}'
            count = number * len(server.latencies)
            yield f"{server.metric}_count{{{server.labels}}} {count} {at}"
            total = number * sum(server.latencies) * server.unit
            yield f"{server.metric}_sum{{{server.labels}}} {total} {at}"
            if server.waiting is not None:
                name = server.metric.replace("e2e_request_latency_seconds", "num_requests_waiting")
                yield f"{name}{{{server.labels}}} {server.waiting} {at}"


class Past(NamedTuple):
    url: str
    present: int

    def ask(
        self,
        trigger: str,
        name: str,
        template: str = "vllm",
        proxy: Proxy = NOTHING,
        *,
        is_woken: bool = False,
    ) -> list[float]:
        """What KEDA gets: it fails if this is not one value."""
        reporter = Reporter(proxy, name)
        query = build_scaling_query(trigger, template, "chat", name, reporter, is_woken=is_woken)
        found = ask(self.url, "query", query=query, time=self.present)
        return [float(one["value"][1]) for one in found]


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    present = int(time.time()) // 3600 * 3600
    with run_past(lines(present)) as url:
        yield Past(url, present)


def test_the_response_time_is_the_p95_of_all_pods_in_milliseconds(past: Past) -> None:
    assert past.ask(RESPONSE_TIME, "llama") == [pytest.approx(2500)]


@pytest.mark.parametrize(
    ("name", "template", "proxy"),
    [
        ("half", "vllm", NOTHING),
        ("furi", "furiosa-llm", NOTHING),
        ("front", "custom", ISTIO),
        ("edge", "custom", ISTIO),  # its Pods have no sidecar
        ("passed", "custom", ISTIO),
        ("gated", "custom", ENVOY),
    ],
)
def test_each_source_has_the_same_unit(past: Past, name: str, template: str, proxy: Proxy) -> None:
    # All requests are in the bucket from 2.5 to 5 s, in which Prometheus interpolates.
    assert past.ask(RESPONSE_TIME, name, template, proxy) == [pytest.approx(4875)]


def test_what_is_slower_than_every_bucket_is_the_last_one(past: Past) -> None:
    assert past.ask(RESPONSE_TIME, "slow") == [pytest.approx(20_000)]


def test_a_serving_without_requests_has_a_response_time_of_0(past: Past) -> None:
    assert past.ask(RESPONSE_TIME, "idle") == [0]
    assert past.ask(WAITING, "idle") == [0]
    assert past.ask(RESPONSE_TIME, "quiet", "custom", ISTIO) == [0]
    assert past.ask(RESPONSE_TIME, "absent", "custom", ISTIO) == []


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("name", ["lost", "absent"])
def test_without_metrics_there_is_no_answer(past: Past, trigger: str, name: str) -> None:
    assert past.ask(trigger, name) == []


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("name", ["lost", "absent"])
def test_a_serving_that_may_have_no_pod_needs_nothing_without_metrics(
    past: Past, trigger: str, name: str
) -> None:
    assert past.ask(trigger, name, is_woken=True) == [0]


def test_scaling_to_0_changes_no_other_number(past: Past) -> None:
    assert past.ask(RESPONSE_TIME, "llama", is_woken=True) == [pytest.approx(2500)]
    assert past.ask(WAITING, "llama", is_woken=True) == [7]


def test_waiting_requests_are_those_of_all_pods(past: Past) -> None:
    """The sum: KEDA divides it by the replicas (AverageValue)."""
    assert past.ask(WAITING, "llama") == [7]
    assert past.ask(WAITING, "furi", "furiosa-llm") == [2]
