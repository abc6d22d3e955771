"""Opens and reads the page of a serving, and the manifests that its tests give to kubectl."""

from __future__ import annotations

import json

from tests.control_plane.control_plane import ControlPlane, JsonObject
from tests.control_plane.test_app import AppDriver
from tests.waiting import wait_until
from tui.panes.overview import EDIT_BUTTON, OverviewPane
from tui.screens.pod import PodScreen
from tui.screens.serving import ServingScreen
from widgets.card_view import CardView
from widgets.styled_line import plain_text

NARROW = (116, 50)
"""Size of a terminal in which the cards are one below the other."""
SECRET_VALUE = "plain-and-very-private"
SERVER = {
    "name": "server",
    "image": "vllm/vllm-openai:v0.10.0",
    "command": ["vllm", "serve", "org/model"],
    "args": ["--port", "8080", "--max-model-len", "4096"],
    "ports": [{"name": "http", "containerPort": 8080}],
    "resources": {
        "requests": {"cpu": "250m", "memory": "64Mi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "128Mi", "nvidia.com/gpu": "1"},
    },
    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "CFG_"}],
    "env": [
        {"name": "LEVEL", "value": "debug"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "volumeMounts": [
        {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "llm"},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "config", "mountPath": "/etc/llm"},
    ],
}


def whole_manifests(namespace: str) -> str:
    """Manifests of the serving "chat" with something on each card, for `kubectl apply`. Nothing
    has a label of servedeck."""
    storage_class = f"class-{namespace}"
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    volume = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/models"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    pod_spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {"name": "fluent-bit", "image": "fluent/fluent-bit:3"},
            SERVER,
            {
                "name": "transformer",
                "image": "registry.example.com/transformer:1",
                "command": ["python3", "transform.py"],
                "ports": [{"containerPort": 9090}],
                "env": [{"name": "WORKERS", "value": "4"}],
            },
        ],
        "initContainers": [
            {"name": "download", "image": "curlimages/curl:8.10.1"},
            {"name": "proxy", "image": "envoyproxy/envoy:v1.31", "restartPolicy": "Always"},
        ],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "config", "configMap": {"name": "settings"}},
        ],
    }
    return to_list(
        {"kind": "PersistentVolume", "metadata": {"name": storage_class}, "spec": volume},
        {"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": claim},
        {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"mode": "fast"}},
        secret(),
        foreign_deployment("chat", pod_spec),
    )


def secret() -> JsonObject:
    metadata = {"name": "hf"}
    return {"kind": "Secret", "metadata": metadata, "stringData": {"token": SECRET_VALUE}}


def foreign_deployment(name: str, pod_spec: JsonObject, replicas: int = 1) -> JsonObject:
    """A Deployment without labels of servedeck."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
    }


def serving_with_secret(name: str = "chat") -> str:
    """Manifests of a serving with a variable from a Secret, and of the Secret."""
    container = {
        **{key: SERVER[key] for key in ("name", "image", "command", "ports")},
        "env": [SERVER["env"][0], SERVER["env"][1]],  # type: ignore[index]
    }
    pod_spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return to_list(secret(), foreign_deployment(name, pod_spec))


def to_list(*manifests: JsonObject) -> str:
    items = [{"apiVersion": "v1", **one} for one in manifests]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def apply(plane: ControlPlane, namespace: str, manifests: str) -> None:
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=manifests)


# -- the page ---------------------------------------------------------------------------------


async def open_page(driver: AppDriver, name: str, *texts: str) -> OverviewPane:
    """The Overview of a serving, opened from the list."""
    await driver.wait_for_row(name, *texts)
    await select_serving(driver, name)
    await driver.pilot.press("enter")
    await driver.wait_for_screen(
        lambda text: isinstance(driver.app.screen, ServingScreen) and "Ready Replicas" in text,
        "the page",
    )
    return overview(driver)


async def select_serving(driver: AppDriver, name: str) -> None:
    """Move the cursor of the list to a serving."""
    for _ in driver.app.servings.table.rows:
        if getattr(driver.app.servings.table.cursor_key, "name", None) == name:
            return
        await driver.pilot.press("down")
    key = driver.app.servings.table.cursor_key
    assert getattr(key, "name", None) == name, key


def overview(driver: AppDriver) -> OverviewPane:
    assert isinstance(driver.app.screen, ServingScreen)
    pane = driver.app.screen.active_pane
    assert isinstance(pane, OverviewPane)
    return pane


def header(driver: AppDriver) -> list[str]:
    """The two lines that name the serving, its state and the cause."""
    return driver.screen_text.split("\n")[:2]


def card_rows(cards: CardView) -> dict[str, list[str]]:
    """The lines of each card by its title, in a terminal in which no two are side by side."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in cards.lines:
        text = plain_text(line)[1:].rstrip()
        if text and not text.startswith(" "):
            title = text.removesuffix(EDIT_BUTTON).rstrip()
            found[title] = []
        elif text:
            found[title].append(text.strip())
    return found


def card_value(cards: CardView, title: str, label: str) -> str:
    """What a card says beside a label; "" if it has no such label."""
    for row in card_rows(cards).get(title, ()):
        if row == label or row.startswith(f"{label} "):
            return row.removeprefix(label).strip()
    return ""


async def wait_for_value(
    driver: AppDriver, cards: CardView, title: str, label: str, *texts: str
) -> str:
    """The value once it contains all the texts."""

    def found() -> str:
        value = card_value(cards, title, label)
        return value if value and all(text in value for text in texts) else ""

    return await wait_until(
        found,
        f"{title}: {label} with {texts}",
        describe_state=lambda: card_rows(cards),
    )


async def select_value(driver: AppDriver, label: str) -> OverviewPane:
    """Move the cursor to a value of the Overview, by keys."""
    pane = overview(driver)
    await driver.pilot.press("g")
    for _ in range(2 * len(pane.cards.lines)):
        selected = pane.selected_row
        if selected is not None and selected[1].label == label:
            return pane
        await driver.pilot.press("down")
    raise AssertionError(f"no {label} in {card_rows(pane.cards)}")


async def open_first_pod(driver: AppDriver, name: str) -> PodScreen:
    """The page of the first Pod of the Overview, opened by keys."""
    pane = overview(driver)
    await driver.pilot.press("g")
    for _ in pane.cards.lines:
        if pane.selected_pod is not None:
            break
        await driver.pilot.press("down")
    await driver.pilot.press("enter")
    await driver.wait_for_screen(lambda text: f"/{name}" in text and "History" in text, "the Pod")
    screen = driver.app.screen
    assert isinstance(screen, PodScreen)
    return screen
