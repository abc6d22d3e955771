"""Validation of what scales workloads and spreads requests, as far as it goes beyond types:
HorizontalPodAutoscalers, ScaledObjects and BackendTrafficPolicies.

Sources: kubernetes pkg/apis/autoscaling/validation/validation.go; keda
apis/keda/v1alpha1/scaledobject_webhook.go and scaledobject_types.go; envoyproxy/gateway
api/v1alpha1/loadbalancer_types.go and policy_helpers.go (the CRD's rules).
"""

from __future__ import annotations

from typing import Any

from servedeck.demo.api.status import StatusError
from servedeck.demo.api.validation.field_errors import Causes, invalid, required, unsupported
from servedeck.demo.resources import (
    HORIZONTAL_POD_AUTOSCALERS,
    SCALED_OBJECTS,
    Resource,
)
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.quantity import parse_quantity

Json = dict[str, Any]

_POSITIVE = "must be greater than 0"
_METRIC_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
_ONE_OF_TWO = "must set either a target raw value or a target utilization"
_TARGET_VALUES = {
    "ContainerResource": ("averageUtilization", "averageValue"),
    "External": ("averageValue", "value"),
    "Object": ("averageValue", "value"),
    "Pods": ("averageValue",),
    "Resource": ("averageUtilization", "averageValue"),
}
_TARGET_MESSAGES = {
    "ContainerResource": _ONE_OF_TWO,
    "External": "must set either a target value for metric or a per-pod target",
    "Object": "must set either a target value for metric or a per-pod target",
    "Pods": "must specify a positive target averageValue",
    "Resource": _ONE_OF_TWO,
}
_HASH_FIELDS = {"Cookie": "cookie", "Header": "header", "Headers": "headers", "SourceIP": ""}
_TARGET_KINDS = ("Gateway", "HTTPRoute", "GRPCRoute", "UDPRoute", "TCPRoute", "TLSRoute")
_DEFAULT_TARGET = ("apps/v1", "Deployment")


def validate_autoscaler(obj: Json) -> Causes:
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas")
    if isinstance(least, int) and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if not isinstance(most, int) or most < 1:
        yield invalid("spec.maxReplicas", most or 0, _POSITIVE)
    elif isinstance(least, int) and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    reference = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not reference.get(field):
            yield required(f"spec.scaleTargetRef.{field}")
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{index}]")


def _metric(metric: Json, field: str) -> Causes:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{field}.type", "must specify a metric source type")
    elif kind not in _METRIC_SOURCES:
        yield unsupported(f"{field}.type", kind, tuple(sorted(_METRIC_SOURCES)))
    elif (source := metric.get(_METRIC_SOURCES[kind])) is None:
        message = f"must populate the given metric source only, which is {_METRIC_SOURCES[kind]}"
        yield required(f"{field}.{_METRIC_SOURCES[kind]}", message)
    else:
        yield from _metric_source(kind, source, f"{field}.{_METRIC_SOURCES[kind]}")


def _metric_source(kind: str, source: Json, field: str) -> Causes:
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            yield required(f"{field}.name", "must specify a resource name")
    elif not (source.get("metric") or {}).get("name"):
        yield required(f"{field}.metric.name", "must specify a metric name")
    target = source.get("target") or {}
    if target.get("type") not in _TARGET_TYPES:
        yield required(f"{field}.target.type", "must be either Utilization, Value, or AverageValue")
    for name in ("value", "averageValue"):
        if name in target and parse_quantity(target[name]) <= 0:
            yield invalid(f"{field}.target.{name}", target[name], "must be positive")
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        yield invalid(f"{field}.target.averageUtilization", share, _POSITIVE)
    if not any(target.get(name) is not None for name in _TARGET_VALUES[kind]):
        yield required(f"{field}.target.{_TARGET_VALUES[kind][0]}", _TARGET_MESSAGES[kind])


def validate_traffic_policy(obj: Json) -> Causes:
    """Rules on several fields of a policy of the right types."""
    spec = obj["spec"]
    targets = [*(spec.get("targetRefs") or ()), *filter(None, [spec.get("targetRef")])]
    if not targets and not spec.get("targetSelectors"):
        yield invalid("spec", "object", "either targetRef or targetRefs must be used")
    for target in targets:
        if target.get("kind") not in _TARGET_KINDS:
            kinds = "/".join(_TARGET_KINDS)
            message = f"this policy can only have a targetRefs[*].kind of {kinds}"
            yield invalid("spec", "object", message)
    balancer = spec.get("loadBalancer")
    if balancer is not None:
        yield from _load_balancer(balancer)


def _load_balancer(balancer: Json) -> Causes:
    field, hashing = "spec.loadBalancer", balancer.get("consistentHash")
    if balancer["type"] == "ConsistentHash" and hashing is None:
        message = "If LoadBalancer type is consistentHash, consistentHash field needs to be set."
        yield invalid(field, "object", message)
    if hashing is None:
        return
    needed = _HASH_FIELDS[hashing["type"]]
    if needed and not hashing.get(needed):
        message = f"If consistent hash type is {needed}, the {needed} field must be set."
        yield invalid(f"{field}.consistentHash", "object", message)


def admit_scaled_object(
    store: ObjectStore, resource: Resource, new: Json, old: Json | None, subresource: str
) -> None:
    """Admission hook of the store: KEDA's webhook. StatusError 403."""
    if resource is not SCALED_OBJECTS or subresource or "deletionTimestamp" in new["metadata"]:
        return
    if old is not None and old.get("spec") == new.get("spec"):
        return
    if message := _refusal(store, new):
        raise StatusError(
            403,
            "Forbidden",
            f'admission webhook "vscaledobject.kb.io" denied the request: {message}',
            details={},
        )


def _refusal(store: ObjectStore, scaled: Json) -> str:
    spec, meta = scaled.get("spec") or {}, scaled["metadata"]
    least, most = spec.get("minReplicaCount") or 0, spec.get("maxReplicaCount", 100)
    if least > most:
        return f"MinReplicaCount={least} must be less than MaxReplicaCount={most}"
    idle = spec.get("idleReplicaCount")
    if idle is not None and idle >= least:
        return f"IdleReplicaCount={idle} must be less than MinReplicaCount={least}"
    target = _target(spec)
    workload = f"the workload '{target[2]}' of type '{target[0]}.{target[1]}'"
    for other in store.list(SCALED_OBJECTS, meta["namespace"]):
        if other["metadata"]["name"] != meta["name"] and _target(other["spec"]) == target:
            name = other["metadata"]["name"]
            return f"{workload} is already managed by the ScaledObject '{name}'"
    for autoscaler in store.list(HORIZONTAL_POD_AUTOSCALERS, meta["namespace"]):
        owned = any(
            owner.get("kind") == SCALED_OBJECTS.kind and owner.get("name") == meta["name"]
            for owner in autoscaler["metadata"].get("ownerReferences") or ()
        )
        if not owned and _target(autoscaler["spec"]) == target:
            name = autoscaler["metadata"]["name"]
            return f"{workload} is already managed by the hpa '{name}'"
    return ""


def _target(spec: Json) -> tuple[str, str, str]:
    reference = spec.get("scaleTargetRef") or {}
    return (
        reference.get("apiVersion") or _DEFAULT_TARGET[0],
        reference.get("kind") or _DEFAULT_TARGET[1],
        reference.get("name", ""),
    )
