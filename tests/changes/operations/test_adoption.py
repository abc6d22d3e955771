"""Plans of adoptions, and what becomes of them when something fails in between."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.operations.adoption import Adoption, Release
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import (
    Operation,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.connection import ApiResponse
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.names import service_name
from tests.changes.operations.factories import OWN_LABELS, PATH, deployment, http_route
from tests.changes.operations.fake_cluster import (
    LOST,
    FakeCluster,
    lose_request,
    lose_response,
    respond,
)

APPS = "/apis/apps/v1/namespaces/chat"
SERVICES = "/api/v1/namespaces/chat/services"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/chat/httproutes"
PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")
FORBIDDEN = ApiError(403, "Forbidden", 'User "x" cannot create resource "services"')
QUOTA = ApiError(403, "Forbidden", "exceeded quota: services")

Fault = Callable[[Callable[[], ApiResponse]], ApiResponse]


def passes(execute: Callable[[], ApiResponse]) -> ApiResponse:
    return execute()


def serving(*, args: tuple[str, ...] = (), **changes: Any) -> Any:
    """Deployment chat/llama of another tool, with vLLM on port 8000."""
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.10.0",
        "command": ["vllm", "serve", "org/m", *args],
    }
    template = {"metadata": {"labels": {"app": "llama"}}, "spec": {"containers": [container]}}
    return deployment(template=template, **changes)


def make_cluster(live: Any, **objects: Any) -> FakeCluster:
    """A cluster with the Deployment and without a Service; `objects` by the end of their path."""
    found = {PATH: live, f"{APPS}/deployments": [live], SERVICES: [], ROUTES: []}
    return FakeCluster(found | {f"{SERVICES}/{key}": objects[key] for key in objects})


async def plan(
    cluster: FakeCluster, operation: Operation | None = None, platform: Any = PLATFORM
) -> OperationPlan:
    return await plan_operation(
        cluster.connection, operation or Adoption.make("chat", "llama"), platform=platform
    )


def front(port: Any = 8000, name: str = "front", **spec: Any) -> Any:
    """A Service of another tool that selects the Pods."""
    ports = [{"name": "web", "port": 9999, "targetPort": port}]
    return {
        "metadata": {"name": name, "namespace": "chat", "uid": f"uid-{name}"},
        "spec": {"selector": {"app": "llama"}, "ports": ports, **spec},
    }


# -- the plan -------------------------------------------------------------------------------------


async def test_only_the_label_of_the_deployment_itself_is_patched() -> None:
    found = await plan(make_cluster(serving()))
    assert found.patch is not None
    assert found.patch.patch == {"metadata": {"labels": {SERVING_LABEL: "llama"}}}
    assert [(one.path, one.old, one.new) for one in found.differences] == [
        (f".metadata.labels.{SERVING_LABEL}", "none", "llama")
    ]
    assert found.needs_confirmation
    assert found.effects == (
        "servedeck lists it from then on, whatever server it runs.",
        "Service llama is created, since none leads to port 8000 of its Pods.",
        "No route is created: it is not opened to the outside.",
        "Restarts no Pods.",
    )


async def test_the_service_selects_what_the_deployment_selects() -> None:
    [creation] = (await plan(make_cluster(serving()))).creations
    assert creation.manifest == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "llama", "namespace": "chat", "labels": OWN_LABELS},
        "spec": {
            "selector": {"app": "llama"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8000, "protocol": "TCP"}],
        },
    }


async def test_with_expressions_the_service_selects_the_labels_of_the_pods() -> None:
    live = serving()
    live["spec"]["selector"] = {
        "matchLabels": {"app": "llama"},
        "matchExpressions": [{"key": "role", "operator": "In", "values": ["decode"]}],
    }
    live["spec"]["template"]["metadata"]["labels"] = {"app": "llama", "role": "decode"}
    [creation] = (await plan(make_cluster(live))).creations
    assert creation.manifest["spec"]["selector"] == {"app": "llama", "role": "decode"}


@pytest.mark.parametrize(
    "service", [front(), front(9000, clusterIP="None"), front(8000, "llama")], ids=str
)
async def test_a_service_that_leads_there_takes_the_place_of_a_new_one(service: Any) -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = [service]
    found = await plan(cluster)
    assert found.creations == ()
    assert f"Service {service['metadata']['name']} leads to its Pods already." in found.effects


@pytest.mark.parametrize("service", [front(9000), front(8000, "llama-metrics")], ids=str)
async def test_a_service_for_other_requests_does_not(service: Any) -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = [service]
    assert [one.target for one in (await plan(cluster)).creations] == ["Service chat/llama"]


async def test_a_service_of_that_name_for_another_port_is_not_changed() -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = [front(9000, "llama")]
    found = await plan(cluster)
    assert found.creations == ()
    assert found.warnings == (
        "Service llama leads to other ports of its Pods, so it is not changed.",
    )


async def test_services_that_may_not_be_listed_are_not_created() -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = FORBIDDEN
    found = await plan(cluster)
    assert found.is_possible
    assert found.creations == ()
    assert found.warnings == (
        "Services may not be listed, so it is not known whether one is missing.",
    )


async def test_tls_and_grpc_are_named_in_the_port_of_the_service() -> None:
    tls = serving(args=("--ssl-keyfile", "/tls/key", "--ssl-certfile", "/tls/crt"))
    [creation] = (await plan(make_cluster(tls))).creations
    [port] = creation.manifest["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("https", 443, 8000)
    found = await plan(make_cluster(tls), Adoption.make("chat", "llama", route=True))
    assert found.blocked == (
        "The server accepts TLS on port 8000, and servedeck creates routes for plain HTTP only; "
        "create the route with kubectl."
    )


async def test_a_port_that_other_programs_have_gets_no_service() -> None:
    live = serving()
    live["spec"]["template"]["spec"]["containers"] = [
        {"name": "x", "image": "acme/train:1", "ports": [{"containerPort": 29500}]}
    ]
    found = await plan(make_cluster(live))
    assert found.creations == ()
    assert found.warnings == (
        "The port that receives requests is not known, so no Service is created.",
    )


async def test_no_service_where_none_is_wanted() -> None:
    found = await plan(make_cluster(serving()), Adoption.make("chat", "llama", service=False))
    assert found.creations == ()
    assert "No Service is created, and none leads to its Pods." in found.effects


async def test_a_route_only_where_it_is_asked_for() -> None:
    found = await plan(make_cluster(serving()), Adoption.make("chat", "llama", route=True))
    assert [one.target for one in found.creations] == [
        "Service chat/llama",
        "HTTPRoute chat/llama",
    ]
    assert "HTTPRoute llama is created: ai.example.com/chat/llama leads to it." in found.effects


@pytest.mark.parametrize("kind", [RouteKind.VIRTUAL_SERVICE, RouteKind.INGRESS])
async def test_a_route_is_of_the_kind_of_the_platform(kind: RouteKind) -> None:
    platform = replace(PLATFORM, route=kind)
    found = await plan(
        make_cluster(serving()), Adoption.make("chat", "llama", route=True), platform
    )
    assert found.creations[-1].target == f"{kind} chat/llama"
    assert any(" ai.example.com/chat/llama" in one for one in found.effects)


async def test_a_route_that_leads_there_takes_the_place_of_a_new_one() -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = [front()]
    cluster.objects[ROUTES] = [http_route("front", own=False)]
    found = await plan(cluster, Adoption.make("chat", "llama", route=True))
    assert found.creations == ()
    assert "HTTPRoute llama leads to it already." in found.effects


@pytest.mark.parametrize(
    ("operation", "platform", "reason"),
    [
        (
            Adoption.make("chat", "llama", route=True),
            PlatformSettings(),
            "No route can be created: the host of the endpoints is not known; set endpoint_host in "
            "the settings.",
        ),
        (
            Adoption.make("chat", "llama", route=True),
            PlatformSettings(host="ai.example.com"),
            "No gateway is set, so a serving gets no HTTPRoute and cannot be reached from outside; "
            "set gateway to namespace/name in the settings.",
        ),
        (
            Adoption.make("chat", "llama", service=False, route=True),
            PLATFORM,
            "A route needs a Service, and none leads to the Pods; let one be created, too.",
        ),
    ],
)
async def test_why_a_route_cannot_be_created(
    operation: Adoption, platform: PlatformSettings, reason: str
) -> None:
    found = await plan(make_cluster(serving()), operation, platform)
    assert found.blocked == reason


async def test_a_headless_service_is_not_the_target_of_a_route() -> None:
    cluster = make_cluster(serving())
    cluster.objects[SERVICES] = [front(clusterIP="None")]
    found = await plan(cluster, Adoption.make("chat", "llama", route=True))
    service, route = found.creations
    assert service.target == "Service chat/llama"
    [backend] = route.manifest["spec"]["rules"][0]["backendRefs"]
    assert backend["name"] == "llama"


def stamps_the_template(execute: Callable[[], ApiResponse]) -> ApiResponse:
    """An admission webhook that adds an annotation to the Pod template."""
    changed = execute().json()
    changed["spec"]["template"]["metadata"]["annotations"] = {"stamp": "1"}
    return ApiResponse(200, {}, json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("replicas", "sentence"),
    [
        (1, "1 Pod restarts: an admission webhook changes the Pod template with this write."),
        (3, "3 Pods restart: an admission webhook changes the Pod template with this write."),
        (0, "Restarts no Pods."),
    ],
)
async def test_a_restart_is_read_from_the_answer_to_the_dry_run(
    replicas: int, sentence: str
) -> None:
    cluster = make_cluster(serving(replicas=replicas))
    cluster.faults = [stamps_the_template]
    found = await plan(cluster)
    assert [one for one in found.effects if "estart" in one] == [sentence]
    assert [one.path for one in found.differences] == [
        f".metadata.labels.{SERVING_LABEL}",
        ".spec.template.metadata.annotations",
    ]


@pytest.mark.parametrize(("replicas", "is_named"), [(1, True), (0, False)])
async def test_others_with_the_labels_that_the_service_selects_are_named(
    replicas: int, is_named: bool
) -> None:
    live, canary = serving(), serving(replicas=replicas)
    canary["metadata"]["name"] = "canary"
    canary["spec"]["template"]["metadata"]["labels"]["track"] = "canary"
    cluster = make_cluster(live)
    cluster.objects[f"{APPS}/deployments"] = [live, canary]
    sentence = (
        "Service llama also selects the Pods of Deployment canary, which have the selected labels, "
        "too: requests go to both."
    )
    assert (await plan(cluster)).warnings == ((sentence,) if is_named else ())


async def test_each_of_the_commands_names_the_context() -> None:
    cluster = make_cluster(serving())
    cluster.context_name = "prod"
    found = await plan(cluster, Adoption.make("chat", "llama", route=True))
    assert found.command.count("kubectl --context prod -n chat ") == 3
    assert found.command.count("kubectl") == 3


# -- what is not adopted --------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [OWN_LABELS, {**OWN_LABELS, SERVING_LABEL: "x"}], ids=str)
async def test_a_serving_that_servedeck_made_needs_no_adoption(labels: Any) -> None:
    found = await plan(make_cluster(serving(metadata={"labels": labels})))
    assert found.unchanged == "It is a serving of servedeck already; there is nothing to adopt."


async def test_a_second_adoption_creates_what_is_missing_and_keeps_the_label() -> None:
    cluster = make_cluster(serving(metadata={"labels": {SERVING_LABEL: "other"}}))
    found = await plan(cluster)
    assert found.patch is None
    assert found.undo == Release(found.operation.kind.RELEASE, "chat", "llama", label="")
    assert [one.target for one in found.creations] == ["Service chat/llama"]
    cluster.objects[SERVICES] = [front()]
    assert (await plan(cluster)).unchanged


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"deletionTimestamp": "2026-11-28T12:00:00Z"}, "It is being deleted."),
        (
            {"ownerReferences": [{"kind": "InferenceService", "name": "m", "controller": True}]},
            "InferenceService m owns this Deployment, and its controller may revert the change; "
            "change the InferenceService m instead.",
        ),
    ],
)
async def test_what_is_not_adopted(metadata: Any, reason: str) -> None:
    found = await plan(make_cluster(serving(metadata=metadata)))
    assert found.blocked == reason


async def test_a_name_that_is_too_long_for_a_label() -> None:
    name = "n" * 64
    live = serving()
    live["metadata"]["name"] = name
    cluster = make_cluster(live)
    cluster.objects[f"{APPS}/deployments/{name}"] = live
    found = await plan(cluster, Adoption.make("chat", name))
    assert "has 64 characters, and the value of a label has at most 63" in found.blocked


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", "llama"),
        ("qwen2.5-7b", "qwen2-5-7b"),
        ("7b", "s-7b"),
        ("a" * 62 + ".b", "a" * 62),
    ],
)
def test_names_of_services(name: str, expected: str) -> None:
    assert service_name(name) == expected


# -- running it -----------------------------------------------------------------------------------


async def run(cluster: FakeCluster, *faults: Fault, **options: bool) -> OperationResult:
    """Adopt it; the writes have the faults, in order."""
    found = await plan(cluster, Adoption.make("chat", "llama", **options))
    assert found.is_possible, found.blocked
    cluster.faults = list(faults)
    return await run_plan(cluster.connection, found)


def label_of(cluster: FakeCluster) -> Any:
    return cluster.objects[PATH]["metadata"]["labels"].get(SERVING_LABEL)


async def test_the_label_is_written_before_the_service_and_the_route() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, route=True)
    assert result.message == ("Deployment chat/llama is adopted, with a new Service and HTTPRoute.")
    assert cluster.writes == [
        ("PATCH", PATH),
        ("POST", f"{SERVICES}/llama"),
        ("POST", f"{ROUTES}/llama"),
    ]


async def test_a_refused_service_is_known_before_anything_is_written() -> None:
    cluster = make_cluster(serving())
    cluster.faults = [passes, respond(QUOTA)]
    found = await plan(cluster)
    assert found.blocked == (
        "Service chat/llama cannot be created: exceeded quota: services. The Deployment can be "
        "adopted without it."
    )
    assert cluster.writes == []


async def test_what_was_done_before_a_service_was_refused_is_said() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, passes, respond(QUOTA))
    assert (result.outcome, result.message) == (
        Outcome.REJECTED,
        "exceeded quota: services. Changed before: Deployment chat/llama; adopt again for the "
        "rest.",
    )
    assert label_of(cluster) == "llama"
    result = await run(cluster)
    assert result.message == "Deployment chat/llama is adopted, with a new Service."


async def test_what_was_done_before_a_route_was_refused_is_said() -> None:
    result = await run(make_cluster(serving()), passes, passes, respond(QUOTA), route=True)
    assert result.message.endswith(
        "Changed before: Deployment chat/llama. Created before: Service chat/llama; adopt again "
        "for the rest."
    )


async def test_a_lost_response_to_the_label_says_what_was_not_sent() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, lose_response)
    assert (result.outcome, result.message) == (
        Outcome.REJECTED,
        f"{LOST} Deployment chat/llama was changed. Not done: Service chat/llama. Adopt again for "
        "the rest.",
    )
    assert cluster.writes == [("PATCH", PATH)]


async def test_a_lost_response_to_a_service_that_was_created() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, passes, lose_response)
    assert result.outcome is Outcome.DONE
    assert "The response was lost" in result.message
    assert isinstance(result.undo, Release)
    assert [one["kind"] for one in result.undo.created] == ["Service"]


async def test_a_lost_request_for_a_service_is_looked_for_and_never_sent_again() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, passes, lose_request)
    assert result.outcome is Outcome.UNKNOWN
    assert "Service chat/llama was not created so far" in result.message
    made = copy.deepcopy(result.lost.plan.creations[0].manifest)  # type: ignore[union-attr]
    made["metadata"]["uid"] = "uid-late"
    cluster.objects[f"{SERVICES}/llama"] = made
    found = await look_again(cluster.connection, result)
    assert found.outcome is Outcome.DONE
    assert cluster.writes == [("PATCH", PATH)]


async def test_a_service_of_somebody_else_is_not_taken_for_the_lost_one() -> None:
    cluster = make_cluster(serving())
    result = await run(cluster, passes, lose_request)
    cluster.objects[f"{SERVICES}/llama"] = front(9000, "llama")
    found = await look_again(cluster.connection, result)
    assert found.outcome is Outcome.REJECTED
    assert "was created by somebody else meanwhile" in found.message


async def test_a_lost_response_to_the_first_of_two_creations_says_what_was_not_sent() -> None:
    result = await run(make_cluster(serving()), passes, lose_response, route=True)
    assert result.outcome is Outcome.REJECTED
    assert "Service chat/llama was created. Not done: HTTPRoute chat/llama." in result.message


async def test_a_label_that_somebody_else_changed_is_not_overwritten() -> None:
    cluster = make_cluster(serving())
    found = await plan(cluster)
    cluster.change(PATH, metadata={"labels": {SERVING_LABEL: "theirs"}})
    result = await run_plan(cluster.connection, found)
    assert result.outcome is Outcome.OUTDATED
    assert label_of(cluster) == "theirs"


# -- taking it back -------------------------------------------------------------------------------


async def adopted(**options: bool) -> tuple[FakeCluster, OperationResult]:
    cluster = make_cluster(serving())
    return cluster, await run(cluster, **options)


async def test_an_undo_removes_the_label_and_what_was_created() -> None:
    cluster, result = await adopted(route=True)
    found = await plan(cluster, result.undo)
    assert found.effects == (
        "servedeck lists it only if it recognizes its inference server.",
        "HTTPRoute chat/llama is deleted, as the adoption created it.",
        "Service chat/llama is deleted, as the adoption created it.",
        "Restarts no Pods.",
    )
    assert found.command == (
        f"kubectl -n chat label deployment/llama {SERVING_LABEL}- && kubectl -n chat delete "
        "httproute/llama service/llama"
    )
    done = await run_plan(cluster.connection, found)
    assert done.message == "Deployment chat/llama is not adopted any more."
    assert done.undo is None
    assert label_of(cluster) is None
    assert f"{SERVICES}/llama" not in cluster.objects
    assert f"{ROUTES}/llama" not in cluster.objects


async def test_an_undo_does_not_wait_for_an_unchanged_generation() -> None:
    _, result = await adopted()
    assert result.generation is None


async def test_an_undo_does_not_remove_the_label_of_somebody_else() -> None:
    cluster, result = await adopted()
    cluster.change(PATH, metadata={"labels": {SERVING_LABEL: "theirs"}})
    found = await plan(cluster, result.undo)
    assert found.blocked == f"Its label {SERVING_LABEL} has changed since; it is not put back."


@pytest.mark.parametrize(
    "change",
    [{"spec": {"selector": {"app": "x"}}}, {"metadata": {"uid": "uid-new"}}],
    ids=["another selector", "created again"],
)
async def test_an_undo_keeps_a_service_that_is_not_as_it_was_created(change: Any) -> None:
    cluster, result = await adopted()
    cluster.change(f"{SERVICES}/llama", **change)
    found = await plan(cluster, result.undo)
    assert found.deletions == ()
    assert found.kept == ("Service chat/llama, which has changed since",)


async def test_a_service_that_changes_after_the_plan_is_not_deleted() -> None:
    cluster, result = await adopted()
    found = await plan(cluster, result.undo)
    cluster.change(f"{SERVICES}/llama", spec={"selector": {"app": "x"}})
    done = await run_plan(cluster.connection, found)
    assert (done.outcome, done.message) == (
        Outcome.OUTDATED,
        "Service chat/llama was changed by somebody else at the same time. Changed before: "
        "Deployment chat/llama; undo again for the rest.",
    )
    assert f"{SERVICES}/llama" in cluster.objects


async def test_a_status_that_is_written_meanwhile_does_not_prevent_the_undo() -> None:
    cluster, result = await adopted()
    cluster.change(f"{SERVICES}/llama", status={"loadBalancer": {}})
    found = await plan(cluster, result.undo)
    cluster.change(f"{SERVICES}/llama", status={"loadBalancer": {"ingress": []}})
    assert (await run_plan(cluster.connection, found)).outcome is Outcome.DONE
    assert f"{SERVICES}/llama" not in cluster.objects


async def test_an_undo_of_what_is_gone_has_nothing_to_do() -> None:
    cluster, result = await adopted()
    del cluster.objects[f"{SERVICES}/llama"]
    cluster.change(PATH, metadata={"labels": {SERVING_LABEL: None}})
    found = await plan(cluster, result.undo)
    assert found.unchanged == "Nothing of the adoption is left to be taken back."


async def test_the_undo_of_a_second_adoption_leaves_the_label_of_the_first() -> None:
    cluster = make_cluster(serving(metadata={"labels": {SERVING_LABEL: "llama"}}))
    result = await run(cluster)
    found = await plan(cluster, result.undo)
    assert found.patch is None
    assert (await run_plan(cluster.connection, found)).outcome is Outcome.DONE
    assert label_of(cluster) == "llama"
    assert f"{SERVICES}/llama" not in cluster.objects
