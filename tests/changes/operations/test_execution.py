"""Running a plan: nothing overwritten unseen, never two writes, and what a lost response means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.operations.deletion_plans import plan_serving_deletion
from servedeck.changes.operations.deployment_plans import plan_deployment_operation
from servedeck.changes.operations.execution import OutdatedError, dry_run_plan, run_plan
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.node_plans import plan_cordon
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.patched_plan import patched
from servedeck.changes.operations.replica_plans import STOPPED_REPLICAS_ANNOTATION
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    CredentialsError,
    InvalidResponseError,
    ReadOnlyError,
    ReadTimeoutError,
)
from tests.changes.operations.factories import PATH, deployment, node, service
from tests.changes.operations.fake_cluster import (
    LOST,
    FakeCluster,
    lose_request,
    lose_response,
    refuse_connection,
    respond,
)

SERVICE_PATH = "/api/v1/namespaces/chat/services/llama"
NODE_PATH = "/api/v1/nodes/gpu-1"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def make_plan(kind: OperationKind, live: Any, replicas: int | None = None) -> OperationPlan:
    operation = Operation(kind, "chat", "llama", replicas)
    return plan_deployment_operation(operation, live, now=NOW)


def scale_plan(replicas: int = 5) -> OperationPlan:
    return make_plan(OperationKind.SCALE, deployment(3), replicas)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster({PATH: deployment(3), SERVICE_PATH: service()})


async def run(cluster: FakeCluster, plan: OperationPlan) -> OperationResult:
    return await run_plan(cluster.connection, plan)


# -- done, or not possible ----------------------------------------------------------------------


async def test_what_is_done_is_said_with_its_undo_and_generation(cluster: FakeCluster) -> None:
    result = await run(cluster, scale_plan())
    assert (result.outcome, result.message) == (
        Outcome.DONE,
        "Deployment chat/llama is scaled to 5 replicas.",
    )
    assert result.undo == Operation(OperationKind.SCALE, "chat", "llama", 3)
    assert result.generation == 5
    assert cluster.writes == [("PATCH", PATH)]


@pytest.mark.parametrize(("replicas", "outcome"), [(3, Outcome.UNCHANGED), (-1, Outcome.REJECTED)])
async def test_a_plan_that_is_not_possible_is_not_sent(
    cluster: FakeCluster, replicas: int, outcome: Outcome
) -> None:
    result = await run(cluster, scale_plan(replicas))
    assert (result.outcome, cluster.requests) == (outcome, [])


async def test_warnings_of_admission_webhooks_are_in_the_result(cluster: FakeCluster) -> None:
    cluster.headers = {"Warning": '299 - "policy \\"x\\" is \x1b[31mdeprecated"'}
    planned = await dry_run_plan(cluster.connection, scale_plan())
    assert planned.warnings == ('policy "x" is deprecated',)
    result = await run(cluster, scale_plan())
    assert result.warnings == ('policy "x" is deprecated',)


# -- the object changes meanwhile ---------------------------------------------------------------


async def test_a_changed_status_does_not_prevent_the_change(cluster: FakeCluster) -> None:
    def write_status() -> None:
        if len(cluster.requests) < 20:
            cluster.change(PATH, status={"readyReplicas": len(cluster.requests)})

    cluster.before_write = write_status
    result = await run(cluster, scale_plan())
    assert result.outcome is Outcome.DONE
    assert cluster.objects[PATH]["spec"]["replicas"] == 5
    assert cluster.objects[PATH]["status"]["readyReplicas"] == 19
    assert len(cluster.writes) == 1


async def test_an_object_that_never_rests_is_given_up(cluster: FakeCluster) -> None:
    cluster.before_write = lambda: cluster.change(
        PATH, status={"readyReplicas": len(cluster.requests)}
    )
    result = await run(cluster, scale_plan())
    assert (result.outcome, cluster.writes) == (Outcome.REJECTED, [])
    assert result.message == (
        "Deployment chat/llama is written too often by its controllers at the moment; try again."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replicas": 4}},
        {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}},
        {"spec": {"paused": True}},
        {"metadata": {"annotations": {STOPPED_REPLICAS_ANNOTATION: "7"}}},
        {"metadata": {"deletionTimestamp": "2026-11-28T12:00:00Z"}},
        {"metadata": {"uid": "uid-new"}},
    ],
)
async def test_what_somebody_else_changed_is_not_overwritten(
    cluster: FakeCluster, change: dict[str, Any]
) -> None:
    plan = make_plan(OperationKind.STOP, deployment(3))
    cluster.change(PATH, **change)
    before = dict(cluster.objects[PATH])
    result = await run(cluster, plan)
    assert result.outcome is Outcome.OUTDATED
    assert result.message.startswith("Deployment chat/llama ")
    assert (cluster.objects[PATH], cluster.writes) == (before, [])


async def test_metadata_that_the_change_does_not_touch_is_kept(cluster: FakeCluster) -> None:
    plan = make_plan(OperationKind.STOP, deployment(3))
    cluster.change(PATH, metadata={"annotations": {"mine": "x"}})
    result = await run(cluster, plan)
    assert result.outcome is Outcome.DONE
    assert cluster.objects[PATH]["metadata"]["annotations"]["mine"] == "x"


async def test_a_deployment_that_is_gone_is_outdated(cluster: FakeCluster) -> None:
    del cluster.objects[PATH]
    result = await run(cluster, scale_plan())
    assert (result.outcome, result.message) == (
        Outcome.OUTDATED,
        "Deployment chat/llama was deleted by somebody else.",
    )


async def test_taints_of_the_node_controller_do_not_prevent_a_cordon() -> None:
    cluster = FakeCluster({NODE_PATH: node()})
    plan = plan_cordon(Operation(OperationKind.CORDON, "", "gpu-1"), node())
    cluster.change(NODE_PATH, spec={"taints": [{"key": "node.kubernetes.io/not-ready"}]})
    assert (await run(cluster, plan)).outcome is Outcome.DONE
    assert cluster.objects[NODE_PATH]["spec"]["unschedulable"] is True


async def test_a_conflict_that_is_not_about_the_version_is_a_rejection(
    cluster: FakeCluster,
) -> None:
    cluster.faults = [respond(ApiError(409, "Conflict", "denied by a webhook"))]
    result = await run(cluster, scale_plan())
    assert (result.outcome, len(cluster.requests)) == (Outcome.REJECTED, 1)
    assert "denied by a webhook" in result.message


async def test_a_dry_run_of_a_changed_object_is_outdated(cluster: FakeCluster) -> None:
    cluster.change(PATH, spec={"replicas": 4})
    with pytest.raises(OutdatedError):
        await dry_run_plan(cluster.connection, scale_plan())


async def test_a_dry_run_changes_nothing(cluster: FakeCluster) -> None:
    for plan in (scale_plan(), deletion_plan()):
        await dry_run_plan(cluster.connection, plan)
    assert cluster.writes == []
    assert all(dry for _, _, dry in cluster.requests)


# -- rejected -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError(403, "Forbidden", 'User "x" cannot patch resource "deployments"'), "patch"),
        (ApiError(403, "Forbidden", "admission webhook denied the request: no"), "no"),
        (ApiError(422, "Invalid", "spec.replicas: Invalid value"), "Invalid value"),
        (ApiError(429, "TooManyRequests", "slow down"), "429"),
        (ApiError(500, "InternalError", "failed calling webhook x: no endpoints"), "webhook"),
        (CredentialsError("The login has expired; log in again."), "log in again"),
        (ReadOnlyError(), "--readonly"),
    ],
)
async def test_a_rejection_says_why_and_changes_nothing(
    cluster: FakeCluster, error: ClusterError, text: str
) -> None:
    def fault(_: Callable[[], Any]) -> Any:
        raise error

    cluster.faults = [fault]
    result = await run(cluster, scale_plan())
    assert result.outcome is Outcome.REJECTED
    assert text in result.message
    assert (len(cluster.requests), cluster.writes) == (1, [])


async def test_a_connection_that_was_refused_has_not_changed_anything(cluster: FakeCluster) -> None:
    cluster.faults = [refuse_connection]
    cluster.read_error = LOST
    result = await run(cluster, scale_plan())
    assert (result.outcome, result.message) == (
        Outcome.REJECTED,
        "Connection refused by https://cluster; is the cluster up?",
    )


# -- the response is lost -----------------------------------------------------------------------


def restart_plan() -> OperationPlan:
    return make_plan(OperationKind.RESTART, deployment(3))


async def test_a_change_whose_response_was_lost_is_found(cluster: FakeCluster) -> None:
    cluster.faults = [lose_response]
    result = await run(cluster, scale_plan())
    assert result.outcome is Outcome.DONE
    assert result.message == (
        "Deployment chat/llama is scaled to 5 replicas. The response was lost: The connection to "
        "https://cluster was lost."
    )
    assert result.undo is not None
    assert result.generation == 5
    assert len(cluster.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        LOST,
        ReadTimeoutError("https://cluster does not answer."),
        InvalidResponseError("The server answered with a web page."),
        ApiError(504, "Timeout", "request did not complete"),
        ApiError(502, "", "bad gateway"),
        ApiError(500, "InternalError", "etcdserver: request timed out"),
    ],
)
async def test_every_error_after_which_it_may_be_executed_is_looked_into(
    cluster: FakeCluster, error: ClusterError
) -> None:
    def fault(execute: Callable[[], Any]) -> Any:
        execute()
        raise error

    cluster.faults = [fault]
    assert (await run(cluster, restart_plan())).outcome is Outcome.DONE
    assert len(cluster.requests) == 1


@pytest.mark.parametrize("with_dry_run", [True, False])
async def test_a_change_is_found_with_the_defaults_and_in_the_form_of_the_api_server(
    with_dry_run: bool,
) -> None:
    live = deployment(3)
    wanted = copy.deepcopy(live)
    server = wanted["spec"]["template"]["spec"]["containers"][0]
    server["readinessProbe"] = {"httpGet": {"path": "/health", "port": 8000}}
    server["resources"] = {"limits": {"memory": "1024Mi"}}
    plan = patched(OperationPlan(Operation(OperationKind.EDIT, "chat", "llama")), live, wanted)
    cluster = FakeCluster({PATH: live})
    cluster.defaults = {
        PATH: {"readinessProbe": {"timeoutSeconds": 1}, "resources": {"limits": {"memory": "1Gi"}}}
    }
    if with_dry_run:
        plan = await dry_run_plan(cluster.connection, plan)
    cluster.faults = [lose_response]
    result = await run(cluster, plan)
    assert result.outcome is Outcome.DONE, result.message


async def test_a_request_that_may_still_arrive_is_unknown_and_not_sent_again(
    cluster: FakeCluster,
) -> None:
    cluster.faults = [lose_request]
    result = await run(cluster, restart_plan())
    assert result.outcome is Outcome.UNKNOWN
    assert "has not changed so far" in result.message
    again = await look_again(cluster.connection, result)
    assert again == result
    assert len(cluster.requests) == 1


async def test_a_request_cannot_arrive_once_the_object_has_another_version(
    cluster: FakeCluster,
) -> None:
    cluster.faults = [lose_request]
    result = await run(cluster, restart_plan())
    cluster.change(PATH, status={"readyReplicas": 2})
    again = await look_again(cluster.connection, result)
    assert (again.outcome, again.lost) == (Outcome.REJECTED, None)
    assert again.message.endswith("Deployment chat/llama was not changed.")


async def test_a_change_of_somebody_else_is_not_taken_for_ours(cluster: FakeCluster) -> None:
    cluster.faults = [lose_request]
    result = await run(cluster, scale_plan(5))
    cluster.change(PATH, spec={"replicas": 4})
    again = await look_again(cluster.connection, result)
    assert again.outcome is Outcome.REJECTED
    assert "changed by somebody else" in again.message


async def test_what_became_of_it_is_found_out_when_the_server_is_back(
    cluster: FakeCluster,
) -> None:
    cluster.faults = [lose_response]
    cluster.read_error = LOST
    result = await run(cluster, restart_plan())
    assert result.outcome is Outcome.UNKNOWN
    assert "It is not known whether Deployment chat/llama was changed" in result.message
    assert (await look_again(cluster.connection, result)).outcome is Outcome.UNKNOWN
    cluster.read_error = None
    assert (await look_again(cluster.connection, result)).outcome is Outcome.DONE
    assert len(cluster.writes) == 1


@pytest.mark.parametrize("change", [None, {"metadata": {"uid": "uid-new"}}])
async def test_a_deployment_that_is_gone_meanwhile_is_said(
    cluster: FakeCluster, change: dict[str, Any] | None
) -> None:
    cluster.faults = [lose_request]
    result = await run(cluster, restart_plan())
    if change is None:
        del cluster.objects[PATH]
    else:
        cluster.change(PATH, **change)
    again = await look_again(cluster.connection, result)
    assert again.outcome is Outcome.REJECTED
    assert "was deleted by somebody else meanwhile" in again.message


async def test_a_read_that_fails_after_a_conflict_has_changed_nothing(
    cluster: FakeCluster,
) -> None:
    cluster.change(PATH, status={"readyReplicas": 2})
    cluster.read_error = LOST
    result = await run(cluster, scale_plan())
    assert (result.outcome, cluster.writes) == (Outcome.REJECTED, [])


async def test_a_lost_response_of_the_second_attempt_is_found(cluster: FakeCluster) -> None:
    cluster.change(PATH, status={"readyReplicas": 2})
    cluster.faults = [lambda execute: execute(), lose_request]
    result = await run(cluster, restart_plan())
    assert result.outcome is Outcome.UNKNOWN
    assert result.lost is not None
    assert result.lost.version == "101"


async def test_looking_again_at_what_is_known_changes_nothing(cluster: FakeCluster) -> None:
    result = await run(cluster, scale_plan())
    assert await look_again(cluster.connection, result) is result


# -- deletions ----------------------------------------------------------------------------------


def deletion_plan() -> OperationPlan:
    operation = Operation(OperationKind.DELETE, "chat", "llama")
    return plan_serving_deletion(operation, [deployment(3), service()])


async def test_a_deletion_deletes_in_order(cluster: FakeCluster) -> None:
    result = await run(cluster, deletion_plan())
    assert (result.outcome, result.message) == (
        Outcome.DONE,
        "Deployment chat/llama is deleted.",
    )
    assert cluster.writes == [("DELETE", SERVICE_PATH), ("DELETE", PATH)]
    assert result.undo is None


async def test_what_somebody_else_deleted_before_does_not_prevent_a_deletion(
    cluster: FakeCluster,
) -> None:
    del cluster.objects[SERVICE_PATH]
    assert (await run(cluster, deletion_plan())).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("path", "progress"), [(SERVICE_PATH, ""), (PATH, "Deleted before: Service llama")]
)
async def test_an_object_of_the_same_name_that_was_created_since_is_not_deleted(
    cluster: FakeCluster, path: str, progress: str
) -> None:
    cluster.change(path, metadata={"uid": "uid-new"})
    result = await run(cluster, deletion_plan())
    assert result.outcome is Outcome.OUTDATED
    assert "was deleted and created again by somebody else." in result.message
    assert progress in result.message
    assert PATH in cluster.objects


async def test_a_deletion_that_is_half_done_says_what_is_deleted(cluster: FakeCluster) -> None:
    error = ApiError(403, "Forbidden", "admission webhook denied the request: protected")
    cluster.faults = [lambda execute: execute(), respond(error)]
    result = await run(cluster, deletion_plan())
    assert (result.outcome, result.message) == (
        Outcome.REJECTED,
        "admission webhook denied the request: protected. Deleted before: Service llama; delete "
        "again for the rest.",
    )


@pytest.mark.parametrize("fault", [lose_request, lose_response])
async def test_a_deletion_whose_first_response_is_lost_stops_there(
    cluster: FakeCluster, fault: Any
) -> None:
    cluster.faults = [fault]
    result = await run(cluster, deletion_plan())
    assert PATH in cluster.objects
    if fault is lose_request:
        assert result.outcome is Outcome.UNKNOWN
        assert "Not deleted so far: Service llama, Deployment llama." in result.message
    else:
        assert result.outcome is Outcome.REJECTED
        assert result.message.endswith(
            "Deleted: Service llama. Not deleted so far: Deployment llama. Delete again for the "
            "rest."
        )
    assert len(cluster.requests) == 1


async def test_a_deletion_whose_last_response_is_lost_is_found(cluster: FakeCluster) -> None:
    cluster.faults = [lambda execute: execute(), lose_response]
    result = await run(cluster, deletion_plan())
    assert result.outcome is Outcome.DONE
    assert result.message.startswith("Deployment chat/llama is deleted. The response was lost")


async def test_an_object_that_waits_for_its_finalizers_counts_as_deleted(
    cluster: FakeCluster,
) -> None:
    def fault(_: Callable[[], Any]) -> Any:
        cluster.change(PATH, metadata={"deletionTimestamp": "2026-11-28T12:00:00Z"})
        raise LOST

    cluster.faults = [lambda execute: execute(), fault]
    assert (await run(cluster, deletion_plan())).outcome is Outcome.DONE
