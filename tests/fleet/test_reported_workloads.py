"""DaemonSets, Rollouts, RayServices and RayClusters as servings."""

from __future__ import annotations

import msgspec
import pytest

from servedeck.fleet import reported_workloads
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.other_workloads import INFERENCE_SERVICE
from servedeck.fleet.query import parse_query
from servedeck.fleet.views import REPORTED_KINDS, NamespacedName, ServingView
from servedeck.serving.objects.records import Condition, Record
from servedeck.serving.objects.reported_records import (
    DaemonSet,
    RayCluster,
    RayClusterStatus,
    RayService,
    Rollout,
)
from servedeck.serving.status.status import Status
from tests.fleet.factories import event, service
from tests.fleet.test_other_workloads import apply, kinds, make_fleet, view_of
from tests.fleet.workload_factory import (
    POSTGRES,
    RAY_HEAD,
    daemon_set,
    ray_cluster,
    ray_service,
    rollout,
)

DAEMONS = NamespacedName("team-a", "each", "DaemonSet")
CANARY = NamespacedName("team-a", "canary", "Rollout")
RAY = NamespacedName("team-a", "llms", "RayService")
CLUSTER = NamespacedName("team-a", "pool", "RayCluster")
READY = Condition("Ready", "True", "NonZeroServeEndpoints")
NOT_READY = Condition("Ready", "False", "ZeroServeEndpoints", "No Pod serves yet")


def state(view: ServingView) -> tuple[Status, str, str, int, int]:
    return view.status, view.reason, view.message, view.ready, view.desired


def shown(record: Record, key: NamespacedName) -> tuple[Status, str, str, int, int]:
    return state(view_of(make_fleet(record), key))


# -- DaemonSets -------------------------------------------------------------------------------


def test_a_daemon_set_counts_its_nodes() -> None:
    assert shown(daemon_set(), DAEMONS) == (Status.READY, "", "", 3, 3)
    message = "1 of 3 Pods are ready"
    assert shown(daemon_set(ready=1), DAEMONS) == (Status.DEGRADED, "", message, 1, 3)
    message = "0 of 3 Pods are ready"
    assert shown(daemon_set(ready=0), DAEMONS) == (Status.STARTING, "", message, 0, 3)
    message = "No node matches its node selector and tolerations"
    found = shown(daemon_set(ready=0, desired=0), DAEMONS)
    assert found == (Status.PENDING, "No node", message, 0, 0)
    made = daemon_set()
    changed = msgspec.structs.replace(made.metadata, generation=2)
    found = shown(msgspec.structs.replace(made, metadata=changed), DAEMONS)
    assert found[:2] == (Status.STARTING, "Waiting for controller")


def test_the_event_of_a_daemon_set_says_why_it_has_no_pod() -> None:
    fleet = make_fleet(daemon_set(ready=0))
    quota = 'pods "each-x" is forbidden: exceeded quota: gpus'
    made = event("ds-each", kind="DaemonSet", reason="FailedCreate")
    apply(fleet, msgspec.structs.replace(made, message=quota))
    view = view_of(fleet, DAEMONS)
    assert (view.status, view.failing) == (Status.ERROR, 1)
    assert "gpus" in view.message
    assert len(view.events) == 1
    apply(fleet, daemon_set())
    assert view_of(fleet, DAEMONS).status is Status.READY


def test_a_daemon_set_is_a_serving_like_any_other() -> None:
    fleet = make_fleet(daemon_set(), service("each", selector={"app": "each"}))
    view = view_of(fleet, DAEMONS)
    assert (view.template, view.model, view.accelerator_count) == ("vllm", "org/m", 2)
    assert view.endpoint.cluster_url.startswith("http://each.team-a.svc")
    assert "service/each" in view.endpoint.port_forward_command
    alone = view_of(make_fleet(daemon_set()), DAEMONS)
    assert "daemonset/each" in alone.endpoint.port_forward_command
    assert view.readonly_reason == "A DaemonSet is shown read-only."
    assert kinds(make_fleet(daemon_set("node-exporter", container=POSTGRES))) == []
    assert apply(fleet, daemon_set(), deleted=True) == {DAEMONS}
    assert kinds(fleet) == []


# -- Rollouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "expected", "badge"),
    [
        (rollout(), (Status.READY, "", "", 2, 2), ""),
        (rollout(replicas=0), (Status.SCALED_DOWN, "", "", 0, 0), ""),
        (rollout(phase="Paused"), (Status.READY, "", "", 2, 2), "paused"),
        (
            rollout(phase="Progressing", updated_replicas=1),
            (Status.READY, "", "", 2, 2),
            "updating 1/2",
        ),
        (
            rollout(phase="Progressing", updated_replicas=2, ready_replicas=0, message="waiting"),
            (Status.STARTING, "", "waiting", 0, 2),
            "",
        ),
        (
            rollout(phase="Degraded", ready_replicas=0, message="RolloutAborted: metric failed"),
            (Status.ERROR, "Degraded", "RolloutAborted: metric failed", 0, 2),
            "rollout failed",
        ),
        (
            rollout(
                phase="Degraded",
                ready_replicas=1,
                conditions=(Condition("InvalidSpec", "True", "InvalidSpec", "no strategy"),),
            ),
            (Status.DEGRADED, "InvalidSpec", "no strategy", 1, 2),
            "rollout failed",
        ),
        (
            rollout(observed_generation="0"),
            (
                Status.STARTING,
                "Waiting for controller",
                "The Rollout controller has not acted on the latest change yet",
                2,
                2,
            ),
            "",
        ),
        # before 1.0, the hash of the spec
        (rollout(observed_generation="5d8f7c9b4"), (Status.READY, "", "", 2, 2), ""),
        (rollout(observed_generation="9" * 5000), (Status.READY, "", "", 2, 2), ""),
    ],
)
def test_a_rollout_has_the_state_of_its_phase(
    record: Rollout, expected: tuple[Status, str, str, int, int], badge: str
) -> None:
    view = view_of(make_fleet(record), CANARY)
    assert state(view) == expected
    assert view.rollout == badge


def test_a_rollout_is_reached_by_its_service_alone() -> None:
    fleet = make_fleet(rollout(), service("canary", selector={"app": "canary"}))
    view = view_of(fleet, CANARY)
    assert view.endpoint.cluster_url.startswith("http://canary.team-a.svc")
    assert "service/canary" in view.endpoint.port_forward_command
    # kubectl forwards to no custom resource
    assert view_of(make_fleet(rollout()), CANARY).endpoint.port_forward_command == ""
    # One that takes its template from a Deployment is listed as that.
    assert kinds(make_fleet(msgspec.convert({"spec": {"workloadRef": {}}}, Rollout))) == []


# -- RayServices ------------------------------------------------------------------------------


def test_a_ray_service_counts_its_applications() -> None:
    assert shown(ray_service(conditions=(READY,)), RAY) == (Status.READY, "", "", 1, 1)
    assert shown(ray_service(service_status="Running"), RAY)[0] is Status.READY
    two = {"chat": "RUNNING", "embed": "DEPLOY_FAILED: no module named x"}
    found = shown(ray_service(applications=two, conditions=(READY,)), RAY)
    message = "Application embed is DEPLOY_FAILED: no module named x"
    assert found == (Status.DEGRADED, "DEPLOY_FAILED", message, 1, 2)
    found = shown(ray_service(applications={"chat": "UNHEALTHY"}), RAY)
    assert found == (Status.ERROR, "UNHEALTHY", "Application chat is UNHEALTHY", 0, 1)
    found = shown(ray_service(applications={"chat": "DEPLOYING"}), RAY)
    assert found == (Status.STARTING, "", "Application chat is DEPLOYING", 0, 1)


def test_a_ray_service_is_not_ready_while_nothing_leads_to_its_applications() -> None:
    found = shown(ray_service(conditions=(NOT_READY,)), RAY)
    assert found == (Status.STARTING, "", "No Pod serves yet", 0, 1)
    found = shown(ray_service(applications={}), RAY)
    assert found == (Status.STARTING, "", "KubeRay reports nothing yet", 0, 1)


def test_a_ray_service_says_why_its_cluster_cannot_be_made() -> None:
    failed = Condition("ReplicaFailure", "True", "FailedCreateHeadPod", "exceeded quota: gpus")
    cluster = RayClusterStatus(conditions=(failed,))
    found = shown(ray_service(applications={}, cluster=cluster), RAY)
    assert found == (Status.ERROR, "FailedCreateHeadPod", "exceeded quota: gpus", 0, 1)


def test_a_ray_service_has_the_model_of_its_configuration_and_the_service_of_kuberay() -> None:
    selector = {"ray.io/cluster": "llms-7x2kq", "ray.io/serve": "true"}
    fleet = make_fleet(ray_service(), service("llms-serve-svc", selector=selector))
    view = view_of(fleet, RAY)
    assert (view.template, view.model) == ("ray-serve", "qwen-7b")
    assert view.model_source == "Qwen/Qwen2.5-7B-Instruct"
    assert (view.accelerator, view.accelerator_count) == ("NVIDIA GPU", 16)
    assert view.endpoint.cluster_url.startswith("http://llms-serve-svc.team-a.svc")
    assert view.endpoint.model == "qwen-7b"
    assert "service/llms-serve-svc" in view.endpoint.port_forward_command


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", ("", "")),
        ("env_vars:\n  MODEL_ID: 'meta/llama'\n", ("meta/llama", "")),
        ("- model_id: a\n  model_source: b/a\n- model_id: c\n", ("a", "b/a")),
        ("# model_id: a\nmodel_id: {x: y}\n", ("", "")),
        ("model_source:\n  bucket_uri: s3://x\n", ("", "")),
    ],
)
def test_the_model_of_a_configuration(config: str, expected: tuple[str, str]) -> None:
    assert ray_service(config=config).models == expected


# -- RayClusters ------------------------------------------------------------------------------


def test_a_ray_cluster_is_a_serving_if_it_starts_a_server_and_nothing_else_made_it() -> None:
    assert kinds(make_fleet(ray_cluster())) == ["RayCluster"]
    assert kinds(make_fleet(ray_cluster(head=RAY_HEAD))) == []  # training, notebooks
    owned = ray_cluster("llms-7x2kq", owner=("RayService", "svc-llms"))
    assert kinds(make_fleet(owned, ray_service())) == ["RayService"]


def test_a_ray_cluster_is_one_replica() -> None:
    assert shown(ray_cluster(), CLUSTER) == (Status.READY, "", "", 1, 1)
    found = shown(ray_cluster(desired_worker_replicas=4, ready_worker_replicas=1), CLUSTER)
    assert found == (Status.STARTING, "", "1 of 4 workers are ready", 0, 1)
    assert shown(ray_cluster(state=""), CLUSTER)[2] == "Its head is not ready"
    found = shown(ray_cluster(state="failed", reason="no such image"), CLUSTER)
    assert found == (Status.ERROR, "RayCluster failed", "no such image", 0, 1)
    assert shown(ray_cluster(state="suspended"), CLUSTER)[0] is Status.SCALED_DOWN


# -- all of them ------------------------------------------------------------------------------


def test_the_filter_knows_their_kinds() -> None:
    fleet = make_fleet(daemon_set(), rollout(), ray_service(), ray_cluster())
    for kind in ("DaemonSet", "Rollout", "RayService", "RayCluster"):
        found = parse_query(f"kind:={kind.lower()}").filter(fleet.views())
        assert [one.kind for one in found] == [kind]


@pytest.mark.parametrize("record_type", [DaemonSet, Rollout, RayService, RayCluster])
def test_an_object_with_nothing_in_it_is_no_failure(record_type: type[Record]) -> None:
    made = msgspec.convert({"metadata": {"name": "x", "namespace": "team-a"}}, record_type)
    fleet = Fleet()
    apply(fleet, made)
    assert len(fleet.views()) == (record_type is RayService)


@pytest.mark.parametrize(
    ("record", "key"),
    [(daemon_set(), DAEMONS), (rollout(), CANARY), (ray_service(), RAY), (ray_cluster(), CLUSTER)],
)
def test_it_says_that_its_pods_are_not_read(record: Record, key: NamespacedName) -> None:
    view = view_of(make_fleet(record), key)
    assert not view.pods_known
    expected = f"A {key.kind} is shown by what its controller reports, without its Pods."
    assert view.no_pods_text == expected


def test_the_kinds_without_pods_are_named_once() -> None:
    names = {one.__name__ for one in reported_workloads.RECORD_TYPES}
    assert {*names, INFERENCE_SERVICE} == REPORTED_KINDS
