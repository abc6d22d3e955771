"""What the API server adds to an object at its creation. Sources: kubernetes
pkg/registry/*/strategy and the admission plugins that are enabled by default."""

from __future__ import annotations

from typing import Any

from servedeck.demo.resources import (
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SERVICES,
    Resource,
)
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.quantity import parse_quantity

Json = dict[str, Any]

_DEFAULT_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SERVICE_NETWORK = "10.96"


def admit(
    store: ObjectStore, resource: Resource, new: Json, old: Json | None, subresource: str
) -> None:
    """Admission hook of the store; adds fields to new objects."""
    if old is not None:
        return
    if resource is PODS:
        _pod(new)
    elif resource is NAMESPACES:
        _namespace(new)
    elif resource is SERVICES:
        _service(store, new)
    elif resource is PERSISTENTVOLUMECLAIMS:
        new.setdefault("status", {}).setdefault("phase", "Pending")


def _pod(pod: Json) -> None:
    spec = pod.setdefault("spec", {})
    tolerations = spec.setdefault("tolerations", [])
    for key in _DEFAULT_TOLERATIONS:
        if not any(
            t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None)
            for t in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    status = pod.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", qos_class(spec))


def qos_class(spec: Json) -> str:
    """The QoS class (kubernetes pkg/apis/core/v1/helper/qos, ComputePodQOS)."""
    guaranteed, any_set = True, False
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name, limits.get(name))
            any_set = any_set or limit is not None or request is not None
            if limit is None or request is None or parse_quantity(limit) != parse_quantity(request):
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _namespace(namespace: Json) -> None:
    labels = namespace["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", namespace["metadata"]["name"])
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace.setdefault("status", {}).setdefault("phase", "Active")


def _service(store: ObjectStore, service: Json) -> None:
    spec = service.setdefault("spec", {})
    service.setdefault("status", {}).setdefault("loadBalancer", {})
    if spec.get("type", "ClusterIP") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        spec["clusterIP"] = _free_cluster_ip(store)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _free_cluster_ip(store: ObjectStore) -> str:
    taken = {(s.get("spec") or {}).get("clusterIP") for s in store.list(SERVICES)}
    for number in range(10, 1 << 16):
        address = f"{_SERVICE_NETWORK}.{number >> 8}.{number & 255}"
        if address not in taken:
            return address
    raise RuntimeError("no free cluster IP for a Service")
