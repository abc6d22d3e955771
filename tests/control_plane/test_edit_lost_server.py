"""The API server is killed at each step of a save, before or after it executed the request."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import SaveResult, SaveState, resolve_unknown, save_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, ConnectionLostError
from servedeck.serving.objects.update_merge import has_change
from servedeck.serving.spec.types import Transformer
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_foreign_servings import NAME
from tests.control_plane.test_set import create_own
from tests.waiting import wait_until, with_timeout

TRANSFORMER = Transformer(image="example.com/transformer:1", port=8080)
"""What is added: it is written to the Deployment and to the Service."""


def is_observed(plane: ControlPlane, namespace: str) -> bool:
    """Whether the Deployment controller has acted on the new Deployment: a write that it comes
    before is refused, and sent again."""
    found = plane.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")
    has_revision = "deployment.kubernetes.io/revision" in found["metadata"].get("annotations", {})
    return has_revision and found.get("status", {}).get("observedGeneration") == 1


class Step(NamedTuple):
    """A request of a save, by what it asks: a number would move where a read is repeated."""

    method: str
    path: str
    is_dry_run: bool
    nth: int
    """How many the same there were before it."""


class KilledServer:
    """Kills the API server at a request of a connection; None: at none."""

    def __init__(
        self, plane: ControlPlane, connection: Connection, at: Step | None, *, executes: bool
    ) -> None:
        self.steps: list[Step] = []
        """The requests that were made."""
        request = connection.request

        async def killed(method: str, path: str, **options: Any) -> Any:
            is_dry_run = ("dryRun", "All") in options.get("params", ())
            nth = sum(one[:3] == (method, path, is_dry_run) for one in self.steps)
            self.steps.append(Step(method, path, is_dry_run, nth))
            if self.steps[-1] == at:
                if executes:
                    await request(method, path, **options)
                await asyncio.to_thread(plane.kill, "kube-apiserver")
                if executes:
                    raise ConnectionLostError("The connection was lost.")
            return await request(method, path, **options)

        connection.request = killed  # type: ignore[method-assign]

    @property
    def writes(self) -> list[Step]:
        """What was sent and is no dry run."""
        return [one for one in self.steps if one.method != "GET" and not one.is_dry_run]


async def make_plan(connection: Connection, edit: Edit) -> EditPlan:
    inventory = ClusterInventory(connection, edit.base.spec.namespace)
    inventory.start()
    try:
        await inventory.wait_until_listed()
        return await plan_edit(connection, edit, inventory)
    finally:
        await inventory.close()


async def save(connection: Connection, plan: EditPlan) -> SaveResult:
    inventory = ClusterInventory(connection, plan.edit.base.spec.namespace)
    return await save_edit(connection, plan, inventory)


async def save_and_kill(
    plane: ControlPlane, plan: EditPlan, at: Step | None, *, executes: bool
) -> tuple[SaveResult | None, KilledServer]:
    """The result of a save in which the API server is killed, None if it raised an error."""
    async with open_connection(plane) as connection:
        inventory = ClusterInventory(connection, plan.edit.base.spec.namespace)
        server = KilledServer(plane, connection, at, executes=executes)
        try:
            return await save_edit(connection, plan, inventory), server
        except ClusterError:
            return None, server


async def restart(plane: ControlPlane, connection: Connection, namespace: str) -> None:
    """Start the API server again; a moment after it is ready it answers for all kinds."""
    await asyncio.to_thread(plane.start)

    async def wait() -> None:
        while True:
            try:
                await begin_edit(connection, namespace, NAME)
            except ClusterError:
                await asyncio.sleep(0.1)
            else:
                return

    await with_timeout(wait())


def changed_kinds(plan: EditPlan) -> set[str]:
    """Kinds of the objects that the plan writes."""
    return {one.ref.kind for one in plan.change_plan.writes if one.body is not None}


def written_kinds(plane: ControlPlane, plan: EditPlan) -> set[str]:
    """Kinds of the objects of the plan that have its change."""
    return {
        write.ref.kind
        for write, changed in zip(plan.change_plan.writes, plan.change.changed, strict=True)
        if write.body is not None
        and write.live is not None
        and has_change(write.live, changed, plane.request("GET", write.ref.path))
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the API server is started again for each request of a save
@pytest.mark.parametrize("executes", [False, True], ids=["before", "after"])
async def test_what_is_said_of_a_save_is_true_and_the_rest_is_saved_after_a_lost_server(
    control_plane: ControlPlane, namespace: str, executes: bool
) -> None:
    states, rests = set(), set()
    steps: list[Step | None] = [None]  # the first save, of which nothing is lost, tells the others
    for at in steps:
        async with open_connection(control_plane) as connection:
            await create_own(connection, namespace, accelerator="", replicas=0)
            await wait_until(lambda: is_observed(control_plane, namespace), interval=0.1)
            edit = await begin_edit(connection, namespace, NAME)
            wanted = edit.base.spec.replace(transformer=TRANSFORMER)
            plan = await make_plan(connection, Edit(edit.base, wanted))
            assert plan.can_save, plan.issues
            assert changed_kinds(plan) == {"Deployment", "Service"}
            result, server = await save_and_kill(control_plane, plan, at, executes=executes)
            if at is None:
                steps += server.steps
            else:
                await restart(control_plane, connection, namespace)
            assert all(one.nth == 0 for one in server.writes), "a write was sent twice"
            again = await make_plan(connection, plan.edit if result is None else result.plan.edit)
            written = written_kinds(control_plane, plan)
            if result is None:
                assert (written, server.writes) == (set(), [])
                states.add("an error")
            else:
                if result.state is SaveState.UNKNOWN:
                    result = resolve_unknown(result, again)
                states.add(result.state)
                assert result.state in (SaveState.SAVED, SaveState.NOT_SAVED, SaveState.UNKNOWN)
                assert (result.state is SaveState.SAVED) == (written == changed_kinds(plan))
                assert {one.kind for one in result.applied} == written, result.message
                rest = changed_kinds(plan) - written
                assert changed_kinds(again) == rest
                rests.add(tuple(sorted(rest)))
                if rest:
                    saved = await save(connection, again)
                    assert saved.state is SaveState.SAVED, saved.message
                    assert {one.kind for one in saved.applied} == rest
                    assert written_kinds(control_plane, plan) == changed_kinds(plan)
            for kind in ("apis/apps/v1/namespaces/{}/deployments", "api/v1/namespaces/{}/services"):
                control_plane.request("DELETE", f"/{kind.format(namespace)}/{NAME}")
    assert SaveState.SAVED in states
    assert len(states) > 1
    assert ("Service",) in rests
