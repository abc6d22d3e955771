"""The undo of an edit that deletes or rewrites an autoscaler or a policy: the object is as it was,
with what no field expresses, and nothing of others is overwritten."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.edit.edit import EditPlan, plan_edit
from servedeck.changes.edit.save import SaveResult, SaveState, save_edit
from servedeck.changes.edit.undo import UndoExpiredError, begin_undo
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.http.connection import Connection
from tests.changes.setting_rig import (
    DEPLOYMENT,
    NAME,
    REF,
    SCALED_OBJECTS,
    Hook,
    foreign_scaled_object,
    open_demo,
    open_inventory,
    patch,
    read_spec,
    save,
    scaled_object,
    turn_on,
)

HPAS = "/apis/autoscaling/v2/namespaces/chat/horizontalpodautoscalers"
POLICIES = "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/chat/backendtrafficpolicies"
ADAPTED_QUERY = 'histogram_quantile(0.5, sum by (le) (rate(own_bucket{pod=~"llama.*"}[1m])))'


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with open_demo() as opened:
        yield opened


@pytest.fixture
async def inventory(connection: Connection) -> AsyncIterator[ClusterInventory]:
    async with open_inventory(connection) as made:
        yield made


def content(obj: Any) -> Any:
    """What an undo puts back: all but the status and what the API server sets."""
    kept = {
        key: value
        for key, value in obj["metadata"].items()
        if key in ("name", "namespace", "labels", "annotations")
    }
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": kept}


async def adapt(connection: Connection, deployment_uid: str = "gone") -> Any:
    """Give the ScaledObject what no field expresses; as it is then."""
    live = await scaled_object(connection)
    own = copy.deepcopy(live["spec"]["triggers"][0])
    own["metadata"]["query"] = ADAPTED_QUERY
    own["authenticationRef"] = {"name": "thanos", "kind": "ClusterTriggerAuthentication"}
    cron = {"type": "cron", "name": "mornings", "metadata": {"desiredReplicas": "3"}}
    owners = [
        {"apiVersion": "apps/v1", "kind": kind, "name": NAME, "uid": uid}
        for kind, uid in (("Deployment", deployment_uid), ("Rollout", "of-no-object"))
    ]
    await patch(
        connection,
        {
            "metadata": {
                "labels": {"team": "chat"},
                "annotations": {"autoscaling.keda.sh/paused-scale-in": "true"},
                "finalizers": ["finalizer.keda.sh"],
                "ownerReferences": owners,
            },
            "spec": {"triggers": [cron, own], "fallback": {"failureThreshold": 3, "replicas": 2}},
        },
    )
    return await scaled_object(connection)


async def turn_off(connection: Connection, inventory: ClusterInventory) -> SaveResult:
    off = await save(connection, inventory, auto_scaling="off")
    assert off.state is SaveState.SAVED
    if await scaled_object(connection) is not None:  # KEDA ends it
        await patch(connection, {"metadata": {"finalizers": None}})
    assert await scaled_object(connection) is None
    return off


async def plan_undo(
    connection: Connection, inventory: ClusterInventory, result: SaveResult, *, force: bool = False
) -> EditPlan:
    assert result.undo is not None
    edit = await begin_undo(connection, result.undo)
    plan = await plan_edit(connection, edit, inventory, force=force)
    assert plan.can_save, plan.issues
    return plan


async def undo(
    connection: Connection, inventory: ClusterInventory, result: SaveResult, *, force: bool = False
) -> SaveResult:
    plan = await plan_undo(connection, inventory, result, force=force)
    undone = await save_edit(connection, plan, inventory, force=force)
    assert undone.state is SaveState.SAVED, undone.message
    return undone


async def test_an_undo_of_off_creates_the_scaler_as_it_was(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    uid = (await connection.get_json(DEPLOYMENT))["metadata"]["uid"]
    before = await adapt(connection, uid)
    spec = await read_spec(connection)
    off = await turn_off(connection, inventory)
    on = await undo(connection, inventory, off)
    made = await scaled_object(connection)
    assert content(made) == content(before)
    assert made["metadata"]["uid"] != before["metadata"]["uid"]
    assert "finalizers" not in made["metadata"]
    # An owner that is gone would have it deleted.
    assert [one["kind"] for one in made["metadata"]["ownerReferences"]] == ["Deployment"]
    assert await read_spec(connection) == spec
    # And off again, and on again.
    again = await undo(connection, inventory, on)
    assert await scaled_object(connection) is None
    await undo(connection, inventory, again)
    assert content(await scaled_object(connection)) == content(before)


async def test_an_undo_of_off_creates_what_somebody_else_made(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object(NAME))
    before = await scaled_object(connection)
    assert (await read_spec(connection)).auto_scaling == "custom"
    await undo(connection, inventory, await turn_off(connection, inventory))
    assert content(await scaled_object(connection)) == content(before)


async def test_an_undo_of_off_creates_a_horizontal_pod_autoscaler(
    connection: Connection, inventory: ClusterInventory
) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "by-cpu", "namespace": "chat", "annotations": {"by": "hand"}},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, "metrics": [metric]},
    }
    await connection.request("POST", HPAS, body=hpa)
    before = await connection.get_json(f"{HPAS}/by-cpu")
    off = await save(connection, inventory, auto_scaling="off")
    assert off.state is SaveState.SAVED
    await undo(connection, inventory, off)
    assert content(await connection.get_json(f"{HPAS}/by-cpu")) == content(before)


async def test_an_undo_of_another_trigger_has_the_adapted_query_again(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    before = await adapt(connection)
    changed = await save(connection, inventory, force=True, auto_scaling="waiting-requests")
    assert ADAPTED_QUERY not in str(await scaled_object(connection))
    await undo(connection, inventory, changed)
    assert content(await scaled_object(connection)) == content(before)


async def test_what_others_changed_since_in_a_rewritten_scaler_stays(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    changed = await save(connection, inventory, max_replicas=6)
    await patch(connection, {"spec": {"pollingInterval": 5}})
    await undo(connection, inventory, changed)
    found = (await scaled_object(connection))["spec"]
    assert (found["pollingInterval"], found["maxReplicaCount"]) == (5, 4)


async def test_replicas_that_keda_puts_back_do_not_end_the_undo_of_off(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    off = await turn_off(connection, inventory)
    await patch(connection, {"spec": {"replicas": 3}}, DEPLOYMENT)
    await undo(connection, inventory, off)
    assert (await connection.get_json(DEPLOYMENT))["spec"]["replicas"] == 3
    assert await scaled_object(connection) is not None


@pytest.mark.parametrize(
    ("annotations", "replicas"),
    [({}, 1), ({"autoscaling.keda.sh/paused-replicas": "0"}, 0)],
)
async def test_a_serving_of_no_replicas_gets_its_minimum_unless_its_scaler_is_paused(
    connection: Connection,
    inventory: ClusterInventory,
    annotations: dict[str, str],
    replicas: int,
) -> None:
    await turn_on(connection, inventory)
    await patch(connection, {"metadata": {"annotations": annotations}})
    off = await turn_off(connection, inventory)
    await patch(connection, {"spec": {"replicas": 0}}, DEPLOYMENT)
    await undo(connection, inventory, off, force=True)
    assert (await connection.get_json(DEPLOYMENT))["spec"]["replicas"] == replicas


# -- others meanwhile ---------------------------------------------------------------------------


async def test_a_scaler_that_somebody_made_since_ends_the_undo(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    off = await turn_off(connection, inventory)
    body = foreign_scaled_object(NAME)
    body["metadata"]["name"] = "theirs"
    await connection.request("POST", SCALED_OBJECTS, body=body)
    assert off.undo is not None
    with pytest.raises(UndoExpiredError):
        await begin_undo(connection, off.undo)


@pytest.mark.parametrize("target", ["bert", NAME])
async def test_one_that_somebody_makes_during_the_undo_is_not_overwritten(
    connection: Connection, inventory: ClusterInventory, target: str
) -> None:
    await turn_on(connection, inventory)
    await adapt(connection)
    off = await turn_off(connection, inventory)
    plan = await plan_undo(connection, inventory, off)

    async def create() -> None:
        await connection.request("POST", SCALED_OBJECTS, body=foreign_scaled_object(target))

    Hook(connection, "PATCH", before=create)
    result = await save_edit(connection, plan, inventory)
    assert result.state is SaveState.REPLANNED
    assert not result.plan.can_save
    found = await scaled_object(connection)
    assert [one["type"] for one in found["spec"]["triggers"]] == ["cron"]
    assert "labels" not in found["metadata"]
    if target == NAME:
        assert result.plan.conflicts
    else:
        [issue] = result.plan.errors
        assert issue.message.startswith(f"{REF} exists already and is for something else")


async def test_one_that_waits_for_its_finalizers_is_created_when_it_is_gone(
    connection: Connection, inventory: ClusterInventory
) -> None:
    await turn_on(connection, inventory)
    before = await adapt(connection)
    off = await save(connection, inventory, auto_scaling="off")
    assert off.undo is not None
    plan = await plan_edit(connection, await begin_undo(connection, off.undo), inventory)
    [issue] = plan.errors
    assert issue.message == f"{REF} is being deleted still; try again when it is gone."
    await patch(connection, {"metadata": {"finalizers": None}})
    await undo(connection, inventory, off)
    assert content(await scaled_object(connection)) == content(before)


# -- policies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["off", "prefix-aware"])
@pytest.mark.parametrize("manager", ["servedeck", "helm"])
async def test_an_undo_of_load_balancing_off_has_the_policy_as_it_was(
    connection: Connection, inventory: ClusterInventory, manager: str, wanted: str
) -> None:
    """That of servedeck is deleted, of that of others only the algorithm is removed."""
    header = {"type": "Header", "header": {"name": "x-session"}, "tableSize": 4099}
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": NAME}
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {
            "name": NAME,
            "namespace": "chat",
            "labels": {"app.kubernetes.io/managed-by": manager},
            "annotations": {"note": "kept"},
        },
        "spec": {
            "targetRefs": [target],
            "mergeType": "StrategicMerge",
            "loadBalancer": {"type": "ConsistentHash", "consistentHash": header},
        },
    }
    params = [("fieldManager", "servedeck")]
    await connection.request("POST", POLICIES, params=params, body=policy)
    before = await connection.get_json(f"{POLICIES}/{NAME}")
    off = await save(connection, inventory, force=True, load_balancing=wanted)
    assert off.state is SaveState.SAVED, off.message
    assert bool(off.plan.deleted_objects) is (manager == "servedeck")
    await undo(connection, inventory, off)
    assert content(await connection.get_json(f"{POLICIES}/{NAME}")) == content(before)
