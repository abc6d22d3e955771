"""Adopting Deployments of other tools on a real control plane: nothing changes but the label, and
what was asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.operations.adoption import Adoption, Release
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.connection import Connection
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects import detection
from servedeck.serving.objects.owners import find_controller
from servedeck.serving.objects.routes import PlatformSettings
from tests.control_plane import test_other_workloads as other_workloads
from tests.control_plane.assertions import started_session, wait_for_view
from tests.control_plane.control_plane import ControlPlane, RequestError, wait_for
from tests.control_plane.page import foreign_deployment
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of
from tests.control_plane.test_server_detection import decode
from tests.serving.corpus import SERVINGS
from tests.waiting import wait_until, with_timeout

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")
VLLM = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v0.10.0",
    "command": ["vllm", "serve", "org/m"],
    "ports": [{"name": "api", "containerPort": 8000}],
}
TORCHRUN = {
    "name": "train",
    "image": "pytorch/pytorch:2.5",
    "command": ["torchrun", "--nproc-per-node=8", "train.py"],
    "ports": [{"containerPort": 29500}],
    "resources": {"limits": {"nvidia.com/gpu": "8"}},
}


class Foreign:
    """A namespace with Deployments of another tool, and who adopts them."""

    def __init__(self, plane: ControlPlane, namespace: str, connection: Connection) -> None:
        self.plane, self.namespace, self.connection = plane, namespace, connection
        self.deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.services = f"/api/v1/namespaces/{namespace}/services"
        self.routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"

    def create(self, name: str, *containers: Any, replicas: int = 0, **metadata: Any) -> None:
        manifest = foreign_deployment(name, {"containers": list(containers)}, replicas)
        manifest["metadata"] |= metadata
        self.plane.create(f"{self.deployments}?fieldManager=platform", manifest)

    def deployment(self, name: str) -> Any:
        return self.plane.request("GET", f"{self.deployments}/{name}")

    def exists(self, path: str) -> bool:
        try:
            self.plane.request("GET", path)
        except RequestError as error:
            assert error.status == 404
            return False
        return True

    def service_names(self) -> list[str]:
        return [
            one["metadata"]["name"] for one in self.plane.request("GET", self.services)["items"]
        ]

    def replicasets(self) -> set[str]:
        """The uids of all ReplicaSets, once the controller has seen the last change."""
        for one in self.plane.request("GET", self.deployments)["items"]:
            path = f"{self.deployments}/{one['metadata']['name']}"
            limit = one["spec"]["revisionHistoryLimit"] + 1
            self.plane.request("PATCH", path, {"spec": {"revisionHistoryLimit": limit}})

        def observed() -> bool:
            return all(
                one["status"].get("observedGeneration") == one["metadata"]["generation"]
                for one in self.plane.request("GET", self.deployments)["items"]
            )

        wait_for(observed, "the Deployment controller")
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        return {one["metadata"]["uid"] for one in self.plane.request("GET", path)["items"]}

    async def plan(self, operation: Operation) -> OperationPlan:
        return await plan_operation(self.connection, operation, platform=PLATFORM)

    async def adopt(self, name: str, **options: bool) -> OperationResult:
        plan = await self.plan(Adoption.make(self.namespace, name, **options))
        assert plan.is_possible, plan.blocked or plan.unchanged
        assert "Restarts no Pods." in plan.effects
        result = await run_plan(self.connection, plan)
        assert result.outcome is Outcome.DONE, result.message
        return result

    async def undo(self, result: OperationResult) -> OperationPlan:
        assert result.undo is not None
        plan = await self.plan(result.undo)
        assert plan.is_possible, plan.blocked or plan.unchanged
        done = await run_plan(self.connection, plan)
        assert done.outcome is Outcome.DONE, done.message
        return plan


@pytest.fixture
async def foreign(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Foreign]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Foreign(control_plane, namespace, connection)


def others_fields(deployment: Any) -> list[Any]:
    """What each manager but servedeck set; controllers may write the status meanwhile."""
    return [
        (one["manager"], one["operation"], one["fieldsV1"])
        for one in deployment["metadata"]["managedFields"]
        if one["manager"] not in ("servedeck", "kube-controller-manager")
    ]


# -- published manifests ------------------------------------------------------------------------


async def test_published_servings_keep_everything_but_get_the_label_and_a_service(
    foreign: Foreign,
) -> None:
    names = {}
    for number, (title, one) in enumerate(SERVINGS.items()):
        workload = one.workload
        if SERVING_LABEL in workload.labels:
            continue
        name = f"serving-{number}"
        labels = {"app": name, **workload.pod_labels}
        metadata = {"labels": labels, "annotations": workload.annotations}
        manifest = {
            "metadata": {"name": name, "labels": workload.labels},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": metadata, "spec": workload.pod},
            },
        }
        if find_controller({"kind": "Deployment", **manifest}) is not None:
            continue  # those of KServe are refused
        foreign.plane.create(f"{foreign.deployments}?fieldManager=platform", manifest)
        names[name] = (title, one)
    assert len(names) >= 25
    replicasets = foreign.replicasets()
    results = {}
    for name, (title, expected) in names.items():
        before = foreign.deployment(name)
        results[name] = await foreign.adopt(name)
        after = foreign.deployment(name)
        assert json.dumps(after["spec"]) == json.dumps(before["spec"]), title
        labels = before["metadata"].get("labels", {})
        assert after["metadata"]["labels"] == {**labels, SERVING_LABEL: name}, title
        assert others_fields(after) == others_fields(before), title
        servers = [detection.detect_deployment(decode(one)) for one in (before, after)]
        assert servers[0] == servers[1], title
        assert servers[1].template == expected.template, title
        again = await foreign.plan(Adoption.make(foreign.namespace, name))
        assert "nothing to adopt" in again.unchanged, title
        if not foreign.exists(f"{foreign.services}/{name}"):
            assert expected.template == "custom", title  # nothing says its port
            continue
        [port] = foreign.plane.request("GET", f"{foreign.services}/{name}")["spec"]["ports"]
        declared = [
            entry["containerPort"]
            for container in after["spec"]["template"]["spec"]["containers"]
            for entry in container.get("ports", [])
            if entry.get("name") == port["targetPort"]
        ]
        assert (*declared, port["targetPort"])[0] == expected.port, title
        protocol = "grpc" if expected.is_grpc else "https" if expected.is_tls else "http"
        assert port["name"] == protocol, title
    assert foreign.replicasets() == replicasets
    for name, (title, _) in names.items():
        before = foreign.deployment(name)
        await foreign.undo(results[name])
        after = foreign.deployment(name)
        assert json.dumps(after["spec"]) == json.dumps(before["spec"]), title
        assert SERVING_LABEL not in after["metadata"].get("labels", {}), title
        assert others_fields(after) == others_fields(before), title
    assert foreign.service_names() == []
    assert foreign.replicasets() == replicasets


async def test_running_pods_stay(foreign: Foreign) -> None:
    foreign.create("llama", VLLM, replicas=2)

    def pods() -> set[str]:
        found = foreign.plane.request("GET", f"/api/v1/namespaces/{foreign.namespace}/pods")
        return {one["metadata"]["uid"] for one in found["items"]}

    wait_for(lambda: len(pods()) == 2, "two Pods")
    before, replicasets = pods(), foreign.replicasets()
    await foreign.adopt("llama", route=True)
    assert (foreign.replicasets(), pods()) == (replicasets, before)


# -- what is listed -----------------------------------------------------------------------------


async def test_what_was_not_recognized_is_listed_once_it_is_adopted(
    foreign: Foreign, control_plane: ControlPlane
) -> None:
    key = NamespacedName(foreign.namespace, "trainer-2.5")
    foreign.create(key.name, TORCHRUN)
    kubeconfig = control_plane.write_kubeconfig()
    async with started_session(kubeconfig, foreign.namespace) as live:
        assert live.fleet.view(key) is None
        result = await foreign.adopt(key.name)
        view = await wait_for_view(live, key, lambda one: one.is_adopted)
        assert (view.template, view.managed, view.accelerator_count) == ("custom", False, 8)
        assert foreign.service_names() == []  # 29500 is no port for requests
        await foreign.undo(result)
        await wait_until(lambda: live.fleet.view(key) is None, "it is not listed any more")


async def test_the_endpoint_of_an_adopted_serving_is_that_of_its_server(
    foreign: Foreign, control_plane: ControlPlane
) -> None:
    key = NamespacedName(foreign.namespace, "llama")
    foreign.create(key.name, VLLM)
    async with started_session(control_plane.write_kubeconfig(), foreign.namespace) as live:
        before = await wait_for_view(live, key, lambda one: True)
        await foreign.adopt(key.name, route=True)
        after = await wait_for_view(live, key, lambda one: one.is_adopted and one.endpoint.url)
    assert (after.template, after.model) == (before.template, before.model) == ("vllm", "org/m")
    assert after.endpoint.url == f"https://ai.example.com/{foreign.namespace}/llama"
    assert after.endpoint.cluster_url == f"http://llama.{foreign.namespace}.svc:80"


# -- what is created ----------------------------------------------------------------------------


async def test_a_service_that_leads_there_is_kept_and_no_route_is_made_unasked(
    foreign: Foreign,
) -> None:
    foreign.create("llama", VLLM)
    spec = {"selector": {"app": "llama"}, "ports": [{"port": 9999, "targetPort": "api"}]}
    foreign.plane.create(foreign.services, {"metadata": {"name": "front"}, "spec": spec})
    before = foreign.plane.request("GET", f"{foreign.services}/front")
    await foreign.adopt("llama")
    assert foreign.service_names() == ["front"]
    assert foreign.plane.request("GET", f"{foreign.services}/front") == before
    assert foreign.plane.request("GET", foreign.routes)["items"] == []


async def test_a_route_leads_to_the_service_that_was_there(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    spec = {"selector": {"app": "llama"}, "ports": [{"port": 9999, "targetPort": "api"}]}
    foreign.plane.create(foreign.services, {"metadata": {"name": "front"}, "spec": spec})
    result = await foreign.adopt("llama", route=True)
    route = foreign.plane.request("GET", f"{foreign.routes}/llama")
    [backend] = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"]) == ("front", 9999)
    plan = await foreign.undo(result)
    assert [one.target for one in plan.deletions] == [f"HTTPRoute {foreign.namespace}/llama"]
    assert foreign.service_names() == ["front"]


async def test_a_name_with_a_dot_gets_a_service_with_another_name(foreign: Foreign) -> None:
    foreign.create("qwen2.5-7b", VLLM)
    await foreign.adopt("qwen2.5-7b")
    assert foreign.service_names() == ["qwen2-5-7b"]
    deletion = Operation(OperationKind.DELETE, foreign.namespace, "qwen2.5-7b")
    targets = [one.target for one in (await foreign.plan(deletion)).deletions]
    assert targets == ["Service qwen2-5-7b", "Deployment qwen2.5-7b"]


async def test_a_service_of_another_deployment_under_that_name_blocks_it(
    foreign: Foreign,
) -> None:
    foreign.create("qwen2.5-7b", VLLM)
    spec = {"selector": {"app": "other"}, "ports": [{"port": 80}]}
    foreign.plane.create(foreign.services, {"metadata": {"name": "qwen2-5-7b"}, "spec": spec})
    plan = await foreign.plan(Adoption.make(foreign.namespace, "qwen2.5-7b"))
    assert "exists already and does not lead to its Pods" in plan.blocked
    await foreign.adopt("qwen2.5-7b", service=False)


async def test_a_deployment_with_the_same_labels_is_named(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    canary = foreign_deployment("llama", {"containers": [VLLM]}, 1)
    canary["metadata"]["name"] = "canary"
    canary["spec"]["selector"]["matchLabels"] = {"app": "llama", "track": "canary"}
    canary["spec"]["template"]["metadata"]["labels"] = {"app": "llama", "track": "canary"}
    foreign.plane.create(foreign.deployments, canary)
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama"))
    assert plan.warnings == (
        "Service llama also selects the Pods of Deployment canary, which have the "
        "selected labels, too: requests go to both.",
    )


async def test_kubectl_does_the_same_as_the_shown_commands(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    operation = Adoption.make(foreign.namespace, "llama", route=True)
    plan = await foreign.plan(operation)
    label, expose, route = plan.command.split(" && ")
    foreign.plane.kubectl(*label.split()[1:])
    foreign.plane.kubectl(*expose.split()[1:])
    content = route.removeprefix("echo '").partition("' | kubectl ")
    foreign.plane.kubectl(*content[2].split(), input=content[0])
    assert "nothing to adopt" in (await foreign.plan(operation)).unchanged
    service = foreign.plane.request("GET", f"{foreign.services}/llama")
    wanted = plan.creations[0].manifest
    assert service["metadata"]["labels"] == wanted["metadata"]["labels"]
    assert service["spec"]["selector"] == wanted["spec"]["selector"]
    [port] = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "api")


# -- afterwards ---------------------------------------------------------------------------------


async def test_a_deletion_takes_what_the_adoption_made_and_nothing_of_others(
    foreign: Foreign,
) -> None:
    foreign.create("llama", VLLM)
    spec = {"selector": {"app": "llama"}, "ports": [{"port": 9999, "name": "metrics"}]}
    foreign.plane.create(foreign.services, {"metadata": {"name": "llama-metrics"}, "spec": spec})
    await foreign.adopt("llama", route=True)
    plan = await foreign.plan(Operation(OperationKind.DELETE, foreign.namespace, "llama"))
    assert [one.target for one in plan.deletions] == [
        "HTTPRoute llama",
        "Service llama",
        "Deployment llama",
    ]
    assert plan.kept == ("Service llama-metrics",)
    assert (await run_plan(foreign.connection, plan)).outcome is Outcome.DONE
    assert foreign.service_names() == ["llama-metrics"]


async def test_an_undo_keeps_what_has_changed_since(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    result = await foreign.adopt("llama", route=True)
    foreign.plane.request(
        "PATCH", f"{foreign.services}/llama", {"metadata": {"annotations": {"team": "search"}}}
    )
    foreign.plane.request("PATCH", f"{foreign.deployments}/llama", {"spec": {"replicas": 1}})
    plan = await foreign.undo(result)
    assert plan.kept == (f"Service {foreign.namespace}/llama, which has changed since",)
    assert foreign.service_names() == ["llama"]
    assert not foreign.exists(f"{foreign.routes}/llama")
    after = foreign.deployment("llama")
    assert SERVING_LABEL not in after["metadata"]["labels"]
    assert after["spec"]["replicas"] == 1


async def test_what_changes_after_the_undo_was_planned_is_not_deleted(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    result = await foreign.adopt("llama")
    assert isinstance(result.undo, Release)
    plan = await foreign.plan(result.undo)
    foreign.plane.request(
        "PATCH", f"{foreign.services}/llama", {"metadata": {"annotations": {"team": "search"}}}
    )
    done = await run_plan(foreign.connection, plan)
    assert done.outcome is Outcome.OUTDATED
    assert "was changed by somebody else at the same time" in done.message
    assert foreign.service_names() == ["llama"]


# -- somebody else, and permissions ---------------------------------------------------------------


async def test_a_label_that_somebody_else_added_after_the_plan_is_not_overwritten(
    foreign: Foreign,
) -> None:
    foreign.create("llama", VLLM)
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama"))
    theirs = {"metadata": {"labels": {SERVING_LABEL: "theirs"}}}
    foreign.plane.request("PATCH", f"{foreign.deployments}/llama", theirs)
    result = await run_plan(foreign.connection, plan)
    assert result.outcome is Outcome.OUTDATED
    assert foreign.deployment("llama")["metadata"]["labels"][SERVING_LABEL] == "theirs"
    assert foreign.service_names() == []


async def test_another_label_that_was_added_meanwhile_is_kept(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama"))
    foreign.plane.request(
        "PATCH", f"{foreign.deployments}/llama", {"metadata": {"labels": {"team": "search"}}}
    )
    assert (await run_plan(foreign.connection, plan)).outcome is Outcome.DONE
    labels = foreign.deployment("llama")["metadata"]["labels"]
    assert labels == {"app": "llama", "team": "search", SERVING_LABEL: "llama"}


async def test_a_service_that_somebody_creates_meanwhile_is_not_touched(foreign: Foreign) -> None:
    foreign.create("llama", VLLM)
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama"))
    spec = {"selector": {"app": "other"}, "ports": [{"port": 80}]}
    foreign.plane.create(foreign.services, {"metadata": {"name": "llama"}, "spec": spec})
    result = await run_plan(foreign.connection, plan)
    assert result.outcome is Outcome.OUTDATED
    assert result.message == (
        f"Service {foreign.namespace}/llama was created by somebody else at the same time. Changed "
        f"before: Deployment {foreign.namespace}/llama; adopt again for the rest."
    )
    service = foreign.plane.request("GET", f"{foreign.services}/llama")
    assert service["spec"]["selector"] == {"app": "other"}


async def test_a_viewer_is_told_the_missing_verb(
    foreign: Foreign, control_plane: ControlPlane, namespace: str
) -> None:
    foreign.create("llama", VLLM)
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    async with open_connection(control_plane, user="viewer", namespace=namespace) as connection:
        plan = await plan_operation(connection, Adoption.make(namespace, "llama"))
    assert 'cannot patch resource "deployments"' in plan.blocked


async def test_who_may_not_create_services_is_told_so_and_can_adopt_it_without(
    foreign: Foreign, control_plane: ControlPlane, namespace: str
) -> None:
    foreign.create("llama", VLLM)
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]
    grant_role(control_plane, namespace, "member", [*rules_of("viewer"), *rules])
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await plan_operation(connection, Adoption.make(namespace, "llama"))
        assert f"Service {namespace}/llama cannot be created" in plan.blocked
        assert 'cannot create resource "services"' in plan.blocked
        assert SERVING_LABEL not in foreign.deployment("llama")["metadata"]["labels"]
        plan = await plan_operation(connection, Adoption.make(namespace, "llama", service=False))
        assert (await run_plan(connection, plan)).outcome is Outcome.DONE


async def test_an_operator_may_adopt_with_all_of_it(
    foreign: Foreign, control_plane: ControlPlane, namespace: str
) -> None:
    foreign.create("llama", VLLM)
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    operation = Adoption.make(namespace, "llama", route=True)
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await plan_operation(connection, operation, platform=PLATFORM)
        result = await run_plan(connection, plan)
        assert result.outcome is Outcome.DONE, result.message
        assert result.undo is not None
        plan = await plan_operation(connection, result.undo)
        assert (await run_plan(connection, plan)).outcome is Outcome.DONE
    assert foreign.service_names() == []


# -- other owners -------------------------------------------------------------------------------


async def test_the_apply_of_a_gitops_controller_keeps_the_label(foreign: Foreign) -> None:
    """As the warning says: Flux applies what Git has, with server-side apply and force."""
    manifest = foreign_deployment("llama", {"containers": [VLLM]}, 0)
    manifest["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = "chat"
    path = f"{foreign.deployments}/llama?fieldManager=kustomize-controller&force=true"

    def apply() -> None:
        foreign.plane.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    apply()
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama", service=False))
    assert plan.warnings == (
        "Flux Kustomization chat manages this Deployment and keeps labels that Git does not have, "
        "unless it creates the Deployment again or kubectl added them; add the label in Git, too.",
    )
    await run_plan(foreign.connection, plan)
    apply()
    assert foreign.deployment("llama")["metadata"]["labels"][SERVING_LABEL] == "llama"


async def test_the_label_of_helm_stays(foreign: Foreign) -> None:
    labels = {"app": "llama", "app.kubernetes.io/managed-by": "Helm"}
    annotations = {"meta.helm.sh/release-name": "chat"}
    foreign.create("llama", VLLM, labels=labels, annotations=annotations)
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama"))
    assert plan.warnings == (
        "Helm release chat created this Deployment; helm upgrade keeps labels that the chart does "
        "not have, unless it creates the Deployment again; add the label to its values, too.",
    )
    await foreign.adopt("llama")
    assert foreign.deployment("llama")["metadata"]["labels"] == {
        **labels,
        SERVING_LABEL: "llama",
    }


async def test_the_deployment_of_a_controller_is_refused(foreign: Foreign) -> None:
    # A real one: without it, the garbage collector deletes the Deployment.
    service = other_workloads.create(
        foreign.plane,
        foreign.namespace,
        "inferenceservices",
        other_workloads.inference_service("llama"),
    )
    owner = other_workloads.owner_of(service, "InferenceService", "serving.kserve.io/v1beta1")
    foreign.create("llama-predictor", VLLM, ownerReferences=[owner])
    plan = await foreign.plan(Adoption.make(foreign.namespace, "llama-predictor"))
    assert plan.blocked == (
        "InferenceService llama owns this Deployment, and its controller may revert the change; "
        "change the InferenceService llama instead."
    )


async def test_a_policy_that_changes_the_pod_template_is_said_to_restart_the_pods(
    foreign: Foreign,
) -> None:
    """The restart is read from the answer of the API server, not assumed."""
    foreign.create("llama", VLLM, replicas=1)
    root, name = "/apis/admissionregistration.k8s.io/v1", f"stamp-{foreign.namespace}"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["deployments"],
    }
    change = (
        "Object{spec: Object.spec{template: Object.spec.template{"
        'metadata: Object.spec.template.metadata{annotations: {"stamp": "1"}}}}}'
    )
    selector = {"matchLabels": {"kubernetes.io/metadata.name": foreign.namespace}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}
        ],
        "reinvocationPolicy": "Never",
    }
    policies, bindings = (
        f"{root}/mutatingadmissionpolicies",
        (f"{root}/mutatingadmissionpolicybindings"),
    )
    foreign.plane.create(policies, {"metadata": {"name": name}, "spec": policy})
    foreign.plane.create(bindings, {"metadata": {"name": name}, "spec": {"policyName": name}})
    operation = Adoption.make(foreign.namespace, "llama")
    try:

        async def wait() -> OperationPlan:
            while "Restarts no Pods." in (plan := await foreign.plan(operation)).effects:
                await asyncio.sleep(0.05)  # the API server reads a policy some time later
            return plan

        plan = await with_timeout(wait())
    finally:
        for path in (bindings, policies):
            foreign.plane.request("DELETE", f"{path}/{name}")
    assert plan.effects[-1] == (
        "1 Pod restarts: an admission webhook changes the Pod template with this write."
    )
    assert any("template.metadata.annotations" in one.path for one in plan.differences)
