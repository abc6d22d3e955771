"""Plans of deletions: what goes and what stays; and of cordoning a node."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.operations.deletion_plans import plan_pod_deletion, plan_serving_deletion
from servedeck.changes.operations.merge_patch import apply_merge_patch
from servedeck.changes.operations.node_plans import plan_cordon
from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from tests.changes.operations.factories import (
    deployment,
    http_route,
    node,
    pod,
    pod_template,
    scaled_object,
    service,
)

OPERATION = Operation(OperationKind.DELETE, "chat", "llama")


def plan(*objects: Any, live: Any = None) -> OperationPlan:
    return plan_serving_deletion(OPERATION, [live or deployment(3, ready=2), *objects])


def targets(found: OperationPlan) -> list[str]:
    return [one.target for one in found.deletions]


def test_what_servedeck_made_goes_first_and_the_deployment_last() -> None:
    found = plan(service(), http_route("llama"))
    assert targets(found) == ["HTTPRoute llama", "Service llama", "Deployment llama"]
    assert [one.uid for one in found.deletions] == ["uid-route", "uid-service-llama", "uid-llama"]
    assert found.effects == (
        "The Deployment and its 3 Pods (2 ready now).",
        "Service llama, made by servedeck for this serving.",
        "HTTPRoute llama, made by servedeck for this serving.",
    )
    assert found.command == (
        "kubectl -n chat delete deployment/llama service/llama httproute/llama"
    )
    assert found.needs_confirmation
    assert found.kept == ()


def test_what_others_made_stays() -> None:
    found = plan(service(own=False), http_route("llama", own=False))
    assert targets(found) == ["Deployment llama"]
    assert found.kept == ("Service llama", "HTTPRoute llama")


@pytest.mark.parametrize("own", [True, False])
def test_a_route_of_openshift_stays_whatever_its_labels(own: bool) -> None:
    route = {**http_route("llama", own=own), "apiVersion": "route.openshift.io/v1", "kind": "Route"}
    route["spec"] = {"to": {"kind": "Service", "name": "llama"}}
    found = plan(service(), route)
    assert targets(found) == ["Service llama", "Deployment llama"]
    assert found.kept == ("Route llama",)
    assert "route" not in found.command


def test_an_object_of_another_serving_stays() -> None:
    other = service()
    other["metadata"]["labels"] = {**other["metadata"]["labels"], "servedeck.dev/serving": "bert"}
    assert targets(plan(other)) == ["Deployment llama"]


def test_a_route_that_also_leads_elsewhere_stays() -> None:
    found = plan(service(), http_route("llama", "llama-canary"))
    assert targets(found) == ["Service llama", "Deployment llama"]
    assert found.kept == ("HTTPRoute llama, which also leads to llama-canary",)


@pytest.mark.parametrize(("weight", "share"), [(90, "90 %"), (1, "1 %"), (0, ""), (100, "")])
@pytest.mark.parametrize("own", [True, False])
def test_a_share_of_a_route_that_stays_is_warned_of(weight: int, share: str, own: bool) -> None:
    """Of either side of a traffic split; one that gets no requests can go."""
    route = http_route("llama", "llama-canary", own=own)
    first, second = route["spec"]["rules"][0]["backendRefs"]
    first["weight"], second["weight"] = weight, 100 - weight
    warnings = plan(service(), route).warnings
    assert len(warnings) == bool(share)
    assert all(f"sends it {share} of its requests, which fail then" in one for one in warnings)


def test_a_route_to_its_missing_service_goes() -> None:
    assert targets(plan(http_route("llama"))) == ["HTTPRoute llama", "Deployment llama"]


@pytest.mark.parametrize("annotations", [{}, {"paused": "true"}])
def test_a_scaled_object_stays_whether_it_is_paused_or_not(annotations: Any) -> None:
    found = plan(scaled_object(**annotations))
    assert found.kept == ("ScaledObject llama",)


def test_claims_stay_and_those_of_ephemeral_volumes_go() -> None:
    template = pod_template()
    template["spec"]["volumes"] = [
        {"name": "models", "persistentVolumeClaim": {"claimName": "model-cache"}},
        {"name": "more", "persistentVolumeClaim": {"claimName": "model-cache"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "dshm", "emptyDir": {}},
    ]
    found = plan(live=deployment(3, template=template))
    assert found.kept == ("PersistentVolumeClaim model-cache",)
    assert found.effects[1] == (
        "The PersistentVolumeClaims of its Pods' ephemeral volumes, with their data: scratch."
    )


@pytest.mark.parametrize(
    ("replicas", "text"), [(1, "its Pod (1 ready now)"), (0, "The Deployment, which has no Pods")]
)
def test_the_number_of_pods(replicas: int, text: str) -> None:
    assert text in plan(live=deployment(replicas)).effects[0]


def test_a_deployment_of_another_controller_is_not_deleted() -> None:
    owner = {"kind": "InferenceService", "name": "bert", "controller": True}
    found = plan(service(), live=deployment(metadata={"ownerReferences": [owner]}))
    assert "InferenceService bert" in found.blocked
    assert found.deletions == ()


def test_one_that_is_being_deleted_is_not_deleted_again() -> None:
    found = plan(live=deployment(metadata={"deletionTimestamp": "2026-11-28T12:00:00Z"}))
    assert (found.unchanged, found.deletions) == ("It is being deleted already.", ())


def test_a_name_cannot_write_control_sequences() -> None:
    found = plan(service("a\x1b[31mb", own=False), http_route("llama", "a\x1b]0;x\x07b"))
    for text in (*found.kept, *found.effects, found.command):
        assert text.isprintable()


# -- a Pod --------------------------------------------------------------------------------------

POD = Operation(OperationKind.DELETE_POD, "chat", "llama-1")


def test_a_pod_is_replaced_by_its_controller() -> None:
    owner = {"kind": "ReplicaSet", "name": "llama-5f", "controller": True}
    found = plan_pod_deletion(POD, pod(ownerReferences=[owner]))
    assert found.effects[1] == "ReplicaSet llama-5f replaces it with a new Pod."
    assert [one.path for one in found.deletions] == ["/api/v1/namespaces/chat/pods/llama-1"]
    assert found.command == "kubectl -n chat delete pod/llama-1"


def test_a_pod_without_a_controller_is_not_replaced() -> None:
    found = plan_pod_deletion(POD, pod())
    assert found.effects[1] == "It has no controller: nothing creates it again."


def test_a_pod_that_is_being_deleted_is_not_deleted_again() -> None:
    found = plan_pod_deletion(POD, pod(deletionTimestamp="2026-11-28T12:00:00Z"))
    assert (found.unchanged, found.deletions) == ("It is being deleted already.", ())


# -- a node -------------------------------------------------------------------------------------


def test_cordoning_and_uncordoning_a_node() -> None:
    live = node()
    found = plan_cordon(Operation(OperationKind.CORDON, "", "gpu-1"), live)
    assert found.command == "kubectl cordon gpu-1"
    assert not found.needs_confirmation
    assert found.patch is not None and found.undo is not None
    cordoned = apply_merge_patch(live, found.patch.patch)
    assert cordoned["spec"] == {"unschedulable": True}
    assert plan_cordon(found.operation, cordoned).unchanged == "It is cordoned already."
    back = plan_cordon(found.undo, cordoned)
    assert back.patch is not None
    assert apply_merge_patch(cordoned, back.patch.patch) == live
    assert plan_cordon(found.undo, live).unchanged == "It is not cordoned."


def test_a_route_to_its_pool_goes_and_the_pool_of_others_stays() -> None:
    def to_pools(*names: str) -> Any:
        found = http_route("llama")
        ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool"}
        found["spec"]["rules"] = [{"backendRefs": [{**ref, "name": one}]} for one in names]
        return found

    live = deployment(3, ready=2)
    namespace = live["metadata"]["namespace"]
    pool = {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": "own", "namespace": namespace},
        "spec": {"selector": {"matchLabels": live["spec"]["template"]["metadata"]["labels"]}},
    }
    found = plan_serving_deletion(OPERATION, [live, to_pools("own")], pools=[pool])
    assert targets(found) == ["HTTPRoute llama", "Deployment llama"]
    assert found.kept == ("InferencePool own",)
    found = plan_serving_deletion(OPERATION, [live, to_pools("own", "other")], pools=[pool])
    assert targets(found) == ["Deployment llama"]
    assert found.kept == (
        "HTTPRoute llama, which also leads to InferencePool other",
        "InferencePool own",
    )
