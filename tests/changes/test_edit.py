"""Editing a serving on the demo cluster: merged with what others changed, saved once, undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from servedeck.changes.edit import guarded_writes
from servedeck.changes.edit.edit import (
    Edit,
    EditPlan,
    ServingReplacedError,
    begin_edit,
    plan_edit,
)
from servedeck.changes.edit.save import SaveResult, SaveState, resolve_unknown, save_edit
from servedeck.changes.edit.undo import UndoExpiredError, begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import ServingNotFoundError, fetch_live_objects
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
)
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.edit.merge import Side
from servedeck.serving.text import MASK

PATH = "/apis/apps/v1/namespaces/chat/deployments/llama-33-70b"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as cluster:
        yield cluster


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    opened = await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,)))
    yield opened
    await opened.close()


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    made = ClusterInventory(connection, "chat")
    made.start()
    await made.wait_until_listed()
    yield made
    await made.close()


async def begin(connection: Connection, **fields: Any) -> Edit:
    edit = await begin_edit(connection, "chat", "llama-33-70b")
    return replace(edit, wanted=edit.wanted.replace(**fields))


async def patch(connection: Connection, body: Any, manager: str = "kubectl-edit") -> None:
    await connection.request(
        "PATCH",
        PATH,
        params=[("fieldManager", manager)],
        body=body,
        content_type=STRATEGIC,
    )


def server(**fields: Any) -> Any:
    container = {"name": "inference-server", **fields}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


async def read_spec(connection: Connection) -> Any:
    return (await begin_edit(connection, "chat", "llama-33-70b")).base.spec


class CountedConnection:
    """Passes requests on, and notes the lists."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.list_versions: dict[str, str] = {}
        """The resourceVersion of each list by plural, "" for none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def get_json(self, path: str, params: Any = ()) -> Any:
        plural = path.partition("/namespaces/chat/")[2]
        if plural and "/" not in plural:
            self.list_versions[plural] = dict(params).get("resourceVersion", "")
        return await self._connection.get_json(path, params)


@pytest.mark.parametrize(("from_cache", "version"), [(True, "0"), (False, "")])
async def test_services_and_routes_are_as_new_as_asked_for(
    connection: Connection, from_cache: bool, version: str
) -> None:
    counted = CountedConnection(connection)
    await fetch_live_objects(
        cast("Connection", counted), "chat", "llama-33-70b", from_cache=from_cache
    )
    plurals = ("services", "httproutes", "virtualservices", "ingresses", "scaledobjects")
    plurals += ("horizontalpodautoscalers", "destinationrules", "backendtrafficpolicies")
    plurals += ("inferencepools", "routes")
    assert counted.list_versions == dict.fromkeys(plurals, version)


# -- plans --------------------------------------------------------------------------------------


async def test_an_edit_without_a_change_sends_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_edit(connection, await begin(connection), inventory)
    assert plan.is_unchanged
    assert plan.fields == ()
    assert (await save_edit(connection, plan, inventory)).state is SaveState.UNCHANGED


async def test_the_plan_says_what_changes_and_what_restarts(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, description="new", memory="900Gi")
    plan = await plan_edit(connection, edit, inventory)
    assert [(one.name, one.new, one.restarts) for one in plan.fields] == [
        ("description", "new", False),
        ("memory", "900Gi", True),
    ]
    assert plan.restarts_pods
    assert plan.forecast is not None
    assert plan.forecast.pods == 2
    assert [one.ref.kind for one in plan.change_plan.writes if one.body is not None] == [
        "Deployment"
    ]


class ScaledConnection:
    """Passes requests on; before each of the first dry runs, an autoscaler scales the serving."""

    def __init__(self, connection: Connection, times: int) -> None:
        self._connection, self._left = connection, times
        self.dry_runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def request(self, method: str, path: str, **options: Any) -> Any:
        if path == PATH and ("dryRun", "All") in options.get("params", ()):
            self.dry_runs += 1
            if self._left > 0:
                self._left -= 1
                body = {"spec": {"replicas": 5 + self._left}}
                await patch(self._connection, body, "kube-controller-manager")
        return await self._connection.request(method, path, **options)


async def test_an_autoscaler_that_scales_meanwhile_is_no_conflict(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, description="new")
    scaled = ScaledConnection(connection, 1)
    plan = await plan_edit(cast("Connection", scaled), edit, inventory)
    assert scaled.dry_runs == 2
    assert plan.can_save and plan.current.spec.replicas == 5
    assert [one.name for one in plan.fields] == ["description"]
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert (await read_spec(connection)).replicas == 5


async def test_a_conflict_that_stays_is_found_once(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await patch(connection, server(image="a:2"))
    counted = ScaledConnection(connection, 0)
    edit = await begin(connection, image="a:3")
    plan = await plan_edit(cast("Connection", counted), edit, inventory)
    assert not plan.can_save
    assert counted.dry_runs == 1


async def test_a_change_of_replicas_alone_restarts_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    for replicas, stops in ((3, False), (0, True)):
        plan = await plan_edit(connection, await begin(connection, replicas=replicas), inventory)
        assert not plan.restarts_pods
        assert plan.stops_serving is stops


async def test_a_paused_deployment_restarts_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await patch(connection, {"spec": {"paused": True}})
    plan = await plan_edit(connection, await begin(connection, image="a:2"), inventory)
    assert not plan.restarts_pods
    assert not plan.marks_restarts
    assert [one.restarts for one in plan.fields] == [True]
    assert plan.no_restart_sentence == "No Pod restarts: the Deployment is paused."


async def test_a_stopped_serving_restarts_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await patch(connection, {"spec": {"replicas": 0}})
    plan = await plan_edit(connection, await begin(connection, image="a:2"), inventory)
    assert plan.no_restart_sentence == "No Pod restarts: the serving has 0 replicas."
    plan = await plan_edit(connection, await begin(connection, description="x"), inventory)
    assert plan.no_restart_sentence == "No Pod restarts."


async def test_the_edit_is_merged_with_what_others_changed(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, description="mine")
    await patch(connection, server(image="theirs:1"))
    plan = await plan_edit(connection, edit, inventory)
    assert plan.conflicts == ()
    assert (plan.spec.image, plan.spec.description) == ("theirs:1", "mine")
    assert [one.name for one in plan.fields] == ["description"]


async def test_a_field_that_both_changed_must_be_decided(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, image="mine:1")
    base = edit.base.spec.image
    await patch(connection, server(image="theirs:1"))
    plan = await plan_edit(connection, edit, inventory, force=True)
    [conflict] = plan.conflicts
    assert (conflict.name, conflict.label) == ("image", "Image")
    assert (conflict.base, conflict.theirs, conflict.mine) == (base, "theirs:1", "mine:1")
    assert [one.name for one in conflict.changed_by] == ["kubectl-edit"]
    assert not plan.can_save
    assert (await save_edit(connection, plan, inventory)).state is SaveState.BLOCKED
    for side, image in ((Side.THEIRS, "theirs:1"), (Side.MINE, "mine:1")):
        decided = replace(edit, choices={conflict.conflict: side})
        plan = await plan_edit(connection, decided, inventory, force=True)
        assert plan.conflicts == ()
        assert plan.spec.image == image


async def test_an_endpoint_in_a_conflict_has_the_path_that_the_template_sets(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, readiness_path="/v1/models")
    await patch(connection, server(readinessProbe={"httpGet": {"path": "/healthz"}}))
    [conflict] = (await plan_edit(connection, edit, inventory)).conflicts
    found = (conflict.base, conflict.theirs, conflict.mine)
    assert found == ("/health", "/healthz", "/v1/models")


async def test_a_secret_in_a_conflict_is_masked(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, env=[{"name": "API_KEY", "value": "hunter2"}])
    await patch(connection, server(env=[{"name": "API_KEY", "value": "hunter3"}]))
    [conflict] = (await plan_edit(connection, edit, inventory)).conflicts
    assert (conflict.base, conflict.theirs, conflict.mine) == ("none", MASK, MASK)
    assert conflict.label == "Environment Variable API_KEY"


async def test_a_serving_that_is_gone_or_made_again_is_said(
    connection: Connection, inventory: ClusterInventory
) -> None:
    edit = await begin(connection, description="x")
    live = edit.base.objects.deployment
    await connection.request("DELETE", PATH)
    with pytest.raises(ServingNotFoundError):
        await plan_edit(connection, edit, inventory)
    metadata = {
        key: live["metadata"][key] for key in ("name", "namespace", "labels", "annotations")
    }
    body = {**live, "metadata": metadata}
    await connection.request("POST", PATH.rpartition("/")[0], body=body)
    with pytest.raises(ServingReplacedError, match="deleted and created again"):
        await plan_edit(connection, edit, inventory)


async def test_a_missing_service_is_not_created_with_another_change(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await connection.request("DELETE", "/api/v1/namespaces/chat/services/llama-33-70b")
    plan = await plan_edit(connection, await begin(connection, description="x"), inventory)
    assert [one.ref.kind for one in plan.change_plan.writes if one.body is not None] == [
        "Deployment"
    ]
    assert "Service" not in {one.ref.kind for one in plan.change_plan.writes}


async def test_a_full_quota_rejects_more_pods_but_not_a_restart(
    connection: Connection, inventory: ClusterInventory
) -> None:
    quota = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    await connection.request("POST", "/api/v1/namespaces/chat/resourcequotas", body=quota)
    for fields, severities in (
        ({"replicas": 3}, ["error"]),
        ({"image": "a:2"}, ["warning"]),
        ({"description": "x"}, []),
        ({"replicas": 1}, []),
    ):
        plan = await plan_edit(connection, await begin(connection, **fields), inventory)
        found = [one for one in plan.issues if "quota" in one.message]
        assert [str(one.severity) for one in found] == severities, fields


# -- saving -------------------------------------------------------------------------------------


async def save(
    connection: Connection, inventory: ClusterInventory, **fields: Any
) -> tuple[EditPlan, SaveResult]:
    plan = await plan_edit(connection, await begin(connection, **fields), inventory)
    return plan, await save_edit(connection, plan, inventory)


async def test_a_saved_edit_changes_its_fields_alone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await read_spec(connection)
    _, result = await save(connection, inventory, description="new", replicas=3)
    assert result.state is SaveState.SAVED
    assert [one.kind for one in result.applied] == ["Deployment"]
    assert await read_spec(connection) == before.replace(description="new", replicas=3)


async def test_a_default_where_there_is_nothing_is_saved(
    connection: Connection, inventory: ClusterInventory
) -> None:
    def memories(deployment: Any) -> list[Any]:
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        return [one["emptyDir"] for one in volumes if "medium" in one.get("emptyDir", ())]

    found = await connection.get_json(PATH)
    [memory] = memories(found)
    del memory["sizeLimit"]
    await connection.request("PUT", PATH, body=found, content_type="application/json")
    size = str((await read_spec(connection)).shared_memory_limit)
    plan, result = await save(connection, inventory, shared_memory=size)
    assert [(one.name, one.old, one.new, one.restarts) for one in plan.fields] == [
        ("sharedMemory", "none", size, True)
    ]
    assert result.state is SaveState.SAVED
    assert memories(await connection.get_json(PATH)) == [{"medium": "Memory", "sizeLimit": size}]
    again, _ = await save(connection, inventory, shared_memory=size)
    assert again.is_unchanged
    assert result.undo is not None
    with pytest.raises(UndoExpiredError, match="Shared Memory had no value before"):
        await begin_undo(connection, result.undo)

    found = await connection.get_json(PATH)
    [memory] = memories(found)
    del memory["sizeLimit"]
    await connection.request("PUT", PATH, body=found, content_type="application/json")
    _, result = await save(connection, inventory, shared_memory=size, description="both")
    assert result.undo is not None
    plan = await plan_edit(connection, await begin_undo(connection, result.undo), inventory)
    assert [one.name for one in plan.fields] == ["description"]
    assert any("Shared Memory had no value before" in one.message for one in plan.issues)


async def test_a_plan_of_a_serving_that_changed_since_is_made_again(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_edit(connection, await begin(connection, description="mine"), inventory)
    await patch(connection, server(image="theirs:1"))
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert (await read_spec(connection)).description != "mine"
    assert result.plan.spec.image == "theirs:1"
    assert (await save_edit(connection, result.plan, inventory)).state is SaveState.SAVED
    spec = await read_spec(connection)
    assert (spec.image, spec.description) == ("theirs:1", "mine")


async def test_another_status_does_not_make_a_plan_stale(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_edit(connection, await begin(connection, description="mine"), inventory)
    await connection.request(
        "PATCH",
        f"{PATH}/status",
        params=[("fieldManager", "controller")],
        body={"status": {"unavailableReplicas": 7}},
        content_type="application/merge-patch+json",
    )
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED


async def test_a_field_of_another_manager_is_rejected_at_the_plan(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await patch(connection, server(image="theirs:1"))
    edit = await begin(connection, image="mine:1")
    plan = await plan_edit(connection, edit, inventory)
    assert not plan.can_save
    forced = await plan_edit(connection, edit, inventory, force=True, earlier=plan)
    assert forced.current is plan.current  # not read a second time
    result = await save_edit(connection, forced, inventory, force=True)
    assert result.state is SaveState.SAVED
    assert (await read_spec(connection)).image == "mine:1"


# -- a lost connection --------------------------------------------------------------------------

LOST = ConnectionLostError("The connection to https://demo was lost.")
REFUSED = ConnectionFailedError("Connection refused by https://demo.")
TIMED_OUT = ApiError(504, "Timeout", "request did not complete within 34s")
NO_WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "deny.example.com"')


class Fault:
    """Fails writes of a connection: after or before they are executed; and the next reads."""

    def __init__(
        self, connection: Connection, error: ClusterError, *, executed: bool, failing_reads: int = 0
    ) -> None:
        self.writes = 0
        self._failing_reads = failing_reads
        request: Callable[..., Awaitable[Any]] = connection.request

        async def faulty(method: str, path: str, **options: Any) -> Any:
            is_dry_run = ("dryRun", "All") in options.get("params", ())
            if method == "GET" and self.writes and self._failing_reads:
                self._failing_reads -= 1
                raise REFUSED
            if method == "GET" or is_dry_run:
                return await request(method, path, **options)
            self.writes += 1
            if executed:
                await request(method, path, **options)
            raise error

        connection.request = faulty  # type: ignore[method-assign, assignment]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_writes, "_PAUSES", (0.0,) * 5)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("error", "executed", "failing_reads", "state"),
    [
        (LOST, True, 0, SaveState.SAVED),
        (LOST, True, 3, SaveState.SAVED),
        (LOST, False, 0, SaveState.UNKNOWN),
        (LOST, True, 5, SaveState.UNKNOWN),
        (LOST, False, 5, SaveState.UNKNOWN),
        (REFUSED, False, 0, SaveState.NOT_SAVED),
        (TIMED_OUT, True, 0, SaveState.SAVED),
        (TIMED_OUT, False, 0, SaveState.UNKNOWN),
        (TIMED_OUT, True, 5, SaveState.UNKNOWN),
        (NO_WEBHOOK, False, 0, SaveState.REJECTED),
    ],
)
async def test_what_became_of_a_write_is_read_back_and_it_is_never_sent_twice(
    connection: Connection,
    inventory: ClusterInventory,
    error: ClusterError,
    executed: bool,
    failing_reads: int,
    state: SaveState,
) -> None:
    plan = await plan_edit(connection, await begin(connection, memory="900Gi"), inventory)
    fault = Fault(connection, error, executed=executed, failing_reads=failing_reads)
    result = await save_edit(connection, plan, inventory)
    assert result.state is state
    assert fault.writes == 1
    assert {
        SaveState.SAVED: "The change was saved.",
        SaveState.NOT_SAVED: "The change was not saved.",
        SaveState.UNKNOWN: "It is not known whether the change was saved",
        SaveState.REJECTED: "failed calling webhook",
    }[state] in result.message
    assert (str((await read_spec(connection)).memory) == "900Gi") is executed
    assert (result.undo is not None) is (state is SaveState.SAVED)


@pytest.mark.usefixtures("no_pauses")
async def test_a_new_plan_tells_what_became_of_a_lost_write(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await read_spec(connection)
    plan = await plan_edit(connection, await begin(connection, memory="900Gi"), inventory)
    Fault(connection, LOST, executed=True, failing_reads=5)
    lost = await save_edit(connection, plan, inventory)
    assert lost.state is SaveState.UNKNOWN
    del connection.request  # the API server answers again
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.SAVED
    assert [one.kind for one in result.applied] == ["Deployment"]
    assert result.undo is not None
    undo = await plan_edit(connection, await begin_undo(connection, result.undo), inventory)
    assert (await save_edit(connection, undo, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == before


class DelayedWrite:
    """Loses the connection of the first write of a connection, and executes it later."""

    def __init__(self, connection: Connection) -> None:
        self._request: Callable[..., Awaitable[Any]] = connection.request
        self._sent: tuple[Any, ...] = ()
        self._options: dict[str, Any] = {}

        async def lose(method: str, path: str, **options: Any) -> Any:
            is_dry_run = ("dryRun", "All") in options.get("params", ())
            if method == "GET" or is_dry_run or self._sent:
                return await self._request(method, path, **options)
            self._sent, self._options = (method, path), options
            raise LOST

        connection.request = lose  # type: ignore[method-assign, assignment]

    async def arrive(self) -> None:
        await self._request(*self._sent, **self._options)


@pytest.mark.usefixtures("no_pauses")
async def test_a_lost_write_is_not_called_unsaved_while_it_may_still_arrive(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_edit(connection, await begin(connection, memory="900Gi"), inventory)
    delayed = DelayedWrite(connection)
    lost = await save_edit(connection, plan, inventory)
    assert lost.state is SaveState.UNKNOWN
    assert "may still save it" in lost.message
    for _ in range(2):
        lost = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
        assert lost.state is SaveState.UNKNOWN
        assert "does not have the change so far" in lost.message
    await delayed.arrive()
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.SAVED
    assert result.undo is not None


@pytest.mark.usefixtures("no_pauses")
async def test_a_lost_write_was_not_saved_once_the_object_has_another_version(
    connection: Connection, inventory: ClusterInventory
) -> None:
    plan = await plan_edit(connection, await begin(connection, memory="900Gi"), inventory)
    delayed = DelayedWrite(connection)
    lost = await save_edit(connection, plan, inventory)
    await patch(connection, {"spec": {"minReadySeconds": 1}})
    result = resolve_unknown(lost, await plan_edit(connection, plan.edit, inventory))
    assert result.state is SaveState.NOT_SAVED
    assert "the change was not saved" in result.message
    with pytest.raises(ApiError, match="the object has been modified"):
        await delayed.arrive()


@pytest.mark.usefixtures("no_pauses")
async def test_a_lost_write_of_an_object_that_others_changed_was_not_saved(
    connection: Connection, inventory: ClusterInventory
) -> None:
    """With another version the API server will not execute it any more."""
    plan = await plan_edit(connection, await begin(connection, memory="900Gi"), inventory)
    request = connection.request
    sent = 0

    async def lose(method: str, path: str, **options: Any) -> Any:
        nonlocal sent
        if method == "PATCH" and not sent:
            sent += 1
            await request(
                "PATCH",
                PATH,
                params=[("fieldManager", "kubectl")],
                body={"spec": {"minReadySeconds": 1}},
                content_type=STRATEGIC,
            )
            raise LOST
        return await request(method, path, **options)

    connection.request = lose  # type: ignore[method-assign, assignment]
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.NOT_SAVED


# -- undo ---------------------------------------------------------------------------------------


async def test_undo_puts_the_fields_back(
    connection: Connection, inventory: ClusterInventory
) -> None:
    before = await read_spec(connection)
    _, result = await save(connection, inventory, description="new", memory="900Gi")
    assert result.undo is not None
    undo = await begin_undo(connection, result.undo)
    plan = await plan_edit(connection, undo, inventory)
    assert {one.name for one in plan.fields} == {"description", "memory"}
    assert (await save_edit(connection, plan, inventory)).state is SaveState.SAVED
    assert await read_spec(connection) == before


async def test_undo_ends_when_the_deployment_is_changed(
    connection: Connection, inventory: ClusterInventory
) -> None:
    _, result = await save(connection, inventory, description="new", memory="900Gi")
    assert result.undo is not None
    await patch(connection, server(image="theirs:1"))
    with pytest.raises(UndoExpiredError, match="changed since"):
        await begin_undo(connection, result.undo)


async def test_undo_ends_when_a_changed_annotation_is_changed(
    connection: Connection, inventory: ClusterInventory
) -> None:
    """Annotations do not change the generation."""
    _, result = await save(connection, inventory, description="new")
    assert result.undo is not None
    annotations = {"servedeck.dev/description": "theirs"}
    await patch(connection, {"metadata": {"annotations": annotations}})
    with pytest.raises(UndoExpiredError, match="changed since"):
        await begin_undo(connection, result.undo)


async def test_two_edits_at_once_lose_nothing(
    connection: Connection, inventory: ClusterInventory
) -> None:
    """Of two servedecks with the same field manager."""
    plans = [
        await plan_edit(connection, await begin(connection, **fields), inventory)
        for fields in ({"description": "one"}, {"memory": "900Gi"}, {"description": "two"})
    ]
    results = await asyncio.gather(*(save_edit(connection, one, inventory) for one in plans))
    saved = [one for one in results if one.state is SaveState.SAVED]
    others = [one for one in results if one.state is not SaveState.SAVED]
    assert len(saved) == 1
    assert {one.state for one in others} == {SaveState.REPLANNED}
    spec = await read_spec(connection)
    if saved[0].plan.spec.description in ("one", "two"):
        assert spec.description == saved[0].plan.spec.description
