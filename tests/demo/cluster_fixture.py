"""A demo cluster without API server and incidents, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from servedeck.demo.api import admission
from servedeck.demo.api.defaults import set_defaults
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.resources import (
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    Resource,
)
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads import metrics
from servedeck.demo.workloads.instance import SimulatedInstance

Json = dict[str, Any]
START = 1_795_000_000.0
H100 = "NVIDIA-H100-80GB-HBM3"


class ClusterFixture:
    def __init__(self, *, seed: int = 1) -> None:
        self.clock = Clock(START)
        self.store = ObjectStore(self.clock, seed=seed)
        self.store.admission.append(admission.admit)
        self.controllers = ControllerManager(self.store, self.clock, seed)
        self.create(NAMESPACES, {"metadata": {"name": "lab"}})

    def create(self, resource: Resource, obj: Json) -> Json:
        set_defaults(resource, obj)
        return self.store.create(resource, obj)

    def node(self, name: str = "gpu-1", gpus: int = 8, **spec: Any) -> Json:
        amounts = {"cpu": "96", "memory": "1000Gi", "nvidia.com/gpu": str(gpus), "pods": "110"}
        return self.create(
            NODES,
            {
                "metadata": {"name": name, "labels": {"nvidia.com/gpu.product": H100}},
                "spec": spec,
                "status": {"allocatable": amounts, "capacity": amounts},
            },
        )

    def deploy(self, name: str = "llm", **options: Any) -> Json:
        return self.create(DEPLOYMENTS, deployment(name, **options))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def until(self, condition: Callable[[], bool], limit: float = 3600) -> float:
        """Steps the clock until the condition holds; the seconds that it took."""
        begin = self.clock.time()
        while not condition():
            due = self.clock.next_due
            assert due is not None and due - begin <= limit, "the condition never came true"
            self.clock.run_until(due)
        return self.clock.time() - begin

    # -- reading ------------------------------------------------------------------------------

    def deployment(self, name: str = "llm") -> Json:
        return self.store.get(DEPLOYMENTS, "lab", name)

    def edit(self, change: Callable[[Json], object], name: str = "llm") -> None:
        def write(obj: Json) -> None:
            change(obj)

        self.store.mutate(DEPLOYMENTS, "lab", name, write)

    def pods(self) -> list[Json]:
        return self.store.list(PODS, "lab")

    def pod(self) -> Json:
        (pod,) = self.pods()
        return pod

    def replicasets(self) -> list[Json]:
        return self.store.list(REPLICA_SETS, "lab")

    def ready(self, name: str = "llm") -> bool:
        status = self.deployment(name).get("status") or {}
        wanted = self.deployment(name)["spec"]["replicas"]
        return bool(
            status.get("readyReplicas", 0) == wanted == status.get("updatedReplicas", 0)
            and status.get("replicas", 0) == wanted
        )

    def condition(self, type_: str, obj: Json | None = None) -> Json | None:
        found = (obj or self.deployment())["status"].get("conditions", [])
        return next((c for c in found if c["type"] == type_), None)

    def state(self) -> tuple[str, str, str]:
        """(kind, reason, message) of the only Pod's container."""
        ((kind, inner),) = self.container()["state"].items()
        return kind, inner.get("reason", ""), inner.get("message", "")

    def container(self) -> Json:
        found: Json = self.pod()["status"]["containerStatuses"][0]
        return found

    def events(self, reason: str = "", kind: str = "") -> list[Json]:
        return [
            event
            for event in self.store.list(EVENTS, "lab")
            if reason in ("", event["reason"]) and kind in ("", event["involvedObject"]["kind"])
        ]

    def messages(self, reason: str) -> list[str]:
        return [event["message"] for event in self.events(reason)]


def deployment(
    name: str = "llm",
    *,
    image: str = "vllm/vllm-openai:v0.33.0",
    command: list[str] | None = None,
    args: list[str] | None = None,
    replicas: int = 1,
    gpus: int = 1,
    memory: str = "48Gi",
    env: list[Json] | None = None,
    strategy: Json | None = None,
    annotations: dict[str, str] | None = None,
    volumes: list[Json] | None = None,
    probes: bool = True,
    **spec: Any,
) -> Json:
    limits = {"memory": memory, "nvidia.com/gpu": str(gpus)}
    container: Json = {
        "name": "inference-server",
        "image": image,
        "command": command or ["vllm", "serve"],
        "args": args or ["Qwen/Qwen3-8B", "--max-model-len", "8192"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "env": env or [],
        "resources": {"limits": limits, "requests": {"cpu": "4", **limits}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if probes:
        probe = {"httpGet": {"path": "/health", "port": "http"}}
        container["startupProbe"] = {**probe, "failureThreshold": 180}
        container["readinessProbe"] = {**probe, "periodSeconds": 5}
        container["livenessProbe"] = {**probe}
    body: Json = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
            "spec": {"containers": [container], "volumes": volumes or []},
        },
        **spec,
    }
    if strategy:
        body["strategy"] = strategy
    return {"metadata": {"name": name, "namespace": "lab"}, "spec": body}


def container_of(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def started_cluster(**options: Any) -> ClusterFixture:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(**options)
    return cluster


def running_instance(cluster: ClusterFixture) -> SimulatedInstance:
    (found,) = cluster.controllers.kubelet.instances(cluster.pod()["metadata"]["uid"])
    return found


async def read_lines(chunks: AsyncIterator[bytes]) -> list[str]:
    return b"".join([chunk async for chunk in chunks]).decode().splitlines()


def metric_samples(cluster: ClusterFixture) -> dict[str, float]:
    page = metrics.render_metrics(running_instance(cluster), cluster.clock.time())
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"{name} comes twice"
            found[name] = float(value)
    return found
