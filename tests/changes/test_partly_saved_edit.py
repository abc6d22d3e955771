"""An edit of a Deployment and its Service, of which the Deployment alone was written: the rest is
still wanted, by this edit alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.edit import guarded_writes
from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import SaveResult, SaveState, resolve_unknown, save_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.apply import apply
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ConnectionFailedError, ConnectionLostError
from servedeck.commands.apply import apply_all
from servedeck.commands.set import SetOptions, set_fields
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects import manifests
from servedeck.serving.spec.types import Transformer
from tests.changes.test_changes_on_demo import PLATFORM, make_full_spec

NAME = "fresh"
SERVICE = f"/api/v1/namespaces/chat/services/{NAME}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/chat/deployments/{NAME}"
TRANSFORMER = Transformer(image="example.com/transformer:1", port=8081)
REJECTED = ApiError(500, "InternalError", 'failed calling webhook "deny.example.com"')
REFUSED = ConnectionFailedError("Connection refused by https://demo.")
LOST = ConnectionLostError("The connection to https://demo was lost.")


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as cluster:
        opened = await Connection.open(ConnectionOptions(kubeconfig=(cluster.kubeconfig,)))
        spec = make_full_spec("vllm").replace(transformer=None)
        outcome = await apply(opened, manifests.build_manifests(spec, PLATFORM))
        assert outcome.rejection is None, outcome
        yield opened
        await opened.close()


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    made = ClusterInventory(connection, "chat")
    made.start()
    await made.wait_until_listed()
    yield made
    await made.close()


class Fault:
    """Fails the writes of one path, and maybe all reads after the first of them."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        error: Exception,
        *,
        executed: bool = False,
        reads_fail: bool = False,
    ) -> None:
        self._connection = connection
        request: Callable[..., Awaitable[Any]] = connection.request
        failed = False

        async def faulty(method: str, at: str, **options: Any) -> Any:
            nonlocal failed
            is_write = method != "GET" and ("dryRun", "All") not in options.get("params", ())
            if is_write and at == path:
                failed = True
                if executed:
                    await request(method, at, **options)
                raise error
            if failed and reads_fail and method == "GET":
                raise REFUSED
            return await request(method, at, **options)

        connection.request = faulty  # type: ignore[method-assign, assignment]

    def end(self) -> None:
        del self._connection.request


async def add_transformer(
    connection: Connection, inventory: ClusterInventory, *faults: Any, **options: Any
) -> SaveResult:
    """The result of adding the transformer while there is a fault."""
    edit = await begin_edit(connection, "chat", NAME)
    edit = replace(edit, wanted=edit.wanted.replace(transformer=TRANSFORMER))
    plan = await plan_edit(connection, edit, inventory)
    assert changed_kinds(plan) == ["Deployment", "Service"], plan.issues
    fault = Fault(connection, *faults, **options)
    result = await save_edit(connection, plan, inventory)
    fault.end()
    return result


def changed_kinds(plan: EditPlan) -> list[str]:
    return [one.ref.kind for one in plan.change_plan.writes if one.body is not None]


async def target_of(connection: Connection) -> Any:
    [port] = (await connection.get_json(SERVICE))["spec"]["ports"]
    return port["targetPort"]


async def set_target(connection: Connection, target: object) -> None:
    """Somebody else changes the Service."""
    service = await connection.get_json(SERVICE)
    service["spec"]["ports"][0]["targetPort"] = target
    await connection.request("PUT", SERVICE, params={"fieldManager": "kubectl-edit"}, body=service)


@pytest.mark.parametrize(
    ("error", "state"), [(REJECTED, SaveState.REJECTED), (REFUSED, SaveState.NOT_SAVED)]
)
@pytest.mark.parametrize("is_read_again", [False, True])
async def test_the_rest_of_a_save_is_planned_and_saved(
    connection: Connection,
    inventory: ClusterInventory,
    error: Exception,
    state: SaveState,
    is_read_again: bool,
) -> None:
    result = await add_transformer(connection, inventory, SERVICE, error)
    assert result.state is state
    assert "Service chat/fresh" in result.message
    assert "Deployment chat/fresh was saved before." in result.message
    assert [str(one) for one in result.unwritten] == ["Service chat/fresh"]
    edit = result.plan.edit
    if is_read_again:  # as the form does, which follows the serving
        now = (await begin_edit(connection, "chat", NAME)).base
        edit = Edit(now, now.spec, unwritten=edit.unwritten)
    again = await plan_edit(connection, edit, inventory)
    assert (again.fields, changed_kinds(again)) == ((), ["Service"])
    assert again.can_save, again.issues
    assert again.forecast is None
    saved = await save_edit(connection, again, inventory)
    assert (saved.state, saved.unwritten) == (SaveState.SAVED, ())
    assert saved.undo is None  # no field changed
    assert await target_of(connection) == "transformer"
    assert (await plan_edit(connection, edit, inventory)).is_unchanged


async def test_another_edit_repairs_no_service(
    connection: Connection, inventory: ClusterInventory
) -> None:
    result = await add_transformer(connection, inventory, SERVICE, REJECTED)
    edit = await begin_edit(connection, "chat", NAME)
    assert (await plan_edit(connection, edit, inventory)).is_unchanged
    described = replace(edit, wanted=edit.wanted.replace(description="x"))
    assert changed_kinds(await plan_edit(connection, described, inventory)) == ["Deployment"]
    # nor the same edit, if others created the Deployment again
    unwritten = {
        uid: {**one, "metadata": {**one["metadata"], "uid": "other"}}
        for uid, one in result.plan.edit.unwritten.items()
    }
    replaced = replace(edit, unwritten=unwritten)
    assert (await plan_edit(connection, replaced, inventory)).is_unchanged


async def test_the_rest_follows_what_is_wanted_now(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await target_of(connection)
    result = await add_transformer(connection, inventory, SERVICE, REJECTED)
    edit = result.plan.edit
    # Without the transformer the Service is right as it is.
    now = (await begin_edit(connection, "chat", NAME)).base
    back = replace(edit, base=now, wanted=now.spec.replace(transformer=None))
    plan = await plan_edit(connection, back, inventory)
    assert changed_kinds(plan) == ["Deployment"]
    # With another port of the transformer both are written.
    moved = replace(edit, wanted=edit.wanted.replace(transformer=Transformer(image="t", port=8090)))
    moved = replace(moved, base=now)
    again = await plan_edit(connection, moved, inventory)
    assert changed_kinds(again) == ["Deployment", "Service"]
    assert not again.errors
    fault = Fault(connection, DEPLOYMENT, REJECTED)
    rejected = await save_edit(connection, again, inventory)
    fault.end()
    assert rejected.plan.edit.unwritten == edit.unwritten
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await target_of(connection) == before


@pytest.mark.parametrize("target", ["transformer", 9999])
async def test_a_service_that_others_changed_since_is_left_alone(
    connection: Connection, inventory: ClusterInventory, target: object
) -> None:
    result = await add_transformer(connection, inventory, SERVICE, REJECTED)
    await set_target(connection, target)
    again = await plan_edit(connection, result.plan.edit, inventory)
    assert changed_kinds(again) == []
    assert again.is_unchanged


async def test_nothing_is_left_over_of_a_save_that_wrote_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    result = await add_transformer(connection, inventory, DEPLOYMENT, REJECTED)
    assert result.unwritten == ()
    again = await plan_edit(connection, result.plan.edit, inventory)
    assert changed_kinds(again) == ["Deployment", "Service"]


@pytest.mark.parametrize("executed", [True, False])
async def test_the_rest_is_planned_after_a_lost_answer(
    connection: Connection,
    inventory: ClusterInventory,
    monkeypatch: pytest.MonkeyPatch,
    executed: bool,
) -> None:
    monkeypatch.setattr(guarded_writes, "_PAUSES", (0.0,))
    result = await add_transformer(
        connection, inventory, DEPLOYMENT, LOST, executed=executed, reads_fail=True
    )
    assert result.state is SaveState.UNKNOWN
    again = await plan_edit(connection, result.plan.edit, inventory)
    assert changed_kinds(again) == (["Service"] if executed else ["Deployment", "Service"])
    result = resolve_unknown(result, again)
    assert result.state is (SaveState.NOT_SAVED if executed else SaveState.UNKNOWN)
    if executed:
        text = "Deployment chat/fresh was saved, Service chat/fresh was not."
        assert result.message.endswith(text)
    assert (await save_edit(connection, again, inventory)).state is SaveState.SAVED
    assert await target_of(connection) == "transformer"


async def test_a_service_that_changes_during_the_save_is_planned_again(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin_edit(connection, "chat", NAME)
    edit = replace(edit, wanted=edit.wanted.replace(transformer=TRANSFORMER))
    plan = await plan_edit(connection, edit, inventory)
    request = connection.request

    async def interfere(method: str, path: str, **options: Any) -> Any:
        if method == "PATCH" and path == SERVICE and connection.request is interfere:
            connection.request = request  # type: ignore[method-assign]
            service = await connection.get_json(SERVICE)
            service["metadata"].setdefault("labels", {})["by"] = "others"
            params = {"fieldManager": "kubectl-label"}
            await request("PUT", SERVICE, params=params, body=service)
        return await request(method, path, **options)

    connection.request = interfere  # type: ignore[method-assign, assignment]
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert [one.kind for one in result.applied] == ["Deployment"]
    assert changed_kinds(result.plan) == ["Service"]
    assert (await save_edit(connection, result.plan, inventory)).state is SaveState.SAVED
    assert await target_of(connection) == "transformer"


NOTE = (
    "note: fresh: The same command does not change Service chat/fresh any more; look at it with "
    "kubectl edit -n chat service/fresh"
)


async def test_apply_says_that_it_does_not_write_the_rest_when_it_is_repeated(
    connection: Connection,
) -> None:
    spec = (await begin_edit(connection, "chat", NAME)).wanted.replace(transformer=TRANSFORMER)
    lines: list[str] = []

    async def apply_spec() -> bool:
        return await apply_all(
            connection, [spec], PLATFORM, dry_run=False, stdout=lines.append, stderr=lines.append
        )

    fault = Fault(connection, SERVICE, REJECTED)
    assert not await apply_spec()
    fault.end()
    assert "deployment.apps/fresh configured" in lines
    assert NOTE in lines
    lines.clear()
    assert await apply_spec()
    assert NOTE not in lines


async def test_set_says_that_it_does_not_write_the_rest_when_it_is_repeated(
    connection: Connection,
) -> None:
    lines: list[str] = []
    assignments = [parse_assignment("transformer.image=t:1")]
    fault = Fault(connection, SERVICE, REJECTED)
    options = SetOptions(assume_yes=True)
    good = await set_fields(
        connection,
        "chat",
        NAME,
        assignments,
        options,
        stdout=lines.append,
        stderr=lines.append,
    )
    fault.end()
    assert not good
    assert "deployment.apps/fresh configured" in lines
    assert NOTE in lines
