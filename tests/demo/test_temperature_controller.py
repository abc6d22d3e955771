"""The demo's own `servedeck controller`, and what autoscalers read of an async gateway."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from servedeck.demo.cluster import DemoCluster
from servedeck.demo.controllers.autoscaling.metric_sources import MetricSourceError
from servedeck.demo.controllers.base import condition_is_true, find_condition
from servedeck.demo.resources import ENDPOINTS, PODS
from servedeck.demo.scenario.temperature import SERVING
from servedeck.demo.workloads.instance import HotSpell
from servedeck.serving.temperature import TEMPERATURE_GATE
from tests.waiting import wait_until

Json = dict[str, Any]


def pods(demo: DemoCluster) -> list[Json]:
    return [
        pod
        for pod in demo.store.list(PODS, SERVING[0])
        if pod["metadata"]["name"].startswith(SERVING[1])
    ]


def controllers() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if "servedeck.demo.temperature_controller_child" in one.cmdline()
    ]


async def test_a_hot_pod_is_taken_out_of_traffic_and_the_process_ends_with_the_demo() -> None:
    async with DemoCluster() as demo:
        for pod in pods(demo):
            (first,) = demo.controllers.kubelet.instances(pod["metadata"]["uid"])
            spell = HotSpell(demo.clock.time() - 300, 3000)
            if pod is pods(demo)[0]:
                first.hot_spells.append(spell)

        def hot() -> list[Json]:
            return [
                pod
                for pod in pods(demo)
                if (find_condition(pod, TEMPERATURE_GATE) or {}).get("reason") == "Hot"
            ]

        await wait_until(hot, "a hot Pod")
        (pod,) = hot()
        await wait_until(lambda: not condition_is_true(hot()[0], "Ready"), "it to be not Ready")
        condition = find_condition(pod, TEMPERATURE_GATE)
        assert condition is not None
        assert (condition["status"], condition["message"]) == (
            "False",
            "91 °C, above 85 °C; it gets requests again at 75 °C",
        )
        address = pod["status"]["podIP"]

        def ready_addresses() -> list[str]:
            (subset,) = demo.store.get(ENDPOINTS, *SERVING)["subsets"]
            return [one["ip"] for one in subset.get("addresses") or ()]

        await wait_until(lambda: address not in ready_addresses(), "it to be out of traffic")
        (process,) = controllers()
        secrets = demo.kubeconfig.read_text(encoding="utf-8")
        assert not any(word in secrets for word in process.cmdline() if len(word) > 20), (
            "other users of the machine can read its arguments"
        )
    assert not process.is_running()


async def test_a_demo_whose_clock_is_stopped_has_no_controller_and_ready_pods() -> None:
    async with DemoCluster(live=False) as demo:
        assert all(condition_is_true(pod, "Ready") for pod in pods(demo))
        assert controllers() == []


async def test_a_trigger_reads_the_queue_of_an_async_gateway() -> None:
    url = "http://exaone-35-78b-async.npu-lab/-/async/queue"
    async with DemoCluster(live=False) as demo:
        sources, found = demo.controllers.metric_sources, []

        def is_read() -> bool:
            try:
                found.append(sources.fetch(url))
            except MetricSourceError:
                return False
            return True

        await wait_until(is_read, "an answer of the gateway")
        assert found[0]["backlog"] == 0
        with pytest.raises(MetricSourceError, match=r"lookup nowhere\.lab: no such host"):
            sources.fetch("http://nowhere.lab/-/async/queue")
