"""The objects of the demo's story: nodes, projects, servings and what belongs to them."""

# ruff: noqa: E501 - a table of servings

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE
from servedeck.demo.api import field_set
from servedeck.demo.api.defaults import fill
from servedeck.demo.api.schema import schema_of
from servedeck.demo.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    GATEWAYS,
    HTTPROUTES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    RESOURCEQUOTAS,
    SCALEDOBJECTS,
    SECRETS,
    SERVICES,
    Resource,
)
from servedeck.demo.store.objects import Json
from servedeck.demo.workloads import failure_simulation
from servedeck.serving.objects import manifests
from servedeck.serving.objects.records import MANAGER
from servedeck.serving.objects.routes import Platform
from servedeck.serving.spec.spec import EnvVar, KeyRef, Quantity, ServingSpec
from servedeck.serving.spec.templates import TEMPLATES

Placed = tuple[Resource, Json]

HOST = "serving.acme.example"
GATEWAY = ("platform", "serving-gateway")
PLATFORM = Platform(host=HOST, gateway="/".join(GATEWAY))
TOKEN = "hf-token"  # noqa: S105 - the name of a Secret
GPU = "nvidia.com/gpu"
NPU = "furiosa.ai/rngd"
VLLM_IMAGE = "vllm/vllm-openai:v0.33.0"
VLLM_OLDER = "vllm/vllm-openai:v0.32.1"
FURIOSA_IMAGE = "furiosaai/furiosa-llm:2026.4.0"

H100, A100, L40S = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-L40S"


@dataclass(frozen=True)
class Serving:
    """One serving of the story. `token`: the container gets HF_TOKEN from the project's Secret."""

    project: str
    name: str
    model: str
    age: float
    """Days since it was made."""
    template: str = "vllm"
    args: tuple[str, ...] = ()
    image: str = VLLM_IMAGE
    resource: str = GPU
    count: int = 1
    memory: str = "48Gi"
    cpu: str = "8"
    replicas: int = 1
    product: str = ""
    token: bool = False
    load: float = 1.0
    description: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed: bool = True
    recreate: bool = False
    """A rollout stops the old Pod first, as one does where accelerators are scarce."""

    @property
    def key(self) -> tuple[str, str]:
        return self.project, self.name


SERVINGS: tuple[Serving, ...] = (
    Serving(
        "chat", "llama-31-8b", "meta-llama/Llama-3.1-8B-Instruct", 12.4, replicas=3, token=True,
        args=("--max-model-len", "32768", "--gpu-memory-utilization", "0.9"), product=H100, load=4.2,
        image=VLLM_OLDER, description="General chat behind the help desk",
    ),
    Serving(
        "chat", "llama-33-70b", "meta-llama/Llama-3.3-70B-Instruct", 9.1, replicas=2, token=True,
        args=("--tensor-parallel-size", "4", "--max-model-len", "65536", "--gpu-memory-utilization", "0.92"),
        count=4, memory="192Gi", cpu="16", product=H100, load=1.6,
        description="Long answers and summaries",
    ),
    Serving(
        "chat", "exaone-40-32b", "LGAI-EXAONE/EXAONE-4.0-32B", 5.8, replicas=3,
        args=("--tensor-parallel-size", "2", "--max-model-len", "32768", "--gpu-memory-utilization", "0.9"),
        count=2, memory="96Gi", product=A100, load=0.9, description="Korean chat",
    ),
    Serving(
        "search", "bge-m3", "BAAI/bge-m3", 20.2, replicas=2, memory="16Gi", cpu="4", product=L40S,
        args=("--runner", "pooling", "--max-model-len", "8192"), load=6.5,
        description="Embeddings for the document index",
    ),
    Serving(
        "search", "qwen3-embedding-8b", "Qwen/Qwen3-Embedding-8B", 0.021, memory="6Gi", product=L40S,
        args=("--runner", "pooling", "--max-model-len", "16384"), load=2.0,
        description="Trial of a larger embedding model", recreate=True,
    ),
    Serving(
        "vision", "qwen25-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", 0.012, product=L40S,
        image="vllm/vllm-openai:v0.33.O", args=("--max-model-len", "16384"), load=0.8,
        description="Reads invoices", recreate=True,
    ),
    Serving(
        "vision", "gemma-3-12b", "google/gemma-3-12b-it", 0.016, product=H100,
        args=("--max-model-len", "16384"), load=0.7, description="Captions for the catalogue",
    ),
    Serving(
        "agents", "qwen3-32b-awq", "Qwen/Qwen3-32B-AWQ", 0.0013, product=L40S, load=1.4,
        args=("--quantization", "awq", "--max-model-len", "16384", "--gpu-memory-utilization", "0.9"),
        annotations={failure_simulation.LOADING: "3m20s"}, description="Tool calls of the agents", recreate=True,
    ),
    Serving(
        "agents", "mistral-small-24b", "mistralai/Mistral-Small-3.2-24B-Instruct-2506", 0.018,
        args=("--tensor-parallel-size", "8", "--max-model-len", "65536"), count=8, memory="128Gi",
        product=A100, load=1.0, description="Router of the agents",
    ),
    Serving(
        "agents", "gpt-oss-20b", "openai/gpt-oss-20b", 3.3, replicas=0, product=H100,
        args=("--max-model-len", "65536",), load=1.1, description="Runs in the evenings only",
    ),
    Serving(
        "npu-lab", "exaone-35-78b", "furiosa-ai/EXAONE-3.5-7.8B-Instruct", 6.6, "furiosa-llm",
        image=FURIOSA_IMAGE, resource=NPU, replicas=2, memory="100Gi", cpu="10", load=1.9,
        description="First serving on RNGD",
    ),
    Serving(
        "npu-lab", "llama-31-8b", "furiosa-ai/Llama-3.1-8B-Instruct", 0.008, "furiosa-llm",
        image=FURIOSA_IMAGE, resource=NPU, memory="100Gi", cpu="10", token=True, load=0.9,
        description="Compared with the same model on GPUs", recreate=True,
    ),
    Serving(
        "research", "llama-32-3b", "meta-llama/Llama-3.2-3B-Instruct", 0.9, replicas=3, token=True,
        memory="24Gi", cpu="4", product=L40S, args=("--max-model-len", "8192",), load=0.5,
        description="Experiments with drafts",
    ),
    Serving(
        "research", "mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3", 31.0, token=True,
        memory="32Gi", cpu="4", args=("--max-model-len", "16384",), image=VLLM_OLDER, load=0.4,
        managed=False,
    ),
)  # fmt: skip


def foundation() -> Iterator[Placed]:
    """What is there before any serving: nodes, projects, the gateway, quotas, tokens."""
    for project in (
        "default",
        "kube-system",
        "platform",
        PLATFORM_NAMESPACE,
        "chat",
        "search",
        "vision",
        "agents",
        "npu-lab",
        "research",
    ):
        yield NAMESPACES, {"metadata": {"name": project}}
    yield _node("control-1", {"cpu": "8", "memory": "32Gi"}, control_plane=True)
    yield _node("h100-1", {"cpu": "192", "memory": "2000Gi", GPU: "8"}, product=H100, number=11)
    yield _node("h100-2", {"cpu": "192", "memory": "2000Gi", GPU: "8"}, product=H100, number=12)
    yield _node("a100-1", {"cpu": "128", "memory": "1000Gi", GPU: "4"}, product=A100, number=21)
    yield _node("l40s-1", {"cpu": "96", "memory": "768Gi", GPU: "8"}, product=L40S, number=31)
    yield _node("rngd-1", {"cpu": "96", "memory": "1000Gi", NPU: "4"}, product="rngd", number=41)
    yield (
        GATEWAYS,
        {
            "metadata": {"namespace": GATEWAY[0], "name": GATEWAY[1]},
            "spec": {
                "gatewayClassName": "envoy",
                "listeners": [
                    {
                        "name": "https",
                        "hostname": HOST,
                        "port": 443,
                        "protocol": "HTTPS",
                        "tls": {"mode": "Terminate", "certificateRefs": [{"name": "serving-tls"}]},
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
            "status": {"addresses": [{"type": "Hostname", "value": HOST}]},
        },
    )
    for project in ("chat", "research"):
        yield token(project)
    yield (
        RESOURCEQUOTAS,
        {
            "metadata": {"namespace": "research", "name": "accelerators"},
            "spec": {"hard": {"requests.nvidia.com/gpu": "3"}},
        },
    )
    yield (
        PERSISTENTVOLUMECLAIMS,
        {
            "metadata": {"namespace": "chat", "name": "prompts"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "50Gi"}},
                "storageClassName": "shared",
                "volumeMode": "Filesystem",
                "volumeName": "pvc-5f1c0d7e",
            },
            "status": {
                "phase": "Bound",
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "50Gi"},
            },
        },
    )
    yield (
        CONFIGMAPS,
        {
            "metadata": {"namespace": "chat", "name": "chat-templates"},
            "data": {"default.jinja": "{{ messages }}"},
        },
    )
    yield (
        CONFIGMAPS,
        {
            "metadata": {"namespace": PLATFORM_NAMESPACE, "name": PLATFORM_CONFIGMAP},
            "data": {"endpoint_host": HOST, "gateway": "/".join(GATEWAY)},
        },
    )


def token(project: str) -> Placed:
    """The project's token for gated models."""
    value = base64.b64encode(b"hf_demo_not_a_real_token").decode()
    return SECRETS, {
        "metadata": {"namespace": project, "name": TOKEN},
        "type": "Opaque",
        "data": {"token": value},
    }


def objects(serving: Serving) -> Iterator[Placed]:
    """Deployment, Service and route of a serving, as servedeck makes them; only a Deployment and
    a Service, in its own way, for one that servedeck did not make."""
    built = _made_by_servedeck(serving) if serving.managed else _foreign(serving)
    for resource, obj in built:
        if resource is DEPLOYMENTS:
            _around(serving, obj)
        yield _filled(resource, obj)
    if serving.key == ("chat", "llama-31-8b"):
        labels = dict(manifests.labels_of(spec(serving)))
        meta = {"namespace": serving.project, "name": serving.name, "labels": labels}
        yield SCALEDOBJECTS, {"metadata": meta, "spec": _scaling(serving)}


def spec(serving: Serving) -> ServingSpec:
    """What an operator said in the form for a serving that servedeck made."""
    template = TEMPLATES[serving.template]
    head = () if template.command else ("serve",)
    read = template.read(template.command, (*head, serving.model, *serving.args))
    assert read is not None, f"{serving.name}'s arguments are not those of {template.id}"
    settings = read[1]
    if settings.get("gpu_memory_utilization", 0) is None:  # the form proposes a value
        settings["gpu_memory_utilization"] = template.defaults()["gpu_memory_utilization"]
    reference = KeyRef(name=TOKEN, key="token")
    return ServingSpec(
        name=serving.name,
        project=serving.project,
        description=serving.description,
        template=serving.template,
        image=serving.image,
        cpu=Quantity(serving.cpu),
        memory=Quantity(serving.memory),
        accelerator=serving.resource,
        accelerator_count=serving.count,
        replicas=serving.replicas,
        settings=settings,
        env=(EnvVar(name="HF_TOKEN", secret=reference),) if serving.token else (),
    )


def _made_by_servedeck(serving: Serving) -> Iterator[Placed]:
    resources = {"Deployment": DEPLOYMENTS, "Service": SERVICES, "HTTPRoute": HTTPROUTES}
    for obj in manifests.build(spec(serving), PLATFORM):
        resource = resources[obj["kind"]]
        # Applied by servedeck: what a later document leaves out, it takes away.
        owned = {
            "manager": MANAGER,
            "operation": "Apply",
            "apiVersion": obj["apiVersion"],
            "fieldsType": "FieldsV1",
            "fieldsV1": field_set.encode(field_set.owned(schema_of(resource), obj)),
        }
        obj["metadata"]["managedFields"] = [owned]
        yield resource, obj


def _around(serving: Serving, obj: Json) -> None:
    """What another hand than servedeck's wrote into the Deployment: it stays when the serving is
    saved."""
    template = obj["spec"]["template"]
    template["metadata"]["annotations"] = {
        failure_simulation.LOAD: str(serving.load),
        **serving.annotations,
    }
    if serving.product:
        template["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": serving.product}
    if serving.recreate:
        obj["spec"]["strategy"] = {"type": "Recreate"}


def _foreign(serving: Serving) -> Iterator[Placed]:
    """A serving that somebody wrote by hand, without servedeck's labels."""
    labels = {"app": serving.name}
    meta: Json = {"namespace": serving.project, "name": serving.name, "labels": labels}
    pod: Json = {
        "enableServiceLinks": False,
        "containers": [_container(serving)],
        "volumes": [
            {"name": "model-cache", "emptyDir": {}},
            {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},
        ],
        "tolerations": [{"key": serving.resource, "operator": "Exists", "effect": "NoSchedule"}],
    }
    body: Json = {
        "replicas": serving.replicas,
        "progressDeadlineSeconds": 3600,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    yield DEPLOYMENTS, {"metadata": meta, "spec": body}
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    service = {"selector": dict(labels), "ports": ports}
    yield SERVICES, {"metadata": {**meta, "labels": dict(labels)}, "spec": service}


def _container(serving: Serving) -> Json:
    env: list[Json] = [{"name": "HF_HOME", "value": "/root/.cache/huggingface"}]
    if serving.token:
        reference = {"name": TOKEN, "key": "token"}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    fixed = {"memory": serving.memory, serving.resource: str(serving.count)}
    probe = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 5}
    return {
        "name": "vllm",
        "image": serving.image,
        "command": ["vllm", "serve"],
        "args": [serving.model, *serving.args],
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
        "env": env,
        "resources": {"requests": {"cpu": serving.cpu, **fixed}, "limits": dict(fixed)},
        "volumeMounts": [
            {"name": "model-cache", "mountPath": "/root/.cache/huggingface"},
            {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - a mount, not a file of ours
        ],
        "startupProbe": {**probe, "periodSeconds": 10, "failureThreshold": 180},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        # the end of the log of an instance that died says why it did
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _scaling(serving: Serving) -> Json:
    query = (
        "(1000 * histogram_quantile(0.95, sum by (le)(rate(vllm:e2e_request_latency_seconds_bucket"
        f'{{namespace="{serving.project}",pod=~"{serving.name}-.*"}}[2m]))) > 0) or vector(0)'
    )
    return {
        "scaleTargetRef": {"name": serving.name},
        "pollingInterval": 15,
        "cooldownPeriod": 60,
        "minReplicaCount": 2,
        "maxReplicaCount": 6,
        "triggers": [
            {
                "type": "prometheus",
                "name": "p95",
                "metricType": "Value",
                "metadata": {
                    "serverAddress": "http://prometheus.monitoring:9090",
                    "threshold": "5000",
                    "query": query,
                },
            }
        ],
    }


def _node(
    name: str,
    resources: dict[str, str],
    *,
    product: str = "",
    number: int = 1,
    control_plane: bool = False,
) -> Placed:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    spec: Json = {}
    if control_plane:
        labels["node-role.kubernetes.io/control-plane"] = ""
        spec["taints"] = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    if GPU in resources:
        labels |= {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": product,
            "nvidia.com/gpu.count": resources[GPU],
            "nvidia.com/gpu.memory": "46068" if product == L40S else "81559",
            "nvidia.com/mig.strategy": "none",
        }
        spec["taints"] = [{"key": GPU, "effect": "NoSchedule", "value": "present"}]
    if NPU in resources:
        labels |= {
            "furiosa.ai/npu.count": resources[NPU],
            "furiosa.ai/npu.family": "rngd",
            "furiosa.ai/npu.product": product,
            "furiosa.ai/npu.driver.version": "2026.2.0",
        }
    amounts = {**resources, "pods": "110", "ephemeral-storage": "3500Gi"}
    conditions = [
        _node_condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        _node_condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        _node_condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        _node_condition("Ready", "True", "KubeletReady"),
    ]
    return NODES, {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": amounts,
            "allocatable": dict(amounts),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": f"10.20.0.{number}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://2.1.4",
                "osImage": "Ubuntu 24.04.3 LTS",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "6.8.0-71-generic",
            },
        },
    }


def _node_condition(type_: str, value: str, reason: str) -> Json:
    messages = {
        "KubeletHasSufficientMemory": "kubelet has sufficient memory available",
        "KubeletHasNoDiskPressure": "kubelet has no disk pressure",
        "KubeletHasSufficientPID": "kubelet has sufficient PID available",
        "KubeletReady": "kubelet is posting ready status",
    }
    return {"type": type_, "status": value, "reason": reason, "message": messages[reason]}


def _filled(resource: Resource, obj: Json) -> Placed:
    """With the values that the API server would fill in."""
    fill(resource, obj)
    return resource, obj
