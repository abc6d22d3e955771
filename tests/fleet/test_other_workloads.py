"""StatefulSets, LeaderWorkerSets, InferenceServices and Pods without a controller as servings."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from servedeck.cluster.watch.kinds import PLAIN_PODS, STATEFUL_SET_PODS
from servedeck.fleet.fleet import Completeness, Fleet
from servedeck.fleet.query import parse_query
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    LabeledMeta,
    Pod,
    PodStatus,
    PodTemplateMeta,
    Record,
    ScaleTargetRef,
)
from servedeck.serving.status.status import Status
from tests.fleet.factories import (
    PENDING_STATUS,
    START,
    change,
    crashing_status,
    deployment,
    event,
    owner_references,
    pod,
    replicaset,
    service,
)
from tests.fleet.workload_factory import (
    POSTGRES,
    inference_service,
    leader_worker_set,
    plain_pod,
    stateful_set,
)

NOW = START + timedelta(hours=1)
STATEFUL = NamespacedName("team-a", "llama", "StatefulSet")
GROUPS = NamespacedName("team-a", "big", "LeaderWorkerSet")
SERVICE = NamespacedName("team-a", "bert", "InferenceService")
PLAIN = NamespacedName("team-a", "solo", "Pod")


def member(name: str, owner: str, status: PodStatus | None = None) -> Pod:
    """A Pod of the StatefulSet with the uid `owner`."""
    made = pod(name, status=status)
    owners = owner_references("StatefulSet", owner)
    metadata = msgspec.structs.replace(made.metadata, owner_references=owners)
    return msgspec.structs.replace(made, metadata=metadata)


def apply(fleet: Fleet, *records: Record, deleted: bool = False) -> frozenset[NamespacedName]:
    for record in records:
        is_member = (
            isinstance(record, Pod)
            and record.metadata.owner_references[:1]
            and (record.metadata.owner_references[0].kind == "StatefulSet")
        )
        kind = STATEFUL_SET_PODS if is_member else None
        fleet.apply(change(record, "DELETED" if deleted else "ADDED", kind=kind))
    return fleet.flush(NOW)


def make_fleet(*records: Record) -> Fleet:
    fleet = Fleet()
    apply(fleet, *records)
    return fleet


def view_of(fleet: Fleet, key: NamespacedName) -> ServingView:
    view = fleet.view(key)
    assert view is not None, sorted(map(str, (one.key for one in fleet.views())))
    return view


def kinds(fleet: Fleet) -> list[str]:
    return sorted(view.kind for view in fleet.views())


# -- StatefulSets -----------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_a_stateful_set_with_its_pods(backwards: bool) -> None:
    records = [
        stateful_set(replicas=2),
        member("llama-0", "sts-llama"),
        member("llama-1", "sts-llama", crashing_status()),
        member("other-0", "sts-other"),
        event("llama-1"),
        event("sts-llama", "e2", kind="StatefulSet"),
    ]
    fleet = make_fleet(*(records[::-1] if backwards else records))
    view = view_of(fleet, STATEFUL)
    assert (view.status, view.reason, view.ready, view.desired) == (
        Status.DEGRADED,
        "OOMKilled",
        1,
        2,
    )
    assert [each.name for each in view.pods] == ["llama-1", "llama-0"]
    assert [len(each.events) for each in view.pods] == [1, 0]
    assert len(view.events) == 1
    assert (view.kind, view.template, view.model) == ("StatefulSet", "vllm", "org/m")
    assert view.accelerator_count == 2
    assert not view.managed
    assert view.readonly_reason == "A StatefulSet is shown read-only."


def test_a_stateful_set_and_a_deployment_of_one_name_are_two_servings() -> None:
    fleet = make_fleet(
        deployment(), replicaset(), pod(), stateful_set(), member("llama-0", "sts-llama")
    )
    assert kinds(fleet) == ["Deployment", "StatefulSet"]
    assert [one.name for one in view_of(fleet, STATEFUL).pods] == ["llama-0"]
    key = NamespacedName("team-a", "llama")
    assert [one.name for one in view_of(fleet, key).pods] == ["p-llama"]
    assert apply(fleet, stateful_set(), deleted=True) == {STATEFUL}
    assert kinds(fleet) == ["Deployment"]


def test_a_database_is_no_serving() -> None:
    fleet = make_fleet(stateful_set(container=POSTGRES))
    assert not fleet.views()
    assert not fleet.needs_stateful_set_pods
    assert apply(fleet, stateful_set()) == {STATEFUL}
    assert fleet.needs_stateful_set_pods


def test_a_change_of_one_pod_rebuilds_its_own_stateful_set_only() -> None:
    fleet = make_fleet(
        stateful_set(),
        member("llama-0", "sts-llama"),
        stateful_set("qwen"),
        member("qwen-0", "sts-qwen"),
    )
    assert apply(fleet, member("llama-0", "sts-llama", PENDING_STATUS)) == {STATEFUL}
    assert view_of(fleet, STATEFUL).status is Status.PENDING
    assert apply(fleet, member("llama-0", "sts-llama"), deleted=True) == {STATEFUL}
    assert view_of(fleet, STATEFUL).pods == ()


def test_an_event_says_why_a_stateful_set_has_no_pod() -> None:
    failed = event("sts-llama", kind="StatefulSet", reason="FailedCreate")
    failed = msgspec.structs.replace(
        failed,
        message="create Pod llama-0 in StatefulSet llama failed error: "
        'pods "llama-0" is forbidden: exceeded quota: gpus, requested: nvidia.com/gpu=2',
    )
    view = view_of(make_fleet(stateful_set(), failed), STATEFUL)
    assert view.status is Status.ERROR
    assert "exceeded quota: gpus" in view.message
    assert "llama-0" not in view.message
    # It is history as soon as there is a Pod.
    starting = make_fleet(stateful_set(), failed, member("llama-0", "sts-llama", PENDING_STATUS))
    assert view_of(starting, STATEFUL).status is Status.PENDING


def test_a_rollout_of_a_stateful_set_has_a_badge() -> None:
    fleet = make_fleet(
        stateful_set(
            replicas=3, current_revision="llama-1", update_revision="llama-2", updated_replicas=1
        )
    )
    assert view_of(fleet, STATEFUL).rollout == "updating 1/3"
    apply(fleet, stateful_set(replicas=3, current_revision="llama-2", update_revision="llama-2"))
    assert view_of(fleet, STATEFUL).rollout == ""


def test_a_service_and_an_autoscaler_are_found() -> None:
    target = ScaleTargetRef(kind="StatefulSet", name="llama")
    scaler = HorizontalPodAutoscaler(
        metadata=LabeledMeta(name="llama", namespace="team-a", uid="a"),
        spec=HorizontalPodAutoscalerSpec(scale_target_ref=target, max_replicas=4),
    )
    fleet = make_fleet(stateful_set(), service("front", {"app": "llama"}), scaler)
    view = view_of(fleet, STATEFUL)
    assert view.endpoint.cluster_url == "http://front.team-a.svc:80"
    assert view.autoscaler == "HPA 1-4"
    apply(fleet, service("front", {"app": "llama"}), deleted=True)
    assert view_of(fleet, STATEFUL).endpoint.issue == (
        "No Service selects the Pods of StatefulSet team-a/llama, so it has no route"
    )
    assert "statefulset/llama" in view_of(fleet, STATEFUL).endpoint.port_forward_command


def test_without_its_pods_nothing_is_shown_and_forbidden_ones_leave_the_counts() -> None:
    fleet = Fleet()
    states = Completeness.COMPLETE, Completeness.COMPLETE
    fleet.set_completeness(*states, Completeness.PENDING)
    apply(fleet, stateful_set(replicas=2, ready_replicas=1))
    assert fleet.view(STATEFUL) is None
    fleet.set_completeness(*states, Completeness.FORBIDDEN)
    assert fleet.flush(NOW) == {STATEFUL}
    view = view_of(fleet, STATEFUL)
    assert (view.status, view.ready) == (Status.DEGRADED, 1)
    assert view.no_pods_text == "Its Pods are not known: Pods may not be listed."


# -- LeaderWorkerSets -------------------------------------------------------------------------


def group_records(*statuses: PodStatus | None) -> list[Record]:
    """The objects of a LeaderWorkerSet with groups of two; the status of each worker."""
    records: list[Record] = [
        leader_worker_set(replicas=len(statuses)),
        stateful_set("big", owner=("LeaderWorkerSet", "lws-big"), group="big"),
    ]
    for at, status in enumerate(statuses):
        leader = f"big-{at}"
        workers = stateful_set(leader, owner=("Pod", leader), group="big")
        records += [
            member(leader, "sts-big"),
            workers,
            member(f"{leader}-1", f"sts-{leader}", status),
        ]
    return records


@pytest.mark.parametrize("backwards", [False, True])
def test_a_leader_worker_set_is_one_serving(backwards: bool) -> None:
    records = group_records(None, crashing_status())
    fleet = make_fleet(*(records[::-1] if backwards else records))
    assert [view.key for view in fleet.views()] == [GROUPS]
    view = view_of(fleet, GROUPS)
    # A group with a failing worker serves nothing.
    assert (view.status, view.ready, view.desired) == (Status.DEGRADED, 1, 2)
    assert (view.reason, view.failing) == ("OOMKilled", 1)
    assert {one.name for one in view.pods} == {"big-0", "big-0-1", "big-1", "big-1-1"}
    assert view.accelerator_count == 4
    assert (view.template, view.model) == ("vllm", "org/m")


def test_the_events_of_its_stateful_sets_are_its_own() -> None:
    fleet = make_fleet(*group_records(None, None), stateful_set("other"))
    found = fleet.related_objects(GROUPS)
    assert [(one.kind, one.name) for one in found] == [
        ("StatefulSet", name) for name in ("big", "big-0", "big-1")
    ]
    assert fleet.related_objects(NamespacedName("team-a", "other", "StatefulSet")) == []


def test_a_group_without_all_of_its_pods_is_not_ready() -> None:
    fleet = make_fleet(*group_records(None))
    assert view_of(fleet, GROUPS).status is Status.READY
    apply(fleet, member("big-0-1", "sts-big-0"), deleted=True)
    view = view_of(fleet, GROUPS)
    assert (view.status, view.ready) == (Status.STARTING, 0)
    assert view.message == "1 of 2 Pods of the group of big-0 exist"


def test_the_stateful_sets_are_listed_if_the_leader_worker_set_is_not() -> None:
    fleet = make_fleet(*group_records(None))
    assert kinds(fleet) == ["LeaderWorkerSet"]
    apply(fleet, leader_worker_set(), deleted=True)
    assert kinds(fleet) == ["StatefulSet", "StatefulSet"]
    view = view_of(fleet, NamespacedName("team-a", "big", "StatefulSet"))
    assert view.owner == "LeaderWorkerSet lws-big"
    apply(fleet, leader_worker_set())
    assert kinds(fleet) == ["LeaderWorkerSet"]


def test_its_stateful_sets_wait_until_the_leader_worker_sets_are_listed() -> None:
    fleet = Fleet()
    complete = Completeness.COMPLETE
    fleet.set_completeness(complete, complete, complete, leader_worker_sets_settled=False)
    apply(fleet, stateful_set(), stateful_set("big", group="big"))
    assert [str(view.key) for view in fleet.views()] == ["StatefulSet team-a/llama"]
    fleet.set_completeness(complete, complete, complete, leader_worker_sets_settled=True)
    assert fleet.flush(NOW) == {NamespacedName("team-a", "big", "StatefulSet")}


# -- InferenceServices ------------------------------------------------------------------------


def test_an_inference_service_without_a_deployment_is_listed_by_its_conditions() -> None:
    url = "http://bert.team-a.example"
    view = view_of(make_fleet(inference_service(url=url)), SERVICE)
    assert (view.status, view.ready, view.desired) == (Status.READY, 1, 1)
    assert view.endpoint.url == url
    assert view.endpoint.source == "InferenceService team-a/bert"
    assert (view.template, view.model, view.model_source) == (
        "sklearn",
        "bert",
        "gs://models/iris",
    )
    failing = inference_service(ready="False", reason="RuntimeNotFound", message="no runtime")
    view = view_of(make_fleet(failing), SERVICE)
    assert (view.status, view.reason, view.message) == (
        Status.ERROR,
        "RuntimeNotFound",
        "no runtime",
    )
    assert view_of(make_fleet(inference_service(ready="")), SERVICE).status is Status.STARTING
    assert view.readonly_reason == "An InferenceService is shown read-only."


def test_an_inference_service_with_a_deployment_is_listed_once() -> None:
    owned = deployment("bert-predictor", labels={"serving.kserve.io/inferenceservice": "bert"})
    fleet = make_fleet(inference_service())
    assert kinds(fleet) == ["InferenceService"]
    apply(fleet, owned)
    assert kinds(fleet) == ["Deployment"]
    view = view_of(fleet, NamespacedName("team-a", "bert-predictor"))
    assert view.owner == "InferenceService bert"
    apply(fleet, owned, deleted=True)
    assert kinds(fleet) == ["InferenceService"]
    renamed = msgspec.structs.replace(
        owned.spec.template, metadata=PodTemplateMeta(labels={"app": "other"})
    )
    apply(fleet, owned)
    spec = msgspec.structs.replace(owned.spec, template=renamed)
    apply(fleet, msgspec.structs.replace(owned, spec=spec))
    assert kinds(fleet) == ["Deployment", "InferenceService"]


# -- Pods without a controller ----------------------------------------------------------------


def test_a_plain_pod_is_one_replica() -> None:
    fleet = make_fleet(plain_pod(), event("pod-solo"))
    view = view_of(fleet, PLAIN)
    assert (view.status, view.ready, view.desired) == (Status.READY, 1, 1)
    assert [one.name for one in view.pods] == ["solo"]
    assert [len(one.events) for one in view.pods] == [1]
    assert (view.template, view.model) == ("vllm", "org/m")
    assert "pod/solo" in view.endpoint.port_forward_command
    apply(fleet, plain_pod(status=crashing_status()))
    assert view_of(fleet, PLAIN).status is Status.ERROR
    assert apply(fleet, plain_pod(), deleted=True) == {PLAIN}
    assert not fleet.views()


@pytest.mark.parametrize(
    ("owner", "is_listed"),
    [
        (None, True),
        (("RoleSet", "prefill"), True),
        (("PodClique", "decode"), True),
        (("Model", "llama"), True),
        (("ReplicaSet", "rs"), False),
        (("StatefulSet", "sts"), False),
        (("DaemonSet", "ds"), False),
        (("RayCluster", "ray"), False),
        (("Job", "batch"), False),
    ],
)
def test_a_pod_of_a_controller_that_is_not_listed_is_listed_itself(
    owner: tuple[str, str] | None, is_listed: bool
) -> None:
    made = plain_pod(owner=owner)
    assert PLAIN_PODS.record_filter is not None
    assert PLAIN_PODS.record_filter(made) is is_listed
    if is_listed and owner is not None:
        view = view_of(make_fleet(made), PLAIN)
        assert (view.status, view.owner) == (Status.READY, " ".join(owner))


def test_a_plain_pod_that_has_ended_stays_so() -> None:
    view = view_of(make_fleet(plain_pod(status=PodStatus(phase="Succeeded"))), PLAIN)
    assert (view.status, view.reason) == (Status.ERROR, "Completed")
    assert view.message == "The Pod terminated; nothing replaces it"


# -- all of them ------------------------------------------------------------------------------


def test_the_filter_knows_the_kind() -> None:
    fleet = make_fleet(deployment(), stateful_set(), plain_pod(), inference_service())
    views = fleet.views()
    for text, expected in (
        ("kind:statefulset", {"StatefulSet"}),
        ("kind:=pod", {"Pod"}),
        ("!kind:deployment", {"StatefulSet", "Pod", "InferenceService"}),
        ("inferenceservice", {"InferenceService"}),
    ):
        assert {one.kind for one in parse_query(text).filter(views)} == expected, text


def test_a_corrected_clock_evaluates_the_pods_of_all_kinds_again() -> None:
    fleet = make_fleet(stateful_set(), member("llama-0", "sts-llama"), plain_pod())
    fleet.reevaluate_pods()
    assert fleet.has_pending
    assert fleet.flush(NOW) == frozenset()


def test_keys_of_another_kind_say_it() -> None:
    assert str(NamespacedName("a", "b")) == "a/b"
    assert str(NamespacedName("a", "b", "StatefulSet")) == "StatefulSet a/b"
    assert NamespacedName("a", "b") == NamespacedName("a", "b", "Deployment")
