"""Objects of settings that an edit creates and deletes, on the demo cluster: with lost answers,
other editors, finalizers, and nothing of others overwritten."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.changes.edit import guarded_writes
from servedeck.changes.edit.edit import plan_edit
from servedeck.changes.edit.save import SaveState, resolve_unknown, save_edit
from servedeck.changes.edit.undo import UndoExpiredError, begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionLostError,
)
from tests.changes.setting_rig import (
    DEPLOYMENT,
    NAME,
    ON,
    PATH,
    REF,
    REFUSED,
    SCALED_OBJECTS,
    Hook,
    begin,
    foreign_scaled_object,
    open_demo,
    open_inventory,
    patch,
    plan_of,
    read_spec,
    save,
    scaled_object,
    turn_on,
)

LOST = ConnectionLostError("The connection to https://demo was lost.")
WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "vscaledobject.kb.io"')
DENIED = ApiError(403, "Forbidden", 'scaledobjects.keda.sh is forbidden: "me" cannot create')


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_writes, "_PAUSES", (0.0,) * 5)


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with open_demo() as opened:
        yield opened


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    async with open_inventory(connection) as made:
        yield made


# -- on, off, undo ------------------------------------------------------------------------------


async def test_on_creates_and_off_deletes_and_both_are_undone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await read_spec(connection)
    plan = await plan_of(connection, inventory, **ON)
    assert [(one.ref.kind, one.body is not None) for one in plan.change_plan.writes][-1] == (
        "ScaledObject",
        True,
    )
    assert (plan.deleted_objects, plan.restarts_pods) == ((), False)
    on = await save_edit(connection, plan, inventory)
    assert (on.state, [str(one) for one in on.applied]) == (SaveState.SAVED, [REF])
    assert on.undo is not None
    undo = await begin_undo(connection, on.undo)
    plan = await plan_edit(connection, undo, inventory)
    assert [str(one) for one in plan.deleted_objects] == [REF]
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == before
    assert await scaled_object(connection) is None

    await turn_on(connection, inventory)
    made = await read_spec(connection)
    off = await save(connection, inventory, auto_scaling="off")
    assert (off.state, [str(one) for one in off.applied]) == (SaveState.SAVED, [REF])
    assert off.undo is not None
    plan = await plan_edit(connection, await begin_undo(connection, off.undo), inventory)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == made


async def test_an_undo_of_off_asks_the_same_prometheus(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    triggers = (await scaled_object(connection))["spec"]["triggers"]
    triggers[0]["metadata"]["serverAddress"] = "https://thanos.example.com"
    await patch(connection, {"spec": {"triggers": triggers}})
    off = await save(connection, inventory, auto_scaling="off")
    assert off.undo is not None
    plan = await plan_edit(connection, await begin_undo(connection, off.undo), inventory)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    [trigger] = (await scaled_object(connection))["spec"]["triggers"]
    assert trigger["metadata"]["serverAddress"] == "https://thanos.example.com"


async def test_an_undo_ends_when_somebody_changed_the_scaler(
    connection: Connection, inventory: ClusterInventory
) -> None:
    on = await save(connection, inventory, **ON)
    assert on.undo is not None
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    with pytest.raises(UndoExpiredError):
        await begin_undo(connection, on.undo)


async def test_a_step_of_the_autoscaler_does_not_end_the_undo(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    changed = await save(connection, inventory, max_replicas=6)
    await patch(connection, {"spec": {"replicas": 3}}, DEPLOYMENT)
    assert changed.undo is not None
    undo = await begin_undo(connection, changed.undo)
    assert (undo.wanted.max_replicas, undo.wanted.replicas) == (4, 3)
    await patch(connection, {"spec": {"maxReplicaCount": 9}})
    with pytest.raises(UndoExpiredError):
        await begin_undo(connection, changed.undo)


async def test_a_deletion_is_of_the_object_as_it_was_read(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    live = await scaled_object(connection)
    hook = Hook(connection, "DELETE")
    assert (await save(connection, inventory, auto_scaling="off")).state is SaveState.SAVED
    metadata = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    assert [one["preconditions"] for one in hook.bodies] == [metadata]


# -- others at the same time --------------------------------------------------------------------


async def test_a_scaler_of_that_name_for_something_else_is_left_alone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object("bert"))
    before = await scaled_object(connection)
    plan = await plan_edit(connection, await begin(connection, **ON), inventory)
    [issue] = plan.errors
    assert (issue.field, "is for something else" in issue.message) == ("auto_scaling", True)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.BLOCKED
    assert await scaled_object(connection) == before


@pytest.mark.parametrize("target", ["bert", NAME])
async def test_one_that_somebody_creates_meanwhile_is_not_overwritten(
    connection: Connection, inventory: ClusterInventory, target: str
) -> None:
    plan = await plan_of(connection, inventory, **ON)

    async def create() -> None:
        await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object(target))

    hook = Hook(connection, "PATCH", before=create)
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert len(hook.bodies) == 1
    found = await scaled_object(connection)
    assert [one["type"] for one in found["spec"]["triggers"]] == ["cron"]
    assert "maxReplicaCount" not in found["spec"]
    assert not result.plan.can_save
    if target == NAME:
        [conflict] = result.plan.conflicts
        assert conflict.theirs.startswith("custom")


async def test_one_that_somebody_changes_meanwhile_is_not_deleted(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    async def change() -> None:
        await patch(connection, {"spec": {"maxReplicaCount": 9}})

    Hook(connection, "DELETE", before=change)
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert (await scaled_object(connection))["spec"]["maxReplicaCount"] == 9
    [conflict] = result.plan.conflicts
    assert conflict.mine == "off"
    assert "Max Replicas 9" in conflict.theirs
    assert [one.name for one in conflict.changed_by][:1] == ["kubectl-edit"]


async def test_one_whose_status_alone_changes_meanwhile_is_deleted(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    async def report() -> None:
        await patch(connection, {"status": {"hpaName": "keda-hpa"}}, f"{PATH}/status")

    hook = Hook(connection, "DELETE", before=report)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert len(hook.bodies) == 2
    assert await scaled_object(connection) is None


async def test_one_that_somebody_deletes_meanwhile_is_gone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    plan = await plan_of(connection, inventory, auto_scaling="off")

    request = connection.request

    async def delete() -> None:
        await request("DELETE", PATH)

    Hook(connection, "DELETE", before=delete)
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await scaled_object(connection) is None


async def test_one_that_waits_for_its_finalizers_is_off_and_cannot_be_created_again_yet(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    await patch(connection, {"metadata": {"finalizers": ["finalizer.keda.sh"]}})
    result = await save(connection, inventory, auto_scaling="off")
    assert (result.state, result.message) == (SaveState.SAVED, "The change was saved.")
    waiting = await scaled_object(connection)
    assert waiting["metadata"]["deletionTimestamp"]
    assert (await read_spec(connection)).auto_scaling == "off"
    plan = await plan_edit(connection, await begin(connection, **ON), inventory)
    assert [one.message for one in plan.errors] == [
        f"{REF} is being deleted still; try again when it is gone."
    ]
    await patch(connection, {"metadata": {"finalizers": None}})
    assert await scaled_object(connection) is None
    await turn_on(connection, inventory)


# -- a lost connection --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "executed", "state"),
    [
        (LOST, True, SaveState.SAVED),
        (LOST, False, SaveState.UNKNOWN),
        (REFUSED, False, SaveState.NOT_SAVED),
        (WEBHOOK, False, SaveState.REJECTED),
        (DENIED, False, SaveState.REJECTED),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_what_became_of_a_write_is_read_back_and_it_is_never_sent_twice(
    connection: Connection,
    inventory: ClusterInventory,
    method: str,
    error: ClusterError,
    executed: bool,
    state: SaveState,
) -> None:
    if method == "DELETE":
        await turn_on(connection, inventory)
    fields = ON if method == "PATCH" else {"auto_scaling": "off"}
    plan = await plan_of(connection, inventory, **fields)
    hook = Hook(connection, method, error=error, executed=executed)
    result = await save_edit(connection, plan, inventory)
    assert result.state is state, result.message
    assert len(hook.bodies) == 1
    done = "saved" if method == "PATCH" else "deleted"
    what = "The change" if method == "PATCH" else REF
    assert {
        SaveState.SAVED: "The change was saved.",
        SaveState.NOT_SAVED: f"{what} was not {done}.",
        SaveState.UNKNOWN: f"was {done}, and the API server may still {done.rstrip('d')} it",
        SaveState.REJECTED: f"{REF}: ",
    }[state] in result.message
    is_there = await scaled_object(connection) is not None
    assert is_there is ((method == "PATCH") is executed)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("executed", [False, True])
async def test_a_new_plan_tells_what_became_of_a_lost_write(
    connection: Connection, inventory: ClusterInventory, method: str, executed: bool
) -> None:
    if method == "DELETE":
        await turn_on(connection, inventory)
    fields = ON if method == "PATCH" else {"auto_scaling": "off"}
    plan = await plan_of(connection, inventory, **fields)
    hook = Hook(connection, method, error=LOST, executed=executed, reads_fail=True)
    lost = await save_edit(connection, plan, inventory)
    assert lost.state is SaveState.UNKNOWN
    hook.end()  # the API server answers again
    if not executed:
        for _ in range(2):
            lost = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
            assert lost.state is SaveState.UNKNOWN
            assert "does not have the change so far" in lost.message
        await hook.arrive()
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.SAVED
    assert [str(one) for one in result.applied] == [REF]
    assert result.undo is not None


async def test_a_lost_creation_is_not_saved_once_another_one_has_its_name(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_of(connection, inventory, **ON)
    hook = Hook(connection, "PATCH", error=LOST, reads_fail=True)
    lost = await save_edit(connection, plan, inventory)
    hook.end()
    await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object("bert"))
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.UNKNOWN  # the plan does not have what is not the serving's
    with pytest.raises(ApiError):  # but it changes nothing any more
        await hook.arrive()
    found = await scaled_object(connection)
    assert found["spec"]["scaleTargetRef"] == {"name": "bert"}


async def test_what_was_saved_before_the_scaler_is_said(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_of(connection, inventory, **ON, description="new")
    hook = Hook(connection, "PATCH", error=WEBHOOK)
    result = await save_edit(connection, plan, inventory)
    hook.end()
    assert result.state is SaveState.REJECTED
    assert result.message.endswith(f"Deployment chat/{NAME} was saved before.")
    again = await plan_edit(connection, result.plan.edit, inventory)
    assert next(one.name for one in again.fields) == "autoScaling"
    assert "description" not in {one.name for one in again.fields}
    assert (await save_edit(connection, again, inventory)).state is SaveState.SAVED
