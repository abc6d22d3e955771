"""What a rollout of a changed Pod template means now: how many Pods it replaces, whether capacity
stays up meanwhile, and whether the nodes have room for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from servedeck.serving.capacity import (
    NodeCapacity,
    PlacedPod,
    format_requests,
    requests_of,
    simulate_scheduling,
)
from servedeck.serving.duration import format_duration
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_time,
)
from servedeck.serving.spec.rollouts import REPLACE, unblocking_rollout
from servedeck.serving.status.revisions import Revision, count, is_observed
from servedeck.serving.status.rollout_status import (
    desired_replicas,
    find_condition,
    read_strategy,
    was_interrupted,
)
from servedeck.serving.status.strategy import Strategy
from servedeck.serving.text import format_count


@dataclass(frozen=True, slots=True)
class RestartForecast:
    pods: int
    """Number of Pods that are replaced, of those that exist now."""
    replicas: int
    """Desired number of Pods after the change."""
    strategy: Strategy
    min_available: int
    """Number of Pods that stay available during the rollout, of those that are available now."""
    requests: str
    """What a new Pod requests, "8 NVIDIA GPU, 64Gi memory"."""
    surge_fits: bool | None
    """Whether a node has room for the new Pod that must come first; None if it is unknown or does
    not matter, because an old Pod may stop first."""
    last_duration: timedelta | None = None
    """Duration of the last rollout; None if it is unknown."""
    has_available: bool = True
    """Whether a Pod is available now."""
    has_room: bool | None = None
    """Whether a node has room for one more Pod now; None if it is unknown."""
    replacement_fits: bool | None = None
    """Whether a node has room for a new Pod as soon as one old Pod has stopped; None if it is
    unknown."""
    obstacle: str = ""
    """Why no node can run a new Pod, whatever stops on it: "4 excluded by node selector or
    affinity"; "" if one could."""
    way_out: str = REPLACE
    """Value of the field rollout with which an old Pod stops first."""
    continues: bool = False
    """The Pod template stays: a rollout that waits goes on, because old Pods may stop now."""
    scaled_by: int = 0
    """Number of replicas after the change less that before. The Deployment controller scales before
    it replaces Pods (kubernetes pkg/controller/deployment/deployment_controller.go,
    syncDeployment): more replicas start with the old Pod template, and are replaced, too."""

    @property
    def summary(self) -> str:
        """In sentences: "3 Pods restart (RollingUpdate, …); at least 2 of 3 stay available. …"."""
        restart = _restart_text(self.pods)
        if self.scaled_by and self.pods:
            scaled = format_count(abs(self.scaled_by), "Pod")
            one = abs(self.scaled_by) == 1
            if self.scaled_by > 0:
                start = f"{scaled} {'starts' if one else 'start'} with the old Pod template first"
                restart = f"{start}; then {_restart_text(self.pods + self.scaled_by)}"
            else:
                restart = f"{scaled} {'stops' if one else 'stop'} first; then {restart}"
        if self.continues:
            are = "is" if self.pods == 1 else "are"
            old = format_count(self.pods, "old Pod")
            restart = f"The rollout that waits goes on, and {old} {are} replaced"
        elif not self.pods:
            restart = "No Pod restarts: those of an earlier revision have this template and go on"
        if self.min_available:
            stay = "stays" if self.replicas == 1 else "stay"
            capacity = f"at least {self.min_available} of {self.replicas} {stay} available"
        else:
            capacity = (
                "none is available meanwhile" if self.has_available else "none is available now"
            )
        text = f"{restart} ({self.strategy}); {capacity}."
        if self.last_duration is not None:
            text += f" The last rollout took {format_duration(self.last_duration.total_seconds())}."
        loses_pods = not self.strategy.surge_pods and self.min_available < self.replicas
        if (
            self.has_room and loses_pods and not self.continues
        ):  # one that goes on did not wait for room
            text += " A node has room for one more Pod: with rollout=surge none stops first."
        return text

    @property
    def issues(self) -> tuple[Issue, ...]:
        """A warning where no node has room for the new Pod that must come first, or not even in
        place of an old Pod that stops first."""
        if self.surge_fits is False:
            return (warning("rollout", self._no_room_beside),)
        if self.surge_fits is None and self.replacement_fits is False:
            meanwhile = "one Pod fewer serves meanwhile"
            if not self.min_available:
                meanwhile = f"nothing is served {'meanwhile' if self.has_available else 'now'}"
            text = (
                f"No node has room for a new Pod ({self.requests}), not even in place of an old "
                f"one: it will wait, and {meanwhile}. Free these resources first."
            )
            if self.obstacle:
                text = (
                    f"No node can run a new Pod ({self.obstacle}): it will wait, and {meanwhile}."
                )
            return (warning("rollout", text),)
        return ()

    @property
    def can_replace(self) -> bool:
        """Whether the rollout would wait for room that an old Pod makes when it stops first."""
        return self.surge_fits is False and self.replacement_fits is not False

    @property
    def _no_room_beside(self) -> str:
        limit = f"maxUnavailable {self.strategy.unavailable_text}"
        keeps = f"{limit} keeps each old Pod until a new one is available"
        if self.strategy.unavailable_pods:
            are = "is" if self.min_available == 1 else "are"
            short = f"only {self.min_available} of {self.replicas} {are} available"
            keeps = f"{short}, so that {limit} lets no old Pod stop"
        if self.obstacle:
            return (
                f"No node can run a new Pod ({self.obstacle}): the rollout will wait, and {keeps}."
            )
        beside = format_count(self.pods, "old Pod")
        text = f"No node has room for a new Pod ({self.requests}) beside {beside}, and {keeps}"
        text += ": the rollout will wait. Free these resources first"
        if not self.can_replace:
            return f"{text}; an old Pod that stops does not make enough room."
        text += f", or set rollout={shlex.quote(self.way_out)}: an old Pod then stops first"
        stops_serving = self.replicas == 1 and self.has_available
        return f"{text}, and nothing is served meanwhile." if stops_serving else f"{text}."


def forecast_restart(
    live: JsonObject,
    changed: JsonObject,
    nodes: Sequence[NodeCapacity] | None = None,
    last_duration: timedelta | None = None,
    reused: int = 0,
    own_pods: Sequence[PlacedPod] | None = None,
) -> RestartForecast:
    """The rollout of a change of a Deployment that restarts Pods, or lets a rollout go on. `nodes`
    and `own_pods`, those of the Deployment, are None if they are unknown; `reused` is the number of
    Pods that an earlier revision with the wanted Pod template still has: they go on, as when a
    rollout that waits is taken back.

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
    continues = unblocks_rollout(live, changed)
    before = desired_replicas(live)
    scaled_by = replicas - before
    needs_room = is_rolling and reused < replicas and _keeps_old_pods(strategy, replicas, available)
    if strategy.unavailable_pods and (own_pods is None or len(own_pods) > available):
        needs_room = False  # unavailable old Pods stop in any case, and make room
    has_room = replacement_fits = None
    obstacle = ""
    if nodes is not None and is_rolling and (continues or reused < replicas):
        found = simulate_scheduling(pod_spec, 1, nodes)
        has_room, obstacle = found.schedulable_replicas > 0, found.obstacle
        if not has_room and scaled_by < 0:  # Pods that are not wanted any more stop first
            has_room = _fits_in_place(pod_spec, nodes, own_pods, -scaled_by)
        if needs_room or strategy.unavailable_pods == 1:
            in_place = False if obstacle else _fits_in_place(pod_spec, nodes, own_pods)
            replacement_fits = has_room or in_place
    return RestartForecast(
        pods=_old_pods(live) if continues else max(min(before, replicas) - reused, 0),
        replicas=replicas,
        strategy=strategy,
        min_available=max(min_available, 0),
        requests=format_requests(requests_of(pod_spec)),
        surge_fits=has_room if needs_room else None,
        last_duration=last_duration,
        has_available=available > 0,
        has_room=has_room,
        replacement_fits=replacement_fits,
        obstacle=obstacle,
        way_out=unblocking_rollout(replicas, max(available, len(own_pods or ()))),
        continues=continues,
        scaled_by=scaled_by if before and replicas else 0,
    )


def restarts_pods(live: JsonObject, changed: JsonObject) -> bool:
    """Whether a change of a Deployment replaces Pods: the Pod template differs, it has Pods and
    keeps some, and it is not paused."""
    before, after = as_mapping(live, "spec"), as_mapping(changed, "spec")
    has_pods = bool(desired_replicas(live) and desired_replicas(changed))
    return has_pods and not after.get("paused") and before.get("template") != after.get("template")


def _keeps_old_pods(strategy: Strategy, replicas: int, available: int) -> bool:
    """Whether no available old Pod stops before a new Pod is available (kubernetes
    pkg/controller/deployment/rolling.go, reconcileOldReplicaSets)."""
    if not strategy.unavailable_pods:
        return strategy.surge_pods > 0
    return available <= replicas - strategy.unavailable_pods


def unblocks_rollout(live: JsonObject, changed: JsonObject) -> bool:
    """Whether a change of a Deployment's strategy lets old Pods stop that a rollout in progress
    keeps: then they stop at once, although the Pod template stays."""
    before, after = as_mapping(live, "spec"), as_mapping(changed, "spec")
    if before.get("template") != after.get("template") or after.get("paused"):
        return False
    if not (_old_pods(live) and desired_replicas(changed) and is_observed(live)):
        return False
    old, new = read_strategy(live), read_strategy(changed)
    if old.type == "Recreate":
        return False
    return new.type == "Recreate" or new.unavailable_pods > old.unavailable_pods


def _old_pods(live: JsonObject) -> int:
    """Number of Pods of earlier revisions."""
    status = as_mapping(live, "status")
    return max(count(status.get("replicas")) - count(status.get("updatedReplicas")), 0)


def last_rollout_duration(deployment: JsonObject, current: Revision | None) -> timedelta | None:
    """From the creation of the current ReplicaSet until the controller reported it as available,
    which it does once, and again after a pause (kubernetes pkg/controller/deployment/progress.go).
    None if it is not complete, was interrupted, or an old ReplicaSet was used again."""
    progressing = find_condition(deployment, "Progressing")
    ended = as_time(progressing.get("lastUpdateTime"))
    is_complete = progressing.get("reason") == "NewReplicaSetAvailable"
    if current is None or current.created is None or current.is_reused or not is_complete:
        return None
    if was_interrupted(deployment, current.created):
        return None
    return ended - current.created if ended is not None and ended > current.created else None


def _restart_text(pods: int) -> str:
    return "1 Pod restarts" if pods == 1 else f"{pods:,} Pods restart"


def _has_room(pod_spec: Any, nodes: Sequence[NodeCapacity]) -> bool:
    return simulate_scheduling(pod_spec, 1, nodes).schedulable_replicas > 0


def _fits_in_place(
    pod_spec: Any,
    nodes: Sequence[NodeCapacity],
    own_pods: Sequence[PlacedPod] | None,
    stopping: int = 1,
) -> bool | None:
    """Whether a node could have room once so many of these Pods have stopped; None if they are
    unknown."""
    if own_pods is None:
        return None
    for node in nodes:
        for pod in [one for one in own_pods if one.node == node.name][:stopping]:
            node = node.without(pod)
            if _has_room(pod_spec, [node]):
                return True
    return False
