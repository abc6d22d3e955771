"""Operations by keyboard on a real control plane: rollout, permissions, changes by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_app import AppDriver
from tests.control_plane.test_create_wizard import get_deployment, running_app, wait_for_texts
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_roles import rules_of
from tests.tui.helpers import wait_for
from tests.waiting import wait_until
from tui.screens.operation_dialog import OperationDialog
from tui.screens.serving import ServingScreen

KEYS_AND_VERBS = {
    "s": "patch on deployments.apps",
    "r": "patch on deployments.apps",
    "S": "patch on deployments.apps",
    "P": "patch on deployments.apps",
    "R": "patch on deployments.apps",
    "ctrl+d": "delete on deployments.apps",
    "e": "patch on deployments.apps",
}
PAGE_KEYS_AND_VERBS = KEYS_AND_VERBS | {
    "E": "patch on deployments.apps",
    "x": "create on pods/exec",
}
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Method and path of each request that changes something, or would as a dry run, and that the
    API server forbade."""
    found: list[str] = []
    send = Connection.request

    async def record(self: Connection, method: str, path: str, **options: object) -> ApiResponse:
        try:
            return await send(self, method, path, **options)  # type: ignore[arg-type]
        except ApiError as error:
            if method != "GET" and error.code == 403:
                found.append(f"{method} {path}")
            raise

    monkeypatch.setattr(Connection, "request", record)
    return found


@asynccontextmanager
async def app_with_llama(
    plane: ControlPlane, namespace: str, user: str = "admin"
) -> AsyncIterator[AppDriver]:
    """The list with one serving of two ready Pods."""
    plane.create_deployment(namespace, "llama", replicas=2)
    async with running_app(plane, namespace, user=user, size=(120, 40)) as driver:
        await driver.wait_for_row("llama", "Ready", "2/2")
        yield driver


async def test_a_serving_is_restarted_from_the_list(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with app_with_llama(control_plane, namespace) as driver:
        before = {
            one["metadata"]["uid"] for one in control_plane.wait_for_pods(namespace, "llama", 2)
        }
        await driver.pilot.press("r")
        await wait_for_texts(driver, f"Restart Deployment {namespace}/llama", "rollout restart")
        await driver.pilot.press("y")
        await wait_for_texts(driver, f"Deployment {namespace}/llama restarts.", "requested")

        def pods() -> set[str]:
            view = driver.app.servings.selected_serving
            return {one.uid for one in view.pods} if view is not None else set()

        await wait_until(lambda: len(pods()) == 2 and not pods() & before, "two other Pods")
        await driver.wait_for_row("llama", "Ready", "2/2")
    template = get_deployment(control_plane, namespace)["spec"]["template"]
    assert RESTARTED_AT in template["metadata"]["annotations"]


async def test_a_scaled_serving_is_put_back(control_plane: ControlPlane, namespace: str) -> None:
    async with app_with_llama(control_plane, namespace) as driver:
        await driver.pilot.press("s")
        await wait_for_texts(driver, "It has 2 replicas already.")
        await driver.pilot.press("3")
        await wait_for_texts(driver, "2 → 3 replicas", "--replicas=3")
        await driver.pilot.press("enter")
        await wait_for_texts(driver, "is scaled to 3 replicas. u undoes it.")
        await driver.wait_for_row("llama", "Ready", "3/3")
        await driver.pilot.press("u")
        await wait_for_texts(driver, "Undo: scale", "3 → 2 replicas")
        await driver.pilot.press("y")
        await driver.wait_for_row("llama", "Ready", "2/2")


async def test_a_viewer_is_told_the_missing_verb_and_nothing_forbidden_is_sent(
    control_plane: ControlPlane, namespace: str, forbidden: list[str]
) -> None:
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    async with app_with_llama(control_plane, namespace, user="viewer") as driver:
        for key, verb in KEYS_AND_VERBS.items():
            await driver.pilot.press(key)
            await wait_for_texts(driver, f"Needs {verb} in namespace {namespace}.")
        assert driver.app.screen is driver.app.servings
        await driver.pilot.press("enter")
        await wait_until(lambda: isinstance(driver.app.screen, ServingScreen), "the page")
        for key, verb in PAGE_KEYS_AND_VERBS.items():
            on_pod = key == "ctrl+d" and driver.app.screen._selected_pod is not None  # type: ignore[attr-defined]
            await driver.pilot.press(key)
            verb = "delete on pods" if on_pod else verb
            await wait_for_texts(driver, f"Needs {verb} in namespace {namespace}.")
    assert forbidden == []


async def test_no_key_of_an_operator_sends_what_is_forbidden(
    control_plane: ControlPlane, namespace: str, forbidden: list[str]
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with app_with_llama(control_plane, namespace, user="member") as driver:
        servings, pilot = driver.app.servings, driver.pilot
        for key in ("s", "r", "S", "P", "ctrl+d", "e"):
            await pilot.press(key)
            await wait_until(lambda: driver.app.screen is not servings, f"what {key} opens")
            if isinstance(dialog := driver.app.screen, OperationDialog):
                await wait_for(pilot, lambda dialog=dialog: dialog._is_plan_shown, "the plan")
                assert dialog._operations.targets[0].plan is not None
                assert not dialog._operations.targets[0].plan.blocked, key
            await pilot.press("escape")
            await wait_until(lambda: driver.app.screen is servings, "the list")
    assert forbidden == []


async def test_a_permission_that_is_granted_meanwhile_needs_no_restart(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer"))
    async with app_with_llama(control_plane, namespace, user="member") as driver:
        await driver.pilot.press("r")
        await wait_for_texts(driver, "Needs patch on deployments.apps")
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/member"
        rules = rules_of("viewer", "operator")
        control_plane.request(
            "PATCH", path, {"rules": rules}, content_type="application/merge-patch+json"
        )
        await asyncio.to_thread(control_plane.wait_until_allowed, "member", rules, namespace)
        # As after some minutes: what is known of the permissions is old.
        service = driver.app.change_service
        assert service is not None
        monkeypatch.setattr(service._access, "_max_age", 0.0)  # type: ignore[attr-defined]
        driver.app.servings.operation_flow._requested_permissions.clear()

        async def pressed() -> bool:
            await driver.pilot.press("r")
            return f"Restart Deployment {namespace}/llama" in driver.screen_text

        while not await pressed():
            await asyncio.sleep(0)
        await wait_for_texts(driver, "rollout restart")


async def test_a_change_by_another_client_gets_a_new_plan(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with app_with_llama(control_plane, namespace) as driver:
        await driver.pilot.press("S")
        await wait_for_texts(driver, "All 2 Pods stop")
        await asyncio.to_thread(
            control_plane.kubectl, "scale", "-n", namespace, "deployment/llama", "--replicas=3"
        )

        def is_planned_again() -> bool:
            dialog = driver.app.screen
            assert isinstance(dialog, OperationDialog)
            [target] = dialog._operations.targets
            return dialog._is_plan_shown and target.plan is not None and target.plan.replicas == 3

        await wait_for(driver.pilot, is_planned_again, "the plan for three replicas")
        await wait_for_texts(driver, "the plan was made again")
        await driver.pilot.press("y")
        await wait_for_texts(driver, "is stopped", "u undoes it.")
        await driver.pilot.press("u")
        await wait_for_texts(driver, "Undo: start", "3 replicas")


async def test_a_serving_that_is_deleted_meanwhile(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with app_with_llama(control_plane, namespace) as driver:
        await driver.pilot.press("r")
        await wait_for_texts(driver, "rollout restart")
        await asyncio.to_thread(
            control_plane.kubectl, "delete", "-n", namespace, "deployment/llama"
        )
        await wait_for_texts(driver, f"Deployment {namespace}/llama does not exist.", "Close")
