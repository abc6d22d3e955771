"""The field rollout on a real control plane: each change of the strategy, and a rollout that its
own old Pods block, from the change of the image to Ready."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.edit.edit import begin_edit, plan_edit
from servedeck.changes.edit.save import SaveState, save_edit
from servedeck.changes.edit.undo import begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.errors import CommandError
from servedeck.commands.operations import Confirmation, OperationRunner
from servedeck.commands.prompt import TerminalPrompt
from servedeck.commands.set import SetOptions, set_fields
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects.diff import find_differences
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.status.rollout import BLOCKED_BADGE
from servedeck.serving.status.status import Status
from tests.control_plane import objects
from tests.control_plane.assertions import list_views
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_foreign_servings import NAME, create, foreign_deployment
from tests.control_plane.test_set import create_own, path_of, revision, run_set
from tests.waiting import wait_until_sync

Json = dict[str, Any]
GPU = "nvidia.com/gpu"
PERCENT = {"maxSurge": "25%", "maxUnavailable": "25%"}
VALUES = {
    "surge": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    "replace": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    "recreate": {"type": "Recreate"},
    "maxSurge 25%, maxUnavailable 25%": {"type": "RollingUpdate", "rollingUpdate": PERCENT},
    "maxSurge 2, maxUnavailable 0": {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0},
    },
}
APPLY = "application/apply-patch+yaml"


def strategy_of(plane: ControlPlane, namespace: str) -> Json:
    found: Json = plane.request("GET", path_of(namespace))["spec"]["strategy"]
    return found


# -- the field ------------------------------------------------------------------------------------


def create_older(plane: ControlPlane, namespace: str) -> None:
    """A serving as servedeck created it before it had the field: nobody has set its strategy."""
    body = foreign_deployment()
    body["spec"].pop("strategy", None)
    path = f"{path_of(namespace)}?fieldManager=servedeck"
    plane.request("PATCH", path, body, content_type=APPLY)


def create_with_kubectl(plane: ControlPlane, namespace: str) -> None:
    create(plane, namespace, "kubectl-create", [foreign_deployment()])


@pytest.mark.parametrize("made_by", ["servedeck", "an older servedeck", "kubectl"])
async def test_the_rollout_is_changed_each_way_and_nothing_else(
    control_plane: ControlPlane, namespace: str, made_by: str
) -> None:
    async with open_connection(control_plane) as connection:
        if made_by == "servedeck":
            await create_own(connection, namespace)
        elif made_by == "kubectl":
            create_with_kubectl(control_plane, namespace)
        else:
            create_older(control_plane, namespace)
        before = await asyncio.to_thread(revision, control_plane, namespace)
        for first in VALUES:
            for second in VALUES:
                for value in (first, second):
                    live = control_plane.request("GET", path_of(namespace))
                    run = await run_set(
                        connection, namespace, f"rollout={value}", as_json=True, force=True
                    )
                    assert run.saved, (first, second, run.err)
                    now = control_plane.request("GET", path_of(namespace))
                    assert now["spec"]["strategy"] == VALUES[value]
                    changed = list(find_differences(live["spec"], now["spec"]))
                    assert all(one.path[0] == "strategy" for one in changed)
                    assert bool(changed) == (run.result["result"] == "saved")
                    assert not run.result["restartsPods"]
        assert await asyncio.to_thread(revision, control_plane, namespace) == before


async def test_without_force_only_what_another_manager_has_set_is_a_conflict(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        create_older(control_plane, namespace)
        run = await run_set(connection, namespace, "rollout=recreate")
        assert run.saved, run.err
        manager = "?fieldManager=kubectl-edit"
        spec = {"spec": {"strategy": VALUES["surge"]}}
        control_plane.request("PATCH", path_of(namespace) + manager, spec)
        refused = await run_set(connection, namespace, "rollout=recreate")
        assert not refused.saved
        assert "kubectl-edit" in " ".join(refused.err)
        assert strategy_of(control_plane, namespace) == VALUES["surge"]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("made_by", ["an older servedeck", "kubectl"])
async def test_a_changed_rollout_is_put_back(
    control_plane: ControlPlane, namespace: str, made_by: str, value: str
) -> None:
    if made_by == "kubectl":
        create_with_kubectl(control_plane, namespace)
    else:
        create_older(control_plane, namespace)
    before = strategy_of(control_plane, namespace)
    async with open_connection(control_plane) as connection:
        inventory = ClusterInventory(connection, namespace)
        edit = await begin_edit(connection, namespace, NAME)
        edit = replace(edit, wanted=edit.wanted.replace(rollout=value))
        saved = await save_edit(
            connection,
            await plan_edit(connection, edit, inventory, force=True),
            inventory,
            force=True,
        )
        if saved.state is SaveState.UNCHANGED:
            assert before == VALUES[value]
            return
        assert saved.state is SaveState.SAVED, saved.message
        assert saved.undo is not None
        undo = await begin_undo(connection, saved.undo)
        plan = await plan_edit(connection, undo, inventory, force=True)
        undone = await save_edit(connection, plan, inventory, force=True)
        assert undone.state is SaveState.SAVED, undone.message
    assert strategy_of(control_plane, namespace) == before


async def apply_spec(
    connection: Connection, spec: ServingSpec, *, dry_run: bool = False, force: bool = False
) -> list[str]:
    lines: list[str] = []
    assert await apply_all(
        connection,
        [spec],
        PlatformSettings(),
        dry_run=dry_run,
        stdout=lines.append,
        stderr=lines.append,
        force=force,
    ), lines
    return lines


async def test_a_document_without_the_field_leaves_the_rollout_as_it_is(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        create_older(control_plane, namespace)
        exported = to_yaml((await begin_edit(connection, namespace, NAME)).base.spec)
        assert "rollout: maxSurge 25%, maxUnavailable 25%\n" in exported
        for text in (
            exported,
            exported.replace("  rollout: maxSurge 25%, maxUnavailable 25%\n", ""),
        ):
            lines = await apply_spec(connection, from_yaml(text))
            assert f"deployment.apps/{NAME} unchanged" in lines
        assert strategy_of(control_plane, namespace) == VALUES["maxSurge 25%, maxUnavailable 25%"]


@pytest.mark.parametrize(("accelerator", "value"), [(GPU, "replace"), ("", "surge")])
async def test_a_new_serving_has_the_default_for_its_accelerators(
    control_plane: ControlPlane, namespace: str, accelerator: str, value: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace, accelerator=accelerator)
        read = (await begin_edit(connection, namespace, NAME)).base.spec
    assert strategy_of(control_plane, namespace) == VALUES[value]
    assert read.rollout == value


# -- a rollout that its own old Pods block --------------------------------------------------------


def view_of(plane: ControlPlane, namespace: str) -> ServingView | None:
    return list_views(plane, namespace).get(NamespacedName(namespace, NAME))


def wait_for_badge(plane: ControlPlane, namespace: str) -> ServingView:
    def blocked() -> ServingView | None:
        view = view_of(plane, namespace)
        return view if view is not None and view.is_rollout_blocked else None

    view = wait_until_sync(blocked, "the rollout to be blocked")
    assert view is not None
    return view


def wait_until_rolled_out(plane: ControlPlane, namespace: str, image: str) -> ServingView:
    def finished() -> ServingView | None:
        view = view_of(plane, namespace)
        done = view is not None and view.image == image and not view.rollout
        return view if done and view is not None and view.status is Status.READY else None

    view = wait_until_sync(finished, "the rollout")
    assert view is not None
    return view


def create_on_full_node(
    plane: ControlPlane, namespace: str, *, replicas: int, count: int, manager: str
) -> None:
    """Its Pods hold all 8 accelerators of the only node that they may run on."""
    [node] = plane.add_nodes(1, prefix=f"full-{namespace}", accelerators=GPU)
    body = objects.deployment(
        NAME,
        replicas=replicas,
        managed=manager == "servedeck",
        accelerator=GPU,
        count=count,
        pod_spec={"nodeSelector": {"kubernetes.io/hostname": node}},
        strategy=VALUES["surge"],
    )
    path = f"{path_of(namespace)}?fieldManager={manager}"
    plane.request("PATCH", path, body, content_type=APPLY)


IMAGE = "vllm/vllm-openai:v0.34.0"


@pytest.mark.parametrize("manager", ["servedeck", "helm"])
@pytest.mark.parametrize(("replicas", "count"), [(1, 8), (2, 4)])
async def test_a_rollout_on_full_accelerators_from_the_change_to_ready(
    control_plane: ControlPlane, namespace: str, manager: str, replicas: int, count: int
) -> None:
    create_on_full_node(control_plane, namespace, replicas=replicas, count=count, manager=manager)
    await asyncio.to_thread(control_plane.wait_until_ready, namespace, NAME, replicas)
    async with open_connection(control_plane) as connection:
        planned = await run_set(connection, namespace, f"image={IMAGE}", dry_run=True, force=True)
        warning = " ".join(planned.err)
        assert "No node has room for a new Pod" in warning
        assert "or set rollout=replace: an old Pod then stops first" in warning

        spec = (await begin_edit(connection, namespace, NAME)).base.spec.replace(image=IMAGE)
        lines = await apply_spec(connection, spec, dry_run=True, force=True)
        assert any("or set rollout=replace: an old Pod then stops first" in one for one in lines)

        runner = OperationRunner(
            connection, Confirmation(), TerminalPrompt(), stderr=[].append, dry_run=True
        )
        report = await runner.run(Operation(OperationKind.RESTART, namespace, NAME))
        assert report.plan is not None
        [warning] = report.plan.warnings
        assert "or set rollout=replace: an old Pod then stops first" in warning

        run = await run_set(connection, namespace, f"image={IMAGE}", force=True)
        assert run.saved, run.err
        view = await asyncio.to_thread(wait_for_badge, control_plane, namespace)
        assert (view.status, view.rollout) == (Status.READY, BLOCKED_BADGE)
        assert f"A new Pod needs {count} NVIDIA GPU" in view.rollout_message
        assert view.rollout_way_out == "replace"
        assert view.recovery.endswith(f"servedeck set {namespace}/{NAME} rollout=replace")

        planned = await run_set(connection, namespace, "rollout=replace", dry_run=True, force=True)
        text = " ".join(planned.out)
        assert "The rollout that waits goes on, and " in text
        meanwhile = "none is available" if replicas == 1 else "at least 1 of 2 stay available"
        assert meanwhile in text
        with pytest.raises(CommandError, match="add -y to replace the old Pods of"):
            await set_fields(
                connection,
                namespace,
                NAME,
                [parse_assignment("rollout=replace")],
                SetOptions(force=True),
                stdout=[].append,
                stderr=[].append,
            )
        run = await run_set(connection, namespace, "rollout=replace", as_json=True, force=True)
        assert (run.result["restartsPods"], run.result["rollout"]["continues"]) == (False, True)
        assert [one["field"] for one in run.result["fields"]] == ["rollout"]
    await asyncio.to_thread(wait_until_rolled_out, control_plane, namespace, IMAGE)


async def test_a_replica_that_never_had_room_counts_as_unavailable(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_on_full_node(control_plane, namespace, replicas=3, count=4, manager="servedeck")
    await asyncio.to_thread(
        wait_until_sync,
        lambda: (view := view_of(control_plane, namespace)) and view.ready == 2,
        "two of three Pods to be ready",
    )
    async with open_connection(control_plane) as connection:
        for value in ("surge", "replace"):
            assert (await run_set(connection, namespace, f"rollout={value}")).saved
            planned = await run_set(connection, namespace, f"image={IMAGE}", dry_run=True)
            assert "rollout='maxSurge 0, maxUnavailable 2'" in " ".join(planned.err)
        assert (await run_set(connection, namespace, "rollout=surge")).saved
        assert (await run_set(connection, namespace, f"image={IMAGE}")).saved
        view = await asyncio.to_thread(wait_for_badge, control_plane, namespace)
        assert view.rollout_way_out == "maxSurge 0, maxUnavailable 2"
        assert (await run_set(connection, namespace, f"rollout={view.rollout_way_out}")).saved

    def is_updated() -> bool:
        view = view_of(control_plane, namespace)
        pods = view.pods if view is not None else ()
        return len(pods) == 3 and not any(one.old_revision for one in pods)

    await asyncio.to_thread(wait_until_sync, is_updated, "all Pods to have the new image")


async def test_pods_that_wait_for_something_else_are_not_blocked(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The new Pod needs more than an old one holds: no node would have room for it in its place."""
    create_on_full_node(control_plane, namespace, replicas=2, count=4, manager="servedeck")
    await asyncio.to_thread(control_plane.wait_until_ready, namespace, NAME, 2)
    async with open_connection(control_plane) as connection:
        run = await run_set(connection, namespace, "acceleratorCount=8")
        assert run.saved, run.err
        assert "an old Pod that stops does not make enough room" in " ".join(run.err)

        def waits() -> ServingView | None:
            view = view_of(control_plane, namespace)
            if view is None or view.rollout != "updating 1/2":
                return None  # the controller has not counted the new Pod
            return view if any(one.insufficient_resources for one in view.failing_pods) else None

        view = await asyncio.to_thread(wait_until_sync, waits, "the new Pod to wait")
        assert view is not None
        assert not view.is_rollout_blocked
