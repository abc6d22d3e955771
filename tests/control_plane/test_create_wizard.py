"""The create form, driven by the keyboard, against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from tests.control_plane.control_plane import ControlPlane, RequestError, wait_for
from tests.control_plane.test_app import AppDriver
from tests.waiting import WAIT_SECONDS
from tui.app import ServedeckApp
from tui.change_service import ClusterChangeService
from tui.log_service import ClusterLogService

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SETTINGS = Settings(endpoint_host="serve.example.com", gateway="gateways/main")


@pytest.fixture(autouse=True)
def isolated_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Store the tests' drafts apart from those of the developer."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


class KillingChangeService(ClusterChangeService):
    """Kills the API server after the first created object, once."""

    plane: ControlPlane | None = None

    async def deploy(self, manifests: Any, own: Any, on_created: Any) -> ApplyResult:
        def made(one: AppliedObject) -> None:
            if self.plane is not None:
                self.plane.kill("kube-apiserver")
                self.plane = None
            on_created(one)

        return await super().deploy(manifests, own, made)


@asynccontextmanager
async def running_app(
    plane: ControlPlane,
    namespace: str,
    *,
    user: str = "admin",
    size: tuple[int, int] = (80, 24),
    change_service_class: type[ClusterChangeService] = ClusterChangeService,
) -> AsyncIterator[AppDriver]:
    target = ConnectionOptions(kubeconfig=(plane.write_kubeconfig(user),), namespace=namespace)
    live = ClusterSession(target, SETTINGS)
    change_service = change_service_class(lambda: live.connection, lambda: live.settings)
    app = ServedeckApp(
        live,
        ClusterLogService(lambda: live.connection),
        ClusterDetailService(lambda: live.connection),
        change_service=change_service,
    )
    try:
        async with app.run_test(size=size) as pilot:
            driver = AppDriver(app, live, pilot)
            if isinstance(change_service, KillingChangeService):
                change_service.plane = plane
            await driver.wait_for_screen(
                lambda text: "live" in text or "forbidden" in text, "the list"
            )
            yield driver
    finally:
        await live.close()


async def wait_for_texts(driver: AppDriver, *texts: str, limit: float = WAIT_SECONDS) -> str:
    """The screen text, with line breaks as spaces, once it contains the texts."""
    await driver.wait_for_screen(
        lambda text: all(one in " ".join(text.split()) for one in texts), str(texts), limit
    )
    return " ".join(driver.screen_text.split())


async def fill_form(driver: AppDriver, name: str = "llama") -> None:
    """Enter name and model, and continue to the review."""
    await driver.pilot.press("n")
    await wait_for_texts(driver, "Service Name")
    await driver.pilot.press(*name, "ctrl+n")
    await wait_for_texts(driver, "Accelerator Count")
    await driver.pilot.press(*MODEL, "ctrl+n")
    await wait_for_texts(driver, "Review & Deploy")


def get_deployment(plane: ControlPlane, namespace: str, name: str = "llama") -> Mapping[str, Any]:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    stored: Mapping[str, Any] = plane.request("GET", path)
    return stored


def is_deleted(plane: ControlPlane, namespace: str, name: str = "llama") -> bool:
    try:
        get_deployment(plane, namespace, name)
    except RequestError as error:
        return error.status == 404
    return False


async def test_a_model_deployed_by_keyboard_is_shown_until_ready(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with running_app(control_plane, namespace) as driver:
        await fill_form(driver)
        text = await wait_for_texts(
            driver, "The API server accepts it", f"create HTTPRoute {namespace}/llama"
        )
        assert "the replica fits" in text
        assert is_deleted(control_plane, namespace)
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, "✓ requested", "✓ ready")
        await driver.wait_for_row("llama", "Ready", "1/1")
        assert driver.app.servings.selected_serving is not None
        assert driver.app.servings.selected_serving.key.name == "llama"
        await driver.pilot.press("escape")
        await driver.wait_for_screen(
            lambda text: "requested" not in text, "the list without the ladder"
        )
    stored = get_deployment(control_plane, namespace)
    assert stored["spec"]["template"]["spec"]["containers"][0]["args"][0] == MODEL


async def test_a_taken_name_is_reported_and_fixed_without_typing_the_rest_again(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("create", "service", "clusterip", "llama", "--tcp=80", "-n", namespace)
    async with running_app(control_plane, namespace) as driver:
        await fill_form(driver)
        await wait_for_texts(
            driver, f"Service {namespace}/llama already exists, created by kubectl"
        )
        await driver.pilot.press("ctrl+s", "1")
        await wait_for_texts(driver, "Service Template")
        await driver.pilot.press("-", "2", "ctrl+n", "ctrl+n")
        await wait_for_texts(
            driver, "The API server accepts it", f"create Deployment {namespace}/llama-2"
        )
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, "✓ requested")
    assert not is_deleted(control_plane, namespace, "llama-2")
    assert is_deleted(control_plane, namespace)


async def test_an_exceeded_quota_is_reported_before_anything_is_created(
    control_plane: ControlPlane, namespace: str
) -> None:
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, quota)
    wait_for(
        lambda: control_plane.request("GET", f"{path}/gpus")["status"].get("used"),
        "the quota to count",
    )
    async with running_app(control_plane, namespace) as driver:
        await fill_form(driver)
        await wait_for_texts(driver, "exceeded quota: gpus")
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, "Cannot deploy")
    assert is_deleted(control_plane, namespace)


async def test_the_key_is_disabled_with_the_missing_verb(
    control_plane: ControlPlane, namespace: str
) -> None:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    ]
    control_plane.grant("viewer", rules, namespace=namespace)
    async with running_app(control_plane, namespace, user="viewer") as driver:
        await driver.pilot.press("n")
        await wait_for_texts(driver, f"Needs create on deployments.apps in namespace {namespace}")


async def test_the_api_server_is_lost_between_the_objects_and_the_rest_is_made_later(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with running_app(
        control_plane, namespace, change_service_class=KillingChangeService
    ) as driver:
        await fill_form(driver)
        await wait_for_texts(driver, "The API server accepts it")
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, f"Deployment {namespace}/llama was created", "Not deployed")
        await asyncio.to_thread(control_plane.start)
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, "✓ requested")
    places = [ObjectRef("v1", "Service", namespace, "llama")]
    assert all(control_plane.request("GET", place.path) for place in places)


async def test_a_serving_is_cloned_with_its_settings(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with running_app(control_plane, namespace) as driver:
        await fill_form(driver)
        await wait_for_texts(driver, "The API server accepts it")
        await driver.pilot.press("ctrl+s")
        await driver.wait_for_row("llama", "Ready")
        await driver.pilot.press("C")
        await wait_for_texts(driver, "llama-copy")
        await driver.pilot.press("ctrl+n", "ctrl+n")
        await wait_for_texts(
            driver, "The API server accepts it", f"create Deployment {namespace}/llama-copy"
        )
        await driver.pilot.press("ctrl+s")
        await driver.wait_for_row("llama-copy", "Ready")
    one = get_deployment(control_plane, namespace)["spec"]["template"]["spec"]["containers"]
    other = get_deployment(control_plane, namespace, "llama-copy")
    assert one[0]["args"] == other["spec"]["template"]["spec"]["containers"][0]["args"]
