"""Manifests of nodes and servings, and the stages of kwok."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

JsonObject = dict[str, Any]
SERVING_LABEL = "servedeck.dev/serving"
TEMPLATE_LABEL = "servedeck.dev/template"
KWOK_ANNOTATION = "kwok.x-k8s.io/node"
HOLD_ANNOTATION = "tests.servedeck.dev/hold"
"""Annotation of Pods that kwok does not manage after scheduling: tests write their status."""
KEEP_ANNOTATION = "tests.servedeck.dev/keep"
"""Annotation of Pods that kwok does not remove once they are deleted: their containers may write
until the test removes them."""


def timestamp(seconds_ago: float = 0) -> str:
    """A time in the API's format."""
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


_RUNNING_STATUS_TEMPLATE = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
"""
KWOK_OPTIONS: JsonObject = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {"podPlayStageParallelism": 16},
}
"""With the default of four Pods at a time, 5,000 Pods take minutes on a busy machine."""


def _make_stage(name: str, matches: list[JsonObject], then: JsonObject) -> JsonObject:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": matches},
            "next": then,
        },
    }


POD_STAGES = (
    _make_stage(
        "pod-ready",
        [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": ".status.podIP", "operator": "DoesNotExist"},
            {"key": f'.metadata.annotations["{HOLD_ANNOTATION}"]', "operator": "DoesNotExist"},
        ],
        {"statusTemplate": _RUNNING_STATUS_TEMPLATE},
    ),
    _make_stage(
        "pod-delete",
        [
            {"key": ".metadata.deletionTimestamp", "operator": "Exists"},
            {"key": f'.metadata.annotations["{KEEP_ANNOTATION}"]', "operator": "DoesNotExist"},
        ],
        {"finalizers": {"empty": True}, "delete": True},
    ),
)


def node(name: str, accelerator: str = "nvidia.com/gpu", *, managed: bool = True) -> JsonObject:
    """A node with 8 accelerators; with `managed=False` kwok does not simulate it."""
    room = {"cpu": "256", "memory": "2Ti", "pods": "250"}
    if accelerator:
        room[accelerator] = "8"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
            "annotations": {KWOK_ANNOTATION: "fake"} if managed else {},
        },
        "status": {"capacity": room, "allocatable": room},
    }


def deployment(
    name: str,
    *,
    replicas: int = 1,
    hold: bool = False,
    keep: bool = False,
    managed: bool = True,
    accelerator: str = "",
    count: int = 1,
    image: str = "vllm/vllm-openai:v0.10.0",
    init: bool = False,
    pod_spec: JsonObject | None = None,
    **spec: Any,
) -> JsonObject:
    """A serving's Deployment. `hold` keeps kwok from making its Pods ready, and `keep` from
    removing deleted ones; `managed=False` omits servedeck's labels; `pod_spec` and `spec` override
    fields of the Pods' and the Deployment's spec."""
    annotations = {HOLD_ANNOTATION: "true"} if hold else {}
    if keep:
        annotations[KEEP_ANNOTATION] = "true"
    labels = {"app": name}
    if managed:
        labels |= {
            SERVING_LABEL: name,
            TEMPLATE_LABEL: "vllm",
            "app.kubernetes.io/managed-by": "servedeck",
        }
    requests: dict[str, str] = {"cpu": "10m", "memory": "16Mi"}
    limits = {accelerator: str(count)} if accelerator else {}
    container = {
        "name": "inference-server",
        "image": image,
        "args": ["--model", "meta-llama/Llama-3.1-8B-Instruct", "--port", "8000"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": requests | limits, "limits": limits},
    }
    pod: JsonObject = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if init:
        pod["initContainers"] = [{"name": "download", "image": "curlimages/curl:8.10.1"}]
    pod |= pod_spec or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": annotations,
                },
                "spec": pod,
            },
        }
        | spec,
    }


def service(name: str, *, port: int = 80) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "selector": {SERVING_LABEL: name},
            "ports": [{"name": "http", "port": port, "targetPort": 8000}],
        },
    }


def http_route(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "hostnames": [host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": f"/{namespace}/{name}"}}],
                    "backendRefs": [{"name": name, "port": 80}],
                }
            ],
        },
    }


def virtual_service(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "hosts": [host],
            "gateways": ["istio-system/public"],
            "http": [
                {
                    "match": [{"uri": {"prefix": f"/{namespace}/{name}/"}}],
                    "route": [{"destination": {"host": name, "port": {"number": 80}}}],
                }
            ],
        },
    }


def ingress(namespace: str, name: str, host: str = "ai.example.com") -> JsonObject:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    path = {"path": f"/{namespace}/{name}", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def scaled_object(name: str, min_replicas: int = 1, max_replicas: int = 10) -> JsonObject:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "labels": {SERVING_LABEL: name}},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": min_replicas,
            "maxReplicaCount": max_replicas,
            "triggers": [{"type": "prometheus", "metadata": {"query": "p95"}}],
        },
    }
