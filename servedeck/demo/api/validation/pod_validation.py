"""Validation of a Pod's spec. Source: kubernetes pkg/apis/core/validation."""

from __future__ import annotations

from typing import Any

from servedeck.demo.api.validation.field_errors import (
    NOT_NEGATIVE,
    Causes,
    duplicate,
    field_not_found,
    forbidden,
    invalid,
    not_negative,
    port_number,
    required,
    unsupported,
)
from servedeck.serving import name_validation
from servedeck.serving.quantity import format_quantity, parse_quantity

Json = dict[str, Any]

_STANDARD = ("cpu", "memory", "ephemeral-storage")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def validate_pod_spec(spec: Json, field: str) -> Causes:
    """All errors of a Pod's volumes and containers."""
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(volume, f"{field}.volumes[{index}]", volumes)
    yield from _node_affinity(spec, f"{field}.affinity.nodeAffinity")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        condition = gate.get("conditionType") or ""
        for message in name_validation.qualified_name(condition):
            yield invalid(f"{field}.readinessGates[{index}].conditionType", condition, message)
    seen: set[str] = set()
    if not spec.get("containers"):
        yield required(f"{field}.containers")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield from _container(container, f"{field}.{kind}[{index}]", volumes, seen)


def _node_affinity(spec: Json, field: str) -> Causes:
    name = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get(name) or {}).get("nodeSelectorTerms") or ()
    for number, term in enumerate(terms):
        for index, rule in enumerate(term.get("matchExpressions") or ()):
            key = rule.get("key") or ""
            where = f"{field}.{name}.nodeSelectorTerms[{number}].matchExpressions[{index}].key"
            for message in name_validation.qualified_name(key):
                yield invalid(where, key, message)


def _volume(volume: Json, field: str, seen: set[str]) -> Causes:
    name = volume.get("name") or ""
    if not name:
        yield required(f"{field}.name")
        return
    for message in name_validation.dns_1123_label(name):
        yield invalid(f"{field}.name", name, message)
    if name in seen:
        yield duplicate(f"{field}.name", name)
    seen.add(name)
    claim = volume.get("persistentVolumeClaim")
    if claim is not None and not claim.get("claimName"):
        yield required(f"{field}.persistentVolumeClaim.claimName")


def _container(container: Json, field: str, volumes: set[str], seen: set[str]) -> Causes:
    name = container.get("name") or ""
    if not name:
        yield required(f"{field}.name")
    else:
        for message in name_validation.dns_1123_label(name):
            yield invalid(f"{field}.name", name, message)
        if name in seen:
            yield duplicate(f"{field}.name", name)
        seen.add(name)
    image = container.get("image") or ""
    if not image:
        yield required(f"{field}.image")
    elif image != image.strip():
        message = "must not have leading or trailing whitespace"
        yield invalid(f"{field}.image", image, message)
    yield from _ports(container, field)
    for index, variable in enumerate(container.get("env") or ()):
        yield from _variable(variable, f"{field}.env[{index}]")
    yield from _mounts(container, field, volumes)
    policy = container.get("imagePullPolicy")
    if policy not in _PULL_POLICIES:
        yield unsupported(f"{field}.imagePullPolicy", policy, _PULL_POLICIES)
    yield from _resources(container.get("resources") or {}, f"{field}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            yield from _probe(container[probe], f"{field}.{probe}")


def _ports(container: Json, field: str) -> Causes:
    seen: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        where = f"{field}.ports[{index}]"
        if name := port.get("name"):
            if len(name) > 15:
                yield invalid(f"{where}.name", name, "must be no more than 15 characters")
            elif name_validation.dns_1123_label(name):
                message = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
                yield invalid(f"{where}.name", name, message)
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
        number = port.get("containerPort") or 0
        if number == 0:
            yield required(f"{where}.containerPort")
        else:
            yield from port_number(f"{where}.containerPort", number)


def _variable(variable: Json, field: str) -> Causes:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{field}.name")
    for message in name_validation.env_var_name(name):
        yield invalid(f"{field}.name", name, message)
    if variable.get("value") and variable.get("valueFrom") is not None:
        message = "may not be specified when `value` is not empty"
        yield invalid(f"{field}.valueFrom", "", message)


def _mounts(container: Json, field: str, volumes: set[str]) -> Causes:
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{field}.volumeMounts[{index}]"
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{where}.name")
        if name not in volumes:
            yield field_not_found(f"{where}.name", name)
        if not path:
            yield required(f"{where}.mountPath")
        if path in paths:
            yield invalid(f"{where}.mountPath", path, "must be unique")
        paths.add(path)


def _resources(resources: Json, field: str) -> Causes:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{field}.{kind}[{name}]"
            yield from _resource_name(name, where)
            value = parse_quantity(amount)
            if value < 0:
                yield invalid(where, str(amount), NOT_NEGATIVE)
            elif "/" in name and value.denominator != 1:
                yield invalid(where, format_quantity(value), "must be an integer")
    for name, amount in requests.items():
        limit, extended = limits.get(name), "/" in name
        if limit is None:
            if extended or name.startswith("hugepages-"):
                message = "Limit must be set for non overcommitable resources"
                yield required(f"{field}.limits", message)
        elif extended and parse_quantity(amount) != parse_quantity(limit):
            message = f"must be equal to {name} limit of {limit}"
            yield invalid(f"{field}.requests", str(amount), message)
        elif parse_quantity(amount) > parse_quantity(limit):
            message = f"must be less than or equal to {name} limit of {limit}"
            yield invalid(f"{field}.requests", str(amount), message)


def _resource_name(name: str, field: str) -> Causes:
    errors = name_validation.qualified_name(name)
    for message in errors:
        yield invalid(field, name, message)
    if "/" in name or name in _STANDARD or name.startswith("hugepages-"):
        return
    if not errors:
        yield invalid(field, name, "must be a standard resource type or fully qualified")
    yield invalid(field, name, "must be a standard resource for containers")


def _probe(probe: Json, field: str) -> Causes:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        yield required(field, "must specify a handler type")
    for handler in handlers[1:]:
        yield forbidden(f"{field}.{handler}", "may not specify more than 1 handler type")
    for name in ("httpGet", "tcpSocket", "grpc"):
        action = probe.get(name)
        if action is not None and not isinstance(action.get("port"), str):
            yield from port_number(f"{field}.{name}.port", action.get("port", 0))
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        yield from not_negative(f"{field}.{name}", probe.get(name))
