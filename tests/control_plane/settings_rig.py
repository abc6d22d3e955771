"""A serving whose settings are turned on and off on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from servedeck.changes.edit.edit import Edit, EditPlan, begin_edit, plan_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.set import SetOptions, set_fields
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.test_deploy import open_connection

Json = dict[str, Any]
NAME = "llama"
PROMETHEUS = "http://prometheus.monitoring:9090"
MERGE = "application/merge-patch+json"
PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
    "InferencePool": "/apis/inference.networking.k8s.io/v1/namespaces/{}/inferencepools",
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
        async with open_inventory(self.connection, self.namespace) as inventory:
            edit = await begin_edit(
                self.connection, self.namespace, NAME, prometheus_url=PROMETHEUS
            )
            wanted = Edit(edit.base, edit.wanted.replace(**fields))
            return await plan_edit(self.connection, wanted, inventory)

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


@asynccontextmanager
async def open_inventory(connection: Connection, namespace: str) -> AsyncIterator[ClusterInventory]:
    made = ClusterInventory(connection, namespace)
    made.start()
    try:
        await made.wait_until_listed()
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def open_rig(plane: ControlPlane, namespace: str) -> AsyncIterator[Rig]:
    """As an administrator."""
    async with open_connection(plane) as connection:
        yield Rig(plane, namespace, connection)


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
