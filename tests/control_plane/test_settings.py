"""Auto scaling, load balancing and the temperature policy on a real API server: on, changed, off,
read back; autoscalers and policies of others; and what a missing permission leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from servedeck.changes.edit.edit import EditPlan, begin_edit, plan_edit
from servedeck.changes.edit.save import SaveState, save_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.operations.adoption import Adoption
from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from servedeck.changes.setting_checks import NO_CONTROLLER
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.lease import CONTROLLER_LEASE
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.commands.set import SetOptions, set_fields
from servedeck.config import PLATFORM_NAMESPACE
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.temperature import TEMPERATURE_ANNOTATION, TEMPERATURE_GATE
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_roles import rules_of
from tests.waiting import wait_until_sync

Json = dict[str, Any]
NAME = "llama"
PROMETHEUS = "http://prometheus.monitoring:9090"
MERGE = "application/merge-patch+json"
PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "DestinationRule": "/apis/networking.istio.io/v1/namespaces/{}/destinationrules",
    "BackendTrafficPolicy": (
        "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{}/backendtrafficpolicies"
    ),
}


class Rig:
    """The serving `llama` of a namespace."""

    def __init__(self, plane: ControlPlane, namespace: str, connection: Connection) -> None:
        self.plane, self.namespace, self.connection = plane, namespace, connection
        self.out: list[str] = []
        self.err: list[str] = []

    async def create(self, route: RouteKind = RouteKind.HTTP_ROUTE, **fields: Any) -> None:
        spec = ServingSpec.model_validate(
            {
                "name": NAME,
                "namespace": self.namespace,
                "template": "vllm",
                "image": "vllm/vllm-openai:v0.33.0",
                "cpu": "1",
                "memory": "16Gi",
                "accelerator": "nvidia.com/gpu",
                "settings": {"model": "org/m"},
                "inference_port": 8000,
                "replicas": 2,
                **fields,
            }
        )
        platform = PlatformSettings(
            host="ai.example.com",
            gateway="gateways/main",
            route=route,
            engines=Engines(frozenset({"keda.sh", "networking.istio.io"}), PROMETHEUS),
        )
        assert await apply_all(
            self.connection,
            [spec],
            platform,
            dry_run=False,
            stdout=self.out.append,
            stderr=self.err.append,
        ), self.err

    async def set(self, *texts: str, **options: Any) -> bool:
        self.out, self.err = [], []
        return await set_fields(
            self.connection,
            self.namespace,
            NAME,
            [parse_assignment(one) for one in texts],
            SetOptions(**{"assume_yes": True, **options}),
            stdout=self.out.append,
            stderr=self.err.append,
            prometheus_url=PROMETHEUS,
        )

    async def read(self) -> ServingSpec:
        return (await begin_edit(self.connection, self.namespace, NAME)).base.spec

    async def plan(self, **fields: Any) -> EditPlan:
        inventory = ClusterInventory(self.connection, self.namespace)
        inventory.start()
        try:
            await inventory.wait_until_listed()
            edit = await begin_edit(
                self.connection, self.namespace, NAME, prometheus_url=PROMETHEUS
            )
            wanted = edit.wanted.replace(**fields)
            return await plan_edit(self.connection, type(edit)(edit.base, wanted), inventory)
        finally:
            await inventory.close()

    def path(self, kind: str, name: str = NAME) -> str:
        return f"{PATHS[kind].format(self.namespace)}/{name}"

    def get(self, kind: str, name: str = NAME) -> Any:
        """The object; None if there is none."""
        try:
            return self.plane.request("GET", self.path(kind, name))
        except RequestError as error:
            assert error.status == 404
            return None

    def make(self, obj: Json, manager: str = "kubectl-create") -> None:
        path = PATHS[obj["kind"]].format(self.namespace)
        self.plane.create(f"{path}?fieldManager={manager}", obj)

    def patch(self, kind: str, body: Json, name: str = NAME, manager: str = "kubectl-edit") -> None:
        path = f"{self.path(kind, name)}?fieldManager={manager}"
        self.plane.request("PATCH", path, body, content_type=MERGE)

    def scale(self, replicas: int) -> None:
        """As the HorizontalPodAutoscaler does."""
        self.plane.request(
            "PATCH",
            f"{self.path('Deployment')}/scale?fieldManager=kube-controller-manager",
            {"spec": {"replicas": replicas}},
            content_type=MERGE,
        )

    @property
    def replicas(self) -> int:
        return int(self.get("Deployment")["spec"]["replicas"])


@pytest.fixture
async def rig(control_plane: ControlPlane, namespace: str) -> Any:
    async with open_connection(control_plane) as connection:
        yield Rig(control_plane, namespace, connection)


def scaled_object(target: str = NAME, name: str = NAME, **spec: Any) -> Json:
    trigger = {"type": "cron", "metadata": {"timezone": "UTC", "desiredReplicas": "3"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger], **spec},
    }


def autoscaler(**spec: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    metrics = [{"type": "Resource", "resource": cpu}]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 6, "metrics": metrics, **spec},
    }


# -- auto scaling -------------------------------------------------------------------------------


async def test_auto_scaling_on_changed_and_off(rig: Rig) -> None:
    await rig.create()
    generation = rig.get("Deployment")["metadata"]["generation"]
    assert await rig.set("autoScaling=response-time", "maxReplicas=4"), rig.err
    assert rig.out[-1] == "scaledobject.keda.sh/llama created"
    made = rig.get("ScaledObject")
    assert (made["spec"]["minReplicaCount"], made["spec"]["maxReplicaCount"]) == (1, 4)
    assert [one["manager"] for one in made["metadata"]["managedFields"]] == ["servedeck"]
    spec = await rig.read()
    assert (spec.auto_scaling, spec.scale_in_delay, spec.target_response_time) == (
        "response-time",
        60,
        5000,
    )
    for text in ("minReplicas=2", "maxReplicas=8", "scaleInDelay=120", "targetResponseTime=900"):
        assert await rig.set(text), rig.err
        assert rig.out[-1] == "scaledobject.keda.sh/llama configured", text
        assert await rig.set(text), rig.err
        assert rig.out == ["deployment.apps/llama unchanged"], text
    assert await rig.set("autoScaling=waiting-requests", "targetWaiting=3"), rig.err
    changed = rig.get("ScaledObject")
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    [trigger] = changed["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "3")
    spec = await rig.read()
    assert (spec.min_replicas, spec.max_replicas, spec.scale_in_delay, spec.target_waiting) == (
        2,
        8,
        120,
        3,
    )
    assert await rig.set("autoScaling=off"), rig.err
    assert rig.out[-1] == "scaledobject.keda.sh/llama deleted"
    assert rig.get("ScaledObject") is None
    assert (await rig.read()).auto_scaling == "off"
    assert rig.get("Deployment")["metadata"]["generation"] == generation


async def test_what_the_api_server_rejects_is_an_error_at_the_field(rig: Rig) -> None:
    await rig.create()
    rig.plane.create(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        {
            "metadata": {"name": rig.namespace},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": ["keda.sh"],
                            "apiVersions": ["*"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["scaledobjects"],
                        }
                    ],
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": rig.namespace}
                    },
                },
                "validations": [
                    {"expression": "object.spec.maxReplicaCount <= 5", "message": "at most 5"}
                ],
            },
        },
    )
    rig.plane.create(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        {
            "metadata": {"name": rig.namespace},
            "spec": {"policyName": rig.namespace, "validationActions": ["Deny"]},
        },
    )

    def is_denied() -> bool:
        probe = scaled_object(maxReplicaCount=9, name="probe")
        try:
            rig.plane.create(f"{PATHS['ScaledObject'].format(rig.namespace)}?dryRun=All", probe)
        except RequestError:
            return True
        return False

    try:
        wait_until_sync(is_denied, "the admission policy")
        plan = await rig.plan(auto_scaling="response-time", max_replicas=9)
        [issue] = plan.errors
        assert issue.field == "auto_scaling"
        assert issue.message.startswith("ScaledObject llama: ")
        assert "at most 5" in issue.message
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}/{rig.namespace}"
            rig.plane.request("DELETE", path)
    assert rig.get("ScaledObject") is None


async def test_the_replicas_of_a_scaled_serving_stay_as_the_autoscaler_set_them(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    rig.scale(5)
    assert await rig.set("cpu=2"), rig.err
    assert rig.replicas == 5
    assert await rig.set("maxReplicas=7", "description=x"), rig.err
    assert rig.replicas == 5
    assert not await rig.set("replicas=3")
    assert any("ScaledObject llama sets the replicas" in line for line in rig.err), rig.err
    assert rig.replicas == 5
    text = (await export_serving(rig.connection, rig.namespace, NAME)).yaml
    rig.scale(6)
    out: list[str] = []
    err: list[str] = []
    assert await apply_all(
        rig.connection,
        [from_yaml(text.replace("maxReplicas: 7", "maxReplicas: 8"))],
        PlatformSettings(),
        dry_run=False,
        stdout=out.append,
        stderr=err.append,
    ), err
    assert rig.replicas == 6
    assert (await rig.read()).max_replicas == 8
    assert [line for line in err if "sets the replicas" in line] == [
        "note: llama: spec.replicas: ScaledObject llama sets the replicas, 6 now; the 5 here are "
        "not applied."
    ]


async def test_the_replicas_of_an_adopted_serving_stay_as_the_autoscaler_set_them(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler(minReplicas=2))
    deployment = rig.get("Deployment")
    labels = dict.fromkeys(deployment["metadata"]["labels"])
    rig.patch("Deployment", {"metadata": {"labels": labels}}, manager="helm")
    rig.scale(4)
    operation = Adoption.make(rig.namespace, NAME)
    plan = await plan_operation(rig.connection, operation)
    assert plan.is_possible, plan.blocked or plan.unchanged
    assert (await run_plan(rig.connection, plan)).outcome is Outcome.DONE
    assert rig.replicas == 4
    rig.scale(5)
    assert await rig.set("description=adopted"), rig.err
    assert await rig.set("maxReplicas=9", force=True), rig.err
    assert rig.replicas == 5


# -- autoscalers of others ----------------------------------------------------------------------


async def test_a_horizontal_pod_autoscaler_of_others_is_edited_as_one(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler(minReplicas=2))
    spec = await rig.read()
    assert (spec.auto_scaling, spec.min_replicas, spec.max_replicas, spec.scale_in_delay) == (
        "hpa",
        2,
        6,
        300,
    )
    assert not await rig.set("maxReplicas=9")  # kubectl set it
    assert any("kubectl-create set 6, this change says 9" in line for line in rig.err), rig.err
    assert await rig.set("maxReplicas=9", "scaleInDelay=120", force=True), rig.err
    found = rig.get("HorizontalPodAutoscaler", "theirs")["spec"]
    assert (found["minReplicas"], found["maxReplicas"]) == (2, 9)
    assert found["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 120
    assert found["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert rig.get("ScaledObject") is None

    assert not await rig.set("autoScaling=response-time")
    assert any(
        "KEDA rejects a ScaledObject while HorizontalPodAutoscaler theirs scales the Deployment"
        in line
        for line in rig.err
    ), rig.err
    assert await rig.set("autoScaling=off"), rig.err
    assert rig.get("HorizontalPodAutoscaler", "theirs") is None
    assert await rig.set("autoScaling=response-time"), rig.err


async def test_the_autoscaler_that_keda_makes_is_not_edited(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    owner = rig.get("ScaledObject")
    made = autoscaler()
    made["metadata"] = {
        "name": "keda-hpa-llama",
        "ownerReferences": [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": NAME,
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    rig.make(made, "keda-operator")
    assert (await rig.read()).auto_scaling == "response-time"
    assert await rig.set("maxReplicas=3"), rig.err
    assert rig.get("HorizontalPodAutoscaler", "keda-hpa-llama")["spec"]["maxReplicas"] == 6


async def test_two_autoscalers_are_an_error_until_one_is_gone(rig: Rig) -> None:
    await rig.create()
    rig.make(autoscaler())
    rig.make(scaled_object(name="other", maxReplicaCount=5))
    assert not await rig.set("maxReplicas=4", force=True)
    [line] = [one for one in rig.err if "both scale" in one]
    assert (
        "ScaledObject other and HorizontalPodAutoscaler theirs both scale this Deployment" in line
    )
    assert await rig.set("description=x"), rig.err  # nothing else is in its way


async def test_a_scaled_object_of_that_name_for_another_target_is_left_alone(rig: Rig) -> None:
    await rig.create()
    rig.make(scaled_object("bert"))
    before = rig.get("ScaledObject")
    assert (await rig.read()).auto_scaling == "off"
    assert not await rig.set("autoScaling=response-time", force=True)
    assert any("exists already and is for something else" in line for line in rig.err), rig.err
    assert rig.get("ScaledObject") == before


async def test_one_that_somebody_creates_at_the_same_time_is_not_overwritten(rig: Rig) -> None:
    await rig.create()
    inventory = ClusterInventory(rig.connection, rig.namespace)
    inventory.start()
    await inventory.wait_until_listed()
    plan = await rig.plan(auto_scaling="response-time")
    request = rig.connection.request
    # It has none of the fields that servedeck sets, so that a server-side apply has no conflict.
    other = scaled_object(idleReplicaCount=0)
    other["spec"]["scaleTargetRef"] = {"name": NAME}

    async def late(method: str, path: str, **options: Any) -> Any:
        if (
            method == "PATCH"
            and path == rig.path("ScaledObject")
            and rig.get("ScaledObject") is None
        ):
            rig.make(other)
        return await request(method, path, **options)

    rig.connection.request = late  # type: ignore[method-assign, assignment]
    try:
        result = await save_edit(rig.connection, plan, inventory)
    finally:
        await inventory.close()
    assert result.state is SaveState.REPLANNED
    found = rig.get("ScaledObject")
    assert [one["type"] for one in found["spec"]["triggers"]] == ["cron"]
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == ["kubectl-create"]


async def test_who_changed_a_scaler_is_named_by_its_own_managers(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("autoScaling=response-time"), rig.err
    edit = await begin_edit(rig.connection, rig.namespace, NAME, prometheus_url=PROMETHEUS)
    rig.patch("Deployment", {"spec": {"minReadySeconds": 1}}, manager="somebody")
    rig.patch("ScaledObject", {"spec": {"maxReplicaCount": 9}}, manager="platform-team")
    inventory = ClusterInventory(rig.connection, rig.namespace)
    inventory.start()
    try:
        await inventory.wait_until_listed()
        wanted = edit.wanted.replace(max_replicas=5)
        plan = await plan_edit(rig.connection, type(edit)(edit.base, wanted), inventory)
    finally:
        await inventory.close()
    [conflict] = plan.conflicts
    assert [one.name for one in conflict.changed_by] == ["platform-team"]


# -- load balancing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        (RouteKind.VIRTUAL_SERVICE, "DestinationRule"),
        (RouteKind.HTTP_ROUTE, "BackendTrafficPolicy"),
    ],
)
async def test_load_balancing_on_changed_and_off(rig: Rig, route: RouteKind, kind: str) -> None:
    await rig.create(route)
    for value in ("round-robin", "least-requests", "header", "random"):
        header = ["loadBalancingHeader=X-Session-Id"] if value == "header" else []
        assert await rig.set(f"loadBalancing={value}", *header), rig.err
        spec = await rig.read()
        assert (spec.load_balancing, spec.load_balancing_header) == (
            value,
            "X-Session-Id" if header else "",
        )
        assert await rig.set(f"loadBalancing={value}", *header), rig.err
        assert rig.out == ["deployment.apps/llama unchanged"], value
    assert [one["manager"] for one in rig.get(kind)["metadata"]["managedFields"]] == ["servedeck"]
    assert await rig.set("loadBalancing=off"), rig.err
    assert rig.out[-1].endswith("/llama deleted")
    assert rig.get(kind) is None
    assert not await rig.set("loadBalancing=header")
    assert any("The header of the session affinity is missing" in line for line in rig.err)


async def test_a_destination_rule_of_others_keeps_what_it_has(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    outliers = {"consecutive5xxErrors": 5}
    policy = {"loadBalancer": {"simple": "RANDOM"}, "outlierDetection": outliers}
    rig.make(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "theirs"},
            "spec": {"host": NAME, "trafficPolicy": policy},
        }
    )
    assert (await rig.read()).load_balancing == "random"
    header = ("loadBalancing=header", "loadBalancingHeader=X-User")
    assert not await rig.set(*header)
    assert any("kubectl-create" in line for line in rig.err), rig.err
    assert await rig.set(*header, force=True), rig.err
    found = rig.get("DestinationRule", "theirs")["spec"]["trafficPolicy"]
    assert found == {
        "loadBalancer": {"consistentHash": {"httpHeaderName": "X-User"}},
        "outlierDetection": outliers,
    }
    assert await rig.set("loadBalancing=off", force=True), rig.err
    found = rig.get("DestinationRule", "theirs")["spec"]["trafficPolicy"]
    assert found["outlierDetection"] == outliers
    assert not found.get("loadBalancer")


# -- temperature policy -------------------------------------------------------------------------


@pytest.fixture
def controller(control_plane: ControlPlane) -> Iterator[None]:
    """The Lease of a controller that runs."""
    with suppress(RequestError):
        namespace = {"metadata": {"name": PLATFORM_NAMESPACE}}
        control_plane.create("/api/v1/namespaces", namespace)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{PLATFORM_NAMESPACE}/leases"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "controller-1", "leaseDurationSeconds": 86_400, "renewTime": now}
    control_plane.create(path, {"metadata": {"name": CONTROLLER_LEASE}, "spec": spec})
    yield
    control_plane.request("DELETE", f"{path}/{CONTROLLER_LEASE}")


@pytest.mark.usefixtures("controller")
async def test_the_temperature_policy_on_tuned_and_off(rig: Rig) -> None:
    await rig.create()
    assert await rig.set("temperaturePolicy=on"), rig.err
    assert any("(restarts Pods)" in line for line in rig.out), rig.out
    deployment = rig.get("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["readinessGates"] == [{"conditionType": TEMPERATURE_GATE}]
    assert (await rig.read()).temperature_threshold == 85
    template = deployment["spec"]["template"]
    assert await rig.set("temperatureThreshold=90", "temperatureSeconds=0"), rig.err
    deployment = rig.get("Deployment")
    annotation = deployment["metadata"]["annotations"][TEMPERATURE_ANNOTATION]
    assert annotation == "threshold=90,recovery=75,seconds=0"
    assert deployment["spec"]["template"] == template  # nothing restarts
    assert await rig.set("temperaturePolicy=off"), rig.err
    deployment = rig.get("Deployment")
    assert TEMPERATURE_ANNOTATION not in deployment["metadata"].get("annotations", {})
    assert "readinessGates" not in deployment["spec"]["template"]["spec"]


async def test_without_its_controller_the_policy_is_not_turned_on(rig: Rig) -> None:
    await rig.create()
    assert not await rig.set("temperaturePolicy=on")
    assert [one for one in rig.err if one.startswith("error")] == [
        f"error: llama: temperaturePolicy: {NO_CONTROLLER}"
    ]
    assert "readinessGates" not in rig.get("Deployment")["spec"]["template"]["spec"]


# -- deletion and permissions -------------------------------------------------------------------


async def test_deleting_a_serving_deletes_its_own_settings_and_no_others(rig: Rig) -> None:
    await rig.create(RouteKind.VIRTUAL_SERVICE)
    assert await rig.set("autoScaling=response-time", "loadBalancing=random"), rig.err
    rule = {"metadata": {"name": "theirs"}, "spec": {"host": NAME}}
    rig.make({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", **rule})
    plan = await plan_operation(
        rig.connection, Operation(OperationKind.DELETE, rig.namespace, NAME)
    )
    assert {one.target for one in plan.deletions} >= {"ScaledObject llama", "DestinationRule llama"}
    assert "DestinationRule theirs" in plan.kept
    assert (await run_plan(rig.connection, plan)).outcome is Outcome.DONE
    assert rig.get("ScaledObject") is None
    assert rig.get("DestinationRule") is None
    assert rig.get("DestinationRule", "theirs") is not None


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("route", [RouteKind.VIRTUAL_SERVICE, RouteKind.HTTP_ROUTE])
async def test_the_role_of_an_operator_allows_every_setting(
    control_plane: ControlPlane, namespace: str, route: RouteKind
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        await rig.create(route)
        assert await rig.set("autoScaling=response-time", "loadBalancing=random"), rig.err
        assert await rig.set("maxReplicas=3", "loadBalancing=round-robin"), rig.err
        for kind in ("ScaledObject", "DestinationRule", "BackendTrafficPolicy"):
            if rig.get(kind) is not None:  # also by an update, which removes fields of others
                rig.patch(kind, {"metadata": {"labels": {"theirs": "x"}}})
        assert await rig.set("autoScaling=off", "loadBalancing=off"), rig.err
        rig.make(autoscaler())
        assert await rig.set("maxReplicas=3", force=True), rig.err
        assert await rig.set("autoScaling=off"), rig.err
        # The Lease is in another namespace, which this role does not reach.
        assert await rig.set("temperaturePolicy=on"), rig.err
        assert any("It is not known whether the controller" in line for line in rig.err), rig.err


async def test_without_permission_to_list_autoscalers_they_are_not_changed(
    control_plane: ControlPlane, namespace: str
) -> None:
    kinds = {"scaledobjects", "destinationrules", "backendtrafficpolicies"}
    rules = [
        one for one in rules_of("viewer", "operator") if not kinds.intersection(one["resources"])
    ]
    grant_role(control_plane, namespace, "member", rules)
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        rig = Rig(control_plane, namespace, connection)
        await rig.create(RouteKind.VIRTUAL_SERVICE)
        assert not await rig.set("autoScaling=response-time")
        assert [one for one in rig.err if one.startswith("error")] == [
            "error: llama: autoScaling: Without permission to list scaledobjects.keda.sh, it is "
            "not known whether an autoscaler scales it, so this cannot be changed; ask for the "
            "role servedeck-operator."
        ]
        assert not await rig.set("loadBalancing=random")
        assert any(
            "Without permission to list destinationrules.networking.istio.io" in line
            for line in rig.err
        ), rig.err
        assert await rig.set("description=x"), rig.err
