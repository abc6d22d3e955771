"""What a rollout of a changed Pod template means now: how many Pods it replaces, whether capacity
stays up meanwhile, and whether the nodes have room for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from servedeck.serving.capacity import (
    NodeCapacity,
    SchedulingResult,
    format_requests,
    simulate_scheduling,
)
from servedeck.serving.duration import format_duration
from servedeck.serving.node_selection import may_run_on
from servedeck.serving.pod_requests import PodRequests, pod_requests
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_time,
    mappings,
)
from servedeck.serving.status.revisions import Revision, count
from servedeck.serving.status.rollout_status import (
    Strategy,
    desired_replicas,
    find_condition,
    read_strategy,
)
from servedeck.serving.text import format_count


@dataclass(frozen=True, slots=True)
class RestartForecast:
    pods: int
    """Number of Pods that are replaced."""
    replicas: int
    """Desired number of Pods after the change."""
    strategy: Strategy
    min_available: int
    """Number of Pods that stay available during the rollout, of those that are available now."""
    requests: str
    """What a new Pod requests, "8 NVIDIA GPU, 64Gi memory"."""
    surge_fits: bool | None
    """Whether a node has room for one more Pod now; None if it is unknown or does not matter,
    because an old Pod may end first."""
    last_duration: timedelta | None = None
    """Duration of the last rollout; None if it is unknown."""

    @property
    def keeps_capacity(self) -> bool:
        """Whether as many Pods as desired stay available."""
        return self.min_available >= self.replicas

    @property
    def summary(self) -> str:
        """In sentences: "3 Pods restart (RollingUpdate, …); at least 2 of 3 stay available. …"."""
        restart = "1 Pod restarts" if self.pods == 1 else f"{self.pods:,} Pods restart"
        if not self.pods:
            restart = "No Pod restarts: those of an earlier revision have this template and go on"
        if self.min_available:
            stay = "stays" if self.replicas == 1 else "stay"
            capacity = f"at least {self.min_available} of {self.replicas} {stay} available"
        else:
            capacity = "none is available meanwhile"
        text = f"{restart} ({self.strategy}); {capacity}."
        if self.last_duration is not None:
            text += f" The last rollout took {format_duration(self.last_duration.total_seconds())}."
        return text

    @property
    def issues(self) -> tuple[Issue, ...]:
        """A warning where no node has room for the new Pod that must come first."""
        if self.surge_fits is not False:
            return ()
        beside = format_count(self.pods, "old Pod")
        return (
            warning(
                "replicas",
                f"No node has room for a new Pod ({self.requests}) beside {beside}, and "
                "maxUnavailable of 0 keeps each old Pod until a new one is available: the rollout "
                "will wait. Free these resources first, or set maxSurge to 0 and maxUnavailable "
                "to 1 in the Deployment.",
            ),
        )


def forecast_restart(
    live: JsonObject,
    changed: JsonObject,
    nodes: Sequence[NodeCapacity] | None = None,
    last_duration: timedelta | None = None,
    reused: int = 0,
) -> RestartForecast:
    """The rollout of a change of a Deployment that restarts Pods. `nodes` are None if they are
    unknown; `reused` is the number of Pods that an earlier revision with the wanted Pod template
    still has: they go on, as when a rollout that waits is taken back.

    At least the desired number minus maxUnavailable stay available (kubernetes
    pkg/controller/deployment/util/deployment_util.go, MinAvailable), none with Recreate.
    """
    spec = as_mapping(changed, "spec")
    replicas = desired_replicas(changed)
    strategy = read_strategy(changed)
    available = count(as_mapping(live, "status").get("availableReplicas"))
    is_rolling = strategy.type == "RollingUpdate"
    min_available = min(available, replicas - strategy.unavailable_pods) if is_rolling else 0
    pod_spec = as_mapping(spec, "template", "spec")
    needs_surge = (
        is_rolling
        and strategy.surge_pods > 0
        and strategy.unavailable_pods == 0
        and reused < replicas
    )
    return RestartForecast(
        pods=max(desired_replicas(live) - reused, 0),
        replicas=replicas,
        strategy=strategy,
        min_available=max(min_available, 0),
        requests=format_requests(_requests(pod_spec)),
        surge_fits=_has_room(pod_spec, nodes) if needs_surge and nodes is not None else None,
        last_duration=last_duration,
    )


def restarts_pods(live: JsonObject, changed: JsonObject) -> bool:
    """Whether a change of a Deployment replaces Pods: the Pod template differs, it has Pods and
    keeps some, and it is not paused."""
    before, after = as_mapping(live, "spec"), as_mapping(changed, "spec")
    has_pods = bool(desired_replicas(live) and desired_replicas(changed))
    return has_pods and not after.get("paused") and before.get("template") != after.get("template")


def last_rollout_duration(deployment: JsonObject, current: Revision | None) -> timedelta | None:
    """From the creation of the current ReplicaSet until the controller reported it as available,
    which it does once (kubernetes pkg/controller/deployment/progress.go). None if it is not
    complete, or an old ReplicaSet was used again."""
    progressing = find_condition(deployment, "Progressing")
    ended = as_time(progressing.get("lastUpdateTime"))
    is_complete = progressing.get("reason") == "NewReplicaSetAvailable"
    if current is None or current.created is None or current.previous_numbers or not is_complete:
        return None
    return ended - current.created if ended is not None and ended > current.created else None


def _requests(pod_spec: Any) -> dict[str, Any]:
    try:
        return pod_requests(msgspec.convert({"spec": pod_spec}, PodRequests, strict=False))
    except (msgspec.ValidationError, UnicodeError):  # not our object
        return {}


def _has_room(pod_spec: Any, nodes: Sequence[NodeCapacity]) -> bool:
    return simulate_pods(pod_spec, 1, nodes).schedulable_replicas > 0


def simulate_pods(
    pod_spec: Mapping[str, Any], pods: int, nodes: Sequence[NodeCapacity]
) -> SchedulingResult:
    """How many of these Pods can be scheduled now on the nodes that they select."""
    selected = [one for one in nodes if may_run_on(pod_spec, one.name, one.labels)]
    tolerations = mappings(pod_spec.get("tolerations"))
    return simulate_scheduling(_requests(pod_spec), pods, selected, tolerations)
