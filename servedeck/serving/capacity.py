"""Which nodes could run a replica now, and how many accelerators are free on each.

Free resources are computed as in the scheduler: the node's allocatable resources minus the requests
of the Pods bound to it (kubernetes pkg/scheduler/framework/plugins/noderesources/fit.go). The
affinity of Pods, topology spread and volume zones are not checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from servedeck.serving.accelerators import accelerator_display_name, is_accelerator
from servedeck.serving.conventions import TRANSFORMER_CONTAINER
from servedeck.serving.node_selection import may_run_on
from servedeck.serving.objects.records import Node, Taint
from servedeck.serving.pod_requests import (
    PodRequests,
    ResourceList,
    parse_resource_list,
    pod_requests,
)
from servedeck.serving.quantity import format_quantity
from servedeck.serving.spec.mapping.json_values import mappings
from servedeck.serving.spec.names import validate_resource_name
from servedeck.serving.text import format_count

_ZERO = Fraction(0)
_NOT_FREE = "without enough free"
_NO_PODS_FREE = "at their maximum number of Pods"
MAX_REASONS = 3
"""Maximum number of reasons in the summary; for the others only the number of nodes is shown."""


class PlacedPod(NamedTuple):
    """A Pod that runs on a node."""

    node: str
    requests: ResourceList


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    name: str
    allocatable: ResourceList
    free: ResourceList
    """Never below 0; includes "pods"."""
    unschedulable_reason: str
    """Why no new Pod can be scheduled there: "cordoned", "not ready"; "" if it can."""
    taints: tuple[Taint, ...]
    """Taints with the effect NoSchedule or NoExecute."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def without(self, pod: PlacedPod) -> NodeCapacity:
        """The node after a Pod on it has stopped."""
        freed = {**pod.requests, "pods": Fraction(1)}
        free = {key: amount + freed.get(key, _ZERO) for key, amount in self.free.items()}
        return replace(self, free=free)


@dataclass(frozen=True, slots=True)
class AcceleratorCapacity:
    """One kind of accelerator in the cluster."""

    resource: str
    name: str
    total: int
    free: int
    nodes: tuple[tuple[str, int, int], ...]
    """(node, free, total) of each node that has this kind; the most free first."""

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
    """Number of replicas that can be scheduled now."""
    candidate_nodes: tuple[str, ...]
    """Nodes that fit at least one replica."""
    reasons: tuple[tuple[str, int], ...]
    """Why the other nodes do not fit, with the number of nodes: ("tainted nvidia.com/gpu", 2)."""
    summary: str

    @property
    def obstacle(self) -> str:
        """Why no node could run a replica even if nothing else ran on it, "4 excluded by node
        selector or affinity"; "" if one could."""
        passing = (_NOT_FREE, _NO_PODS_FREE)
        if self.candidate_nodes or any(reason.startswith(passing) for reason, _ in self.reasons):
            return ""
        return _join_reasons(self.reasons)


def node_capacities(nodes: Iterable[Node], used: Mapping[str, ResourceList]) -> list[NodeCapacity]:
    """Free resources of each node, in the given order. `used` is what the Pods bound to a node
    request, by its name (`NodeUsage.by_node`)."""
    found = []
    for node in nodes:
        allocatable = parse_resource_list(node.status.allocatable)
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
                node.metadata.labels,
            )
        )
    return found


class InsufficientResource(NamedTuple):
    """The amount of a resource that a Pod requests, and the number of nodes that have too little of
    it free."""

    resource: str
    requested: Fraction
    node_count: int


def describe_closest_nodes(
    nodes: Sequence[NodeCapacity], insufficient: Iterable[InsufficientResource]
) -> str:
    """One sentence on the node that has the most of a resource free, among those that have too
    little of it. "" if their number differs from the scheduler's: some nodes are then excluded for
    an unknown reason, such as a node selector."""
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
        text = f"N{text[1:]}"  # do not capitalize a node name
    return f"{text}." if text else ""


def accelerator_capacities(nodes: Sequence[NodeCapacity]) -> list[AcceleratorCapacity]:
    """Every kind of accelerator in the cluster, the known ones first. Accelerators of an
    unschedulable node are not counted as free."""
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


def requests_of(pod_spec: Mapping[str, Any]) -> ResourceList:
    """What a Pod with this spec requests; {} if it cannot be read."""
    try:
        return pod_requests(msgspec.convert({"spec": pod_spec}, PodRequests, strict=False))
    except (msgspec.ValidationError, UnicodeError):  # not our object
        return {}


def simulate_scheduling(
    pod_spec: Mapping[str, Any], replicas: int, nodes: Sequence[NodeCapacity]
) -> SchedulingResult:
    """How many of `replicas` Pods with this spec can be scheduled now on the nodes on which they
    may run, and why the others cannot. The Pods are identical, so the number that fits is the sum
    over the nodes."""
    requests = requests_of(pod_spec)
    placed: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for room in nodes:
        reason = _rejection_reason(room, requests, pod_spec)
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
    what = format_requests(requests) + _transformer_share(pod_spec)
    sentence = _scheduling_summary(what, replicas, fitting, len(placed), len(nodes), ordered)
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
    node: NodeCapacity, requests: ResourceList, pod_spec: Mapping[str, Any]
) -> str:
    """Why the node does not run the Pod, in the order in which the scheduler asks; "" if it
    does."""
    if node.unschedulable_reason:
        return node.unschedulable_reason
    tolerations = mappings(pod_spec.get("tolerations"))
    for taint in node.taints:
        if not tolerates(tolerations, taint):
            return f"tainted {taint.key}"
    if not may_run_on(pod_spec, node.name, node.labels):
        return "excluded by node selector or affinity"
    # Most specific reason first: an accelerator, then memory and CPU.
    for key in sorted(requests, key=lambda key: (not is_accelerator(key), key == "cpu", key)):
        if requests[key] > node.allocatable.get(key, _ZERO):
            has_none = not node.allocatable.get(key)
            return (
                f"without {resource_label(key)}"
                if has_none
                else f"with too little allocatable {resource_label(key)}"
            )
        if requests[key] > node.free.get(key, _ZERO):
            return f"{_NOT_FREE} {resource_label(key)}"
    if node.free.get("pods", _ZERO) < 1:
        return _NO_PODS_FREE
    return ""


def _transformer_share(pod_spec: Mapping[str, Any]) -> str:
    """What of the amounts is the transformer's: the form asks for CPU and memory of the inference
    server alone."""
    containers = [one for one in mappings(pod_spec.get("containers")) if _is_transformer(one)]
    requests = requests_of({"containers": containers}) if containers else {}
    return f" (of which the transformer {format_requests(requests)})" if requests else ""


def _is_transformer(container: Mapping[str, Any]) -> bool:
    return container.get("name") == TRANSFORMER_CONTAINER


def _join_reasons(reasons: Sequence[tuple[str, int]]) -> str:
    why = ", ".join(f"{count} {reason}" for reason, count in reasons[:MAX_REASONS])
    if unsaid := sum(count for _, count in reasons[MAX_REASONS:]):
        why += f" and {unsaid} more"
    return why


def _scheduling_summary(
    what: str,
    replicas: int,
    schedulable: int,
    candidate_count: int,
    node_count: int,
    reasons: Sequence[tuple[str, int]],
) -> str:
    if not node_count:
        return "The cluster has no nodes, so no replica can start."
    why = _join_reasons(reasons)
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
    """The amounts as text, "8 NVIDIA GPU, 64Gi memory"."""
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
    """Name of a resource in a sentence."""
    return {"cpu": "CPU", "memory": "memory", "pods": "Pods"}.get(key) or accelerator_display_name(
        key
    )


def _unschedulable_reason(node: Node) -> str:
    if node.spec.unschedulable:
        return "cordoned"
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return "" if ready == "True" else "not ready"
