"""How many more Pods the ResourceQuotas of a namespace have room for. The API server itself checks
one Pod at a time, so a dry run finds only a quota that has no room for a single one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from servedeck.serving.objects.records import ResourceRequirements
from servedeck.serving.pod_requests import (
    PodRequestsSpec,
    ResourceList,
    container_requests,
    parse_resource_list,
    sum_requests,
)
from servedeck.serving.quantity import format_quantity
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import format_count

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
"""Resources whose requests a quota also names without a prefix."""


def quota_shortage(quotas: Iterable[JsonObject], pod_spec: Mapping[str, Any], new_pods: int) -> str:
    """Which quota has no room for all of the new Pods, in a sentence; "" if each has. Quotas with a
    scope are left out: whether they count a Pod depends on more than its requests."""
    amounts = _counted_amounts(pod_spec)
    tightest: tuple[int, str] | None = None
    for quota in quotas:
        spec, status = as_mapping(quota, "spec"), as_mapping(quota, "status")
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        hard = parse_resource_list(as_mapping(status, "hard"))
        used = parse_resource_list(as_mapping(status, "used"))
        for resource, limit in hard.items():
            amount, taken = amounts.get(resource, 0), used.get(resource)
            if not amount or taken is None:
                continue
            room = max(int((limit - taken) // amount), 0)
            if room < new_pods and (tightest is None or room < tightest[0]):
                name = as_mapping(quota, "metadata").get("name")
                binary = resource.endswith(("memory", "storage"))
                shown = (format_quantity(one, binary=binary) for one in (taken, limit))
                tightest = room, f"quota {name}, {resource} used {' of '.join(shown)}"
    if tightest is None:
        return ""
    room, reason = tightest
    return f"The quota has room for {room} of {format_count(new_pods, 'new Pod')} now: {reason}."


def _counted_amounts(pod_spec: Mapping[str, Any]) -> ResourceList:
    """What one Pod takes of a quota, by the names that quotas use."""
    spec = msgspec.convert(pod_spec, PodRequestsSpec, strict=False)
    requests = container_requests(spec.containers, spec.init_containers)
    limits = _sum_limits([one.resources for one in spec.containers])
    pods = parse_resource_list({"pods": 1, "count/pods": 1})
    return {
        **{f"requests.{name}": amount for name, amount in requests.items()},
        **{name: amount for name, amount in requests.items() if name in _COMPUTE},
        **{f"limits.{name}": amount for name, amount in limits.items() if name in _COMPUTE},
        **pods,
    }


def _sum_limits(resources: Sequence[ResourceRequirements]) -> ResourceList:
    return sum_requests(ResourceRequirements(requests=one.limits) for one in resources)
