"""Readiness gates of Pods, and the temperatures of their accelerators."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.controllers.base import find_condition
from servedeck.demo.resources import DEPLOYMENTS, ENDPOINTSLICES, PODS, SERVICES
from servedeck.serving.temperature import TEMPERATURE_GATE
from tests.demo.cluster_fixture import ClusterFixture, deployment
from tests.demo.prometheus_fixture import PrometheusFixture
from tests.demo.test_traffic import service

Json = dict[str, Any]


def set_gate(cluster: ClusterFixture, pod: Json, value: str) -> None:
    def write(obj: Json) -> None:
        others = [c for c in obj["status"].get("conditions") or () if c["type"] != TEMPERATURE_GATE]
        obj["status"]["conditions"] = [*others, {"type": TEMPERATURE_GATE, "status": value}]

    cluster.store.mutate(PODS, "lab", pod["metadata"]["name"], write, "status")
    cluster.advance(2)


def ready_addresses(cluster: ClusterFixture) -> int:
    found = cluster.store.get(ENDPOINTSLICES, "lab", "llm-demo")["endpoints"]
    return sum(one["conditions"]["ready"] for one in found)


def test_a_pod_with_a_gate_gets_requests_only_while_its_condition_is_true() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.create(SERVICES, service("llm", "llm"))

    body = deployment("llm", replicas=2)
    gates = [{"conditionType": TEMPERATURE_GATE}]
    body["spec"]["template"]["spec"]["readinessGates"] = gates
    cluster.create(DEPLOYMENTS, body)

    def reasons() -> list[str]:
        found = [find_condition(pod, "Ready") or {} for pod in cluster.pods()]
        return [one.get("reason", "") for one in found]

    cluster.until(lambda: reasons() == ["ReadinessGatesNotReady"] * 2)
    assert ready_addresses(cluster) == 0
    for pod in cluster.pods():
        set_gate(cluster, pod, "True")
    assert cluster.ready() and ready_addresses(cluster) == 2
    first, second = cluster.pods()

    def rate(pod: Json) -> float:
        (instance,) = cluster.controllers.kubelet.instances(pod["metadata"]["uid"])
        return instance.traffic_share.rate(cluster.clock.time()).total

    assert rate(first) == pytest.approx(rate(second)) and rate(first) > 0
    set_gate(cluster, first, "False")
    assert rate(first) == 0 and rate(second) > 0
    assert reasons() == ["ReadinessGatesNotReady", ""]
    assert ready_addresses(cluster) == 1
    set_gate(cluster, first, "True")
    assert rate(first) == pytest.approx(rate(second))


def test_an_accelerator_gets_hot_and_cools_down_again(cluster: ClusterFixture) -> None:
    prometheus = PrometheusFixture(cluster.controllers, cluster.clock)
    query = "max(DCGM_FI_DEV_GPU_TEMP)"
    assert prometheus.value(query) < 85
    cluster.controllers.kubelet.heat(cluster.pod()["metadata"]["uid"])
    begin = cluster.clock.time()
    cluster.advance(600)
    during = [prometheus.value(query, begin + second) for second in range(0, 600, 15)]
    assert max(during) == 91
    assert sum(value > 85 for value in during) >= 5
    assert during[-1] < 75
