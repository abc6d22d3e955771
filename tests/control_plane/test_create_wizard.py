"""The create form driven by keys, to a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck.cluster.apply import Made, Outcome, Place
from servedeck.cluster.auth.kubeconfig import Target
from servedeck.config import Settings
from servedeck.fleet.session import Live
from tests.control_plane.plane import ControlPlane, RequestError, wait_for
from tests.control_plane.test_app import Operator
from tests.waiting import LIMIT
from tui.app import ServedeckApp
from tui.change_service import ClusterWorkbench
from tui.log_service import ConnectedCluster

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SETTINGS = Settings(endpoint_host="serve.example.com", gateway="gateways/main")


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Drafts of the tests do not lie with those of whoever runs them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


class KillingWorkbench(ClusterWorkbench):
    """Stops the API server after the first object that it makes, once."""

    plane: ControlPlane | None = None

    async def deploy(self, manifests: Any, own: Any, on_made: Any) -> Outcome:
        def made(one: Made) -> None:
            if self.plane is not None:
                self.plane.kill("kube-apiserver")
                self.plane = None
            on_made(one)

        return await super().deploy(manifests, own, made)


@asynccontextmanager
async def operator(
    plane: ControlPlane,
    namespace: str,
    *,
    user: str = "admin",
    size: tuple[int, int] = (80, 24),
    bench: type[ClusterWorkbench] = ClusterWorkbench,
) -> AsyncIterator[Operator]:
    target = Target(kubeconfig=(plane.kubeconfig(user),), namespace=namespace)
    live = Live(target, SETTINGS)
    workbench = bench(lambda: live.connection, lambda: live.settings)
    app = ServedeckApp(live, ConnectedCluster(lambda: live.connection), workbench=workbench)
    try:
        async with app.run_test(size=size) as pilot:
            me = Operator(app, live, pilot)
            if isinstance(workbench, KillingWorkbench):
                workbench.plane = plane
            await me.sees(lambda text: "live" in text or "forbidden" in text, "the list")
            yield me
    finally:
        await live.close()


async def shows(me: Operator, *texts: str, limit: float = LIMIT) -> str:
    """The screen, its line breaks as blanks, once it shows the texts."""
    await me.sees(
        lambda text: all(one in " ".join(text.split()) for one in texts), str(texts), limit
    )
    return " ".join(me.screen.split())


async def fill(me: Operator, name: str = "llama") -> None:
    """Name and model, and on to the review."""
    await me.pilot.press("n")
    await shows(me, "Service Name")
    await me.pilot.press(*name, "ctrl+n")
    await shows(me, "Accelerator Count")
    await me.pilot.press(*MODEL, "ctrl+n")
    await shows(me, "Review & Deploy")


def deployment(plane: ControlPlane, namespace: str, name: str = "llama") -> Mapping[str, Any]:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    stored: Mapping[str, Any] = plane.request("GET", path)
    return stored


def gone(plane: ControlPlane, namespace: str, name: str = "llama") -> bool:
    try:
        deployment(plane, namespace, name)
    except RequestError as error:
        return error.status == 404
    return False


async def test_keys_alone_deploy_a_model_that_becomes_ready_before_the_operators_eyes(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with operator(control_plane, namespace) as me:
        await fill(me)
        text = await shows(me, "The API server accepts it", f"create HTTPRoute {namespace}/llama")
        assert "the replica fits" in text
        assert gone(control_plane, namespace)
        await me.pilot.press("ctrl+s")
        await shows(me, "✓ requested", "✓ ready")
        await me.row("llama", "Ready", "1/1")
        assert me.app.servings.selected is not None
        assert me.app.servings.selected.key.name == "llama"
        await me.pilot.press("escape")
        await me.sees(lambda text: "requested" not in text, "the list without the ladder")
    stored = deployment(control_plane, namespace)
    assert stored["spec"]["template"]["spec"]["containers"][0]["args"][0] == MODEL


async def test_a_taken_name_is_said_and_mended_without_typing_the_rest_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("create", "service", "clusterip", "llama", "--tcp=80", "-n", namespace)
    async with operator(control_plane, namespace) as me:
        await fill(me)
        await shows(me, f"Service {namespace}/llama exists already, made by kubectl")
        await me.pilot.press("ctrl+s", "1")
        await shows(me, "Service Template")
        await me.pilot.press("-", "2", "ctrl+n", "ctrl+n")
        await shows(me, "The API server accepts it", f"create Deployment {namespace}/llama-2")
        await me.pilot.press("ctrl+s")
        await shows(me, "✓ requested")
    assert not gone(control_plane, namespace, "llama-2")
    assert gone(control_plane, namespace)


async def test_an_exceeded_quota_is_said_before_anything_is_made(
    control_plane: ControlPlane, namespace: str
) -> None:
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, quota)
    wait_for(
        lambda: control_plane.request("GET", f"{path}/gpus")["status"].get("used"),
        "the quota to count",
    )
    async with operator(control_plane, namespace) as me:
        await fill(me)
        await shows(me, "exceeded quota: gpus")
        await me.pilot.press("ctrl+s")
        await shows(me, "in the way of deploying")
    assert gone(control_plane, namespace)


async def test_the_key_is_off_with_the_missing_verb(
    control_plane: ControlPlane, namespace: str
) -> None:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    ]
    control_plane.grant("viewer", rules, namespace=namespace)
    async with operator(control_plane, namespace, user="viewer") as me:
        await me.pilot.press("n")
        await shows(me, f"Needs create on deployments.apps in namespace {namespace}")


async def test_the_api_server_is_lost_between_the_objects_and_the_rest_is_made_later(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with operator(control_plane, namespace, bench=KillingWorkbench) as me:
        await fill(me)
        await shows(me, "The API server accepts it")
        await me.pilot.press("ctrl+s")
        await shows(me, f"Deployment {namespace}/llama was created", "Not deployed")
        await asyncio.to_thread(control_plane.start)
        await me.pilot.press("ctrl+s")
        await shows(me, "✓ requested")
    places = [Place("v1", "Service", namespace, "llama")]
    assert all(control_plane.request("GET", place.path) for place in places)


async def test_a_serving_is_cloned_with_its_settings(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with operator(control_plane, namespace) as me:
        await fill(me)
        await shows(me, "The API server accepts it")
        await me.pilot.press("ctrl+s")
        await me.row("llama", "Ready")
        await me.pilot.press("C")
        await shows(me, "llama-copy")
        await me.pilot.press("ctrl+n", "ctrl+n")
        await shows(me, "The API server accepts it", f"create Deployment {namespace}/llama-copy")
        await me.pilot.press("ctrl+s")
        await me.row("llama-copy", "Ready")
    one = deployment(control_plane, namespace)["spec"]["template"]["spec"]["containers"]
    other = deployment(control_plane, namespace, "llama-copy")
    assert one[0]["args"] == other["spec"]["template"]["spec"]["containers"][0]["args"]
