"""Prefix-aware load balancing of a serving of the demo, which has an InferencePool and an async
gateway: saved, undone, and what else depends on the route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.async_queue.plan import AsyncQueueAction, AsyncQueueOptions
from servedeck.changes.async_queue.state import read_state
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults, plan_turning_on
from servedeck.changes.edit.edit import plan_edit
from servedeck.changes.edit.save import SaveState, save_edit
from servedeck.changes.edit.undo import UndoExpiredError, begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.traffic_split.state import read_state as read_traffic
from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from tests.changes.setting_rig import (
    NAME,
    open_demo,
    open_inventory,
    patch,
    plan_of,
    read_spec,
    save,
)

ROUTE = f"/apis/gateway.networking.k8s.io/v1/namespaces/chat/httproutes/{NAME}"
SERVICE = f"/api/v1/namespaces/chat/services/{NAME}"


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with open_demo() as opened:
        yield opened


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    async with open_inventory(connection) as opened:
        yield opened


async def rules(connection: Connection) -> Any:
    return (await connection.get_json(ROUTE))["spec"]["rules"]


async def test_it_is_saved_and_undone(connection: Connection, inventory: ClusterInventory) -> None:
    before = await rules(connection)
    plan = await plan_of(connection, inventory, load_balancing="prefix-aware")
    assert [one.restarts for one in plan.fields] == [False]
    assert plan.forecast is None
    result = await save(connection, inventory, load_balancing="prefix-aware")
    assert (result.state, [one.kind for one in result.applied]) == (
        SaveState.SAVED,
        ["HTTPRoute"],
    )
    *gateway, last = await rules(connection)
    assert gateway == before[:-1]
    assert [one["kind"] for one in last["backendRefs"]] == ["InferencePool"]
    assert result.undo is not None
    undo = await begin_undo(connection, result.undo)
    undone = await save_edit(connection, await plan_edit(connection, undo, inventory), inventory)
    assert undone.state is SaveState.SAVED
    assert (await read_spec(connection)).load_balancing == "off"
    assert await rules(connection) == before


async def test_the_undo_has_the_service_and_the_port_of_each_rule(
    connection: Connection, inventory: ClusterInventory
) -> None:
    service = await connection.get_json(SERVICE)
    metadata = {"name": "internal", "namespace": "chat"}
    spec = {"selector": service["spec"]["selector"], "ports": [{"port": 9000, "targetPort": 8000}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    await connection.request("POST", SERVICE.rpartition("/")[0], body=body)
    changed = await rules(connection)
    changed[-1]["backendRefs"] = [{"name": "internal", "port": 9000}]
    await patch(connection, {"spec": {"rules": changed}}, ROUTE)
    before = await rules(connection)
    result = await save(connection, inventory, force=True, load_balancing="prefix-aware")
    assert result.state is SaveState.SAVED, result.message
    assert result.undo is not None
    left = await rules(connection)
    others = [*left[:-1], {**left[-1], "timeouts": {"request": "9s"}}]
    await patch(connection, {"spec": {"rules": others}}, ROUTE)
    with pytest.raises(UndoExpiredError, match=f"HTTPRoute {NAME} were changed since"):
        await begin_undo(connection, result.undo)
    await patch(connection, {"spec": {"rules": left}}, ROUTE)
    undo = await begin_undo(connection, result.undo)
    plan = await plan_edit(connection, undo, inventory, force=True)
    undone = await save_edit(connection, plan, inventory, force=True)
    assert undone.state is SaveState.SAVED, undone.message
    assert await rules(connection) == before


async def test_what_else_depends_on_the_route(
    connection: Connection, inventory: ClusterInventory
) -> None:
    assert (await save(connection, inventory, load_balancing="prefix-aware")).state is (
        SaveState.SAVED
    )
    options = AsyncQueueOptions(AsyncQueueAction.ON, "chat", NAME)
    defaults = AsyncQueueDefaults.from_settings(Settings(async_store="valkey://v:6379"))
    state = await read_state(connection, "chat", NAME)
    plan = await plan_turning_on(connection, options, state, defaults)
    assert not plan.blocked
    assert plan.route_writes == ()
    assert not any("stays as it is" in one for one in plan.warnings)
    assert "whose endpoint picker chooses" in (
        (await read_traffic(connection, "chat", NAME)).problem
    )
    deletion = await plan_operation(connection, Operation(OperationKind.DELETE, "chat", NAME))
    assert f"HTTPRoute {NAME}" in [one.target for one in deletion.deletions]
    assert f"InferencePool {NAME}" in deletion.kept
