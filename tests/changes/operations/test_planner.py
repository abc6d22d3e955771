"""Planning with what the cluster has: what is missing, forbidden, or changes meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.auth.kubeconfig import IN_CLUSTER_NAME
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from tests.changes.operations.factories import (
    PATH,
    autoscaler,
    deployment,
    http_route,
    pod,
    pod_template,
    replicaset,
    scaled_object,
    service,
)
from tests.changes.operations.fake_cluster import LOST, FakeCluster, lose_request, respond

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
APPS = "/apis/apps/v1/namespaces/chat"
HPAS = "/apis/autoscaling/v2/namespaces/chat/horizontalpodautoscalers"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/chat/scaledobjects"
SERVICES = "/api/v1/namespaces/chat/services"
QUOTAS = "/api/v1/namespaces/chat/resourcequotas"
HTTP_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/chat/httproutes"
FORBIDDEN = ApiError(403, "Forbidden", 'User "x" cannot list resource')


def listed(obj: Any) -> Any:
    """An entry of a list, which has no kind."""
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster({PATH: deployment(3), HPAS: [], f"{APPS}/replicasets": []})


async def plan(
    cluster: FakeCluster, kind: OperationKind, replicas: int | None = None, name: str = "llama"
) -> OperationPlan:
    operation = Operation(kind, "chat", name, replicas)
    return await plan_operation(cluster.connection, operation, NOW)


async def test_a_plan_was_tried_by_a_dry_run_and_changes_nothing(cluster: FakeCluster) -> None:
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.is_possible
    assert cluster.requests == [("PATCH", PATH, True)]
    assert cluster.writes == []


async def test_a_dry_run_that_is_rejected_blocks_with_its_reason(cluster: FakeCluster) -> None:
    message = 'deployments.apps "llama" is forbidden: User "x" cannot patch resource "deployments"'
    cluster.faults = [respond(ApiError(403, "Forbidden", message))]
    assert 'cannot patch resource "deployments"' in (
        (await plan(cluster, OperationKind.SCALE, 5)).blocked
    )


async def test_a_webhook_without_dry_runs_is_a_warning(cluster: FakeCluster) -> None:
    message = 'admission webhook "x.example.com" does not support dry run'
    cluster.faults = [respond(ApiError(400, "BadRequest", message))]
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.is_possible
    assert found.warnings == (f"Not checked by a dry run: {message}.",)


async def test_warnings_of_the_dry_run_are_in_the_plan(cluster: FakeCluster) -> None:
    cluster.headers = {"Warning": '299 - "would violate PodSecurity"'}
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.warnings == ("would violate PodSecurity",)


async def test_a_plan_that_is_outdated_before_its_dry_run_is_made_anew(
    cluster: FakeCluster,
) -> None:
    def scale_once() -> None:
        if len(cluster.requests) == 1:
            cluster.change(PATH, spec={"replicas": 4})

    cluster.before_write = scale_once
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.effects == ("1 new Pod: 4 → 5 replicas.",)


async def test_an_object_that_somebody_else_changes_all_the_time_is_said(
    cluster: FakeCluster,
) -> None:
    cluster.before_write = lambda: cluster.change(
        PATH, spec={"replicas": 10 + len(cluster.requests)}
    )
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.blocked == ("Deployment chat/llama is being changed by somebody else; try again.")


async def test_a_lost_server_is_an_error(cluster: FakeCluster) -> None:
    cluster.read_error = LOST
    with pytest.raises(ClusterError, match="was lost"):
        await plan(cluster, OperationKind.SCALE, 5)


async def test_a_dry_run_whose_response_is_lost_is_an_error(cluster: FakeCluster) -> None:
    cluster.faults = [lose_request]
    with pytest.raises(ClusterError, match="was lost"):
        await plan(cluster, OperationKind.SCALE, 5)


async def test_a_dry_run_that_the_server_fails_to_do_blocks_with_its_reason(
    cluster: FakeCluster,
) -> None:
    cluster.faults = [respond(ApiError(500, "InternalError", "failed calling webhook x"))]
    assert "failed calling webhook x" in (await plan(cluster, OperationKind.SCALE, 5)).blocked


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (OperationKind.SCALE, "Deployment chat/gone does not exist."),
        (OperationKind.DELETE, "Deployment chat/gone does not exist."),
        (OperationKind.DELETE_POD, "Pod chat/gone does not exist."),
    ],
)
async def test_an_object_that_does_not_exist(
    cluster: FakeCluster, kind: OperationKind, target: str
) -> None:
    assert (await plan(cluster, kind, 5, name="gone")).blocked == target


@pytest.mark.parametrize("kind", [OperationKind.RESTART, OperationKind.DELETE])
async def test_a_serving_that_is_no_deployment_is_named(
    cluster: FakeCluster, kind: OperationKind
) -> None:
    cluster.objects[f"{APPS}/statefulsets/bert"] = {"kind": "StatefulSet"}
    assert (await plan(cluster, kind, name="bert")).blocked == (
        "There is no Deployment bert in namespace chat; the StatefulSet of that name is read-only "
        "here, use kubectl."
    )


async def test_an_answer_that_is_no_deployment_is_an_error(cluster: FakeCluster) -> None:
    cluster.objects[PATH] = {"kind": "Login"}
    with pytest.raises(InvalidResponseError, match="not a Deployment"):
        await plan(cluster, OperationKind.RESTART)


async def test_a_forbidden_read_blocks_with_its_reason(cluster: FakeCluster) -> None:
    cluster.objects[f"{APPS}/replicasets"] = ApiError(
        403, "Forbidden", 'User "x" cannot list resource "replicasets"'
    )
    found = await plan(cluster, OperationKind.ROLLBACK)
    assert 'cannot list resource "replicasets"' in found.blocked


async def test_resuming_without_permission_for_replicasets_is_confirmed(
    cluster: FakeCluster,
) -> None:
    cluster.objects[PATH] = deployment(3, paused=True)
    cluster.objects[f"{APPS}/replicasets"] = FORBIDDEN
    found = await plan(cluster, OperationKind.RESUME)
    assert found.is_possible and found.needs_confirmation


async def test_the_revisions_of_a_rollback_are_read(cluster: FakeCluster) -> None:
    old, new = pod_template("server:1"), pod_template("server:2")
    cluster.objects[PATH] = deployment(3, template=new)
    cluster.objects[f"{APPS}/replicasets"] = [replicaset(1, old), replicaset(2, new, pods=3)]
    assert (await plan(cluster, OperationKind.ROLLBACK)).operation.revision == 1


# -- autoscalers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "scaler"), [(HPAS, autoscaler()), (SCALED_OBJECTS, scaled_object())]
)
async def test_an_autoscaler_is_found(cluster: FakeCluster, path: str, scaler: Any) -> None:
    cluster.objects[path] = [listed(scaler)]
    assert scaler["kind"] in (await plan(cluster, OperationKind.SCALE, 5)).blocked


async def test_autoscalers_that_may_not_be_listed_are_a_warning(cluster: FakeCluster) -> None:
    cluster.objects |= {HPAS: FORBIDDEN, SCALED_OBJECTS: FORBIDDEN}
    cluster.objects["/apis"] = {"groups": [{"name": "keda.sh"}]}
    assert (await plan(cluster, OperationKind.SCALE, 5)).warnings == (
        "Without permission to list horizontalpodautoscalers.autoscaling, it is not known whether "
        "one sets the replicas.",
        "Without permission to list scaledobjects.keda.sh, it is not known whether one sets the "
        "replicas.",
    )


async def test_without_keda_its_missing_permission_is_not_mentioned(cluster: FakeCluster) -> None:
    cluster.objects |= {SCALED_OBJECTS: FORBIDDEN, "/apis": {"groups": [{"name": "apps"}]}}
    assert (await plan(cluster, OperationKind.SCALE, 5)).warnings == ()


# -- deletions ----------------------------------------------------------------------------------


async def test_objects_that_may_not_be_listed_stay_with_a_warning(cluster: FakeCluster) -> None:
    cluster.objects |= {SERVICES: FORBIDDEN, HPAS: FORBIDDEN, HTTP_ROUTES: []}
    cluster.objects[f"{SERVICES}/llama"] = service()
    found = await plan(cluster, OperationKind.DELETE)
    assert [one.target for one in found.deletions] == ["Service llama", "Deployment llama"]
    assert found.warnings == (
        "Without permission to list horizontalpodautoscalers.autoscaling, those of the serving "
        "under another name stay.",
        "Without permission to list services, those of the serving under another name stay.",
    )


async def test_a_deletion_is_planned_with_its_services_and_routes(cluster: FakeCluster) -> None:
    cluster.objects |= {
        SERVICES: [listed(service())],
        f"{SERVICES}/llama": service(),
        SCALED_OBJECTS: [listed(scaled_object(paused="true"))],
        HTTP_ROUTES: [listed(http_route("llama"))],
        f"{HTTP_ROUTES}/llama": http_route("llama"),
    }
    found = await plan(cluster, OperationKind.DELETE)
    assert [one.target for one in found.deletions] == [
        "HTTPRoute llama",
        "Service llama",
        "Deployment llama",
    ]
    assert found.kept == ("ScaledObject llama",)
    assert [(method, dry) for method, _, dry in cluster.requests] == [("DELETE", True)] * 3
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("plural", "kind"), [("services", "Service"), ("deployments", "Deployment")]
)
async def test_a_deletion_of_which_a_part_is_forbidden_sends_nothing(
    cluster: FakeCluster, plural: str, kind: str
) -> None:
    cluster.objects |= {SERVICES: [listed(service())], f"{SERVICES}/llama": service()}
    cluster.forbidden = {("delete", plural)}
    found = await plan(cluster, OperationKind.DELETE)
    group = ".apps" if plural == "deployments" else ""
    assert found.blocked == (
        f"{kind} llama cannot be deleted: needs delete on {plural}{group} in namespace chat."
    )
    assert cluster.requests == []


async def test_a_pod_is_planned(cluster: FakeCluster) -> None:
    cluster.objects["/api/v1/namespaces/chat/pods/llama-1"] = pod()
    assert (await plan(cluster, OperationKind.DELETE_POD, name="llama-1")).is_possible


# -- time and context ---------------------------------------------------------------------------


async def test_a_restart_is_dated_by_the_clock_of_the_api_server(cluster: FakeCluster) -> None:
    ahead = timedelta(hours=3)
    local = datetime.now(UTC)
    cluster.clock.local_time = local.timestamp
    date = (local + ahead).strftime("%a, %d %b %Y %H:%M:%S GMT")
    cluster.clock.add_response({"Date": date}, local.timestamp())
    operation = Operation(OperationKind.RESTART, "chat", "llama")
    found = await plan_operation(cluster.connection, operation)
    assert found.patch is not None
    [written] = found.patch.patch["spec"]["template"]["metadata"]["annotations"].values()
    assert datetime.fromisoformat(written) >= local + ahead - timedelta(seconds=5)


async def test_copied_commands_name_the_cluster(cluster: FakeCluster) -> None:
    cluster.context_name = "prod; rm"
    scale = "-n chat scale deployment/llama --replicas=5"
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.command == f"kubectl --context 'prod; rm' {scale}"
    cluster.options = SimpleNamespace(kubeconfig=(Path("/a b"),))
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.command == f"kubectl --kubeconfig '/a b' --context 'prod; rm' {scale}"
    cluster.context_name = IN_CLUSTER_NAME
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert found.command == f"kubectl --kubeconfig '/a b' {scale}"


async def test_the_command_that_pauses_keda_names_the_cluster(cluster: FakeCluster) -> None:
    cluster.context_name = "prod"
    cluster.objects[SCALED_OBJECTS] = [listed(scaled_object())]
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert "pause it first: kubectl --context prod -n chat annotate --overwrite " in found.blocked


QUOTA = ApiError(
    403,
    "Forbidden",
    'pods "llama-preview-x" is forbidden: exceeded quota: gpu, requested: 1, used: 3, limited: 3',
)


async def test_more_replicas_than_the_quota_has_room_for_are_blocked(cluster: FakeCluster) -> None:
    cluster.pod_rejection = QUOTA
    found = await plan(cluster, OperationKind.SCALE, 5)
    assert "exceeded quota: gpu" in found.blocked
    cluster.objects[PATH] = deployment(0)
    assert "exceeded quota" in (await plan(cluster, OperationKind.START, 3)).blocked


@pytest.mark.parametrize(
    ("replicas", "text"),
    [
        (4, ""),
        (5, ""),
        (9, "Quota pods allows 2 of 6 new Pods (pods: 5 of 7 used, 1 for each Pod); the others are "
            "created when it has room."),
    ],
)  # fmt: skip
async def test_how_many_of_several_new_pods_the_quota_allows_is_said(
    cluster: FakeCluster, replicas: int, text: str
) -> None:
    status = {"hard": {"pods": "7"}, "used": {"pods": "5"}}
    cluster.objects[QUOTAS] = [{"metadata": {"name": "pods"}, "status": status}]
    found = await plan(cluster, OperationKind.SCALE, replicas)
    assert found.is_possible
    assert found.warnings == ((text,) if text else ())


async def test_quotas_that_may_not_be_listed_say_nothing(cluster: FakeCluster) -> None:
    cluster.objects[QUOTAS] = FORBIDDEN
    found = await plan(cluster, OperationKind.SCALE, 9)
    assert (found.is_possible, found.warnings) == (True, ())


async def test_a_full_quota_lets_a_rollout_wait(cluster: FakeCluster) -> None:
    cluster.pod_rejection = QUOTA
    found = await plan(cluster, OperationKind.RESTART)
    assert found.is_possible
    assert found.warnings[-1].endswith("; new Pods wait until old ones have ended.")


async def test_pods_that_are_rejected_for_another_reason_block_a_rollout(
    cluster: FakeCluster,
) -> None:
    message = 'pods "llama-preview-x" is invalid: spec.containers[0].image: Required value'
    cluster.pod_rejection = ApiError(422, "Invalid", message)
    found = await plan(cluster, OperationKind.RESTART)
    assert "spec.containers[0].image" in found.blocked


@pytest.mark.parametrize(
    ("kind", "replicas"), [(OperationKind.SCALE, 1), (OperationKind.STOP, None)]
)
async def test_what_starts_no_pod_needs_no_quota(
    cluster: FakeCluster, kind: OperationKind, replicas: int | None
) -> None:
    cluster.pod_rejection = QUOTA
    found = await plan(cluster, kind, replicas)
    assert (found.is_possible, found.warnings) == (True, ())
    assert cluster.previewed_pods == []
