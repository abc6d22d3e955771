"""Servings that are no Deployments: in the list, on their page, and what is off for them."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.fleet.views import NamespacedName
from servedeck.serving.endpoint import Endpoint
from tests.detail.objects import deployment
from tests.detail.workload_objects import (
    daemon_set,
    inference_service,
    leader_worker_set,
    plain_pod,
    ray_cluster,
    ray_service,
    rollout,
    stateful_set,
)
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import open_page
from tui.app import InitialPage
from tui.screens.pick_object import ObjectPicker
from tui.screens.serving import ServingScreen

STATEFUL = NamespacedName("team-a", "llama", "StatefulSet")
SIZE = (120, 40)


def serving(key: NamespacedName, **changes: Any):
    return fakes.serving(key.name, key=key, managed=False, **changes)


def source(*keys: NamespacedName) -> fakes.FakeSource:
    return fakes.FakeSource().add_views(*map(serving, keys))


async def test_the_kind_is_a_column_while_a_serving_is_no_deployment():
    shown = source(NamespacedName("team-a", "llama"))
    app = make_app(shown)
    async with app.run_test(size=SIZE) as pilot:
        screen = await wait_for_text(pilot, "llama")
        assert "KIND" not in screen
        shown.add_views(serving(STATEFUL))
        screen = await wait_for_text(pilot, "KIND")
        rows = [line for line in screen.splitlines() if " llama " in line]
        assert len(rows) == 2
        assert "Deployment" in rows[0]
        assert "StatefulSet" in rows[1]
        await pilot.press("slash", *"kind:stateful", "enter")
        await wait_for(pilot, lambda: len(app.servings._views) == 1, "one row")
        assert "KIND" in screen_text(app)
        await pilot.press("escape")
        shown.remove_view(STATEFUL)
        await wait_for(pilot, lambda: "KIND" not in screen_text(app), "no kinds")


async def test_a_stateful_set_cannot_be_cloned():
    app = make_app(source(STATEFUL))
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "llama")
        await pilot.press("C")
        await wait_for_text(pilot, "A StatefulSet is shown read-only.")
        assert app.screen is app.servings


@pytest.mark.parametrize(
    ("workload", "text"),
    [
        (stateful_set(), "PVC cache-llama-<ordinal>"),
        (leader_worker_set(), "Group Size"),
        (inference_service(), "gs://models/iris"),
        (plain_pod(), "vllm serve org/m"),
        (daemon_set(), "vllm serve org/m"),
        (rollout(), "Rollout is paused"),
        (ray_service(), "replica died"),
        (ray_cluster(), "Workers gpu"),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
async def test_the_page_of_another_kind(workload: dict[str, Any], text: str):
    kind, name = workload["kind"], workload["metadata"]["name"]
    key = NamespacedName("team-a", name, kind)
    # A Deployment of the same name is another serving.
    other = deployment(name, image="other:v1")
    app = make_app(source(key), detail_service=FakeDetailService(workload, other))
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app)
        screen = await wait_for_text(
            pilot, f"{kind} team-a/{name}  ✓ Ready", f"{kind}  shown read-only", text
        )
        assert "other:v1" not in screen
        await pilot.press("7")
        await wait_for_text(pilot, f"The revisions of a {kind} are not shown")
        await pilot.press("8")
        await wait_for_text(pilot, f"{kind}/{name}", f"kind: {kind}")
        await pilot.press("3")
        await wait_for_text(pilot, "2 Pods  inference-server", "following")


@pytest.mark.parametrize("kind", ["RayService", "InferenceService"])
async def test_a_kind_without_pods_says_so_where_pods_are_looked_for(kind: str):
    key = NamespacedName("team-a", "llms", kind)
    forward = "kubectl port-forward -n team-a service/llms-serve-svc 8000:8000"
    endpoint = Endpoint(port_forward_command=forward)
    shown = fakes.FakeSource().add_views(serving(key, pods=(), pods_known=False, endpoint=endpoint))
    app = make_app(shown, detail_service=FakeDetailService(ray_service()))
    sentence = f"{kind} is shown by what its controller reports, without its Pods."
    async with app.run_test(size=(160, 40)) as pilot:
        await wait_for_text(pilot, "llms")
        await pilot.press("space")
        await wait_for_text(pilot, sentence)
        await pilot.press("escape", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        await pilot.press("3")
        screen = await wait_for_text(pilot, sentence, "nothing to follow")
        assert "Pod deleted" not in screen


async def test_the_objects_begin_with_the_workload():
    app = make_app(source(STATEFUL), detail_service=FakeDetailService(stateful_set()))
    async with app.run_test(size=SIZE) as pilot:
        await open_page(pilot, app)
        await pilot.press("8")
        await wait_for_text(pilot, "kind: StatefulSet")
        await pilot.press("o")
        await wait_for(pilot, lambda: isinstance(app.screen, ObjectPicker), "the picker")
        await wait_for_text(pilot, "Objects of StatefulSet team-a/llama", "StatefulSet/llama")


async def test_without_permission_the_page_says_which_is_missing():
    details = FakeDetailService(stateful_set())
    sentence = "Not allowed to list statefulsets.apps."
    details.missing_permissions["statefulsets.apps"] = sentence
    app = make_app(source(STATEFUL), detail_service=details)
    async with app.run_test(size=SIZE) as pilot:
        await open_page(pilot, app)
        await wait_for_text(pilot, sentence, "StatefulSet  shown read-only")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("", "Deployment"), ("statefulset", "StatefulSet"), ("pod", "")],
)
async def test_the_page_to_open_may_name_the_kind(kind: str, expected: str):
    shown = source(STATEFUL, NamespacedName("team-a", "llama"))
    app = make_app(shown, initial_page=InitialPage("llama", "", "", kind))
    async with app.run_test(size=SIZE) as pilot:
        if not expected:
            await wait_for_text(pilot, "There is no serving llama")
            return
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        assert app.screen.key.kind == expected


async def test_the_copied_link_names_the_kind():
    app = make_app(source(STATEFUL), detail_service=FakeDetailService(stateful_set()))
    async with app.run_test(size=(160, 40)) as pilot:
        await open_page(pilot, app)
        await pilot.press("Y")
        await wait_for_text(pilot, "servedeck open team-a/llama --tab overview --kind StatefulSet")
