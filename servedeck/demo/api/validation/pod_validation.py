"""What the API server refuses in the spec of a Pod (kubernetes pkg/apis/core/validation)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from servedeck.demo.api.status import StatusCause
from servedeck.demo.api.validation import name_validation
from servedeck.serving.units import format_quantity, quantity

Json = dict[str, Any]
Causes = Iterator[StatusCause]

_PORT_RANGE = "must be between 1 and 65535, inclusive"
_NOT_NEGATIVE = "must be greater than or equal to 0"
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def _format_value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _invalid(field: str, value: Any, words: str) -> StatusCause:
    return StatusCause(
        "FieldValueInvalid", f"Invalid value: {_format_value(value)}: {words}", field
    )


def _required(field: str, words: str = "") -> StatusCause:
    return StatusCause(
        "FieldValueRequired", f"Required value{': ' + words if words else ''}", field
    )


def _duplicate(field: str, value: Any) -> StatusCause:
    return StatusCause("FieldValueDuplicate", f"Duplicate value: {_format_value(value)}", field)


def unsupported(field: str, value: Any, known: tuple[str, ...]) -> StatusCause:
    listed = ", ".join(f'"{word}"' for word in known)
    return StatusCause(
        "FieldValueNotSupported",
        f"Unsupported value: {_format_value(value)}: supported values: {listed}",
        field,
    )


def not_negative(field: str, value: Any) -> Causes:
    if isinstance(value, int) and value < 0:
        yield _invalid(field, value, _NOT_NEGATIVE)


def port_number(field: str, value: Any) -> Causes:
    if not isinstance(value, int) or not 0 < value < 65536:
        yield _invalid(field, value, _PORT_RANGE)


def validate_pod_spec(spec: Json, field: str) -> Causes:
    """Everything wrong with a Pod's volumes and containers."""
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(volume, f"{field}.volumes[{index}]", volumes)
    seen: set[str] = set()
    if not spec.get("containers"):
        yield _required(f"{field}.containers")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield from _container(container, f"{field}.{kind}[{index}]", volumes, seen)


def _volume(volume: Json, field: str, seen: set[str]) -> Causes:
    name = volume.get("name") or ""
    if not name:
        yield _required(f"{field}.name")
        return
    for words in name_validation.dns_1123_label(name):
        yield _invalid(f"{field}.name", name, words)
    if name in seen:
        yield _duplicate(f"{field}.name", name)
    seen.add(name)
    claim = volume.get("persistentVolumeClaim")
    if claim is not None and not claim.get("claimName"):
        yield _required(f"{field}.persistentVolumeClaim.claimName")


def _container(container: Json, field: str, volumes: set[str], seen: set[str]) -> Causes:
    name = container.get("name") or ""
    if not name:
        yield _required(f"{field}.name")
    else:
        for words in name_validation.dns_1123_label(name):
            yield _invalid(f"{field}.name", name, words)
        if name in seen:
            yield _duplicate(f"{field}.name", name)
        seen.add(name)
    image = container.get("image") or ""
    if not image:
        yield _required(f"{field}.image")
    elif image != image.strip():
        words = "must not have leading or trailing whitespace"
        yield _invalid(f"{field}.image", image, words)
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
                yield _invalid(f"{where}.name", name, "must be no more than 15 characters")
            elif name_validation.dns_1123_label(name):
                words = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
                yield _invalid(f"{where}.name", name, words)
            if name in seen:
                yield _duplicate(f"{where}.name", name)
            seen.add(name)
        number = port.get("containerPort") or 0
        if number == 0:
            yield _required(f"{where}.containerPort")
        else:
            yield from port_number(f"{where}.containerPort", number)


def _variable(variable: Json, field: str) -> Causes:
    name = variable.get("name") or ""
    if not name:
        yield _required(f"{field}.name")
    for words in name_validation.env_var_name(name):
        yield _invalid(f"{field}.name", name, words)
    if variable.get("value") and variable.get("valueFrom") is not None:
        words = "may not be specified when `value` is not empty"
        yield _invalid(f"{field}.valueFrom", "", words)


def _mounts(container: Json, field: str, volumes: set[str]) -> Causes:
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{field}.volumeMounts[{index}]"
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield _required(f"{where}.name")
        if name not in volumes:
            yield StatusCause(
                "FieldValueNotFound", f"Not found: {_format_value(name)}", f"{where}.name"
            )
        if not path:
            yield _required(f"{where}.mountPath")
        if path in paths:
            yield _invalid(f"{where}.mountPath", path, "must be unique")
        paths.add(path)


def _resources(resources: Json, field: str) -> Causes:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{field}.{kind}[{name}]"
            yield from _resource_name(name, where)
            value = quantity(amount)
            if value < 0:
                yield _invalid(where, str(amount), _NOT_NEGATIVE)
            elif "/" in name and value.denominator != 1:
                yield _invalid(where, format_quantity(value), "must be an integer")
    for name, amount in requests.items():
        limit, extended = limits.get(name), "/" in name
        if limit is None:
            if extended or name.startswith("hugepages-"):
                words = "Limit must be set for non overcommitable resources"
                yield _required(f"{field}.limits", words)
        elif extended and quantity(amount) != quantity(limit):
            words = f"must be equal to {name} limit of {limit}"
            yield _invalid(f"{field}.requests", str(amount), words)
        elif quantity(amount) > quantity(limit):
            words = f"must be less than or equal to {name} limit of {limit}"
            yield _invalid(f"{field}.requests", str(amount), words)


def _resource_name(name: str, field: str) -> Causes:
    problems = name_validation.qualified_name(name)
    for words in problems:
        yield _invalid(field, name, words)
    if "/" in name or name in _STANDARD or name.startswith("hugepages-"):
        return
    if not problems:
        yield _invalid(field, name, "must be a standard resource type or fully qualified")
    yield _invalid(field, name, "must be a standard resource for containers")


def _probe(probe: Json, field: str) -> Causes:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        yield _required(field, "must specify a handler type")
    for handler in handlers[1:]:
        words = "Forbidden: may not specify more than 1 handler type"
        yield StatusCause("FieldValueForbidden", words, f"{field}.{handler}")
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
