"""How many more Pods the ResourceQuotas of a namespace allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from servedeck.serving.objects.records import ResourceRequirements
from servedeck.serving.pod_requests import (
    ContainerRequests,
    PodRequests,
    ResourceList,
    container_requests,
    parse_resource_list,
    pod_requests,
)
from servedeck.serving.quantity import format_quantity
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
)
from servedeck.serving.text import one_line, sanitize

_BINARY = ("memory", "storage")


class QuotaRoom(NamedTuple):
    """What a ResourceQuota leaves for Pods that are equal."""

    pods: int
    """Number of Pods."""
    quota: str
    """Name of the quota; sanitized."""
    usage: str
    """ "requests.nvidia.com/gpu: 6 of 8 used, 1 for each Pod"."""


def find_quota_room(pod: Mapping[str, Any], quotas: Iterable[JsonObject]) -> QuotaRoom | None:
    """What the quota with the least room leaves for Pods as this one, as it was admitted; None if
    none limits them. Quotas whose scopes cannot be judged here are left out (kubernetes
    pkg/quota/v1/evaluator/core/pods.go, PodUsageFunc)."""
    usage = _usage(pod)
    found = []
    for quota in quotas:
        if not _applies(quota, pod):
            continue
        status = as_mapping(quota, "status")
        used = parse_resource_list(as_mapping(status, "used"))
        limits = as_mapping(status, "hard") or as_mapping(quota, "spec", "hard")  # not counted yet
        for name, hard in parse_resource_list(limits).items():
            if amount := usage.get(name):
                found.append(_room(quota, name, amount, hard, used.get(name, Fraction(0))))
    return min(found, key=lambda one: one.pods, default=None)


def _room(
    quota: JsonObject, name: str, amount: Fraction, hard: Fraction, used: Fraction
) -> QuotaRoom:
    binary = name.endswith(_BINARY)
    each, limit, taken = (format_quantity(one, binary=binary) for one in (amount, hard, used))
    text = f"{one_line(sanitize(name))}: {taken} of {limit} used, {each} for each Pod"
    quota_name = one_line(sanitize(as_str(as_mapping(quota, "metadata").get("name"))))
    return QuotaRoom(max(int((hard - used) // amount), 0), quota_name, text)


def _usage(pod: Mapping[str, Any]) -> ResourceList:
    """What one Pod takes of a quota, by the names that a quota has for it."""
    try:
        record = msgspec.convert(pod, PodRequests, strict=False)
    except (msgspec.ValidationError, UnicodeError):  # not our object
        return {}
    spec = record.spec
    requests = pod_requests(record)
    limits = container_requests(*map(_limits_only, (spec.containers, spec.init_containers)))
    found = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for name, amount in requests.items():
        found[f"requests.{name}"] = amount
        if name in ("cpu", "memory", "ephemeral-storage"):
            found[name] = amount
    return found | {f"limits.{name}": amount for name, amount in limits.items()}


def _limits_only(containers: Iterable[ContainerRequests]) -> tuple[ContainerRequests, ...]:
    return tuple(
        ContainerRequests(ResourceRequirements(limits=one.resources.limits), one.restart_policy)
        for one in containers
    )


def _applies(quota: JsonObject, pod: Mapping[str, Any]) -> bool:
    """Whether the quota counts the Pod: it has no scopes, or those that depend on the Pod's
    deadline and quality of service alone."""
    spec = as_mapping(quota, "spec")
    selector = as_mapping(spec, "scopeSelector").get("matchExpressions")
    scopes = spec.get("scopes") or []
    if selector or not isinstance(scopes, list):
        return False
    ends = as_mapping(pod, "spec").get("activeDeadlineSeconds") is not None
    has_resources = len(_usage(pod)) > 2
    matches: dict[Any, bool] = {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": not has_resources,
        "NotBestEffort": has_resources,
    }
    return all(matches.get(one, False) for one in scopes)
