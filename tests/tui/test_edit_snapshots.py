"""Snapshots of edit mode. `pytest --snapshot-update` updates them; look at each that changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.changes.draft_merge import copy_value
from servedeck.changes.draft_store import DraftStore
from servedeck.changes.edit_draft import EditDraft
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.field_changes import FieldConflict
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService, node_capacity
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tests.tui.test_snapshots import LARGE, MEDIUM, SMALL, Compare, size_id
from tui.app import ServedeckApp
from tui.screens.edit.edit_screen import EditScreen

Json = dict[str, Any]
KEY = NamespacedName("team-a", "llama-chat")
SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
WRITTEN_AT = fakes.ago(minutes=12).timestamp()


def deployment(image: str = "vllm/vllm-openai:v0.10.0", generation: int = 3) -> Json:
    """A Deployment that Helm made, with a secret in its command line and in a variable."""
    container: Json = {
        "name": "server",
        "image": image,
        "command": ["vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct"],
        "args": ["--max-model-len", "32768", "--api-key", "sk-abcdefghijklmnopqrstuvwx"],
        "ports": [{"containerPort": 8000}],
        "env": [
            {"name": "HF_TOKEN", "value": "hf_abcdefghijklmnopqrstuvwxyz"},
            {"name": "LEVEL", "value": "debug"},
        ],
        "resources": {
            "requests": {"cpu": "8", "memory": "48Gi", "nvidia.com/gpu": "1"},
            "limits": {"nvidia.com/gpu": "1"},
        },
    }
    labels = {"app": KEY.name}
    manager = {
        "manager": "kubectl-edit",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": fakes.ago(seconds=40).isoformat().replace("+00:00", "Z"),
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                "f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': {"f:image": {}}}}}
            }
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": "uid-1",
            "generation": generation,
            "labels": labels,
            "managedFields": [manager] if generation > 3 else [],
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
        "status": {"availableReplicas": 2, "readyReplicas": 2, "replicas": 2},
    }


@pytest.fixture
def app(change_service: FakeChangeService) -> ServedeckApp:
    change_service.objects[KEY] = [deployment()]
    view = fakes.serving(KEY.name, KEY.namespace, ready=2, desired=2)
    source = fakes.FakeSource().add_views(view)
    return make_app(source, change_service=change_service)


def edit(
    *steps: tuple[str, str] | str | Callable[[EditScreen], Any], then: tuple[str, ...]
) -> Callable[[Pilot[Any]], Any]:
    """Open the form; type texts into fields, press keys or call functions."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, KEY.name)
        await pilot.press("e")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, EditScreen), "the form")
        form = pilot.app.screen
        assert isinstance(form, EditScreen)
        await wait_for(pilot, lambda: form.form.fields, "the fields")
        for step in steps:
            if isinstance(step, str):
                await pilot.press(step)
            elif isinstance(step, tuple):
                path, text = step
                form.form.focus_path(path)
                await pilot.pause()
                await pilot.press("home", "ctrl+k", *text)
            else:
                await step(form)
            await pilot.pause()
        await wait_for_text(pilot, *then)

    return run


def others_change(change_service: FakeChangeService) -> Callable[[EditScreen], Any]:
    """Others change the image while the form is open."""

    async def run(form: EditScreen) -> None:
        change_service.objects[KEY] = [deployment("vllm/vllm-openai:v0.11.0", 4)]
        await form.take_over(import_objects.import_objects(change_service.objects[KEY]))

    return run


@SIZES
def test_changes_and_an_error(
    snap_compare: Compare, app: ServedeckApp, size: tuple[int, int]
) -> None:
    run = edit(
        ("image", "vllm/vllm-openai:v0.11.0"),
        ("memory", "48 GB"),
        ("cpu", "16"),
        then=("3 changes", "1 error"),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_what_others_changed(
    snap_compare: Compare,
    app: ServedeckApp,
    change_service: FakeChangeService,
    size: tuple[int, int],
) -> None:
    run = edit(("cpu", "16"), others_change(change_service), then=("kubectl-edit changed Image",))
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_question_about_a_conflict(
    snap_compare: Compare,
    app: ServedeckApp,
    change_service: FakeChangeService,
    size: tuple[int, int],
) -> None:
    run = edit(
        ("image", "vllm/vllm-openai:v0.12.0"),
        others_change(change_service),
        "ctrl+s",
        then=("changed by kubectl-edit 40s ago",),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_a_plan_that_restarts_pods(
    snap_compare: Compare, app: ServedeckApp, size: tuple[int, int]
) -> None:
    run = edit(
        ("image", "vllm/vllm-openai:v0.11.0"),
        ("replicas", "3"),
        ("env.0.value", "hf_zyxwvutsrqponmlkjihgfedcba"),
        "ctrl+s",
        then=("restarts Pods", "then 3 Pods restart"),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_a_plan_without_room_beside_the_old_pods(
    snap_compare: Compare,
    app: ServedeckApp,
    change_service: FakeChangeService,
    size: tuple[int, int],
) -> None:
    change_service.inventory.nodes = [node_capacity("gpu-node-1", 0)]
    run = edit(
        ("image", "vllm/vllm-openai:v0.11.0"),
        "ctrl+s",
        then=("r  Use rollout=replace: an old Pod stops first",),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_a_plan_with_a_take_over(
    snap_compare: Compare,
    app: ServedeckApp,
    change_service: FakeChangeService,
    size: tuple[int, int],
) -> None:
    path = ".spec.template.spec.containers[server].image"
    change_service.edit_conflicts = (FieldConflict(path, "helm", "v0.10.0", "v0.11.0"),)
    run = edit(
        ("image", "vllm/vllm-openai:v0.11.0"),
        "ctrl+s",
        then=("helm has set Image; servedeck takes it over.",),
    )
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_the_question_about_a_draft(
    snap_compare: Compare,
    app: ServedeckApp,
    change_service: FakeChangeService,
    size: tuple[int, int],
) -> None:
    draft = EditDraft(import_objects.import_objects([deployment()]).spec).draft
    changed = deepcopy(draft)
    changed.texts["image"] = "vllm/vllm-openai:v0.11.0"
    copy_value(changed, draft, ("image",))
    store = change_service.edit_draft_store(KEY)
    assert isinstance(store, DraftStore)
    file = store.new_file()
    file.write(draft.to_saved_dict())
    file.release()
    os.utime(file.path, (WRITTEN_AT, WRITTEN_AT))

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, KEY.name)
        await pilot.press("e")
        await wait_for_text(pilot, "Unsaved changes of", "12m ago")

    assert snap_compare(app, terminal_size=size, run_before=run)
