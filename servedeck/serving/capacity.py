"""Which nodes could run a replica now, and how many accelerators are free where.

The sums are the scheduler's: what a node can allocate less the requests of the Pods bound to it
(kubernetes pkg/scheduler/framework/plugins/noderesources/fit.go). Node affinity, spreading and
volumes' zones are left to the scheduler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from servedeck.serving.accelerators import accelerator_display_name, is_accelerator
from servedeck.serving.objects.records import (
    Node,
    ObjectMeta,
    PodContainer,
    Record,
    ResourceRequirements,
    Taint,
)
from servedeck.serving.quantity import format_quantity, parse_quantity
from servedeck.serving.spec.names import validate_resource_name
from servedeck.serving.text import format_count

ResourceList = dict[str, Fraction]
_ZERO = Fraction(0)
MAX_REASONS = 3
"""Reasons of the sentence; the nodes of the others are only counted."""


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
    """A Pod as the create form needs it: what it asks for and which claims it mounts. The lists of
    servings leave both out, so that 5,000 Pods stay small."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodRequestsSpec = PodRequestsSpec()
    status: PodPhaseStatus = PodPhaseStatus()


def pod_requests(pod: PodRequests) -> ResourceList:
    """What the scheduler counts for a Pod: the containers and the sidecars together, or the
    largest init container with the sidecars started before it, and the overhead (kubernetes
    pkg/api/v1/resource/helpers.go, PodRequests)."""
    asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return (
        _add_resources(asked, _parse_resource_list(pod.spec.overhead))
        if pod.spec.overhead
        else asked
    )


def container_requests(
    containers: Sequence[ContainerRequests | PodContainer],
    init_containers: Sequence[ContainerRequests | PodContainer],
) -> ResourceList:
    """What the scheduler counts for a Pod of these containers."""
    total = _sum_requests(one.resources for one in containers)
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


def scheduling_requirements(
    deployment: Mapping[str, Any],
) -> tuple[ResourceList, Sequence[Mapping[str, Any]]]:
    """Requests and tolerations of a Pod of a Deployment built by `manifests.build`."""
    spec = deployment["spec"]["template"]["spec"]
    containers = msgspec.convert(spec["containers"], tuple[ContainerRequests, ...], strict=False)
    return _sum_requests(one.resources for one in containers), spec.get("tolerations", ())


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    name: str
    allocatable: ResourceList
    free: ResourceList
    """Never below 0; "pods" among them."""
    unschedulable_reason: str
    """Why no new Pod may go there: "cordoned", "not ready"; "" where it may."""
    taints: tuple[Taint, ...]
    """Those that keep Pods away which do not tolerate them."""


@dataclass(frozen=True, slots=True)
class AcceleratorCapacity:
    """One kind of accelerator in the cluster."""

    resource: str
    name: str
    total: int
    free: int
    nodes: tuple[tuple[str, int, int], ...]
    """(node, free, total) of each node that has some; the most free first."""

    @property
    def summary(self) -> str:
        with_free = [(node, free) for node, free, _ in self.nodes if free]
        if not with_free:
            nodes = format_count(len(self.nodes), "node")
            return f"{self.name}: none of {self.total} free on {nodes}."
        places = ", ".join(f"{node} {free}" for node, free in with_free[:3])
        more = len(with_free) - 3
        tail = f" and {format_count(more, 'further node')}" if more > 0 else ""
        return f"{self.name}: {self.free} of {self.total} free ({places}{tail})."


@dataclass(frozen=True, slots=True)
class SchedulingResult:
    replicas: int
    schedulable_replicas: int
    """How many of the replicas can be placed now."""
    candidate_nodes: tuple[str, ...]
    """Nodes that have room for at least one."""
    reasons: tuple[tuple[str, int], ...]
    """Why the other nodes cannot, with how many of them: ("tainted nvidia.com/gpu", 2)."""
    summary: str


def node_capacities(nodes: Iterable[Node], pods: Iterable[PodRequests]) -> list[NodeCapacity]:
    """What is free on each node, in the nodes' order. Ended Pods count for nothing."""
    used: dict[str, ResourceList] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
            taken = used.setdefault(pod.spec.node_name, {"pods": _ZERO})
            taken["pods"] += 1
            for key, amount in pod_requests(pod).items():
                taken[key] = taken.get(key, _ZERO) + amount
    found = []
    for node in nodes:
        allocatable = _parse_resource_list(node.status.allocatable)
        taken = used.get(node.metadata.name, {})
        free = {
            key: max(amount - taken.get(key, _ZERO), _ZERO) for key, amount in allocatable.items()
        }
        found.append(
            NodeCapacity(
                node.metadata.name,
                allocatable,
                free,
                _unschedulable_reason(node),
                tuple(t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")),
            )
        )
    return found


class InsufficientResource(NamedTuple):
    """What a Pod asks for of a resource, and how many nodes have too little of it free."""

    resource: str
    requested: Fraction
    node_count: int


def describe_closest_nodes(
    nodes: Sequence[NodeCapacity], insufficient: Iterable[InsufficientResource]
) -> str:
    """Of the nodes that have too little of a resource, the one that has the most of it free, in a
    sentence. "" where they are not those that the scheduler counted: others are out of the
    question for another reason, such as a node selector, and which these are is not known."""
    parts = []
    for key, asked, count in insufficient:
        short = [
            (room.free.get(key, _ZERO), room.allocatable.get(key, _ZERO), room.name)
            for room in nodes
            if not room.unschedulable_reason and room.free.get(key, _ZERO) < asked
        ]
        if not short or len(short) != count:
            continue
        free, total, name = max(short, key=lambda one: (one[0], one[1], one[2]))
        binary = key in ("memory", "ephemeral-storage")
        if free:
            shares = (format_quantity(one, binary=binary) for one in (free, total))
            parts.append(f"{name} has {' of '.join(shares)} {resource_label(key)} free")
        elif total:
            parts.append(f"no node has {resource_label(key)} free")
        else:
            parts.append(f"no node has {resource_label(key)}")
    text = "; ".join(parts)
    if text.startswith("no "):
        text = f"N{text[1:]}"  # a node's name keeps its own letters
    return f"{text}." if text else ""


def accelerator_capacities(nodes: Sequence[NodeCapacity]) -> list[AcceleratorCapacity]:
    """Every kind of accelerator that a node offers, the known ones first. What is free on a node
    that takes no Pods counts as not free."""
    kinds = {
        key
        for room in nodes
        for key, amount in room.allocatable.items()
        if amount >= 1 and (is_accelerator(key) or not validate_resource_name(key))
    }
    found = []
    for key in sorted(
        kinds, key=lambda key: (not is_accelerator(key), accelerator_display_name(key))
    ):
        places = [
            (
                room.name,
                0 if room.unschedulable_reason else int(room.free[key]),
                int(room.allocatable[key]),
            )
            for room in nodes
            if room.allocatable.get(key, _ZERO) >= 1
        ]
        places.sort(key=lambda place: (-place[1], place[0]))
        found.append(
            AcceleratorCapacity(
                key,
                accelerator_display_name(key),
                sum(total for _, _, total in places),
                sum(free for _, free, _ in places),
                tuple(places),
            )
        )
    return found


def simulate_scheduling(
    requests: ResourceList,
    replicas: int,
    nodes: Sequence[NodeCapacity],
    tolerations: Sequence[Mapping[str, Any]] = (),
) -> SchedulingResult:
    """How many of `replicas` equal Pods can be placed now, and what keeps the others out. As the
    Pods are equal, what fits on each node adds up."""
    placed: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for room in nodes:
        reason = _rejection_reason(room, requests, tolerations)
        if reason:
            reasons[reason] += 1
        else:
            placed[room.name] = min(
                int(room.free.get(key, _ZERO) // amount)
                for key, amount in {**requests, "pods": Fraction(1)}.items()
                if amount > 0
            )
    fitting = min(sum(placed.values()), max(replicas, 0))
    ordered = tuple(reasons.most_common())
    sentence = _scheduling_summary(requests, replicas, fitting, len(placed), len(nodes), ordered)
    return SchedulingResult(replicas, fitting, tuple(placed), ordered, sentence)


def tolerates(tolerations: Sequence[Mapping[str, Any]], taint: Taint) -> bool:
    """kubernetes api/core/v1 toleration.go, ToleratesTaint."""
    for one in tolerations:
        if one.get("effect") and one["effect"] != taint.effect:
            continue
        if one.get("key") and one["key"] != taint.key:
            continue
        exists = one.get("operator") == "Exists"
        if exists or (one.get("key") and str(one.get("value", "")) == taint.value):
            return True
    return False


def _rejection_reason(
    node: NodeCapacity, requests: ResourceList, tolerations: Sequence[Mapping[str, Any]]
) -> str:
    if node.unschedulable_reason:
        return node.unschedulable_reason
    for taint in node.taints:
        if not tolerates(tolerations, taint):
            return f"tainted {taint.key}"
    # Most telling first: an accelerator, then memory and CPU.
    for key in sorted(requests, key=lambda key: (not is_accelerator(key), key == "cpu", key)):
        if requests[key] > node.allocatable.get(key, _ZERO):
            has_none = not node.allocatable.get(key)
            return (
                f"without {resource_label(key)}"
                if has_none
                else f"too small in {resource_label(key)}"
            )
        if requests[key] > node.free.get(key, _ZERO):
            return f"without enough free {resource_label(key)}"
    if node.free.get("pods", _ZERO) < 1:
        return "without room for another Pod"
    return ""


def _scheduling_summary(
    requests: ResourceList,
    replicas: int,
    schedulable: int,
    candidate_count: int,
    node_count: int,
    reasons: Sequence[tuple[str, int]],
) -> str:
    what = format_requests(requests)
    if not node_count:
        return "The cluster has no nodes, so no replica can start."
    parts = [f"{count} {reason}" for reason, count in reasons[:MAX_REASONS]]
    why = ", ".join(parts)
    if unsaid := sum(count for _, count in reasons[MAX_REASONS:]):
        why += f" and {unsaid} more"
    others = f" ({why})" if why else ""
    has = "has" if candidate_count == 1 or node_count == 1 else "have"
    head = (
        f"{candidate_count} of {format_count(node_count, 'node')} {has} room for {what} now{others}"
    )
    if replicas <= 0:
        return f"{head}; no replica is requested."
    if schedulable >= replicas:
        fits = "the replica fits" if replicas == 1 else f"all {replicas} replicas fit"
        return f"{head}; {fits}."
    if not schedulable:
        stays = "the replica" if replicas == 1 else f"all {replicas} replicas"
        return f"{head}; {stays} will stay Pending."
    fits = "fits" if schedulable == 1 else "fit"
    return f"{head}; {schedulable} of {replicas} replicas {fits}, the rest will stay Pending."


def format_requests(requests: ResourceList) -> str:
    """The amounts as people write them, "8 NVIDIA GPU, 64Gi memory"."""
    parts = [
        f"{format_quantity(amount)} {accelerator_display_name(key)}"
        for key, amount in requests.items()
        if key not in ("cpu", "memory", "ephemeral-storage")
    ]
    if amount := requests.get("cpu"):
        parts.append(f"{format_quantity(amount)} CPU")
    if amount := requests.get("memory"):
        parts.append(f"{format_quantity(amount, binary=True)} memory")
    return ", ".join(parts) or "a Pod"


def resource_label(key: str) -> str:
    """What a resource is called in a sentence."""
    return {"cpu": "CPU", "memory": "memory", "pods": "Pods"}.get(key) or accelerator_display_name(
        key
    )


def _unschedulable_reason(node: Node) -> str:
    if node.spec.unschedulable:
        return "cordoned"
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return "" if ready == "True" else "not ready"


def _effective_requests(resources: ResourceRequirements) -> ResourceList:
    """Requests; a limit counts as the request where none is written."""
    return _parse_resource_list({**resources.limits, **resources.requests})


def _parse_resource_list(resources: Mapping[str, object]) -> ResourceList:
    found: ResourceList = {}
    for key, value in resources.items():
        try:
            found[key] = _cached_parse_quantity(str(value))
        except ValueError:  # another's object: what is no quantity asks for nothing
            continue
    return found


# Pods ask for the same few amounts: parsed anew, those of 5,000 take a third of a second.
_cached_parse_quantity = lru_cache(maxsize=4096)(parse_quantity)


def _sum_requests(resources: Iterable[ResourceRequirements]) -> ResourceList:
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
