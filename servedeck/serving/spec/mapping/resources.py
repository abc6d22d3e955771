"""CPU, memory and accelerators: the resources of the inference server's container."""

from __future__ import annotations

from servedeck.serving.accelerators import is_accelerator
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    child_list,
    child_mapping,
    set_or_remove,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.names import validate_resource_name
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import Quantity

NO_LIMIT = Quantity("0")
"""Memory Limit of a container without one."""


def as_quantity(value: object) -> Quantity | None:
    """The amount; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return Quantity(str(value))
    except ValueError:  # not a field: it stays as it is
        return None


# -- CPU and memory -----------------------------------------------------------------------------


def _request(objects: ServingObjects, name: str) -> Quantity | None:
    return as_quantity(as_mapping(objects.container, "resources", "requests").get(name))


def _limit(objects: ServingObjects, name: str) -> Quantity | None:
    return as_quantity(as_mapping(objects.container, "resources", "limits").get(name))


def _read_amount(objects: ServingObjects, name: str) -> Quantity | None:
    """The request; without one, the limit, which the API server requests."""
    request = _request(objects, name)
    return _limit(objects, name) if request is None else request


def _read_memory_limit(objects: ServingObjects) -> Quantity | None:
    request, limit = _read_amount(objects, "memory"), _limit(objects, "memory")
    if limit is None:
        return None if request is None else NO_LIMIT
    return None if limit == request else limit


def _write_cpu(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """CPU is a request only, unless there is a limit: a limit throttles token generation and the
    long startup."""
    _write_amount(objects, "cpu", wanted.cpu, wanted.cpu_limit)


def _write_memory(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    limit = wanted.memory if wanted.memory_limit is None else wanted.memory_limit
    _write_amount(objects, "memory", wanted.memory, None if limit == NO_LIMIT else limit)


def _write_amount(
    objects: ServingObjects, name: str, request: Quantity | None, limit: Quantity | None
) -> None:
    resources = child_mapping(objects.writable_container, "resources")
    requests, limits = child_mapping(resources, "requests"), child_mapping(resources, "limits")
    has_only_limit = name in limits and name not in requests
    if not (has_only_limit and request == limit):
        _set_amount(requests, name, request)
    _set_amount(limits, name, limit)
    _remove_empty(objects.writable_container)


def _set_amount(amounts: JsonObject, name: str, amount: Quantity | None) -> None:
    """Set an amount; an equal one stays as it is written."""
    if amount is None:
        amounts.pop(name, None)
    elif as_quantity(amounts.get(name)) != amount:
        amounts[name] = str(amount)


def _remove_empty(container: JsonObject) -> None:
    resources = child_mapping(container, "resources")
    for part in ("requests", "limits"):
        set_or_remove(resources, part, resources.get(part))
    set_or_remove(container, "resources", resources)


CPU = FieldAccess(lambda objects: _read_amount(objects, "cpu"), _write_cpu)
CPU_LIMIT = FieldAccess(lambda objects: _limit(objects, "cpu"), _write_cpu)
MEMORY = FieldAccess(lambda objects: _read_amount(objects, "memory"), _write_memory)
MEMORY_LIMIT = FieldAccess(_read_memory_limit, _write_memory)


# -- accelerators -------------------------------------------------------------------------------


def read_accelerator(objects: ServingObjects) -> str:
    """Key of the accelerator: of several extended resources a known accelerator; "" for none."""
    resources = as_mapping(objects.container, "resources")
    keys = {
        key
        for part in ("limits", "requests")
        for key in as_mapping(resources, part)
        if isinstance(key, str) and not validate_resource_name(key)
    }
    ranked = sorted(keys, key=lambda key: (not is_accelerator(key), key))
    return ranked[0] if ranked else ""


def _read_accelerator_count(objects: ServingObjects) -> int | None:
    key = read_accelerator(objects)
    resources = as_mapping(objects.container, "resources")
    amounts = {**as_mapping(resources, "limits"), **as_mapping(resources, "requests")}
    return as_int(amounts.get(key)) if key else None


def _write_accelerator(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    container = objects.writable_container
    resources = child_mapping(container, "resources")
    requests, limits = child_mapping(resources, "requests"), child_mapping(resources, "limits")
    old = current.accelerator if current is not None else ""
    has_request = current is None or not old or old in requests
    if old != wanted.accelerator:
        requests.pop(old, None)
        limits.pop(old, None)
    if wanted.accelerator:
        amount = str(wanted.accelerator_count)
        limits[wanted.accelerator] = amount
        if has_request:
            requests[wanted.accelerator] = amount
    _remove_empty(container)
    if old != wanted.accelerator:
        _write_toleration(objects, old, wanted.accelerator)


def _write_toleration(objects: ServingObjects, old: str, new: str) -> None:
    """Nodes with accelerators are often tainted with the resource's key, and few clusters add the
    toleration automatically (admission plugin ExtendedResourceToleration). In a serving that
    servedeck did not create, the toleration is changed only if the old one is there."""
    pod = objects.writable_pod_spec
    if old and new and accelerator_toleration(old) == accelerator_toleration(new):
        return
    present = accelerator_toleration(old) if old else None
    tolerations = child_list(pod, "tolerations")
    if present in tolerations or objects.is_managed:
        added = accelerator_toleration(new) if new else None
        kept = [one for one in tolerations if one != present]
        pod["tolerations"] = kept if added is None or added in kept else [added, *kept]
    set_or_remove(pod, "tolerations", as_list(pod.get("tolerations")))


def accelerator_toleration(accelerator: str) -> JsonObject:
    key = "nvidia.com/gpu" if accelerator.startswith("nvidia.com/") else accelerator
    return {"key": key, "operator": "Exists", "effect": "NoSchedule"}


ACCELERATOR = FieldAccess(read_accelerator, _write_accelerator)
ACCELERATOR_COUNT = FieldAccess(_read_accelerator_count, _write_accelerator)
