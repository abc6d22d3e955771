"""The tab Events on a real API server, with Events of the real controllers and scheduler."""

from __future__ import annotations

from pathlib import Path

from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_app import AppDriver, running_app
from tui.panes.events import EventsPane
from tui.screens.serving import ServingScreen


def shown_events(driver: AppDriver) -> list[tuple[str, str]]:
    """Object and reason of each line, in order."""
    assert isinstance(driver.app.screen, ServingScreen)
    pane = driver.app.screen.active_pane
    assert isinstance(pane, EventsPane)
    return [(row.cells[4], row.cells[3][0][0]) for row in pane.table.rows]


async def test_events_of_a_serving_and_its_objects_stay_after_they_are_deleted(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "chat")
    control_plane.create_deployment(namespace, "chat-v2")
    control_plane.wait_until_ready(namespace, "chat", 1)
    control_plane.wait_until_ready(namespace, "chat-v2", 1)
    (pod,) = control_plane.list_pods(namespace, "chat")
    async with running_app(kubeconfig, namespace, (160, 40)) as driver:
        await driver.wait_for_row("chat", "Ready")
        await driver.pilot.press("enter", "6")
        await driver.wait_for_screen(
            lambda text: (
                "following" in text
                and all(
                    one in text for one in ("ScalingReplicaSet", "SuccessfulCreate", "Scheduled")
                )
            ),
            "Events of the Deployment, the ReplicaSet and the Pod",
        )
        control_plane.create_warning_event(pod, "BackOff", "Back-off restarting failed container")
        await driver.wait_for_screen(lambda text: "BackOff" in text, "a new Event")
        name = pod["metadata"]["name"]
        suffix = name.removeprefix("chat-")
        control_plane.kubectl("delete", "-n", namespace, "pod", name, "--wait=false")
        await driver.wait_for_screen(
            lambda _: sum(reason == "SuccessfulCreate" for _, reason in shown_events(driver)) == 2,
            "the Pod's replacement",
        )
        control_plane.kubectl("delete", "-n", namespace, "events", "--all")
        control_plane.create_deployment(namespace, "chat-v3")
        control_plane.create_warning_event(pod, "Late", "an Event about the deleted Pod")
        await driver.wait_for_screen(lambda text: "Late" in text, "an Event of a deleted Pod")
        shown = shown_events(driver)
        assert (f"pod/…{suffix}", "BackOff") in shown
        assert (f"pod/…{suffix}", "Late") in shown
        assert ("deployment", "ScalingReplicaSet") in shown
        assert not [one for one, _reason in shown if "v2" in one or "v3" in one]


async def test_a_foreign_deployment_with_a_pvc_and_match_expressions(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    body = objects.deployment("foreign")
    labels = {"tier": "gpu", "team": "a"}
    body["metadata"]["labels"] = {}
    body["spec"]["selector"] = {
        "matchLabels": {"team": "a"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["gpu", "npu"]},
            {"key": "team", "operator": "Exists"},
            {"key": "track", "operator": "DoesNotExist"},
            {"key": "tier", "operator": "NotIn", "values": ["cpu"]},
        ],
    }
    template = body["spec"]["template"]
    template["metadata"]["labels"] = labels
    template["spec"]["volumes"] = [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    ]
    control_plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    async with running_app(kubeconfig, namespace, (160, 40)) as driver:
        await driver.wait_for_row("foreign", "Pending")
        await driver.pilot.press("enter", "6")
        await driver.wait_for_screen(
            lambda text: "SuccessfulCreate" in text and "FailedScheduling" in text,
            "Events of the ReplicaSet and the Pod",
        )
        control_plane.create(
            f"/api/v1/namespaces/{namespace}/persistentvolumeclaims",
            {
                "metadata": {"name": "models"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
        )
        await driver.wait_for_screen(
            lambda text: "pvc/models" in text and "FailedBinding" in text, "Events of the PVC"
        )
