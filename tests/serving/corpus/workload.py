"""One workload of another project, and how it is written here.

The shapes matter (containers, commands, variables, ports), the values do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class Workload(NamedTuple):
    source: str
    """Where its project publishes it."""
    pod: Json
    """Spec of its Pods."""
    labels: dict[str, str] = {}
    pod_labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    """Annotations of its Pods."""


class Serving(NamedTuple):
    workload: Workload
    template: str
    model: str
    port: int
    container: str
    accelerator: tuple[str, int] = ("", 0)
    """Display name and number."""
    exported: str = ""
    """Template of the form; "" for custom, or the same if the form has it."""
    served: str = ""
    """Name of the model in requests; "" for the model itself."""
    model_source: str = ""
    is_grpc: bool = False
    is_tls: bool = False


GPU = "nvidia.com/gpu"


def container(
    name: str,
    image: str,
    args: Sequence[str] = (),
    command: Sequence[str] = (),
    env: dict[str, str] | None = None,
    ports: Sequence[int | tuple[str, int]] = (),
    resource: str = "",
    count: int = 1,
    **fields: Any,
) -> Json:
    found: Json = {"name": name, "image": image, **fields}
    if command:
        found["command"] = list(command)
    if args:
        found["args"] = list(args)
    if env:
        found["env"] = [{"name": key, "value": value} for key, value in env.items()]
    if ports:
        found["ports"] = [
            {"containerPort": one}
            if isinstance(one, int)
            else {"name": one[0], "containerPort": one[1]}
            for one in ports
        ]
    if resource:
        found["resources"] = {"limits": {resource: str(count)}}
    return found


def pod(*containers: Json, **fields: Any) -> Json:
    return {"containers": list(containers), **fields}


def sidecar(name: str, image: str, **fields: Any) -> Json:
    """A native sidecar: an init container that keeps running."""
    return container(name, image, restartPolicy="Always", **fields)


def initializer(uri: str) -> Json:
    """KServe's init container that loads the model."""
    return container(
        "storage-initializer", "kserve/storage-initializer:v0.16", [uri, "/mnt/models"]
    )


PROBE = {"readinessProbe": {"httpGet": {"path": "/health", "port": 8000}}}
FLUENT_BIT = container("fluent-bit", "fluent/fluent-bit:3.1", ports=[("metrics", 2020)])
ISTIO = container("istio-proxy", "istio/proxyv2:1.24", ["proxy", "sidecar"], ports=[15090])
QUEUE_PROXY = container("queue-proxy", "knative/queue:v1.16", ports=[("queue-port", 8012)])
ISVC = {"serving.kserve.io/inferenceservice": "iris", "component": "predictor"}
KSERVE = "https://github.com/kserve/kserve/tree/master/"
GKE = "https://github.com/GoogleCloudPlatform/kubernetes-engine-samples/tree/main/ai-ml/"
STACK = "https://github.com/vllm-project/production-stack/tree/main/helm/templates/"
LLMD = "https://github.com/llm-d-incubation/llm-d-modelservice/tree/main/examples/"
VLLM_SERVER = "https://docs.vllm.ai/en/latest/deployment/k8s/"
NVIDIA = ("NVIDIA GPU", 1)
