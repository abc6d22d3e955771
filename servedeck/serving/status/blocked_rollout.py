"""A rollout that waits for resources which only the old Pods of the same serving hold: with
maxUnavailable 0 none of them stops before a new Pod is available, so it never goes on.

Sources: kubernetes pkg/controller/deployment/rolling.go (reconcileOldReplicaSets),
ai-runway/airunway#400, kserve/kserve#4618.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from servedeck.serving.capacity import format_requests
from servedeck.serving.objects.records import DeploymentSpec, Pod, Workload
from servedeck.serving.pod_requests import ResourceList, container_requests
from servedeck.serving.spec.rollouts import unblocking_rollout
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.pod_fields import find_condition
from servedeck.serving.status.scheduling_failures import parse_scheduling_failure
from servedeck.serving.status.strategy import Strategy, resolve_strategy
from servedeck.serving.text import format_count

_CORDONED = "node(s) were unschedulable"
_NODE_TAINT = "node.kubernetes.io/"
"""Taints of the node controller, for a node that is not ready or has no resources left."""


class BlockedRollout(NamedTuple):
    message: str
    """Why it cannot go on, in one sentence."""
    way_out: str
    """Value of the field rollout with which it goes on: an old Pod stops first."""


def find_blocked_rollout(
    deployment: Workload,
    new_pods: Sequence[tuple[Pod, Diagnosis]],
    old_pods: Iterable[Pod],
) -> BlockedRollout | None:
    """The rollout in progress if its own old Pods block it, as far as known.

    `new_pods` are those of the current revision that no node has the resources for, `old_pods` all
    of other revisions. They block it if one of them requests at least as much of what is missing as
    a new Pod, runs on a node that a new Pod may run on, and does not end yet: when it stops, a new
    Pod fits in its place.
    """
    strategy = read_strategy(deployment.spec)
    if deployment.spec.paused or strategy.type != "RollingUpdate" or strategy.unavailable_pods:
        return None
    if deployment.metadata.generation > deployment.status.observed_generation:
        return None
    waiting = [pair for pair in new_pods if _waits_for_resources(*pair)]
    if not waiting:
        return None
    pod, diagnosis = waiting[0]
    missing = {one.resource: one.requested for one in diagnosis.insufficient_resources}
    placed = [one for one in old_pods if one.spec.node_name and not _is_finished(one)]
    holding = [one for one in placed if _holds(one, pod, missing)]
    if any(one.metadata.deletion_timestamp for one in holding):
        return None  # there is room soon
    nodes = {one.spec.node_name for one in holding}
    if len(nodes) <= _closed_nodes(pod):
        return None
    pods = "the old Pod" if len(holding) == 1 else format_count(len(holding), "old Pod")
    hold = "holds" if len(holding) == 1 else "hold"
    return BlockedRollout(
        f"A new Pod needs {format_requests(missing)}, which {pods} of this serving {hold}; with "
        f"maxUnavailable {strategy.unavailable_text} no old Pod stops before a new one is "
        "available, so the rollout waits.",
        unblocking_rollout(deployment.spec.replicas, len(placed)),
    )


def read_strategy(spec: DeploymentSpec) -> Strategy:
    """How the Deployment of a record replaces its Pods."""
    rolling = spec.strategy.rolling_update
    return resolve_strategy(
        spec.strategy.type, rolling.max_surge, rolling.max_unavailable, spec.replicas
    )


def _waits_for_resources(pod: Pod, diagnosis: Diagnosis) -> bool:
    return (
        bool(diagnosis.insufficient_resources)
        and not pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
    )


def _is_finished(pod: Pod) -> bool:
    return pod.status.phase in ("Failed", "Succeeded")


def _holds(old: Pod, new: Pod, missing: ResourceList) -> bool:
    """Whether an old Pod requests at least as much as is missing, on a node that has the labels
    that the new Pod selects."""
    if not new.spec.node_selector.items() <= old.spec.node_selector.items():
        return False
    requests = container_requests(old.spec.containers, old.spec.init_containers)
    return all(requests.get(key, 0) >= amount for key, amount in missing.items())


def _closed_nodes(pod: Pod) -> int:
    """Number of nodes that take no new Pod for a reason which a node with running Pods can have:
    each may be the node of an old Pod."""
    condition = find_condition(pod, "PodScheduled")
    found = parse_scheduling_failure(condition.message) if condition is not None else None
    return sum(
        nodes
        for nodes, why in (found.node_reasons if found is not None else ())
        if why.startswith(_CORDONED) or _NODE_TAINT in why
    )
