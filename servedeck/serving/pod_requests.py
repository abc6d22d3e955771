"""What a Pod requests of its node, as the scheduler computes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from servedeck.serving.objects.records import (
    ObjectMeta,
    PodContainer,
    Record,
    ResourceRequirements,
)
from servedeck.serving.quantity import parse_quantity

ResourceList = dict[str, Fraction]
"""Amounts by the name of the resource."""

_ZERO = Fraction(0)


class ContainerRequests(Record, frozen=True):
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""


class PersistentVolumeClaimVolumeSource(Record, frozen=True):
    claim_name: str = ""


class PodVolume(Record, frozen=True):
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None


class PodRequestsSpec(Record, frozen=True):
    node_name: str = ""
    containers: tuple[ContainerRequests, ...] = ()
    init_containers: tuple[ContainerRequests, ...] = ()
    overhead: dict[str, str | int | float] = {}
    volumes: tuple[PodVolume, ...] = ()


class PodPhaseStatus(Record, frozen=True):
    phase: str = ""


class PodRequests(Record, frozen=True):
    """A Pod as the create form needs it: its requests and the PVCs that it mounts. The serving list
    omits both to save memory with 5,000 Pods."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodRequestsSpec = PodRequestsSpec()
    status: PodPhaseStatus = PodPhaseStatus()


def pod_requests(pod: PodRequests) -> ResourceList:
    """A Pod's requests as the scheduler computes them: the sum of the containers and the sidecars,
    or the largest init container with the sidecars started before it, plus the overhead (kubernetes
    pkg/api/v1/resource/helpers.go, PodRequests)."""
    asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return (
        _add_resources(asked, parse_resource_list(pod.spec.overhead))
        if pod.spec.overhead
        else asked
    )


def container_requests(
    containers: Sequence[ContainerRequests | PodContainer],
    init_containers: Sequence[ContainerRequests | PodContainer],
) -> ResourceList:
    """Requests of a Pod with these containers, as the scheduler computes them."""
    total = sum_requests(one.resources for one in containers)
    if not init_containers:
        return total
    sidecars: ResourceList = {}
    peak: ResourceList = {}
    for one in init_containers:
        own = _effective_requests(one.resources)
        if one.restart_policy == "Always":
            sidecars = _add_resources(sidecars, own)
            peak = _max_resources(peak, sidecars)
        else:
            peak = _max_resources(peak, _add_resources(sidecars, own))
    return _max_resources(_add_resources(total, sidecars), peak)


def _effective_requests(resources: ResourceRequirements) -> ResourceList:
    """Requests; the limit is used if no request is set."""
    return parse_resource_list({**resources.limits, **resources.requests})


def parse_resource_list(resources: Mapping[str, object]) -> ResourceList:
    """The amounts of a resource list; one that is no quantity is left out."""
    found: ResourceList = {}
    for key, value in resources.items():
        try:
            found[key] = _cached_parse_quantity(str(value))
        except ValueError:  # not our object
            continue
    return found


# Pods request the same few amounts; parsing those of 5,000 Pods without a cache takes a third of a
# second.
_cached_parse_quantity = lru_cache(maxsize=4096)(parse_quantity)


def sum_requests(resources: Iterable[ResourceRequirements]) -> ResourceList:
    """Requests of several containers together."""
    total: ResourceList = {}
    for one in resources:
        for key, amount in _effective_requests(one).items():
            total[key] = total[key] + amount if key in total else amount
    return total


def _add_resources(first: ResourceList, second: ResourceList) -> ResourceList:
    return {
        key: first.get(key, _ZERO) + second.get(key, _ZERO)
        for key in (*first, *(key for key in second if key not in first))
    }


def _max_resources(first: ResourceList, second: ResourceList) -> ResourceList:
    return {
        key: max(first.get(key, _ZERO), second.get(key, _ZERO))
        for key in (*first, *(key for key in second if key not in first))
    }
