"""Edit mode, driven by the keyboard, against a real API server."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.edit.edit import EditPlan
from servedeck.changes.edit.save import SaveResult
from servedeck.fleet.views import NamespacedName
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fixtures import MakePolicy
from tests.control_plane.page import SERVER, apply, foreign_deployment, to_list
from tests.control_plane.test_app import AppDriver
from tests.control_plane.test_create_wizard import (
    fill_form,
    get_deployment,
    running_app,
    wait_for_texts,
)
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_set import wait_until_applied
from tests.tui.helpers import wait_for
from tests.waiting import wait_until
from tui.change_service import ClusterChangeService
from tui.ports.change_service import Inventory
from tui.screens.edit.edit_dialog import EditDialog
from tui.screens.edit.edit_screen import EditScreen

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def isolated_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Store the tests' drafts apart from those of the developer."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


# -- the screen ---------------------------------------------------------------------------------


async def open_form(driver: AppDriver, namespace: str, name: str) -> EditScreen:
    key = NamespacedName(namespace, name)
    await driver.wait_for_row(name)
    await wait_for(driver.pilot, lambda: driver.app.servings.table.select(key), f"{key}")
    await driver.pilot.press("e")

    def is_open() -> bool:
        screen = driver.app.screen
        return isinstance(screen, EditScreen) and bool(screen.form.fields)

    await wait_for(driver.pilot, is_open, "the form")
    return form_of(driver)


def form_of(driver: AppDriver) -> EditScreen:
    return next(one for one in driver.app.screen_stack if isinstance(one, EditScreen))


async def retype(driver: AppDriver, path: str, text: str) -> None:
    form = form_of(driver)
    form.form.focus_path(path)
    await wait_for(driver.pilot, lambda: getattr(form.focused, "path", "") == path, path)
    await driver.pilot.press("home", "ctrl+k", *text)


async def plan(driver: AppDriver) -> EditDialog:
    await driver.pilot.press("ctrl+s")

    def is_planned() -> bool:
        return isinstance(driver.app.screen, EditDialog) and driver.app.screen.is_plan_shown

    await wait_for(driver.pilot, is_planned, "the plan")
    dialog = driver.app.screen
    assert isinstance(dialog, EditDialog)
    return dialog


async def save(driver: AppDriver) -> None:
    await driver.pilot.press("y")
    await wait_for_texts(driver, "The change was saved")


# -- the cluster --------------------------------------------------------------------------------


def intent(deployment: Any) -> Json:
    """What a client wants of an object: without its status and what the server notes."""
    found: Json = deepcopy(dict(deployment))
    found.pop("status", None)
    for name in ("managedFields", "resourceVersion", "generation"):
        found["metadata"].pop(name, None)
    annotations = found["metadata"].get("annotations", {})
    annotations.pop("deployment.kubernetes.io/revision", None)
    if not annotations:
        found["metadata"].pop("annotations", None)
    return found


def container_of(deployment: Any) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def count_replicasets(plane: ControlPlane, namespace: str) -> int:
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    return len(plane.request("GET", path)["items"])


def set_image(plane: ControlPlane, namespace: str, name: str, image: str) -> None:
    container = container_of(get_deployment(plane, namespace, name))["name"]
    plane.kubectl("set", "image", "-n", namespace, f"deployment/{name}", f"{container}={image}")


async def wait_until_known(
    driver: AppDriver, plane: ControlPlane, namespace: str, name: str
) -> None:
    """Wait until the list has the Deployment as it is."""
    stored = get_deployment(plane, namespace, name)["metadata"]["generation"]

    def is_known() -> bool:
        found = driver.app.source.fleet.deployment(NamespacedName(namespace, name))
        return found is not None and found.metadata.generation >= stored

    await wait_for(driver.pilot, is_known, "the list to know the change")


def create_foreign(plane: ControlPlane, namespace: str, replicas: int = 1) -> None:
    """A Deployment that kubectl made, without most of the fields of a serving."""
    container = {key: SERVER[key] for key in ("name", "image", "command", "args", "ports")}
    pod_spec: Json = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    apply(plane, namespace, to_list(foreign_deployment("chat", pod_spec, replicas)))
    plane.wait_until_ready(namespace, "chat", replicas)


# -- one client ---------------------------------------------------------------------------------


async def test_a_serving_of_our_own_changes_in_the_edited_field_alone(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with running_app(control_plane, namespace) as driver:
        await fill_form(driver)
        await wait_for_texts(driver, "The API server accepts it")
        await driver.pilot.press("ctrl+s")
        await driver.wait_for_row("llama", "Ready")
        before = get_deployment(control_plane, namespace)
        count = count_replicasets(control_plane, namespace)
        await open_form(driver, namespace, "llama")
        await retype(driver, "image", "vllm/vllm-openai:v0.99.0")
        await plan(driver)
        await wait_for_texts(driver, "1 Pod restarts", "restarts Pods")
        await save(driver)
        expected = intent(before)
        container_of(expected)["image"] = "vllm/vllm-openai:v0.99.0"
        assert intent(get_deployment(control_plane, namespace)) == expected
        await wait_until(
            lambda: count_replicasets(control_plane, namespace) == count + 1, "the new ReplicaSet"
        )


@pytest.mark.parametrize(
    ("path", "text", "restarts"),
    [
        ("image", "vllm/vllm-openai:v0.99.0", True),
        ("memory", "768Mi", True),
        ("settings.max_model_len", "1024", True),
        ("replicas", "2", False),
        ("description", "for the help desk", False),
    ],
)
async def test_a_serving_of_another_tool_restarts_exactly_if_the_plan_says_so(
    control_plane: ControlPlane, namespace: str, path: str, text: str, restarts: bool
) -> None:
    create_foreign(control_plane, namespace)
    before = get_deployment(control_plane, namespace, "chat")
    async with running_app(control_plane, namespace) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, path, text)
        dialog = await plan(driver)
        assert dialog.plan is not None
        assert dialog.plan.restarts_pods is restarts
        await wait_for_texts(driver, "1 Pod restarts" if restarts else "No Pod restarts.")
        await save(driver)
    stored = get_deployment(control_plane, namespace, "chat")
    assert (intent(stored)["spec"]["template"] != intent(before)["spec"]["template"]) is restarts

    def is_observed() -> bool:
        now = get_deployment(control_plane, namespace, "chat")
        return bool(now["status"]["observedGeneration"] >= stored["metadata"]["generation"])

    await wait_until(is_observed, "the controller")
    expected = 2 if restarts else 1
    await wait_until(
        lambda: count_replicasets(control_plane, namespace) == expected, "the ReplicaSets"
    )


async def test_an_absent_field_stays_absent(control_plane: ControlPlane, namespace: str) -> None:
    create_foreign(control_plane, namespace)
    before = get_deployment(control_plane, namespace, "chat")
    async with running_app(control_plane, namespace) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, "image", "vllm/vllm-openai:v0.99.0")
        await plan(driver)
        await save(driver)
    expected = intent(before)
    container_of(expected)["image"] = "vllm/vllm-openai:v0.99.0"
    assert intent(get_deployment(control_plane, namespace, "chat")) == expected


async def test_from_a_wrong_image_to_ready_without_leaving_the_screen(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "broken", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "broken", 1)
    control_plane.set_pod_status(pod, pod_statuses.image_pull_error())
    async with running_app(control_plane, namespace, size=(120, 40)) as driver:
        await driver.wait_for_row("broken", "ImagePullBackOff")
        await open_form(driver, namespace, "broken")
        await retype(driver, "image", "vllm/vllm-openai:v0.11.0")
        await plan(driver)
        await save(driver)

        def new_pods() -> list[Json]:
            pods = control_plane.list_pods(namespace, "broken")
            return [
                one
                for one in pods
                if one["spec"]["containers"][0]["image"] == "vllm/vllm-openai:v0.11.0"
            ]

        (new,) = await wait_until(new_pods, "the new Pod")
        control_plane.set_pod_status(new, pod_statuses.ready_status())
        await driver.wait_for_row("broken", "Ready", "1/1")


# -- admission ----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Deny", "Warn"])
async def test_what_a_policy_says_is_in_the_plan(
    control_plane: ControlPlane, namespace: str, policy: MakePolicy, action: str
) -> None:
    create_foreign(control_plane, namespace)
    policy("object.spec.replicas <= 5", action)
    async with open_connection(control_plane) as connection:
        await wait_until_applied(connection, namespace, "chat")
    async with running_app(control_plane, namespace, size=(120, 40)) as driver:
        form = await open_form(driver, namespace, "chat")
        await retype(driver, "replicas", "9")
        dialog = await plan(driver)
        assert dialog.plan is not None
        await wait_for_texts(driver, "at most 5 replicas")
        if action == "Warn":
            await save(driver)
            return
        await driver.pilot.press("y")
        await wait_for_texts(driver, "It cannot be saved")
        await driver.pilot.press("n")
        await wait_for(driver.pilot, lambda: driver.app.screen is form, "the form")
        assert form.form.get_text("replicas") == "9"
    assert get_deployment(control_plane, namespace, "chat")["spec"]["replicas"] == 1


# -- two clients --------------------------------------------------------------------------------


async def test_another_field_of_another_client_is_merged(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    async with running_app(control_plane, namespace) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, "memory", "768Mi")
        set_image(control_plane, namespace, "chat", "vllm/vllm-openai:theirs")
        await wait_for_texts(driver, "kubectl-set changed Image")
        await plan(driver)
        await save(driver)
    container = container_of(get_deployment(control_plane, namespace, "chat"))
    assert container["image"] == "vllm/vllm-openai:theirs"
    assert container["resources"]["requests"]["memory"] == "768Mi"


@pytest.mark.parametrize("when", ["form", "plan"])
async def test_the_same_field_of_another_client_is_asked_about(
    control_plane: ControlPlane, namespace: str, when: str
) -> None:
    create_foreign(control_plane, namespace)
    async with running_app(control_plane, namespace, size=(120, 40)) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, "image", "mine:1")
        if when == "plan":
            await plan(driver)
        set_image(control_plane, namespace, "chat", "vllm/vllm-openai:theirs")
        await wait_until_known(driver, control_plane, namespace, "chat")
        if when == "form":
            await wait_for_texts(driver, "Others changed 1 field that you changed, too")
            await driver.pilot.press("ctrl+s")
        await wait_for_texts(
            driver, "Now: vllm/vllm-openai:theirs, changed by kubectl-set", "Yours: mine:1"
        )
        stored = container_of(get_deployment(control_plane, namespace, "chat"))
        assert stored["image"] == "vllm/vllm-openai:theirs"
        await driver.pilot.press("m")
        await wait_for(
            driver.pilot,
            lambda: isinstance(driver.app.screen, EditDialog) and driver.app.screen.is_plan_shown,
            "the plan",
        )
        await save(driver)
    assert container_of(get_deployment(control_plane, namespace, "chat"))["image"] == "mine:1"


# -- the API server is lost ---------------------------------------------------------------------


class KillingChangeService(ClusterChangeService):
    """Kills the API server between the confirmation and the answer, once."""

    plane: ControlPlane | None = None
    save_count = 0

    async def save_edit(
        self, plan: EditPlan, inventory: Inventory, *, takes_over: bool = False
    ) -> SaveResult:
        KillingChangeService.save_count += 1
        if (plane := KillingChangeService.plane) is not None:
            KillingChangeService.plane = None
            await asyncio.to_thread(plane.kill, "kube-apiserver")
        return await super().save_edit(plan, inventory, takes_over=takes_over)


async def test_a_lost_api_server_keeps_the_form_and_nothing_is_written_twice(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    before = get_deployment(control_plane, namespace, "chat")
    KillingChangeService.plane, KillingChangeService.save_count = control_plane, 0
    async with running_app(
        control_plane, namespace, change_service_class=KillingChangeService
    ) as driver:
        form = await open_form(driver, namespace, "chat")
        await retype(driver, "image", "mine:1")
        await plan(driver)
        await driver.pilot.press("y")
        await wait_for_texts(driver, "nothing can be saved")
        assert form.form.get_text("image") == "mine:1"
        await asyncio.to_thread(control_plane.start)
        await wait_for(driver.pilot, lambda: dialog_of(driver).is_plan_shown, "the plan")
        assert KillingChangeService.save_count == 1
        stored = get_deployment(control_plane, namespace, "chat")
        assert stored["metadata"]["generation"] == before["metadata"]["generation"]
        await save(driver)
    stored = get_deployment(control_plane, namespace, "chat")
    assert container_of(stored)["image"] == "mine:1"
    assert stored["metadata"]["generation"] == before["metadata"]["generation"] + 1


def dialog_of(driver: AppDriver) -> EditDialog:
    return next(one for one in driver.app.screen_stack if isinstance(one, EditDialog))


# -- what the server refuses --------------------------------------------------------------------


async def test_a_permission_lost_before_saving_is_reported_and_the_form_is_kept(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    verbs = ["get", "list", "watch", "patch", "update"]
    apps = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"]}
    core = {"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch", "create"]}
    control_plane.grant("viewer", [{**apps, "verbs": verbs}, core], namespace=namespace)
    async with running_app(control_plane, namespace, user="viewer") as driver:
        form = await open_form(driver, namespace, "chat")
        await retype(driver, "image", "mine:1")
        control_plane.grant("viewer", [{**apps, "verbs": verbs[:3]}, core], namespace=namespace)
        await driver.pilot.press("ctrl+s")
        await wait_for_texts(driver, "It cannot be saved")
        await driver.pilot.press("y", "n")
        await wait_for(driver.pilot, lambda: driver.app.screen is form, "the form")
    stored = container_of(get_deployment(control_plane, namespace, "chat"))
    assert stored["image"] == SERVER["image"]


async def test_an_exceeded_quota_is_in_the_plan(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    quota = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, quota)
    await wait_until(
        lambda: control_plane.request("GET", f"{path}/pods")["status"].get("used"), "the quota"
    )
    async with running_app(control_plane, namespace, size=(120, 40)) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, "replicas", "3")
        await plan(driver)
        await wait_for_texts(driver, "exceeded quota: pods")


async def test_an_autoscaler_made_by_another_client_takes_replicas_out_of_the_edit(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    async with running_app(control_plane, namespace, size=(120, 40)) as driver:
        await open_form(driver, namespace, "chat")
        await retype(driver, "replicas", "3")
        await plan(driver)
        control_plane.kubectl("autoscale", "-n", namespace, "deployment/chat", "--min=1", "--max=4")
        await driver.pilot.press("n")
        await wait_for_texts(driver, "set by the autoscaler (HPA 1-4)", "No changes")


async def test_changes_of_services_and_routes_by_others_are_shown_at_once(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign(control_plane, namespace)
    deployment = get_deployment(control_plane, namespace, "chat")
    selector = deployment["spec"]["selector"]["matchLabels"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    backend = {"service": {"name": "front", "port": {"number": 80}}}
    paths = [{"path": "/chat", "pathType": "Prefix", "backend": backend}]
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "door"},
        "spec": {"rules": [{"host": "a.test", "http": {"paths": paths}}]},
    }
    apply(control_plane, namespace, to_list(service, ingress))
    async with running_app(control_plane, namespace) as driver:
        form = await open_form(driver, namespace, "chat")
        await retype(driver, "cpu", "3")
        control_plane.kubectl(
            *("annotate", "-n", namespace, "ingress/door", "nginx.ingress.kubernetes.io/x=1")
        )
        await wait_for_texts(driver, "kubectl-annotate changed Ingress door")
        control_plane.kubectl("label", "-n", namespace, "service/front", "team=chat")
        await wait_for_texts(driver, "kubectl-label changed Service front")
        control_plane.kubectl("delete", "-n", namespace, "service/front")
        await wait_for_texts(driver, "Service front was deleted")
        assert form.form.get_text("cpu") == "3"
