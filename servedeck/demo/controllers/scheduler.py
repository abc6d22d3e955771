"""The scheduler: binds Pods to nodes, or says why no node fits.

Source: kubernetes pkg/scheduler (schedule_one.go, framework/types.go FitError, framework/plugins).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from servedeck.demo import event_messages
from servedeck.demo.controllers.base import (
    ControllerContext,
    WorkQueue,
    condition_is_true,
    find_condition,
    is_active_pod,
    quantity_or_zero,
)
from servedeck.demo.resources import NODES, PERSISTENTVOLUMECLAIMS, PODS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.demo.store.update_strategy import SPEC_AND_STATUS

ResourceAmounts = dict[str, Fraction]

_LATENCY_SECONDS = 0.04
_FLUSH_SECONDS = 300.0
"""After this time an unschedulable Pod is tried again in any case. Source: internal/queue,
DefaultPodMaxInUnschedulablePodsDuration."""
_ALL: Key = ("", "")
_BLOCKING_EFFECTS = frozenset(("NoSchedule", "NoExecute"))


class NodeUsage:
    """What the Pods of each node ask for, kept as they change."""

    def __init__(self) -> None:
        self._pods: dict[Key, tuple[str, ResourceAmounts]] = {}
        self._nodes: dict[str, tuple[ResourceAmounts, int]] = {}

    def of(self, node: str) -> tuple[ResourceAmounts, int]:
        """The sum of the requests of the node's Pods that have not finished, and their number."""
        return self._nodes.get(node, ({}, 0))

    def update(self, pod: Json) -> None:
        """A Pod that is new or has changed."""
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self.remove(pod)
            return
        if key_of(pod) in self._pods:  # the requests of a Pod never change
            return
        asked = pod_requests(pod)
        self._pods[key_of(pod)] = node, asked
        self._add(node, asked, 1)

    def remove(self, pod: Json) -> None:
        """A Pod that has finished or was deleted."""
        if known := self._pods.pop(key_of(pod), None):
            node, asked = known
            self._add(node, {name: -value for name, value in asked.items()}, -1)

    def _add(self, node: str, asked: ResourceAmounts, pods: int) -> None:
        taken, count = self.of(node)
        _add_amounts(taken, asked)
        self._nodes[node] = taken, count + pods
        if count + pods == 0:
            del self._nodes[node]


class NodeRejection(NamedTuple):
    """Why a Pod does not fit on a node. `preemption_unhelpful`: nor would it without other Pods."""

    reasons: tuple[str, ...]
    preemption_unhelpful: bool


class Scheduler:
    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._recorder = context.recorder
        self._queue = WorkQueue(context.clock, self._schedule)
        self._retries = WorkQueue(context.clock, self._retry_unschedulable)
        self._unschedulable: dict[Key, float] = {}
        self._usage = NodeUsage()
        context.store.subscribe(self._pod_changed, PODS)
        context.store.subscribe(self._node_changed, NODES)
        context.store.subscribe(self._pvc_changed, PERSISTENTVOLUMECLAIMS)

    def resync(self) -> None:
        self._usage = NodeUsage()
        for pod in self._store.list(PODS):
            self._usage.update(pod)
            if _needs_scheduling(pod):
                self._queue.add(key_of(pod), _LATENCY_SECONDS)

    def _pod_changed(self, change: StoreChange) -> None:
        pod = change.object
        if change.type == "DELETED":
            self._usage.remove(pod)
        else:
            self._usage.update(pod)
        if change.type == "ADDED" and _needs_scheduling(pod):
            self._queue.add(key_of(pod), _LATENCY_SECONDS)
        elif change.type == "DELETED":
            self._unschedulable.pop(key_of(pod), None)
            if (pod.get("spec") or {}).get("nodeName"):
                self._retries.add(_ALL)
        elif not is_active_pod(pod) and change.old is not None and is_active_pod(change.old):
            self._unschedulable.pop(key_of(pod), None)

    def _node_changed(self, change: StoreChange) -> None:
        old = change.old or {}
        fields = ("spec", "metadata")
        changed = any(
            _scheduling_fields(old, f) != _scheduling_fields(change.object, f) for f in fields
        )
        if changed or _allocatable(old) != _allocatable(change.object):
            self._retries.add(_ALL)

    def _pvc_changed(self, change: StoreChange) -> None:
        self._retries.add(_ALL)

    def _retry_unschedulable(self, _: Key) -> None:
        """Tries unschedulable Pods again after their back-off, because resources became free."""
        for index, key in enumerate(sorted(self._unschedulable, key=self._retry_order)):
            self._queue.add(key, 1.0 + index * 0.01)

    def _retry_order(self, key: Key) -> tuple[float, Key]:
        return self._unschedulable[key], key

    def _schedule(self, key: Key) -> None:
        pod = self._store.find(PODS, *key)
        if pod is None or not _needs_scheduling(pod) or not is_active_pod(pod):
            self._unschedulable.pop(key, None)
            return
        nodes = self._store.list(NODES)
        rejected = self._volume_error(pod)
        if rejected:
            self._mark_unschedulable(
                pod, f"{event_messages.NODES_AVAILABLE.format(nodes=len(nodes))} {rejected}"
            )
            return
        if not nodes:
            self._mark_unschedulable(pod, event_messages.NO_NODES)
            return
        need = pod_requests(pod)
        rejections: list[NodeRejection] = []
        fitting: list[tuple[Fraction, str]] = []
        for node in nodes:
            name = node["metadata"]["name"]
            taken, count = self._usage.of(name)
            rejection = _reject(pod, node, need, taken, count)
            if rejection is None:
                fitting.append((_score(node, need, taken), name))
            else:
                rejections.append(rejection)
        if not fitting:
            self._mark_unschedulable(pod, fit_error_message(rejections))
            return
        self._bind(pod, min(fitting, key=lambda found: (-found[0], found[1]))[1])

    def _volume_error(self, pod: Json) -> str:
        """Why the Pod's volumes prevent scheduling, "" where they do not (VolumeBinding,
        PreFilter)."""
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not claim:
                continue
            found = self._store.find(PERSISTENTVOLUMECLAIMS, namespace, claim)
            if found is None:
                return f"{event_messages.PVC_MISSING.format(name=claim)}. not found"
            if (found.get("status") or {}).get("phase") == "Pending":
                return f"{event_messages.PVC_UNBOUND}. not found"
        return ""

    def _bind(self, pod: Json, node: str) -> None:
        key, stamp = key_of(pod), self._clock.timestamp()
        self._unschedulable.pop(key, None)

        def write(obj: Json) -> None:
            obj["spec"]["nodeName"] = node
            _set_scheduled_condition(obj, {"status": "True", "lastTransitionTime": stamp})

        bound = self._store.mutate(PODS, *key, write, SPEC_AND_STATUS)
        self._recorder.record(
            bound, event_messages.SCHEDULED, namespace=key[0], pod=key[1], node=node
        )

    def _mark_unschedulable(self, pod: Json, why: str) -> None:
        key, stamp = key_of(pod), self._clock.timestamp()
        self._unschedulable.setdefault(key, self._clock.time())
        old = find_condition(pod, "PodScheduled")
        since = stamp
        if old is not None and old.get("status") == "False":
            since = old.get("lastTransitionTime", stamp)

        def write(obj: Json) -> None:
            _set_scheduled_condition(
                obj,
                {
                    "status": "False",
                    "lastTransitionTime": since,
                    "reason": "Unschedulable",
                    "message": why,
                },
            )

        self._store.mutate(PODS, *key, write, "status")
        self._recorder.record(pod, event_messages.SCHEDULING_FAILED, message=why)
        self._queue.add(key, _FLUSH_SECONDS)


def fit_error_message(rejections: Iterable[NodeRejection]) -> str:
    """The reasons with their counts, sorted, then the outcome of preemption (FitError.Error)."""
    rejections = list(rejections)
    nodes = len(rejections)
    reasons = Counter(reason for rejection in rejections for reason in rejection.reasons)
    head = event_messages.NODES_AVAILABLE.format(nodes=nodes)
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    unresolvable = sum(rejection.preemption_unhelpful for rejection in rejections)
    preemption = {
        event_messages.PREEMPTION_UNHELPFUL: unresolvable,
        event_messages.NO_VICTIMS: nodes - unresolvable,
    }
    tail = ", ".join(sorted(f"{count} {reason}" for reason, count in preemption.items() if count))
    return f"{head} {listed}. no new claims to deallocate, preemption: {head} {tail}."


def pod_requests(pod: Json) -> ResourceAmounts:
    """The requests of a Pod: the sum of its containers and sidecars, or its largest init container.
    Source: kubernetes pkg/api/v1/resource, PodRequests."""
    spec = pod.get("spec") or {}
    total: ResourceAmounts = {}
    for container in spec.get("containers") or ():
        _add_amounts(total, _container_requests(container))
    largest: ResourceAmounts = {}
    for container in spec.get("initContainers") or ():
        own = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            _add_amounts(total, own)
        else:
            for name, value in own.items():
                largest[name] = max(value, largest.get(name, Fraction(0)))
    for name, value in largest.items():
        total[name] = max(value, total.get(name, Fraction(0)))
    return total


def _container_requests(container: Json) -> ResourceAmounts:
    """A limit without a request counts as a request."""
    resources = container.get("resources") or {}
    named = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity_or_zero(value) for name, value in named.items()}


def _add_amounts(total: ResourceAmounts, more: ResourceAmounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Fraction(0)) + value


def _reject(
    pod: Json, node: Json, need: ResourceAmounts, taken: ResourceAmounts, count: int
) -> NodeRejection | None:
    """The rejection by the first filter, in the scheduler's order; None where the Pod fits."""
    spec, node_spec = pod["spec"], node.get("spec") or {}
    tolerations = spec.get("tolerations") or ()
    if node_spec.get("unschedulable"):
        return NodeRejection((event_messages.UNSCHEDULABLE_NODE,), True)
    for taint in node_spec.get("taints") or ():
        if taint.get("effect") in _BLOCKING_EFFECTS and not any(
            _tolerates(t, taint) for t in tolerations
        ):
            return NodeRejection((event_messages.UNTOLERATED_TAINT,), True)
    labels = (node["metadata"].get("labels") or {}).items()
    if not (spec.get("nodeSelector") or {}).items() <= labels or not _matches_node_affinity(
        spec, node
    ):
        return NodeRejection((event_messages.SELECTOR_MISMATCH,), True)
    free = _allocatable(node)
    short, final = [], False
    if count + 1 > free.get("pods", Fraction(110)):
        short.append(event_messages.TOO_MANY_PODS)
    for name, asked in need.items():
        have = free.get(name, Fraction(0))
        if asked > have - taken.get(name, Fraction(0)):
            short.append(event_messages.INSUFFICIENT.format(resource=name))
            final = final or asked > have
    return NodeRejection(tuple(short), final) if short else None


def _matches_node_affinity(spec: Json, node: Json) -> bool:
    """requiredDuringScheduling node affinity: one of the terms must match."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    labels = node["metadata"].get("labels") or {}
    for term in required.get("nodeSelectorTerms") or ():
        rules = term.get("matchExpressions") or ()
        if rules and all(_matches_expression(rule, labels) for rule in rules):
            return True
    return False


def _matches_expression(rule: Json, labels: Json) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values") or ()
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(rule.get("operator", ""), False)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(key) and (toleration.get("value") or "") == (taint.get("value") or "")


def _score(node: Json, need: ResourceAmounts, taken: ResourceAmounts) -> Fraction:
    """NodeResourcesFit with LeastAllocated over cpu and memory."""
    score = Fraction(0)
    free = _allocatable(node)
    for name in ("cpu", "memory"):
        have = free.get(name, Fraction(0))
        if have:
            score += (have - taken.get(name, Fraction(0)) - need.get(name, Fraction(0))) / have
    return score


def _allocatable(node: Json) -> ResourceAmounts:
    found = (node.get("status") or {}).get("allocatable") or {}
    return {name: quantity_or_zero(value) for name, value in found.items()}


def _scheduling_fields(node: Json, field: str) -> object:
    part = node.get(field) or {}
    return part.get("labels") if field == "metadata" else part


def _needs_scheduling(pod: Json) -> bool:
    spec = pod.get("spec") or {}
    return (
        not spec.get("nodeName")
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        and not spec.get("schedulingGates")
        and not condition_is_true(pod, "PodScheduled")
    )


def _set_scheduled_condition(pod: Json, new: Json) -> None:
    status = pod.setdefault("status", {})
    others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    generation = {"observedGeneration": pod["metadata"]["generation"]}
    entry = {"type": "PodScheduled", **generation, "lastProbeTime": None, **new}
    status["conditions"] = [*others, entry]
    if new["status"] == "False":
        status.setdefault("phase", "Pending")
