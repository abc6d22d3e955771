"""Operates edit mode in tests, on the demo cluster with the real change service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.demo.cluster import DemoCluster
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.forwarding.forwards import PortForwards
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.change_service import ClusterChangeService
from tui.log_service import ClusterLogService
from tui.ports.change_service import Inventory
from tui.screens.edit.edit_dialog import EditDialog
from tui.screens.edit.edit_screen import EditScreen

Json = dict[str, Any]
KEY = NamespacedName("chat", "llama-31-8b")
"""A serving of the demo that is Ready."""


class GatedChangeService(ClusterChangeService):
    """Plans and saves when the test says so, and counts the saves."""

    plan_gate: asyncio.Event | None = None
    save_gate: asyncio.Event | None = None
    plan_error: Exception | None = None
    import_error: Exception | None = None
    save_error: Exception | None = None
    save_count = 0
    import_count = 0

    async def import_serving(self, key: NamespacedName, *, from_cache: bool = False) -> Any:
        self.import_count += 1
        if self.import_error is not None:
            raise self.import_error
        return await super().import_serving(key, from_cache=from_cache)

    async def plan_edit(
        self,
        edit: Edit,
        inventory: Inventory,
        *,
        takes_over: bool = False,
        earlier: EditPlan | None = None,
    ) -> EditPlan:
        if self.plan_gate is not None:
            await self.plan_gate.wait()
        if self.plan_error is not None:
            raise self.plan_error
        return await super().plan_edit(edit, inventory, takes_over=takes_over, earlier=earlier)

    async def save_edit(
        self, plan: EditPlan, inventory: Inventory, *, takes_over: bool = False
    ) -> SaveResult:
        self.save_count += 1
        if self.save_gate is not None:
            await self.save_gate.wait()
        if self.save_error is not None:
            raise self.save_error
        return await super().save_edit(plan, inventory, takes_over=takes_over)


class EditDriver:
    """The app on a demo cluster."""

    def __init__(
        self, demo: DemoCluster, pilot: Pilot[Any], changes: GatedChangeService, drafts: Path
    ) -> None:
        self.demo = demo
        self.pilot = pilot
        self.changes = changes
        self.drafts = drafts
        self.other: Connection
        """The connection of another client."""

    @property
    def app(self) -> ServedeckApp:
        assert isinstance(self.pilot.app, ServedeckApp)
        return self.pilot.app

    @property
    def text(self) -> str:
        """The screen with its line breaks as blanks."""
        return " ".join(screen_text(self.app).split())

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        await wait_for(self.pilot, condition, what)

    async def wait_for_text(self, *texts: str) -> str:
        return await wait_for_text(self.pilot, *texts)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    # -- the form -----------------------------------------------------------------------------

    async def open(self, key: NamespacedName = KEY) -> EditScreen:
        """Open the form of a serving, by keys."""
        servings = self.app.servings
        await self.wait_for(lambda: servings.table.select(key), f"{key} in the list")
        await self.press("e")
        await self.wait_for(lambda: self.is_open, "the form")
        return self.form

    @property
    def form(self) -> EditScreen:
        return next(one for one in self.app.screen_stack if isinstance(one, EditScreen))

    @property
    def is_open(self) -> bool:
        found = [one for one in self.app.screen_stack if isinstance(one, EditScreen)]
        return bool(found) and bool(found[0].form.fields)

    @property
    def dialog(self) -> EditDialog:
        return next(one for one in self.app.screen_stack if isinstance(one, EditDialog))

    async def focus(self, path: str) -> None:
        """Move the focus to a field; without 40 tab keys, which would take most of a test."""
        self.form.form.focus_path(path)
        await self.wait_for(lambda: getattr(self.form.focused, "path", "") == path, path)

    async def retype(self, path: str, text: str) -> None:
        """Replace the text of a field."""
        await self.focus(path)
        await self.press("home", "ctrl+k", *text)

    async def plan(self) -> EditDialog:
        """Press the key that saves, and wait for the plan."""
        await self.press("ctrl+s")
        await self.wait_for(self._is_planned, "the plan")
        return self.dialog

    def _is_planned(self) -> bool:
        return isinstance(self.app.screen, EditDialog) and self.app.screen.is_plan_shown

    # -- the cluster --------------------------------------------------------------------------

    async def read(self, key: NamespacedName = KEY) -> Json:
        """The Deployment as it is stored."""
        return await self.other.get_json(_path(key))

    async def change(
        self,
        change: Callable[[Json], object],
        *,
        manager: str = "kubectl-edit",
        key: NamespacedName = KEY,
    ) -> None:
        """Another client changes the Deployment; wait until the list has it."""
        deployment = await self.read(key)
        change(deployment)
        stored = await self.other.request(
            "PUT", _path(key), params={"fieldManager": manager}, body=deployment
        )
        generation = stored.json()["metadata"]["generation"]

        def is_seen() -> bool:
            known = self.app.source.fleet.deployment(key)
            return known is not None and known.metadata.generation >= generation

        await self.wait_for(is_seen, "the change in the list")

    async def change_object(self, path: str, change: Callable[[Json], object]) -> None:
        """Another client changes an object of the serving."""
        found = await self.other.get_json(path)
        change(found)
        await self.other.request("PUT", path, params={"fieldManager": "kubectl-edit"}, body=found)

    async def set_image(self, image: str, *, manager: str = "kubectl-edit") -> None:
        """Another client changes the image."""
        await self.change(lambda one: container_of(one).update(image=image), manager=manager)

    async def set_description(self, text: str) -> None:
        """Another client changes the description, which does not change the generation."""
        await self.other.request(
            "PATCH",
            _path(KEY),
            params={"fieldManager": "kubectl-annotate"},
            body={"metadata": {"annotations": {"servedeck.dev/description": text}}},
            content_type="application/merge-patch+json",
        )

    async def set_replicas(self, replicas: int) -> None:
        """Another client scales the serving."""
        await self.change(lambda one: one["spec"].update(replicas=replicas))

    async def delete(self, key: NamespacedName = KEY) -> None:
        """Another client deletes the serving; wait until the list has it."""
        await self.other.request("DELETE", _path(key))
        await self.wait_for(lambda: self.app.source.fleet.view(key) is None, "the deletion")

    async def create(self, deployment: Json) -> None:
        """Another client creates the serving again."""
        created = intent(deployment)
        for name in ("uid", "creationTimestamp"):
            created["metadata"].pop(name, None)
        await self.other.request("POST", _path(KEY).rpartition("/")[0], body=created)
        await self.wait_for(
            lambda: self.app.source.fleet.deployment(KEY) is not None, "the new Deployment"
        )


def _path(key: NamespacedName) -> str:
    return f"/apis/apps/v1/namespaces/{key.namespace}/deployments/{key.name}"


def intent(deployment: Json) -> Json:
    """What a client wants of an object: without its status and what the server notes."""
    found = deepcopy(deployment)
    found.pop("status", None)
    for name in ("managedFields", "resourceVersion", "generation"):
        found["metadata"].pop(name, None)
    return found


def container_of(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def image_of(deployment: Json) -> str:
    image: str = container_of(deployment)["image"]
    return image


@asynccontextmanager
async def run_app(
    demo: DemoCluster, drafts: Path, size: tuple[int, int] = (100, 40)
) -> AsyncIterator[EditDriver]:
    """The app on a demo cluster whose clock stands still."""
    options = ConnectionOptions(kubeconfig=(demo.kubeconfig,))
    live = ClusterSession(replace(options, namespace=KEY.namespace), Settings())
    changes = GatedChangeService(lambda: live.connection, lambda: live.settings, drafts)
    app = ServedeckApp(
        live,
        ClusterLogService(lambda: live.connection),
        ClusterDetailService(lambda: live.connection),
        change_service=changes,
        port_forwards=PortForwards(lambda: live.connection, lambda key: live.fleet.view(key)),
    )
    other = await Connection.open(options)
    try:
        async with app.run_test(size=size) as pilot:
            driver = EditDriver(demo, pilot, changes, drafts)
            driver.other = other
            await driver.wait_for(lambda: app.servings.table.rows, "the list")
            # Autoscalers are listed after servings, and the form shows who sets the replicas.
            await driver.wait_for(lambda: live.state.settled, "all lists")
            yield driver
    finally:
        await live.close()
        await other.close()


def saved_drafts(driver: EditDriver) -> list[Path]:
    """The files of drafts, open or left."""
    return list(driver.drafts.glob("*.json"))
