"""Servings and plans for the tests of operations."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from servedeck.changes.operations.operation import (
    ObjectPatch,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import Deployment, DeploymentMeta
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, wait_for_text
from tui.app import ServedeckApp
from tui.screens.operation_dialog import OperationDialog

LLAMA = NamespacedName("team-a", "llama-8b")
MISTRAL = NamespacedName("team-b", "mistral")
QWEN = NamespacedName("team-a", "qwen")
CONFIRM = "Restart Deployment team-a/llama-8b"


def make_source(*views: ServingView) -> fakes.FakeSource:
    """Three servings, or others, each with its Deployment at generation 1."""
    servings = views or tuple(
        fakes.serving(one.name, one.namespace) for one in (LLAMA, MISTRAL, QWEN)
    )
    source = fakes.FakeSource().add_views(*servings)
    for view in servings:
        if view.key.is_deployment:
            set_generation(source, view.key, 1)
    return source


def set_generation(
    source: fakes.FakeSource, key: NamespacedName, generation: int, uid: str = "uid"
) -> None:
    """The Deployment as the watch shows it."""
    meta = DeploymentMeta(name=key.name, namespace=key.namespace, uid=uid, generation=generation)
    source.fleet.deployments[key] = Deployment(metadata=meta)
    source.notify_changed([key])


def operation(kind: OperationKind, key: NamespacedName = LLAMA, **others: Any) -> Operation:
    return Operation(kind, key.namespace, key.name, **others)


def patch_plan(made: Operation, *effects: str, generation: int = 1, **others: Any) -> OperationPlan:
    """A plan that patches the Deployment as it is at a generation."""
    live = {"metadata": {"uid": "uid", "generation": generation}, "spec": {}}
    return OperationPlan(
        made,
        patch=ObjectPatch(made.path, live, {"spec": {}}),
        effects=effects or ("It changes.",),
        command=f"kubectl change {made.name}",
        **others,
    )


def operations_app(
    change_service: FakeChangeService, source: fakes.FakeSource | None = None, **options: Any
) -> ServedeckApp:
    return make_app(source or make_source(), change_service=change_service, **options)


async def open_dialog(pilot: Pilot[None], key: str, *texts: str) -> OperationDialog:
    """Press a key on the list, and wait until the dialog shows the texts."""
    await wait_for_text(pilot, "NAME")
    await pilot.press(key)
    await wait_for_text(pilot, *texts)
    dialog = pilot.app.screen
    assert isinstance(dialog, OperationDialog)
    return dialog
