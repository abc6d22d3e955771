"""The tab Settings against a real API server: what it shows, changes and follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.control_plane.control_plane import ControlPlane, JsonObject
from tests.control_plane.page import (
    apply,
    foreign_deployment,
    open_page,
    to_list,
    wait_for_value,
    whole_manifests,
)
from tests.control_plane.test_app import AppDriver
from tests.control_plane.test_create_wizard import running_app, wait_for_texts
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_edit_mode import plan, save
from tests.control_plane.test_roles import rules_of
from tests.tui.helpers import wait_for
from tui.panes.settings import SettingsPane
from tui.screens.edit.edit_screen import EditScreen
from tui.screens.serving import PANES, ServingScreen

SIZE = (100, 50)
TAB = str(PANES.index(SettingsPane) + 1)


@pytest.fixture(autouse=True)
def isolated_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Store the tests' drafts apart from those of the developer."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def scaled_object(minimum: int = 1) -> JsonObject:
    trigger = {
        "type": "prometheus",
        "name": "response-time",
        "metricType": "Value",
        "metadata": {
            "serverAddress": "http://prometheus.monitoring:9090",
            "threshold": "5000",
            "query": "vector(1)",
            "ignoreNullValues": "false",
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "chat"},
        "spec": {
            "scaleTargetRef": {"name": "chat"},
            "minReplicaCount": minimum,
            "maxReplicaCount": 5,
            "triggers": [trigger],
        },
    }


def create_serving(plane: ControlPlane, namespace: str) -> None:
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.10.0",
        "command": ["vllm", "serve", "org/model"],
        "ports": [{"name": "http", "containerPort": 8000}],
    }
    pod_spec: JsonObject = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    apply(plane, namespace, to_list(foreign_deployment("chat", pod_spec)))
    plane.wait_until_ready(namespace, "chat", 1)


def read_scaled_object(plane: ControlPlane, namespace: str) -> JsonObject:
    path = f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/chat"
    found: JsonObject = plane.request("GET", path)
    return found


async def open_settings(driver: AppDriver) -> SettingsPane:
    await open_page(driver, "chat")
    await driver.pilot.press(TAB)

    def pane() -> SettingsPane | None:
        screen = driver.app.screen
        found = screen.active_pane if isinstance(screen, ServingScreen) else None
        return found if isinstance(found, SettingsPane) and found.cards.item_keys else None

    await wait_for(driver.pilot, pane, "the settings")
    found = pane()
    assert found is not None
    return found


async def value(driver: AppDriver, pane: SettingsPane, card: str, label: str, text: str) -> str:
    return await wait_for_value(driver, pane.cards, card, label, text)


async def test_a_minimum_is_changed_in_the_form_and_followed(
    control_plane: ControlPlane, namespace: str
) -> None:
    plane = control_plane
    create_serving(plane, namespace)
    made = json.dumps(scaled_object())
    flags = ("--server-side", "--field-manager=servedeck")
    plane.kubectl("apply", *flags, "-n", namespace, "-f", "-", input=made)
    async with running_app(plane, namespace, size=SIZE) as driver:
        pane = await open_settings(driver)
        await value(driver, pane, "Auto Scaling", "Auto Scaling", "response-time")
        await value(driver, pane, "Auto Scaling", "Min Replicas", "1")
        pane.cards.select(("scaling", "min_replicas"))
        await driver.pilot.press("enter")

        def is_at_field() -> bool:
            form = driver.app.screen
            path = getattr(form.focused, "path", "")
            return isinstance(form, EditScreen) and path == "min_replicas"

        await wait_for(driver.pilot, is_at_field, "the form at its field")
        await driver.pilot.press("home", "ctrl+k", "2")
        await plan(driver)
        await wait_for_texts(driver, "Min Replicas", "No Pod restarts.")
        await save(driver)
        assert read_scaled_object(plane, namespace)["spec"]["minReplicaCount"] == 2
        await value(driver, pane, "Auto Scaling", "Min Replicas", "2")

        # Another client changes it.
        patch = json.dumps({"spec": {"minReplicaCount": 4, "maxReplicaCount": 9}})
        plane.kubectl("patch", "scaledobject", "chat", "-n", namespace, "--type=merge", "-p", patch)
        await value(driver, pane, "Auto Scaling", "Min Replicas", "4")
        await value(driver, pane, "Auto Scaling", "Max Replicas", "9")
        plane.kubectl("delete", "scaledobject", "chat", "-n", namespace)
        await value(driver, pane, "Auto Scaling", "Auto Scaling", "off")


async def test_the_autoscaler_of_kubectl_is_named(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_serving(control_plane, namespace)
    async with running_app(control_plane, namespace, size=SIZE) as driver:
        pane = await open_settings(driver)
        await value(driver, pane, "Inference Server", "Replicas", "1")
        # There is no Lease of a controller.
        await value(driver, pane, "Traffic Management", "Temperature Policy", "not available:")
        control_plane.kubectl(
            "autoscale", "deployment", "chat", "-n", namespace, "--min=1", "--max=3", "--cpu=50%"
        )
        text = await value(
            driver, pane, "Auto Scaling", "Auto Scaling", "HorizontalPodAutoscaler chat"
        )
        assert "made by kubectl-autoscale" in text
        await value(driver, pane, "Auto Scaling", "Max Replicas", "3")
        await wait_for_texts(driver, "set by HorizontalPodAutoscaler chat")


async def test_a_viewer_sees_the_settings_and_why_they_cannot_be_changed(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, whole_manifests(namespace))
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    async with running_app(control_plane, namespace, user="viewer", size=SIZE) as driver:
        pane = await open_settings(driver)
        await value(driver, pane, "Transformer", "Image", "registry.example.com/transformer:1")
        await value(driver, pane, "Inference Server", "Readiness", "/ready")
        pane.cards.select(("server", "readiness_path"))
        await driver.pilot.press("enter")
        await wait_for_texts(driver, "deployments.apps")
        assert isinstance(driver.app.screen, ServingScreen)
