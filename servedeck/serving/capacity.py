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

from servedeck.serving.accelerators import display_name, is_accelerator
from servedeck.serving.objects.records import Meta, Node, PodContainer, Record, Resources, Taint
from servedeck.serving.spec.names import resource_problem
from servedeck.serving.units import counted, format_quantity, quantity

Amounts = dict[str, Fraction]
_ZERO = Fraction(0)
MOST_REASONS = 3
"""Reasons of the sentence; the nodes of the others are only counted."""


class RequestingContainer(Record, frozen=True):
    resources: Resources = Resources()
    restart_policy: str = ""


class ClaimSource(Record, frozen=True):
    claim_name: str = ""


class PodVolume(Record, frozen=True):
    persistent_volume_claim: ClaimSource | None = None


class RequestingPodSpec(Record, frozen=True):
    node_name: str = ""
    containers: tuple[RequestingContainer, ...] = ()
    init_containers: tuple[RequestingContainer, ...] = ()
    overhead: dict[str, str | int | float] = {}
    volumes: tuple[PodVolume, ...] = ()


class PodPhase(Record, frozen=True):
    phase: str = ""


class RequestingPod(Record, frozen=True):
    """A Pod as the create form needs it: what it asks for and which claims it mounts. The lists of
    servings leave both out, so that 5,000 Pods stay small."""

    metadata: Meta = Meta()
    spec: RequestingPodSpec = RequestingPodSpec()
    status: PodPhase = PodPhase()


def requests_of(pod: RequestingPod) -> Amounts:
    """What the scheduler counts for a Pod: the containers and the sidecars together, or the
    largest init container with the sidecars started before it, and the overhead (kubernetes
    pkg/api/v1/resource/helpers.go, PodRequests)."""
    asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return _add(asked, _numbers(pod.spec.overhead)) if pod.spec.overhead else asked


def container_requests(
    containers: Sequence[RequestingContainer | PodContainer],
    init_containers: Sequence[RequestingContainer | PodContainer],
) -> Amounts:
    """What the scheduler counts for a Pod of these containers."""
    total = _sum(one.resources for one in containers)
    if not init_containers:
        return total
    sidecars: Amounts = {}
    peak: Amounts = {}
    for one in init_containers:
        own = _amounts(one.resources)
        if one.restart_policy == "Always":
            sidecars = _add(sidecars, own)
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _add(sidecars, own))
    return _most(_add(total, sidecars), peak)


def pod_requests(deployment: Mapping[str, Any]) -> tuple[Amounts, Sequence[Mapping[str, Any]]]:
    """Requests and tolerations of a Pod of a Deployment built by `manifests.build`."""
    spec = deployment["spec"]["template"]["spec"]
    containers = msgspec.convert(spec["containers"], tuple[RequestingContainer, ...], strict=False)
    return _sum(one.resources for one in containers), spec.get("tolerations", ())


@dataclass(frozen=True, slots=True)
class NodeRoom:
    name: str
    allocatable: Amounts
    free: Amounts
    """Never below 0; "pods" among them."""
    closed: str
    """Why no new Pod may go there: "cordoned", "not ready"; "" where it may."""
    taints: tuple[Taint, ...]
    """Those that keep Pods away which do not tolerate them."""


@dataclass(frozen=True, slots=True)
class Supply:
    """One kind of accelerator in the cluster."""

    resource: str
    name: str
    total: int
    free: int
    nodes: tuple[tuple[str, int, int], ...]
    """(node, free, total) of each node that has some; the most free first."""

    @property
    def sentence(self) -> str:
        with_free = [(node, free) for node, free, _ in self.nodes if free]
        if not with_free:
            return f"{self.name}: none of {self.total} free on {counted(len(self.nodes), 'node')}."
        places = ", ".join(f"{node} {free}" for node, free in with_free[:3])
        more = len(with_free) - 3
        tail = f" and {counted(more, 'further node')}" if more > 0 else ""
        return f"{self.name}: {self.free} of {self.total} free ({places}{tail})."


@dataclass(frozen=True, slots=True)
class Fit:
    replicas: int
    fitting: int
    """How many of the replicas can be placed now."""
    nodes: tuple[str, ...]
    """Nodes that have room for at least one."""
    reasons: tuple[tuple[str, int], ...]
    """Why the other nodes cannot, with how many of them: ("tainted nvidia.com/gpu", 2)."""
    sentence: str


def rooms(nodes: Iterable[Node], pods: Iterable[RequestingPod]) -> list[NodeRoom]:
    """What is free on each node, in the nodes' order. Ended Pods count for nothing."""
    used: dict[str, Amounts] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
            taken = used.setdefault(pod.spec.node_name, {"pods": _ZERO})
            taken["pods"] += 1
            for key, amount in requests_of(pod).items():
                taken[key] = taken.get(key, _ZERO) + amount
    found = []
    for node in nodes:
        allocatable = _numbers(node.status.allocatable)
        taken = used.get(node.metadata.name, {})
        free = {
            key: max(amount - taken.get(key, _ZERO), _ZERO) for key, amount in allocatable.items()
        }
        found.append(
            NodeRoom(
                node.metadata.name,
                allocatable,
                free,
                _closed(node),
                tuple(t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")),
            )
        )
    return found


class Scarce(NamedTuple):
    """What a Pod asks for of a resource, and how many nodes have too little of it free."""

    resource: str
    asked: Fraction
    nodes: int


def nearest(nodes: Sequence[NodeRoom], scarce: Iterable[Scarce]) -> str:
    """Of the nodes that have too little of a resource, the one that has the most of it free, in a
    sentence. "" where they are not those that the scheduler counted: others are out of the
    question for another reason, such as a node selector, and which these are is not known."""
    parts = []
    for key, asked, count in scarce:
        short = [
            (room.free.get(key, _ZERO), room.allocatable.get(key, _ZERO), room.name)
            for room in nodes
            if not room.closed and room.free.get(key, _ZERO) < asked
        ]
        if not short or len(short) != count:
            continue
        free, total, name = max(short, key=lambda one: (one[0], one[1], one[2]))
        binary = key in ("memory", "ephemeral-storage")
        if free:
            shares = (format_quantity(one, binary=binary) for one in (free, total))
            parts.append(f"{name} has {' of '.join(shares)} {named(key)} free")
        elif total:
            parts.append(f"no node has {named(key)} free")
        else:
            parts.append(f"no node has {named(key)}")
    text = "; ".join(parts)
    if text.startswith("no "):
        text = f"N{text[1:]}"  # a node's name keeps its own letters
    return f"{text}." if text else ""


def supplies(nodes: Sequence[NodeRoom]) -> list[Supply]:
    """Every kind of accelerator that a node offers, the known ones first. What is free on a node
    that takes no Pods counts as not free."""
    kinds = {
        key
        for room in nodes
        for key, amount in room.allocatable.items()
        if amount >= 1 and (is_accelerator(key) or not resource_problem(key))
    }
    found = []
    for key in sorted(kinds, key=lambda key: (not is_accelerator(key), display_name(key))):
        places = [
            (room.name, 0 if room.closed else int(room.free[key]), int(room.allocatable[key]))
            for room in nodes
            if room.allocatable.get(key, _ZERO) >= 1
        ]
        places.sort(key=lambda place: (-place[1], place[0]))
        found.append(
            Supply(
                key,
                display_name(key),
                sum(total for _, _, total in places),
                sum(free for _, free, _ in places),
                tuple(places),
            )
        )
    return found


def fit(
    asked: Amounts,
    replicas: int,
    nodes: Sequence[NodeRoom],
    tolerations: Sequence[Mapping[str, Any]] = (),
) -> Fit:
    """How many of `replicas` equal Pods can be placed now, and what keeps the others out. As the
    Pods are equal, what fits on each node adds up."""
    placed: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for room in nodes:
        reason = _refusal(room, asked, tolerations)
        if reason:
            reasons[reason] += 1
        else:
            placed[room.name] = min(
                int(room.free.get(key, _ZERO) // amount)
                for key, amount in {**asked, "pods": Fraction(1)}.items()
                if amount > 0
            )
    fitting = min(sum(placed.values()), max(replicas, 0))
    ordered = tuple(reasons.most_common())
    sentence = _sentence(asked, replicas, fitting, len(placed), len(nodes), ordered)
    return Fit(replicas, fitting, tuple(placed), ordered, sentence)


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


def _refusal(room: NodeRoom, asked: Amounts, tolerations: Sequence[Mapping[str, Any]]) -> str:
    if room.closed:
        return room.closed
    for taint in room.taints:
        if not tolerates(tolerations, taint):
            return f"tainted {taint.key}"
    # Most telling first: an accelerator, then memory and CPU.
    for key in sorted(asked, key=lambda key: (not is_accelerator(key), key == "cpu", key)):
        if asked[key] > room.allocatable.get(key, _ZERO):
            has_none = not room.allocatable.get(key)
            return f"without {named(key)}" if has_none else f"too small in {named(key)}"
        if asked[key] > room.free.get(key, _ZERO):
            return f"without enough free {named(key)}"
    if room.free.get("pods", _ZERO) < 1:
        return "without room for another Pod"
    return ""


def _sentence(
    asked: Amounts,
    replicas: int,
    fitting: int,
    able: int,
    total: int,
    reasons: Sequence[tuple[str, int]],
) -> str:
    what = described(asked)
    if not total:
        return "The cluster has no nodes, so no replica can start."
    parts = [f"{count} {reason}" for reason, count in reasons[:MOST_REASONS]]
    why = ", ".join(parts)
    if unsaid := sum(count for _, count in reasons[MOST_REASONS:]):
        why += f" and {unsaid} more"
    others = f" ({why})" if why else ""
    has = "has" if able == 1 or total == 1 else "have"
    head = f"{able} of {counted(total, 'node')} {has} room for {what} now{others}"
    if replicas <= 0:
        return f"{head}; no replica is asked for."
    if fitting >= replicas:
        fits = "the replica fits" if replicas == 1 else f"all {replicas} replicas fit"
        return f"{head}; {fits}."
    if not fitting:
        stays = "the replica" if replicas == 1 else f"all {replicas} replicas"
        return f"{head}; {stays} will stay Pending."
    first = "the first replica fits" if fitting == 1 else f"the first {fitting} replicas fit"
    from_on = "" if fitting + 1 == replicas else " and those after it"
    return f"{head}; {first}, the {_ordinal(fitting + 1)}{from_on} will stay Pending."


def described(asked: Amounts) -> str:
    """The amounts as people write them, "8 NVIDIA GPU, 64Gi memory"."""
    parts = [
        f"{format_quantity(amount)} {display_name(key)}"
        for key, amount in asked.items()
        if key not in ("cpu", "memory", "ephemeral-storage")
    ]
    if amount := asked.get("cpu"):
        parts.append(f"{format_quantity(amount)} CPU")
    if amount := asked.get("memory"):
        parts.append(f"{format_quantity(amount, binary=True)} memory")
    return ", ".join(parts) or "a Pod"


def named(key: str) -> str:
    """What a resource is called in a sentence."""
    return {"cpu": "CPU", "memory": "memory", "pods": "Pods"}.get(key) or display_name(key)


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return words[number - 1] if 1 <= number <= len(words) else f"{number}th"


def _closed(node: Node) -> str:
    if node.spec.unschedulable:
        return "cordoned"
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return "" if ready == "True" else "not ready"


def _amounts(resources: Resources) -> Amounts:
    """Requests; a limit counts as the request where none is written."""
    return _numbers({**resources.limits, **resources.requests})


def _numbers(written: Mapping[str, object]) -> Amounts:
    found: Amounts = {}
    for key, value in written.items():
        try:
            found[key] = _quantity(str(value))
        except ValueError:  # another's object: what is no quantity asks for nothing
            continue
    return found


# Pods ask for the same few amounts: parsed anew, those of 5,000 take a third of a second.
_quantity = lru_cache(maxsize=4096)(quantity)


def _sum(resources: Iterable[Resources]) -> Amounts:
    total: Amounts = {}
    for one in resources:
        for key, amount in _amounts(one).items():
            total[key] = total[key] + amount if key in total else amount
    return total


def _add(first: Amounts, second: Amounts) -> Amounts:
    return {
        key: first.get(key, _ZERO) + second.get(key, _ZERO)
        for key in (*first, *(key for key in second if key not in first))
    }


def _most(first: Amounts, second: Amounts) -> Amounts:
    return {
        key: max(first.get(key, _ZERO), second.get(key, _ZERO))
        for key in (*first, *(key for key in second if key not in first))
    }
