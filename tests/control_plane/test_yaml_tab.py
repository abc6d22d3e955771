"""The tab YAML on a real API server: the objects of a Deployment that kubectl created."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import yaml

from servedeck.cluster import resources
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.object_text import TextOptions, build_saved_text
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.session import ClusterSession
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_app import AppDriver, running_app
from tests.waiting import wait_until
from tui.panes.yaml import YamlPane

HOSTILE = {
    "script.sh": "#!/bin/sh\n\techo 'a: b' # c\n\nexit 0\n",
    "text": "  indented\ntrailing \n\n",
    "escapes": "\x1b[31mred\u202e\u200b\r\n\x07",
    "unicode": "한국어 👍🏽 e\u0301",
    **{f"scalar-{number}": text for number, text in enumerate(("yes", "1e3", "0x1f", "null", "~"))},
    **{f"time-{number}": text for number, text in enumerate(("2024-01-01", "12:30:45", "1_0"))},
    "empty": "",
    "long": "x: " * 20_000,
}


async def open_yaml(driver: AppDriver, name: str) -> YamlPane:
    await driver.wait_for_row(name, "Ready")
    await driver.pilot.press("y")
    await driver.wait_for_screen(lambda text: "kind: Deployment" in text, "YAML")
    pane = driver.app.screen.active_pane
    assert isinstance(pane, YamlPane)
    return pane


async def test_a_change_with_kubectl_is_shown_and_does_not_move_what_is_read(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama")
    control_plane.wait_until_ready(namespace, "llama", 1)
    async with running_app(kubeconfig, namespace, (100, 16)) as driver:
        pane = await open_yaml(driver, "llama")
        assert "managedFields: #" in "\n".join(line.text for line in pane.code_view.lines)
        await driver.pilot.press("slash", *"containers:", "enter")
        await driver.wait_for_screen(lambda text: "1 of " in text, "hit")
        view = pane.code_view
        top = view.lines[view.top].text
        await asyncio.to_thread(
            control_plane.kubectl,
            *("annotate", "-n", namespace, "deployment/llama", "note=first line", "more=second"),
        )
        await wait_until(
            lambda: any("note: first line" in line.text for line in view.lines), "annotation"
        )
        assert view.lines[view.top].text == top
        changed = {view.lines[at].text.strip() for at in view.changed}
        assert {"note: first line", "more: second"} <= changed
        await driver.pilot.press("o")
        await driver.wait_for_screen(
            lambda text: "ReplicaSet/llama-" in text and "Pod/llama-" in text, "objects"
        )
        await driver.pilot.press(*"replicaset", "enter")
        await driver.wait_for_screen(lambda text: "kind: ReplicaSet" in text, "ReplicaSet")
        await driver.pilot.press("y")
        await driver.wait_for_screen(lambda text: "kind: Deployment" in text, "Deployment")
        control_plane.kubectl("delete", "-n", namespace, "deployment/llama")
        await driver.wait_for_screen(
            lambda text: text.count("the last state is shown") == 2, "deletion"
        )


async def test_kubectl_reads_the_same_object_from_the_saved_text(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, tmp_path: Path
) -> None:
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hostile", "annotations": {"note": HOSTILE["escapes"]}},
        "data": HOSTILE,
    }
    control_plane.create(f"/api/v1/namespaces/{namespace}/configmaps", body)
    session = ClusterSession(
        ConnectionOptions(kubeconfig=(kubeconfig,), namespace=namespace), Settings()
    )
    await session.start()
    try:
        service = ClusterDetailService(lambda: session.connection)
        query = ObjectQuery(resources.CONFIG_MAP, namespace, "hostile")
        watch = await wait_until(lambda: service.watch_objects(query, lambda: None), "connection")
        live = await wait_until(lambda: watch.newest, "object")
        await watch.close()
    finally:
        await session.close()
    saved = build_saved_text(live, TextOptions(reveals_secrets=True))
    assert yaml.safe_load(saved.text)["data"] == HOSTILE
    path = tmp_path / "saved.yaml"
    path.write_text(saved.text)
    read = control_plane.kubectl("apply", "--dry-run=client", "-o", "json", "-f", str(path))
    found = json.loads(read)
    assert found["data"] == HOSTILE
    assert found["metadata"]["annotations"]["note"] == HOSTILE["escapes"]
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    applied = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/hostile")
    assert applied["data"] == HOSTILE


async def test_a_kind_that_may_not_be_listed_is_named_in_the_picker(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "llama")
    control_plane.wait_until_ready(namespace, "llama", 1)
    readable = [("apps", "deployments"), ("", "pods"), ("apps", "replicasets")]
    control_plane.grant(
        "member",
        [
            {"apiGroups": [group], "resources": [name], "verbs": ["list", "watch"]}
            for group, name in readable
        ],
        namespace=namespace,
        name="yaml",
    )
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    async with running_app(kubeconfig, namespace, (120, 40)) as driver:
        await open_yaml(driver, "llama")
        await driver.pilot.press("o")
        text = await driver.wait_for_screen(
            lambda text: "Pod/llama-" in text and "Loading…" not in text, "objects"
        )
        assert "ReplicaSet/llama-" in text
        assert "services" in text
        await driver.pilot.press(*"pod/", "enter")
        await driver.wait_for_screen(lambda text: "kind: Pod" in text, "Pod")
