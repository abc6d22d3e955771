"""Validation of the kinds that servedeck writes, with the real server's messages in its order.
Source: kubernetes pkg/apis/*/validation."""

from __future__ import annotations

import re
from typing import Any

from servedeck.demo.api import status
from servedeck.demo.api.status import StatusCause
from servedeck.demo.api.validation.custom_types import check_custom_types
from servedeck.demo.api.validation.field_errors import (
    Causes,
    duplicate,
    forbidden,
    invalid,
    not_negative,
    port_number,
    required,
    unsupported,
)
from servedeck.demo.api.validation.pod_validation import validate_pod_spec
from servedeck.demo.api.validation.scaling_validation import (
    validate_autoscaler,
    validate_traffic_policy,
)
from servedeck.demo.label_selector import matches_selector
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    Resource,
)
from servedeck.serving import name_validation

Json = dict[str, Any]

_IMMUTABLE = "field is immutable"


def validate_object(resource: Resource, obj: Json, old: Json | None) -> None:
    """StatusError 422 that names all invalid fields."""
    found = [*_metadata(resource, obj, old), *check_custom_types(resource, obj)]
    # rules on several fields are for specs of the right types alone
    if resource.builtin or not found:
        found += _body(resource, obj, old)
    _raise_invalid(resource, obj, found)


def validate_status(resource: Resource, obj: Json) -> None:
    """StatusError 422 for a status of a custom resource that does not fit its type."""
    _raise_invalid(resource, obj, list(check_custom_types(resource, obj, part="status")))


def _raise_invalid(resource: Resource, obj: Json, causes: list[StatusCause]) -> None:
    if causes:
        name = obj["metadata"].get("name", "")
        raise status.invalid(resource.group, resource.kind, name, causes)


def _metadata(resource: Resource, obj: Json, old: Json | None) -> Causes:
    meta = obj["metadata"]
    if old is None:
        name = meta.get("name") or ""
        generated = meta.get("generateName") or ""
        if not name and not generated:
            yield required("metadata.name", "name or generateName is required")
        elif errors := _name_problems(resource, name or f"{generated}xxxxx"):
            for message in errors:
                yield invalid("metadata.name", name or generated, message)
    for owner in meta.get("ownerReferences") or ():
        yield from _owner_reference(owner)
    yield from _labels("metadata.labels", meta.get("labels"))
    for key in meta.get("annotations") or ():
        for message in name_validation.qualified_name(key.lower()):
            yield invalid("metadata.annotations", key, message)
    total = sum(len(k) + len(v) for k, v in (meta.get("annotations") or {}).items())
    if total > 256 * 1024:
        yield StatusCause(
            "FieldValueTooLong",
            "Too long: may not be more than 262144 bytes",
            "metadata.annotations",
        )


def _owner_reference(owner: Json) -> Causes:
    """Source: apimachinery pkg/api/validation/objectmeta.go."""
    field = "metadata.ownerReferences"
    if not owner.get("apiVersion", "").rpartition("/")[2]:
        message = "version must not be empty"
        yield invalid(f"{field}.apiVersion", owner.get("apiVersion", ""), message)
    for name in ("kind", "name", "uid"):
        if not owner.get(name):
            yield invalid(f"{field}.{name}", "", "must not be empty")


def _name_problems(resource: Resource, name: str) -> list[str]:
    if resource is NAMESPACES:
        return name_validation.dns_1123_label(name)
    if resource is SERVICES:
        return ["must not contain dots"] if "." in name else name_validation.dns_1123_label(name)
    return name_validation.dns_1123_subdomain(name)


def _labels(field: str, labels: Json | None) -> Causes:
    for key, value in (labels or {}).items():
        for message in name_validation.qualified_name(key):
            yield invalid(field, key, message)
        for message in name_validation.label_value(value):
            yield invalid(field, value, message)


def _body(resource: Resource, obj: Json, old: Json | None) -> Causes:
    if resource in (DEPLOYMENTS, REPLICA_SETS):
        yield from _workload(resource, obj, old)
    elif resource is PODS:
        yield from validate_pod_spec(obj.get("spec") or {}, "spec")
        if old is not None and _immutable_pod_spec(obj) != _immutable_pod_spec(old):
            yield forbidden("spec", _POD_UPDATES)
    elif resource is SERVICES:
        yield from _service(obj, old)
    elif resource in (CONFIGMAPS, SECRETS):
        yield from _data_keys(obj)
    elif resource is EVENTS:
        yield from _event(obj)
    elif resource is PERSISTENTVOLUMECLAIMS:
        yield from _pvc(obj, old)
    elif resource is HORIZONTAL_POD_AUTOSCALERS:
        yield from validate_autoscaler(obj)
    elif resource is BACKEND_TRAFFIC_POLICIES:
        yield from validate_traffic_policy(obj)


_POD_UPDATES = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)\n"
)


def _immutable_pod_spec(pod: Json) -> Json:
    """The part of a Pod's spec that cannot be updated."""
    spec = {
        k: v for k, v in pod["spec"].items() if k not in ("activeDeadlineSeconds", "tolerations")
    }
    for kind in ("containers", "initContainers"):
        spec[kind] = [{**c, "image": ""} for c in spec.get(kind) or ()]
    return spec


def _workload(resource: Resource, obj: Json, old: Json | None) -> Causes:
    spec = obj.get("spec") or {}
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        yield invalid("spec.selector", spec.get("selector"), _IMMUTABLE)
    yield from not_negative("spec.replicas", spec.get("replicas"))
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid(
            "spec.selector", selector, f"empty selector is invalid for {_kind_name(resource)}"
        )
    template = spec.get("template") or {}
    meta, pod = template.get("metadata") or {}, template.get("spec") or {}
    labels = meta.get("labels")
    yield from _labels("spec.template.labels", labels)
    if not matches_selector(selector, labels):
        message = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels, message)
    yield from validate_pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy", "Always") != "Always":
        field = "spec.template.spec.restartPolicy"
        yield unsupported(field, pod["restartPolicy"], ("Always",))
    if resource is DEPLOYMENTS:
        yield from _strategy(spec)


def _kind_name(resource: Resource) -> str:
    return "deployment" if resource is DEPLOYMENTS else "ReplicaSet"


def _strategy(spec: Json) -> Causes:
    strategy = spec.get("strategy") or {}
    kind = strategy.get("type")
    if kind not in ("Recreate", "RollingUpdate"):
        shown = {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}
        yield unsupported("spec.strategy", shown, ("Recreate", "RollingUpdate"))
    elif kind == "Recreate" and strategy.get("rollingUpdate") is not None:
        message = "may not be specified when strategy `type` is 'Recreate'"
        yield forbidden("spec.strategy.rollingUpdate", message)
    elif kind == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
        field = "spec.strategy.rollingUpdate.maxUnavailable"
        if surge in (0, "0%", "0") and unavailable in (0, "0%", "0"):
            yield invalid(field, unavailable, "may not be 0 when `maxSurge` is 0")
        for label, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            yield from _int_or_percent(f"spec.strategy.rollingUpdate.{label}", value)
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        field = "spec.progressDeadlineSeconds"
        yield from not_negative(field, deadline)
        if deadline <= spec.get("minReadySeconds", 0):
            yield invalid(field, deadline, "must be greater than minReadySeconds")


def _int_or_percent(field: str, value: Any) -> Causes:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
        yield invalid(
            field,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
            "'1%',  or '93%', regex used for validation is '[0-9]+%')",
        )
    elif isinstance(value, int):
        yield from not_negative(field, value)


def _service(obj: Json, old: Json | None) -> Causes:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    seen: set[str] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{field}.name")
        elif name:
            for message in name_validation.dns_1123_label(name):
                yield invalid(f"{field}.name", name, message)
            if name in seen:
                yield duplicate(f"{field}.name", name)
            seen.add(name)
        yield from port_number(f"{field}.port", port.get("port", 0))
        target = port.get("targetPort")
        if isinstance(target, int):
            yield from port_number(f"{field}.targetPort", target)
        elif target and not re.fullmatch(r"[a-zA-Z0-9-]+", target):
            message = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            yield invalid(f"{field}.targetPort", target, message)
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec.get("type") not in kinds:
        yield unsupported("spec.type", spec.get("type"), kinds)
    if old is not None:
        before = (old.get("spec") or {}).get("clusterIP")
        if before and before != "None" and spec.get("clusterIP") != before:
            yield invalid("spec.clusterIP", spec.get("clusterIP"), _IMMUTABLE)


def _data_keys(obj: Json) -> Causes:
    for key in obj.get("data") or ():
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            yield invalid(
                f"data[{key}]",
                key,
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                "'[-._a-zA-Z0-9]+')",
            )


def _event(obj: Json) -> Causes:
    """An Event is in the namespace of its object. Source: pkg/apis/core/validation/events.go."""
    about = (obj.get("involvedObject") or {}).get("namespace", "")
    own = obj["metadata"].get("namespace", "")
    if about != own and not (about == "" and own == "default"):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")


def _pvc(obj: Json, old: Json | None) -> Causes:
    spec = obj.get("spec") or {}
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if "storage" not in ((spec.get("resources") or {}).get("requests") or {}):
        yield required("spec.resources[storage]")
    if old is not None and spec.get("accessModes") != old["spec"].get("accessModes"):
        message = (
            "spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims"
        )
        yield forbidden("spec", message)


def validate_scale(name: str, replicas: Any) -> None:
    """StatusError 422 for a Scale with negative replicas."""
    if found := list(not_negative("spec.replicas", replicas)):
        raise status.invalid("autoscaling", "Scale", name, found)
