"""Objects for the plans of operations, as the API server returns them."""

from __future__ import annotations

import copy
from typing import Any

JsonObject = dict[str, Any]

DEPLOYMENT_UID = "uid-llama"
PATH = "/apis/apps/v1/namespaces/chat/deployments/llama"
OWN_LABELS = {"app.kubernetes.io/managed-by": "servedeck", "servedeck.dev/serving": "llama"}


def pod_template(image: str = "vllm/vllm-openai:v0.10.0", **annotations: str) -> JsonObject:
    metadata: JsonObject = {"labels": {"app": "llama"}}
    if annotations:
        metadata["annotations"] = {key.replace("__", "/"): annotations[key] for key in annotations}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "inference-server", "image": image}]},
    }


def deployment(
    replicas: int = 3,
    *,
    ready: int | None = None,
    annotations: JsonObject | None = None,
    metadata: JsonObject | None = None,
    template: JsonObject | None = None,
    revision: int = 2,
    **spec: Any,
) -> JsonObject:
    """Deployment chat/llama; all replicas are ready and available, or `ready` of them."""
    ready = replicas if ready is None else ready
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llama",
            "namespace": "chat",
            "uid": DEPLOYMENT_UID,
            "resourceVersion": "100",
            "generation": 4,
            "labels": {"app": "llama"},
            "annotations": {
                "deployment.kubernetes.io/revision": str(revision),
                **(annotations or {}),
            },
            **(metadata or {}),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "llama"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": template or pod_template(),
            **spec,
        },
        "status": {
            "observedGeneration": 4,
            "replicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": replicas,
        },
    }


def replicaset(
    number: int, template: JsonObject, *, pods: int = 0, annotations: JsonObject | None = None
) -> JsonObject:
    """The ReplicaSet of a revision of chat/llama."""
    template = copy.deepcopy(template)
    template["metadata"]["labels"]["pod-template-hash"] = f"hash{number}"
    return {
        "metadata": {
            "name": f"llama-hash{number}",
            "namespace": "chat",
            "uid": f"uid-hash{number}",
            "creationTimestamp": f"2026-11-0{number}T00:00:00Z",
            "annotations": {
                "deployment.kubernetes.io/revision": str(number),
                **(annotations or {}),
            },
            "ownerReferences": [
                {
                    "kind": "Deployment",
                    "name": "llama",
                    "uid": DEPLOYMENT_UID,
                    "controller": True,
                }
            ],
        },
        "spec": {"replicas": pods, "template": template},
        "status": {"replicas": pods},
    }


def autoscaler(**metadata: Any) -> JsonObject:
    """A HorizontalPodAutoscaler of chat/llama."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama", "namespace": "chat", "uid": "uid-hpa", **metadata},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "maxReplicas": 8,
        },
    }


def scaled_object(**annotations: str) -> JsonObject:
    """A ScaledObject of chat/llama."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": "llama",
            "namespace": "chat",
            "uid": "uid-scaled",
            "annotations": {f"autoscaling.keda.sh/{key}": annotations[key] for key in annotations},
        },
        "spec": {"scaleTargetRef": {"name": "llama"}, "triggers": [{"type": "prometheus"}]},
    }


def service(name: str = "llama", *, own: bool = True) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "chat",
            "uid": f"uid-service-{name}",
            "labels": OWN_LABELS if own else {},
        },
        "spec": {"selector": {"app": "llama"}},
    }


def http_route(*services: str, own: bool = True) -> JsonObject:
    """A route to the Services."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "llama",
            "namespace": "chat",
            "uid": "uid-route",
            "labels": OWN_LABELS if own else {},
        },
        "spec": {"rules": [{"backendRefs": [{"name": one} for one in services]}]},
    }


def node(*, unschedulable: bool = False) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gpu-1", "uid": "uid-node", "resourceVersion": "100"},
        "spec": {"unschedulable": True} if unschedulable else {},
    }


def pod(**metadata: Any) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llama-1", "namespace": "chat", "uid": "uid-pod", **metadata},
    }
