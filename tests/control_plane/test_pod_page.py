"""The page of a Pod on a real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.page import (
    NARROW,
    card_rows,
    card_value,
    header,
    open_first_pod,
    open_page,
    wait_for_value,
)
from tests.control_plane.test_app import running_app
from tests.waiting import wait_until


@pytest.fixture
def tainted_node(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """A ready node that this test alone uses, with a taint made by kubectl."""
    (name,) = control_plane.add_nodes(1, prefix=f"node-{namespace}", accelerators="nvidia.com/gpu")
    control_plane.kubectl("taint", "node", name, "dedicated=llm:NoSchedule")
    yield name
    control_plane.kubectl("delete", "node", name, "--wait=false")


async def test_history_containers_node_and_events_of_a_pod_that_is_then_deleted(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tainted_node: str
) -> None:
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.10.0",
        "resources": {"limits": {"memory": "64Mi"}},
        "startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "failureThreshold": 60},
    }
    init = {"name": "download", "image": "curlimages/curl:8.10.1"}
    control_plane.create_deployment(
        namespace,
        "chat",
        hold=True,
        pod_spec={
            "nodeSelector": {"kubernetes.io/hostname": tainted_node},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "containers": [container],
            "initContainers": [init],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    )
    (pod,) = control_plane.wait_for_pods(namespace, "chat", 1)
    name = pod["metadata"]["name"]
    control_plane.set_pod_status(pod, pod_statuses.model_loading())
    async with running_app(kubeconfig, namespace, (NARROW[0], 80)) as driver:
        await open_page(driver, "chat", "Starting")
        screen = await open_first_pod(driver, name)
        cards = screen.cards
        server = "Container inference-server"
        await wait_for_value(driver, cards, server, "State", "Running, not ready")
        assert card_value(cards, server, "Image") == container["image"]
        assert card_value(cards, server, "Limits") == "memory 64Mi"
        assert card_value(cards, server, "Startup Probe") == (
            "http-get :8000/health delay=0s timeout=1s period=10s #success=1 #failure=60"
        )
        assert card_value(cards, "Init Container download", "Image") == init["image"]
        assert card_value(cards, "Volumes", "scratch") == "emptyDir"

        message = "Startup probe failed: HTTP probe failed with statuscode: 503"
        control_plane.create_warning_event(pod, "BackOff", "Back-off restarting failed container")
        control_plane.create_warning_event(pod, "Unhealthy", message, count=3)
        control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())

        def history() -> str:
            return " ".join(card_rows(cards)["History"])

        await wait_until(
            lambda: "(OOMKilled)" in history() and "next start of inference-server" in history(),
            "the history",
            describe_state=history,
        )
        assert "created" in history()
        assert f"node {tainted_node}" in history()
        assert "memory limit of 64Mi" in history()
        await wait_for_value(driver, cards, server, "State", "Waiting: CrashLoopBackOff")
        last = card_value(cards, server, "Last Termination")
        assert last == "OOMKilled, exit code 137, after 30s"
        assert card_value(cards, server, "Restarts") == "4"
        assert card_value(cards, "Pod", "Status").startswith("CrashLoopBackOff")
        # The header is the list's, and comes with another watch.
        await driver.wait_for_screen(lambda _: "OOMKilled" in header(driver)[0], "the cause")

        def events() -> str:
            return " ".join(card_rows(cards)["Events"])

        await wait_until(
            lambda: "BackOff: Back-off restarting" in events() and f"×3: {message}" in events(),
            "Events",
            describe_state=events,
        )

        node = card_value(cards, "Node", "Name")
        assert node == tainted_node
        assert card_value(cards, "Node", "Ready").startswith("True")
        assert "dedicated=llm:NoSchedule" in card_value(cards, "Node", "Taint")
        assert "nvidia.com/gpu 8" in card_value(cards, "Node", "Allocatable")
        control_plane.kubectl("cordon", tainted_node)
        await wait_for_value(driver, cards, "Node", "Scheduling", "cordoned")
        pressure = {
            "type": "MemoryPressure",
            "status": "True",
            "message": "kubelet has insufficient memory available",
        }
        control_plane.request(
            "PATCH",
            f"/api/v1/nodes/{tainted_node}/status",
            {"status": {"conditions": [pressure]}},
            content_type="application/strategic-merge-patch+json",
        )
        await wait_for_value(driver, cards, "Node", "MemoryPressure", "True", "insufficient memory")

        kept = ("State", "Last Termination", "Restarts", "Image", "Startup Probe")
        before = [card_value(cards, server, label) for label in kept]
        control_plane.kubectl("delete", "-n", namespace, "pod", name, "--wait=false")
        await driver.wait_for_screen(
            lambda _: "deleted at" in header(driver)[0], "the deletion of the Pod"
        )
        assert name in header(driver)[0]
        after = [card_value(cards, server, label) for label in kept]
        assert after == before, "what was known stays"
        await driver.pilot.press("escape")
        await driver.wait_for_screen(
            lambda text: "Ready Replicas" in text and name not in text, "the Pod that replaced it"
        )
