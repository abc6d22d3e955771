"""The controller on a real API server, by the temperatures of a real Prometheus: who is taken out
of traffic, who returns, and that one of several controllers acts."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.lease import ControllerLease, controller_lease, server_time
from servedeck.controller.temperatures import Temperatures
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.transports import PrometheusOptions, UrlTransport
from servedeck.serving.temperature import TEMPERATURE_GATE
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.objects import JsonObject
from tests.control_plane.temperature_rig import (
    GATE,
    Accelerators,
    ControllerProcess,
    Kubelet,
    closing,
    make_serving,
    running_accelerators,
    set_policy,
)
from tests.waiting import wait_until

NAME = "llama"


@pytest.fixture
def accelerators(namespace: str) -> Iterator[Accelerators]:
    with running_accelerators(namespace) as found:
        yield found


@pytest.fixture
async def kubelet(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Kubelet]:
    async with Kubelet(control_plane, namespace).running() as found:
        yield found


@pytest.fixture
async def controller(
    kubeconfig: Path, namespace: str, accelerators: Accelerators
) -> AsyncIterator[ControllerProcess]:
    """One that acts."""
    found = ControllerProcess(kubeconfig, namespace, accelerators.url)
    async with closing(found):
        await found.start("and acts")
        yield found


def patient_controller(
    kubeconfig: Path, accelerators: Accelerators, **flags: Any
) -> ControllerProcess:
    """One that does not lose the Lease because the machine is busy."""
    return ControllerProcess(
        kubeconfig,
        accelerators.namespace,
        accelerators.url,
        lease_duration=25,
        renew_deadline=20,
        **flags,
    )


def events(plane: ControlPlane, namespace: str, pod: str) -> list[JsonObject]:
    """The Events of the controller about a Pod, the oldest first."""
    found = plane.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    own = [
        one
        for one in found
        if one["involvedObject"]["name"] == pod
        and one["source"].get("component") == "servedeck-controller"
    ]
    return sorted(own, key=lambda one: int(one["metadata"]["resourceVersion"]))


async def read_lease(plane: ControlPlane, namespace: str) -> tuple[ControllerLease, bool]:
    """The Lease as the dashboard reads it, and whether its holder is alive."""
    options = ConnectionOptions(kubeconfig=(plane.write_kubeconfig(),))
    connection = await Connection.open(options)
    try:
        lease = await controller_lease(connection, namespace, of=namespace)
        return lease, lease.is_alive(server_time(connection))
    finally:
        await connection.close()


# -- who is in traffic --------------------------------------------------------------------------


async def test_hot_pods_leave_and_return_but_never_the_last_one(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 3)
    a, b, c = pods
    # a gate without a condition would keep them out
    await kubelet.until(dict.fromkeys(pods, "Unknown"))
    kubelet.was_empty = False

    accelerators.set({a: 60, b: 61, c: 62})
    await kubelet.until(dict.fromkeys(pods, "Normal"))
    accelerators.set({a: 60, b: 91, c: 62})
    await kubelet.until({a: "Normal", b: "Hot", c: "Normal"})
    assert kubelet.gate(b)["message"] == "91 °C, above 85 °C; it gets requests again at 75 °C"
    left_at = kubelet.gate(b)["lastTransitionTime"]

    # between both temperatures it stays where it is
    accelerators.set({a: 80, b: 80, c: 80})
    await wait_until(
        lambda: kubelet.gate(b)["message"] == "80 °C, below 85 °C; it gets requests again at 75 °C"
    )
    assert kubelet.gate(b)["lastTransitionTime"] == left_at
    assert kubelet.in_traffic() == {a, c}

    # all hot: one stays, though another one is cooler by now
    accelerators.set({a: 99, b: 86, c: 93})
    await kubelet.until({a: "Hot", b: "Hot", c: "LastReadyPod"})
    assert kubelet.gate(c)["message"] == "93 °C, above 85 °C, but no other Pod is ready"

    assert not kubelet.was_empty
    # the one that stays fails: the coolest returns
    kubelet.broken = {c}
    await wait_until(lambda: kubelet.reasons() == {a: "Hot", b: "LastReadyPod", c: "Hot"})
    await wait_until(lambda: kubelet.in_traffic() == {b})
    kubelet.broken, kubelet.was_empty = set(), False
    await wait_until(lambda: len(kubelet.in_traffic()) == 1)

    accelerators.set({a: 70, b: 75, c: 60})
    await kubelet.until(dict.fromkeys(pods, "Normal"))
    assert not kubelet.was_empty

    # an Event comes after the condition
    await wait_until(lambda: len(events(control_plane, namespace, a)) == 2)
    told = [
        (one["type"], one["reason"], one["message"], one["count"])
        for one in events(control_plane, namespace, a)
    ]
    assert told == [
        (
            "Warning",
            "TemperatureHigh",
            "Taken out of traffic: 99 °C, above 85 °C; it gets requests again at 75 °C.",
            1,
        ),
        ("Normal", "TemperatureNormal", "Back in traffic: 70 °C, below 85 °C.", 1),
    ]


async def test_equal_events_are_one_with_a_count(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    for _ in range(3):
        accelerators.set({a: 50, b: 50})
        await kubelet.until({a: "Normal", b: "Normal"})
        accelerators.set({a: 90, b: 50})
        await kubelet.until({a: "Hot", b: "Normal"})
    await wait_until(
        lambda: (
            [(one["reason"], one["count"]) for one in events(control_plane, namespace, a)]
            == [("TemperatureNormal", 2), ("TemperatureHigh", 3)]
        )
    )


async def test_a_hot_pod_returns_when_its_exporter_fails(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    accelerators.with_time = False
    accelerators.set({a: 91, b: 60})
    await kubelet.until({a: "Hot", b: "Normal"})
    accelerators.is_failing = True
    await kubelet.until({a: "Unknown", b: "Unknown"})

    def has_told() -> bool:
        returned = events(control_plane, namespace, a)[-1]
        return (returned["type"], returned["reason"]) == ("Warning", "TemperatureUnknown")

    await wait_until(has_told)


async def test_the_last_temperatures_count_until_they_are_too_old(
    control_plane: ControlPlane,
    kubeconfig: Path,
    namespace: str,
    kubelet: Kubelet,
) -> None:
    """Prometheus itself is gone."""
    async with AsyncExitStack() as stack:
        with running_accelerators(namespace) as accelerators:
            controller = patient_controller(kubeconfig, accelerators, max_age=5)
            await stack.enter_async_context(closing(controller))
            await controller.start("and acts")
            pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
            a, b = pods
            accelerators.set({a: 91, b: 60})
            await kubelet.until({a: "Hot", b: "Normal"})
        await controller.until("The temperatures cannot be read: Prometheus at 127.0.0.1")
        await kubelet.until({a: "Unknown", b: "Unknown"})
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"{controller.url}/readyz") as answer:
            state = await answer.json()
        # it could do nothing better in another Pod
        assert (answer.status, state["ready"], state["leader"]) == (200, True, True)
        assert state["message"].startswith("warning: Prometheus at 127.0.0.1")


async def test_without_a_policy_the_gate_is_open(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    accelerators.set({a: 91, b: 60})
    await kubelet.until({a: "Hot", b: "Normal"})
    await asyncio.to_thread(set_policy, control_plane, namespace, NAME, None)
    await kubelet.until({a: "Off", b: "Off"})
    await asyncio.to_thread(set_policy, control_plane, namespace, NAME, "threshold=70,recovery=60")
    await kubelet.until({a: "Hot", b: "Normal"})
    await asyncio.to_thread(set_policy, control_plane, namespace, NAME, "hot=70")
    await kubelet.until({a: "Off", b: "Off"})
    assert kubelet.gate(a)["message"] == (
        "the policy of the Deployment cannot be used: 'hot=70' is no temperature policy;"
        " write threshold=85,recovery=75,seconds=60."
    )


async def test_the_gate_of_a_pod_without_a_deployment_is_open(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    container = {"name": "inference-server", "image": "vllm"}
    metadata = {"annotations": {"tests.servedeck.dev/hold": "true"}}
    template = {"metadata": metadata | {"labels": {"app": "bare"}}}
    spec = {"containers": [container], **GATE}
    replica_set = {
        "metadata": {"name": "bare"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "bare"}},
            "template": template | {"spec": spec},
        },
    }
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    pod = {"metadata": metadata | {"name": "alone"}, "spec": spec}
    await asyncio.to_thread(control_plane.create, f"{core}/pods", pod)
    await asyncio.to_thread(control_plane.create, f"{apps}/replicasets", replica_set)
    await wait_until(lambda: list(kubelet.reasons().values()) == ["Off", "Off"])
    await wait_until(lambda: len(kubelet.in_traffic()) == 2)


# -- what Prometheus is asked ----------------------------------------------------------------------


async def test_an_old_value_is_unknown_though_prometheus_still_has_it(
    accelerators: Accelerators,
) -> None:
    """One that the exporter gave a time of its own, as a proxy of metrics does: 100 seconds ago."""

    def page(_seconds: float) -> bytes:
        labels = 'namespace="chat",pod="llama-1-a"'
        return f"DCGM_FI_DEV_GPU_TEMP{{{labels}}} 91 {(time.time() - 100) * 1000:.0f}\n".encode()

    accelerators.exporter.pages = {"/furiosa": page}
    client = PrometheusClient(UrlTransport(PrometheusOptions(accelerators.url)))
    try:
        found = Temperatures(client, max_age=280)
        while not found.current:
            assert await found.read()
        assert found.current == {("chat", "llama-1-a"): 91.0}
        recent = Temperatures(client, max_age=90)
        assert await recent.read() and recent.current == {}
        elsewhere = Temperatures(client, max_age=280, namespace="other")
        assert await elsewhere.read() and elsewhere.current == {}
    finally:
        await client.close()


# -- which controller acts ------------------------------------------------------------------------


async def test_a_decision_is_kept_when_the_controller_is_killed(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    accelerators.set({a: 91, b: 60})
    await kubelet.until({a: "Hot", b: "Normal"})
    before = kubelet.gate(a)
    await controller.end(signal.SIGKILL)
    # one that had not been out would be in traffic at that temperature
    accelerators.set({a: 80, b: 80})
    kubelet.was_empty = False
    await controller.start("and acts")
    await wait_until(
        lambda: kubelet.gate(a)["message"] == "80 °C, below 85 °C; it gets requests again at 75 °C"
    )
    assert kubelet.gate(a)["lastTransitionTime"] == before["lastTransitionTime"]
    assert kubelet.in_traffic() == {b} and not kubelet.was_empty
    assert "Unknown" not in controller.log


async def test_of_two_controllers_one_acts_and_the_other_takes_over(
    control_plane: ControlPlane,
    kubeconfig: Path,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    first, second = (patient_controller(kubeconfig, accelerators) for _ in range(2))
    async with closing(first, second):
        assert await read_lease(control_plane, namespace) == (ControllerLease(), False)
        await first.start("and acts")
        await second.start()
        accelerators.set({a: 91, b: 60})
        await kubelet.until({a: "Hot", b: "Normal"})
        lease, is_alive = await read_lease(control_plane, namespace)
        assert (lease.holder, is_alive) == (first.identity, True)
        await first.until(f"{a}: Hot")
        assert "Pod " not in second.log

        # the one that is killed leaves the Lease as it is
        await first.end(signal.SIGKILL)
        accelerators.set({a: 60, b: 91})
        await second.until("and acts")
        await kubelet.until({a: "Normal", b: "Hot"})
        lease, is_alive = await read_lease(control_plane, namespace)
        assert (lease.holder, is_alive) == (second.identity, True)

        # the one that ends releases it
        await first.start()
        assert await second.end(signal.SIGTERM) == 0
        assert "is released" in second.log
        await first.until("and acts")
        assert await first.end(signal.SIGTERM) == 0
        lease, is_alive = await read_lease(control_plane, namespace)
        assert (lease.holder, is_alive) == ("", False)


async def test_a_controller_that_was_stopped_for_a_while_does_not_act(
    control_plane: ControlPlane,
    kubeconfig: Path,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    first, second = (patient_controller(kubeconfig, accelerators) for _ in range(2))
    async with closing(first, second):
        await first.start("and acts")
        await second.start()
        accelerators.set({a: 91, b: 60})
        await kubelet.until({a: "Hot", b: "Normal"})
        for pod, reason in ((a, "Hot"), (b, "Normal")):
            await first.until(f"{pod}: {reason}")  # the line comes after the condition
        first.send(signal.SIGSTOP)
        await second.until("and acts")
        written = first.log.count("Pod ")
        first.send(signal.SIGCONT)
        await first.until("is lost; this controller stops to act")
        accelerators.set({a: 60, b: 91})
        await kubelet.until({a: "Normal", b: "Hot"})
        assert first.log.count("Pod ") == written
        lease, _ = await read_lease(control_plane, namespace)
        assert lease.holder == second.identity


# -- what it says of itself -----------------------------------------------------------------------


async def test_probes_and_metrics(
    control_plane: ControlPlane,
    namespace: str,
    accelerators: Accelerators,
    kubelet: Kubelet,
    controller: ControllerProcess,
) -> None:
    pods = await asyncio.to_thread(make_serving, control_plane, namespace, NAME, 2)
    a, b = pods
    accelerators.set({a: 91, b: 60})
    await kubelet.until({a: "Hot", b: "Normal"})
    async with aiohttp.ClientSession(controller.url) as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (200, '{"ready":true,"leader":true,"message":""}')
        assert (await get("/pods"))[0] == 404
        page = ""
        while 'servedeck_controller_pods{reason="Hot"} 1.0' not in page:
            status, page = await get("/metrics")
            assert status == 200
        assert "servedeck_controller_leader 1.0" in page
        assert 'servedeck_controller_conditions_written_total{reason="Hot"} 1.0' in page
        async with session.post("/healthz") as answer:
            assert answer.status == 405


def test_the_condition_is_that_of_the_gate(control_plane: ControlPlane, namespace: str) -> None:
    """The API server takes the names."""
    body: dict[str, Any] = {
        "metadata": {"name": "gated"},
        "spec": {"containers": [{"name": "a", "image": "a"}], **GATE},
    }
    made = control_plane.create(f"/api/v1/namespaces/{namespace}/pods", body)
    condition = {
        "type": TEMPERATURE_GATE,
        "status": "True",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    written = control_plane.set_pod_status(made, {"conditions": [condition]})
    assert condition["type"] in {one["type"] for one in written["status"]["conditions"]}
