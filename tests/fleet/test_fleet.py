from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from servedeck.cluster.watch.kinds import NODES
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet import serving_pods
from servedeck.fleet.fleet import Completeness, Fleet
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.conventions import POOL_GROUP
from servedeck.serving.objects.records import (
    BackendRef,
    Container,
    Deployment,
    HTTPRoute,
    HTTPRouteRule,
    HTTPRouteSpec,
    InitContainer,
    LabeledMeta,
    Node,
    Record,
)
from servedeck.serving.status import status as status_rules
from servedeck.serving.status.container_failures import RECENT_RESTART_WINDOW
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import Status
from tests.fleet.factories import (
    PENDING_STATUS,
    START,
    UNLABELED_PODS,
    UNLABELED_REPLICA_SETS,
    async_gateway,
    autoscaler,
    change,
    crashing_status,
    deployment,
    event,
    http_route,
    ingress,
    openshift_route,
    pod,
    ready_status,
    replicaset,
    scaled_object,
    service,
    virtual_service,
)

LLAMA = NamespacedName("team-a", "llama")
QWEN = NamespacedName("team-a", "qwen")
NOW = START + timedelta(hours=1)


def make_fleet(*records: Record) -> Fleet:
    fleet = Fleet()
    for record in records:
        fleet.apply(change(record, "ADDED"))
    fleet.flush(NOW)
    return fleet


def llama_view(fleet: Fleet) -> ServingView:
    view = fleet.view(LLAMA)
    assert view is not None
    return view


def make_two_servings(**fields: Any) -> Fleet:
    return make_fleet(
        deployment(**fields),
        replicaset(),
        pod(),
        deployment("qwen", **fields),
        replicaset("r-qwen", "d-qwen"),
        pod("p-qwen", "r-qwen"),
    )


@pytest.mark.parametrize("backwards", [False, True])
def test_objects_are_joined_in_whatever_order_they_come(backwards: bool) -> None:
    records = [deployment(), replicaset(), pod(), event("p-llama"), event("d-llama", "e2")]
    fleet = make_fleet(*(records[::-1] if backwards else records))
    view = llama_view(fleet)
    assert (view.status, view.ready, view.desired) == (Status.READY, 1, 1)
    assert [each.name for each in view.pods] == ["p-llama"]
    assert [each.message for each in view.pods[0].events] == ["BackOff happened"]
    assert len(view.events) == 1


def test_a_change_of_a_pod_rebuilds_its_own_serving_only() -> None:
    fleet = make_two_servings()
    fleet.apply(change(pod(status=crashing_status())))
    before = fleet.view(QWEN)
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).status is Status.ERROR
    assert llama_view(fleet).reason == "OOMKilled"
    assert fleet.view(QWEN) is before


def test_only_the_pod_that_changed_is_evaluated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = make_fleet(deployment(), replicaset(), pod("p1"), pod("p2"), pod("p3"))
    judged: list[str] = []

    def counting(pod: Any, *rest: Any) -> Any:
        judged.append(pod.metadata.uid)
        return diagnose(pod, *rest)

    monkeypatch.setattr(serving_pods, "diagnose", counting)
    fleet.apply(change(pod("p2", status=PENDING_STATUS)))
    fleet.flush(NOW)
    assert judged == ["p2"]


def test_a_change_that_no_view_shows_is_not_published() -> None:
    fleet = make_two_servings()
    fleet.apply(change(pod()))
    assert fleet.has_pending
    assert fleet.flush(NOW) == frozenset()


def test_objects_that_no_serving_is_made_of_mark_nothing() -> None:
    fleet = make_two_servings()
    fleet.apply(RecordChange(NODES, "ADDED", Node()))
    fleet.apply(change(pod("stray", "")))
    fleet.apply(change(pod("other", "r-unknown")))
    fleet.apply(change(event("nobody")))
    fleet.apply(change(service("alone")))
    assert not fleet.has_pending


def test_a_serving_is_removed_with_its_deployment_even_if_pods_remain() -> None:
    fleet = make_two_servings()
    fleet.apply(change(deployment(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert fleet.view(LLAMA) is None
    fleet.apply(change(pod(status=PENDING_STATUS)))
    assert fleet.flush(NOW) == frozenset()
    assert [view.key for view in fleet.views()] == [QWEN]


@pytest.mark.parametrize("new_first", [False, True])
def test_a_deployment_recreated_under_its_name_does_not_inherit_pods(new_first: bool) -> None:
    fleet = make_two_servings()
    changes = [
        change(deployment(), "DELETED"),
        change(deployment(uid="d-2", created=START + timedelta(minutes=1)), "ADDED"),
    ]
    for each in changes[::-1] if new_first else changes:
        fleet.apply(each)
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).uid == "d-2"
    assert llama_view(fleet).pods == ()
    fleet.apply(change(replicaset("r-2", "d-2"), "ADDED"))
    fleet.apply(change(pod("p-2", "r-2"), "ADDED"))
    fleet.flush(NOW)
    assert [each.uid for each in llama_view(fleet).pods] == ["p-2"]


def test_pods_are_adopted_and_orphaned_by_their_controller_alone() -> None:
    fleet = make_two_servings()
    fleet.apply(change(pod("p-qwen", "")))  # its label is still qwen's
    assert fleet.flush(NOW) == {QWEN}
    assert fleet.view(QWEN).pods == ()  # type: ignore[union-attr]
    fleet.apply(change(pod("p-qwen", "r-llama")))
    assert fleet.flush(NOW) == {LLAMA}
    assert len(llama_view(fleet).pods) == 2
    fleet.apply(change(replicaset("r-llama", "d-qwen")))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert llama_view(fleet).pods == ()
    assert len(fleet.view(QWEN).pods) == 2  # type: ignore[union-attr]


def test_pods_of_older_revisions_are_marked_and_follow_a_rollout() -> None:
    fleet = make_fleet(
        deployment(revision="2"), replicaset(), pod(), replicaset("r-2", revision="2")
    )
    fleet.apply(change(pod("p-2", "r-2", PENDING_STATUS)))
    fleet.flush(NOW)
    assert [(each.uid, each.old_revision) for each in llama_view(fleet).pods] == [
        ("p-2", False),
        ("p-llama", True),
    ]
    fleet.apply(change(deployment(revision="3")))
    fleet.apply(change(replicaset(revision="3")))  # rolled back
    fleet.flush(NOW)
    assert {each.uid: each.old_revision for each in llama_view(fleet).pods} == {
        "p-2": True,
        "p-llama": False,
    }


def test_an_error_expires_after_its_period() -> None:
    fleet = make_fleet(deployment(), replicaset(), pod())
    fleet.apply(change(pod(status=crashing_status(NOW, waiting=False))))
    fleet.flush(NOW)
    assert llama_view(fleet).status is Status.ERROR
    due = fleet.next_reevaluation()
    assert due == NOW + RECENT_RESTART_WINDOW
    assert fleet.flush(due - timedelta(seconds=1)) == frozenset()
    assert fleet.flush(due) == {LLAMA}
    assert llama_view(fleet).status is Status.STARTING
    assert fleet.next_reevaluation() is None


def test_a_deleted_serving_has_no_scheduled_reevaluation() -> None:
    fleet = make_fleet(deployment(), replicaset(), pod(status=crashing_status(NOW, waiting=False)))
    assert fleet.next_reevaluation() is not None
    fleet.apply(change(deployment(), "DELETED"))
    fleet.flush(NOW)
    assert fleet.next_reevaluation() is None


def test_an_event_reaches_the_pod_that_it_is_about() -> None:
    fleet = make_two_servings()
    fleet.apply(change(event("p-llama")))
    assert fleet.flush(NOW) == {LLAMA}
    fleet.apply(change(event("r-qwen", "e2", kind="ReplicaSet", reason="FailedCreate")))
    assert fleet.flush(NOW) == {QWEN}
    fleet.apply(change(event("p-llama"), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).pods[0].events == ()


def test_an_autoscaler_is_shown_on_its_scale_target() -> None:
    fleet = make_two_servings()
    fleet.apply(change(autoscaler("llama", "keda-hpa-llama")))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).autoscaler == "HPA 1-4"
    fleet.apply(change(scaled_object("llama")))
    fleet.flush(NOW)
    assert llama_view(fleet).autoscaler == "KEDA 1-10"
    fleet.apply(change(scaled_object("llama"), "DELETED"))
    fleet.apply(change(autoscaler("qwen", "keda-hpa-llama")))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert llama_view(fleet).autoscaler == ""


def test_a_service_and_a_route_reach_the_servings_that_they_lead_to() -> None:
    fleet = make_two_servings()
    fleet.apply(change(service()))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.cluster_url == "http://llama.team-a.svc:80"
    fleet.apply(change(http_route(namespace="infra")))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.url == "https://ai.example/team-a/llama"
    fleet.apply(change(http_route(namespace="infra"), "DELETED"))
    fleet.apply(change(virtual_service("mesh", "llama.team-a.svc.cluster.local")))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.source == "VirtualService istio-system/mesh"
    fleet.apply(change(virtual_service("mesh", "qwen.team-a")))
    fleet.apply(change(ingress("in", "llama")))
    assert fleet.flush(NOW) == {LLAMA}, "nothing leads to qwen: it has no Service"
    assert llama_view(fleet).endpoint.url == "http://in.example/llama"
    fleet.apply(change(openshift_route("in-x2k4p", "llama", ingress_name="in")))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.source == "Route team-a/in-x2k4p"
    fleet.apply(change(openshift_route("in-x2k4p", "qwen", ingress_name="in")))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.source == "Ingress team-a/in"


def test_a_route_to_an_inference_pool_reaches_the_servings_of_its_namespace() -> None:
    fleet = make_two_servings()
    backend = BackendRef(group=POOL_GROUP, kind="InferencePool", name="llama-pool")
    route = HTTPRoute(
        metadata=LabeledMeta(name="llm", namespace="team-a", uid="r-pool"),
        spec=HTTPRouteSpec(rules=(HTTPRouteRule(backend_refs=(backend,)),)),
    )
    fleet.apply(change(route))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert "HTTPRoute team-a/llm routes to InferencePool llama-pool" in (
        llama_view(fleet).endpoint.issue
    )
    fleet.apply(change(route, "DELETED"))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert "InferencePool" not in llama_view(fleet).endpoint.issue


def test_a_deployment_that_no_longer_runs_a_server_is_no_serving() -> None:
    """A container of an unlabeled Deployment that only sleeps serves no model."""

    def unlabeled(**container: Any) -> Deployment:
        server = Container(name="vllm", image="vllm/vllm-openai:v1", **container)
        one = deployment(labeled=False, containers=(server,))
        return msgspec.structs.replace(
            one, metadata=msgspec.structs.replace(one.metadata, labels={})
        )

    fleet = make_fleet(unlabeled(args=("org/m",)))
    assert llama_view(fleet).template == "vllm"
    fleet.apply(change(unlabeled(command=("sleep", "infinity"))))
    assert fleet.flush(NOW) == {LLAMA}
    assert fleet.view(LLAMA) is None


def test_a_view_says_what_owns_the_deployment_and_where_the_model_comes_from() -> None:
    server = Container(
        name="kserve-container", image="kserve/sklearnserver:v1", args=("--model_name=iris",)
    )
    loader = InitContainer(name="storage-initializer", args=("gs://models/iris", "/mnt/models"))
    one = deployment(containers=(server,))
    template = one.spec.template
    spec = msgspec.structs.replace(template.spec, init_containers=(loader,))
    labels = {**template.metadata.labels, "serving.kserve.io/inferenceservice": "iris"}
    meta = msgspec.structs.replace(template.metadata, labels=labels)
    template = msgspec.structs.replace(template, metadata=meta, spec=spec)
    one = msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, template=template))
    view = llama_view(make_fleet(one))
    assert (view.model, view.model_source) == ("iris", "gs://models/iris")
    assert view.owner == "InferenceService iris"
    assert view.server_container == "kserve-container"


def test_a_service_that_selects_others_than_before_changes_both() -> None:
    fleet = make_two_servings(labels={"app": "chat"})
    fleet.apply(change(service("api", {"app": "chat"})))
    assert fleet.flush(NOW) == {LLAMA, QWEN}, "selectors overlap"
    fleet.apply(change(service("api", {"servedeck.dev/serving": "qwen"})))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.cluster_url == ""
    assert fleet.view(QWEN).endpoint.service_name == "api"  # type: ignore[union-attr]


def test_a_deployment_whose_labels_change_finds_other_services() -> None:
    fleet = make_two_servings(labels={"app": "chat"})
    fleet.apply(change(service("api", {"app": "chat"})))
    fleet.apply(change(deployment(labels={"app": "code"})))
    fleet.flush(NOW)
    assert llama_view(fleet).endpoint.service_name == ""
    assert fleet.view(QWEN).endpoint.service_name == "api"  # type: ignore[union-attr]


def test_the_platforms_host_stands_in_where_a_route_names_none() -> None:
    fleet = make_fleet(deployment(), replicaset(), pod(), service(), http_route(host="*.example"))
    assert llama_view(fleet).endpoint.url == ""
    fleet.set_host("ai.example", "http")
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.url == "http://ai.example/team-a/llama"


def test_while_pods_are_being_listed_no_serving_is_shown() -> None:
    fleet = Fleet()
    fleet.set_completeness(Completeness.PENDING, Completeness.PENDING)
    fleet.apply(change(deployment()))
    assert fleet.flush(NOW) == frozenset()
    assert fleet.views() == []
    fleet.apply(change(replicaset()))
    fleet.apply(change(pod()))
    fleet.set_completeness(Completeness.COMPLETE, Completeness.PENDING)
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).status is Status.READY


def test_where_pods_may_not_be_read_the_deployments_status_is_used() -> None:
    fleet = Fleet()
    fleet.set_completeness(Completeness.FORBIDDEN, Completeness.FORBIDDEN)
    fleet.apply(change(deployment(replicas=2, ready_replicas=1, status_replicas=2)))
    fleet.flush(NOW)
    assert (llama_view(fleet).status, llama_view(fleet).ready) == (Status.DEGRADED, 1)
    assert llama_view(fleet).no_pods_text == (
        "Its Pods are not known: Pods or ReplicaSets may not be listed."
    )
    fleet.set_completeness(Completeness.COMPLETE, Completeness.COMPLETE)
    fleet.flush(NOW)
    assert llama_view(fleet).no_pods_text == "The serving has no Pods."


def needs_unlabeled(fleet: Fleet) -> bool:
    return fleet.needs_unlabeled


def test_a_serving_without_the_label_waits_for_the_pods_without_it() -> None:
    fleet = Fleet()
    fleet.set_completeness(Completeness.COMPLETE, Completeness.PENDING)
    fleet.apply(change(deployment("qwen")))
    assert not needs_unlabeled(fleet)
    fleet.apply(change(deployment(labeled=False)))
    assert needs_unlabeled(fleet)
    assert fleet.flush(NOW) == {QWEN}
    fleet.apply(change(replicaset(), "ADDED", kind=UNLABELED_REPLICA_SETS))
    fleet.apply(change(pod(), "ADDED", kind=UNLABELED_PODS))
    fleet.set_completeness(Completeness.COMPLETE, Completeness.COMPLETE)
    assert LLAMA in fleet.flush(NOW)
    assert llama_view(fleet).status is Status.READY
    fleet.apply(change(deployment(), "DELETED"))
    fleet.flush(NOW)
    assert not needs_unlabeled(fleet)


@pytest.mark.parametrize("gone_first", [False, True])
@pytest.mark.parametrize("late_update", [False, True])
def test_a_pod_that_is_labeled_lately_moves_between_two_watches(
    gone_first: bool, late_update: bool
) -> None:
    fleet = make_fleet(deployment(), replicaset())
    fleet.apply(change(pod(status=PENDING_STATUS), "ADDED", kind=UNLABELED_PODS))
    moves = [
        change(pod(), "ADDED"),
        change(pod(status=PENDING_STATUS), "DELETED", kind=UNLABELED_PODS),
    ]
    if late_update:
        moves.insert(1, change(pod(status=PENDING_STATUS), kind=UNLABELED_PODS))
    for each in moves[::-1] if gone_first else moves:
        fleet.apply(each)
    if gone_first and late_update:
        fleet.apply(change(pod(), "DELETED", kind=UNLABELED_PODS))
    fleet.flush(NOW)
    assert llama_view(fleet).status is Status.READY


def test_pods_from_before_the_label_are_asked_for_during_their_rollout() -> None:
    fleet = make_fleet(
        deployment(revision="2", status_replicas=2, updated_replicas=1),
        replicaset(revision="2"),
        pod(),
    )
    assert fleet.needs_unlabeled
    fleet.apply(change(replicaset("r-1", revision="1"), "ADDED", kind=UNLABELED_REPLICA_SETS))
    fleet.flush(NOW)
    assert fleet.needs_unlabeled, "the older ReplicaSet is seen only while they are asked for"
    fleet.apply(change(deployment(revision="2", status_replicas=1, updated_replicas=1)))
    fleet.apply(change(replicaset("r-1"), "DELETED", kind=UNLABELED_REPLICA_SETS))
    fleet.flush(NOW)
    assert not fleet.needs_unlabeled


def test_an_ordinary_rollout_asks_for_nothing_more() -> None:
    fleet = make_fleet(
        deployment(revision="2", status_replicas=2, updated_replicas=1),
        replicaset(),
        replicaset("r-2", revision="2"),
    )
    assert not fleet.needs_unlabeled


def test_a_flush_in_parts_comes_to_the_same() -> None:
    fleet = make_two_servings()
    fleet.apply(change(pod(status=PENDING_STATUS)))
    fleet.apply(change(pod("p-qwen", "r-qwen", PENDING_STATUS)))
    first, second = fleet.flush(NOW, limit=1), fleet.flush(NOW, limit=1)
    assert first | second == {LLAMA, QWEN} and not first & second
    assert not fleet.has_pending


def test_failing_pods_come_first_and_are_counted() -> None:
    fleet = make_fleet(
        deployment(replicas=3),
        replicaset(),
        pod("p1"),
        pod("p2", status=crashing_status()),
        pod("p3", status=ready_status(restarts=2)),
    )
    view = llama_view(fleet)
    assert view.status is Status.DEGRADED
    assert view.pods[0].uid == "p2" and view.pods[0].health is PodHealth.ERROR
    assert (view.failing, view.restarts, len(view.failing_pods)) == (1, 5, 1)
    container = view.pods[0].containers[0]
    assert (container.state, container.has_previous, container.restarts) == ("Waiting", True, 3)


def test_broken_objects_without_names_or_uids_break_nothing() -> None:
    fleet = make_two_servings()
    for record in [deployment(), replicaset(), pod(), event(""), service(), http_route()]:
        fleet.apply(change(type(record)()))
    fleet.flush(NOW)
    assert {LLAMA, QWEN} <= {view.key for view in fleet.views()}


def test_a_serving_that_no_rule_understands_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluate = status_rules.evaluate

    def failing(deployment: Any, *rest: Any, **options: Any) -> Any:
        if deployment.metadata.name == "llama":
            raise TypeError("never seen before")
        return evaluate(deployment, *rest, **options)

    monkeypatch.setattr(status_rules, "evaluate", failing)
    fleet = make_two_servings()
    assert llama_view(fleet).reason == "Unreadable"
    assert "TypeError: never seen before" in llama_view(fleet).message
    assert fleet.view(QWEN).status is Status.READY  # type: ignore[union-attr]
    monkeypatch.setattr(status_rules, "evaluate", evaluate)
    fleet.apply(change(pod()))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).status is Status.READY


def test_views_share_what_did_not_change() -> None:
    fleet = make_fleet(deployment(), replicaset(), pod("p1"), pod("p2"))
    before = llama_view(fleet)
    fleet.apply(change(pod("p2", status=PENDING_STATUS)))
    fleet.flush(NOW)
    after = llama_view(fleet)
    old = {each.uid: each for each in before.pods}
    new = {each.uid: each for each in after.pods}
    assert new["p1"] is old["p1"]
    assert new["p2"] is not old["p2"]
    assert after.labels is before.labels or after.labels == before.labels


# -- the async queue ------------------------------------------------------------------------------


def test_a_serving_has_an_async_queue_while_the_deployment_of_its_gateway_is_there() -> None:
    fleet = make_two_servings()
    assert not llama_view(fleet).has_async_queue
    fleet.apply(change(async_gateway(), "ADDED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).has_async_queue
    assert {view.key for view in fleet.views()} == {LLAMA, QWEN}, "a gateway is no serving"
    fleet.apply(change(async_gateway(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert not llama_view(fleet).has_async_queue


def test_a_gateway_may_be_listed_before_its_serving() -> None:
    fleet = make_fleet(async_gateway())
    assert fleet.views() == []
    fleet.apply(change(deployment(), "ADDED"))
    fleet.flush(NOW)
    assert llama_view(fleet).has_async_queue


@pytest.mark.parametrize(
    "other",
    [
        async_gateway("qwen"),
        async_gateway(namespace="team-b"),
        async_gateway(name="llama-gateway"),
        async_gateway(manager="helm"),
    ],
    ids=["of another serving", "in another namespace", "of another name", "of another manager"],
)
def test_another_deployment_is_no_gateway_of_the_serving(other: Deployment) -> None:
    assert not llama_view(make_fleet(deployment(), other)).has_async_queue
