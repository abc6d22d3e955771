"""The page of a serving on a real control plane: its cards are those of the objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.serving.status.status import Status
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, JsonObject
from tests.control_plane.page import (
    NARROW,
    apply,
    card_rows,
    card_value,
    header,
    open_page,
    overview,
    wait_for_value,
    whole_manifests,
)
from tests.control_plane.test_app import running_app
from tests.waiting import wait_until
from tui.screens.timeline import TimelineScreen
from widgets.styled_line import plain_text


@pytest.fixture
def chat(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """Name of a serving with something on each card, made by kubectl."""
    apply(control_plane, namespace, whole_manifests(namespace))
    control_plane.wait_until_ready(namespace, "chat", 1)
    yield "chat"
    control_plane.kubectl("delete", "persistentvolume", f"class-{namespace}", "--wait=false")


async def test_every_card_shows_the_objects_that_kubectl_made_and_follows_kubectl(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, chat: str
) -> None:
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, chat, "Ready")
        cards = pane.cards
        await wait_for_value(driver, cards, "Transformer", "Image")
        rows = card_rows(cards)
        assert card_value(cards, "Status", "Ready Replicas") == "1/1"
        assert card_value(cards, "Status", "Health") == "✓ Ready"
        assert card_value(cards, "Basic Information", "Service Name") == chat
        assert card_value(cards, "Basic Information", "Namespace") == namespace
        assert "another tool" in card_value(cards, "Basic Information", "Created by")

        assert card_value(cards, "Container", "Container") == "server"
        assert card_value(cards, "Container", "Image") == "vllm/vllm-openai:v0.10.0"
        assert card_value(cards, "Container", "Inference Port") == "8080"
        assert card_value(cards, "Container", "Readiness Endpoint") == "/ready"
        assert card_value(cards, "Container", "Sidecar").split() == [
            "fluent-bit",
            "fluent/fluent-bit:3",
        ]
        init = card_value(cards, "Container", "Init Container")
        assert init.split() == ["download", "curlimages/curl:8.10.1"]
        assert any(
            row.split() == ["Sidecar", "proxy", "envoyproxy/envoy:v1.31"]
            for row in rows["Container"]
        )

        assert card_value(cards, "Resources", "CPU") == "250m"
        assert card_value(cards, "Resources", "Memory") == "64Mi"
        assert card_value(cards, "Resources", "Memory Limit") == "128Mi"
        assert "nvidia.com/gpu" in card_value(cards, "Resources", "Accelerator")
        assert card_value(cards, "Resources", "Accelerator Count") == "1"
        assert card_value(cards, "Resources", "Replicas") == "1"

        assert card_value(cards, "Command & Arguments", "Command") == "vllm serve org/model"
        assert card_value(cards, "Command & Arguments", "Arguments") == (
            "--port 8080 --max-model-len 4096"
        )
        environment = "Environment Variables"
        assert card_value(cards, environment, "LEVEL") == "debug"
        assert card_value(cards, environment, "HF_TOKEN").endswith("Secret hf, key token")
        assert card_value(cards, environment, "MODE") == "ConfigMap settings, key mode"
        assert card_value(cards, environment, "NODE") == "field spec.nodeName of the Pod"
        assert "settings" in card_value(cards, environment, "every key of ConfigMap")

        assert card_value(cards, "Volumes", "models").split("  ") == [
            "PVC models",
            "/models, subPath llm, read-only",
        ]
        assert card_value(cards, "Volumes", "scratch").split("  ") == [
            "emptyDir up to 1Gi",
            "/scratch",
        ]
        assert card_value(cards, "Volumes", "config").split("  ") == [
            "ConfigMap settings",
            "/etc/llm",
        ]
        assert card_value(cards, "Transformer", "Image") == "registry.example.com/transformer:1"
        assert card_value(cards, "Transformer", "Port") == "9090"
        assert "transform.py" in card_value(cards, "Transformer", "Command")
        assert card_value(cards, "Transformer", "WORKERS") == "4"

        await driver.pilot.press("G")
        await driver.wait_for_screen(
            lambda text: "registry.example.com/transformer:1" in text, "the end of the cards"
        )

        target = ("-n", namespace, "deployment/chat")
        control_plane.kubectl("set", "image", *target, "server=vllm/vllm-openai:v0.11.0")
        await wait_for_value(driver, cards, "Container", "Image", "vllm/vllm-openai:v0.11.0")
        control_plane.kubectl(
            *("set", "resources", *target, "-c", "server"),
            *("--limits=memory=256Mi,nvidia.com/gpu=2", "--requests=cpu=500m,nvidia.com/gpu=2"),
        )
        await wait_for_value(driver, cards, "Resources", "Memory Limit", "256Mi")
        await wait_for_value(driver, cards, "Resources", "Accelerator Count", "2")
        assert card_value(cards, "Resources", "CPU") == "500m"
        control_plane.kubectl("set", "env", *target, "-c", "server", "LEVEL=info", "NODE-")
        await wait_for_value(driver, cards, environment, "LEVEL", "info")
        assert card_value(cards, environment, "NODE") == ""
        control_plane.kubectl("scale", *target, "--replicas=3")
        await wait_for_value(driver, cards, "Resources", "Replicas", "3")
        await wait_for_value(driver, cards, "Status", "Ready Replicas", "3/3")


async def test_failing_pods_are_first(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat", replicas=4, hold=True)
    pods = control_plane.wait_for_pods(namespace, "chat", 4)
    by_name = {pod["metadata"]["name"]: pod for pod in pods}
    for pod in pods:
        control_plane.set_pod_status(pod, pod_statuses.ready_status())
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", "Ready", "4/4")

        def order() -> list[str]:
            rows = card_rows(pane.cards).get("Pods", [])[1:]
            return [row.split()[0] for row in rows]

        await wait_until(lambda: set(order()) == set(by_name), "4 Pods", describe_state=order)
        *others, starting, failing = order()
        control_plane.set_pod_status(by_name[failing], pod_statuses.crash_loop_oom())
        await wait_until(lambda: order()[0] == failing, "order", describe_state=order)
        control_plane.set_pod_status(by_name[starting], pod_statuses.model_loading())
        expected = [failing, starting, *others]
        await wait_until(lambda: order() == expected, "order", describe_state=order)
        await driver.pilot.press("p")
        uids = [by_name[name]["metadata"]["uid"] for name in expected]
        await wait_until(lambda: [row.key for row in pane.table.rows] == uids, "the table")


OOM_CAUSE = "OOMKilled"
UNSCHEDULABLE = (
    "without enough free nvidia.com/gpu"  # the number of nodes is that of other tests too
)
STATES: list[tuple[Status, list[JsonObject], str, str]] = [
    (Status.READY, [pod_statuses.ready_status()], "", Status.READY.description),
    (Status.STARTING, [pod_statuses.model_loading()], "", ""),
    (
        Status.DEGRADED,
        [pod_statuses.ready_status(), pod_statuses.crash_loop_oom()],
        OOM_CAUSE,
        "memory limit",
    ),
    (Status.ERROR, [pod_statuses.crash_loop_oom()], OOM_CAUSE, "memory limit"),
    (Status.PENDING, [pod_statuses.image_pull_error()], "ImagePullBackOff", "cannot be pulled"),
    (Status.PENDING, [{}], "Unschedulable", UNSCHEDULABLE),
    (Status.SCALED_DOWN, [], "", Status.SCALED_DOWN.description),
]


@pytest.mark.parametrize(
    ("status", "pods", "reason", "message"),
    STATES,
    ids=[f"{one[0]} {one[2]}".strip() for one in STATES],
)
async def test_header_and_status_card_name_state_and_cause(
    control_plane: ControlPlane,
    namespace: str,
    kubeconfig: Path,
    status: Status,
    pods: list[JsonObject],
    reason: str,
    message: str,
) -> None:
    too_many = message == UNSCHEDULABLE
    control_plane.create_deployment(
        namespace,
        "chat",
        replicas=len(pods),
        hold=True,
        **({"accelerator": "nvidia.com/gpu", "count": 99} if too_many else {}),
    )
    if pods:
        made = control_plane.wait_for_pods(namespace, "chat", len(pods), scheduled=not too_many)
        for pod, pod_status in zip(made, pods, strict=True):
            if pod_status:
                control_plane.set_pod_status(pod, pod_status)
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", str(status))
        await wait_for_value(driver, pane.cards, "Status", "Health", str(status), reason)

        def is_named() -> bool:
            first, second = header(driver)
            return "chat" in first and f"{status.glyph} {status}" in first and message in second

        await driver.wait_for_screen(lambda _: is_named(), f"{status} in the header")
        first, second = header(driver)
        assert reason in first
        ready = {Status.READY: 1, Status.DEGRADED: 1}.get(status, 0)
        shown = card_value(pane.cards, "Status", "Ready Replicas")
        assert shown.startswith(f"{ready}/{len(pods)}"), shown
        if reason:
            assert message in " ".join(card_rows(pane.cards)["Status"])
            assert second.strip(), second
        recovery = " ".join(card_rows(pane.cards)["Status"])
        assert status.recovery in recovery


async def test_a_deployment_that_is_deleted_and_made_again_while_its_page_is_open(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat", image="vllm/vllm-openai:v0.10.0")
    control_plane.wait_until_ready(namespace, "chat", 1)
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", "Ready")
        cards = pane.cards
        await wait_for_value(driver, cards, "Container", "Image", "v0.10.0")
        control_plane.kubectl("scale", "-n", namespace, "deployment/chat", "--replicas=2")
        await wait_for_value(driver, cards, "Status", "Ready Replicas", "2/2")
        before = card_rows(cards)
        await asyncio.to_thread(
            control_plane.kubectl, "delete", "-n", namespace, "deployment/chat", "--wait=true"
        )
        await driver.wait_for_screen(lambda _: "deleted at" in header(driver)[1], "the deletion")
        assert "the last state is shown" in header(driver)[1]
        for title in ("Basic Information", "Container", "Resources", "Command & Arguments"):
            assert card_rows(cards)[title] == before[title], "what was known stays"

        control_plane.create_deployment(namespace, "chat", image="vllm/vllm-openai:v0.12.0")
        await wait_for_value(driver, cards, "Container", "Image", "v0.12.0")
        await wait_for_value(driver, cards, "Status", "Ready Replicas", "1/1")
        await driver.wait_for_screen(
            lambda _: "deleted at" not in header(driver)[1] and "Ready" in header(driver)[0],
            "the new one",
        )
        assert overview(driver) is pane
        await driver.pilot.press("t")

        def timeline() -> list[str]:
            screen = driver.app.screen
            if not isinstance(screen, TimelineScreen):
                return []
            return [plain_text(row.cells[3]) for row in screen.table.rows]  # type: ignore[arg-type]

        await wait_until(lambda: "created" in timeline(), "creation", describe_state=timeline)
        old = [one for one in timeline() if "scaled" in one or "deleted" in one]
        assert old == [], "its timeline starts again"


async def test_nothing_is_blanked_while_the_api_server_is_down_and_the_page_recovers(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat", replicas=2)
    control_plane.wait_until_ready(namespace, "chat", 2)
    async with running_app(kubeconfig, namespace, NARROW) as driver:
        pane = await open_page(driver, "chat", "Ready")
        cards = pane.cards
        await wait_for_value(driver, cards, "Command & Arguments", "Arguments")
        await wait_for_value(driver, cards, "Status", "Ready Replicas", "2/2")
        settings = ("Basic Information", "Container", "Resources", "Command & Arguments")
        before = card_rows(cards)
        control_plane.kill("kube-apiserver")
        await driver.wait_for_screen(lambda text: "retry" in text, "word about the loss")
        text = await driver.wait_for_screen(
            lambda text: "stale" in text or " old" in text, "the age of what is shown"
        )
        assert "chat" in text.split("\n")[0]
        assert [card_rows(cards)[one] for one in settings] == [before[one] for one in settings]
        assert card_value(cards, "Status", "Ready Replicas") == "2/2"
        assert len(card_rows(cards)["Pods"]) == 3
        await asyncio.to_thread(control_plane.start)
        control_plane.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{namespace}/deployments/chat",
            {"metadata": {"annotations": {"servedeck.dev/description": "after the failure"}}},
        )
        await wait_for_value(driver, cards, "Basic Information", "Description", "after the failure")
        await driver.wait_for_screen(lambda _: "live" in header(driver)[0], "a live header")
