"""A Pod's READY, STATUS and RESTARTS as kubectl prints them, and the order of Pods in a list."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import ContainerStateTerminated, ContainerStatus, Pod
from servedeck.serving.status.diagnosis import PodHealth


class PodColumns(NamedTuple):
    """kubectl's columns of one Pod."""

    ready_count: int
    total_count: int
    """Containers counted in READY: the main ones and restartable init containers (sidecars)."""
    status: str
    restart_count: int
    last_finished_at: datetime | None
    """Finish time of the last terminated instance, None if unknown."""

    @property
    def ready(self) -> str:
        """The READY column, "1/2"."""
        return f"{self.ready_count}/{self.total_count}"


def is_ready(pod: Pod) -> bool:
    """Whether the Pod's Ready condition is True, which Services use."""
    return _is_condition_true(pod, "Ready")


def pod_columns(pod: Pod) -> PodColumns:
    """READY, STATUS and RESTARTS as in the API server's table, and so in kubectl.

    Source: kubernetes v1.36 pkg/printers/internalversion/printers.go, printPod.
    """
    status = pod.status.reason or pod.status.phase
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "SchedulingGated":
            status = "SchedulingGated"

    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    total = len(pod.spec.containers) + sum(
        container.restart_policy == "Always" for container in pod.spec.init_containers
    )
    ready = restarts = sidecar_restarts = 0
    last: datetime | None = None
    sidecar_last: datetime | None = None

    initializing = False
    for index, container in enumerate(pod.status.init_container_statuses):
        sidecar = container.name in sidecars
        restarts += container.restart_count
        last = _latest_finish(last, container)
        if sidecar:
            sidecar_restarts += container.restart_count
            sidecar_last = _latest_finish(sidecar_last, container)
        terminated = container.state.terminated
        if terminated is not None and terminated.exit_code == 0:
            continue
        if sidecar and container.started:
            ready += container.ready
            continue
        waiting = container.state.waiting
        if terminated is not None:
            status = f"Init:{_termination_reason(terminated)}"
        elif waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
            status = f"Init:{waiting.reason}"
        else:
            status = f"Init:{index}/{len(pod.spec.init_containers)}"
        initializing = True
        break

    if not initializing or _is_condition_true(pod, "Initialized"):
        restarts, last = sidecar_restarts, sidecar_last
        running = False
        error = ""
        # From last to first, so that the first container's reason wins.
        for container in reversed(pod.status.container_statuses):
            restarts += container.restart_count
            last = _latest_finish(last, container)
            state = container.state
            if state.waiting is not None and state.waiting.reason:
                status = state.waiting.reason
            elif state.terminated is not None:
                status = _termination_reason(state.terminated)
                if state.terminated.exit_code != 0:
                    error = status
            elif container.ready and state.running is not None:
                running = True
                ready += 1
        if status == "Completed":
            if running and is_ready(pod):
                status = "Running"
            elif error:
                status = error
            elif running:
                status = "NotReady"

    if pod.metadata.deletion_timestamp is not None:
        if pod.status.reason == "NodeLost":
            status = "Unknown"
        elif pod.status.phase not in ("Succeeded", "Failed"):
            status = "Terminating"
    return PodColumns(ready, total, status, restarts, last)


def format_restarts(columns: PodColumns, now: datetime) -> str:
    """The RESTARTS column, "0" or "3 (5m ago)"."""
    if columns.restart_count == 0 or columns.last_finished_at is None:
        return str(columns.restart_count)
    ago = format_duration((now - columns.last_finished_at).total_seconds())
    return f"{columns.restart_count} ({ago} ago)"


def _is_condition_true(pod: Pod, kind: str) -> bool:
    return any(c.type == kind and c.status == "True" for c in pod.status.conditions)


def _latest_finish(last: datetime | None, container: ContainerStatus) -> datetime | None:
    """The later of `last` and the finish time of the container's previous instance."""
    terminated = container.last_state.terminated
    if terminated is None or terminated.finished_at is None:
        return last
    return terminated.finished_at if last is None else max(last, terminated.finished_at)


def _termination_reason(terminated: ContainerStateTerminated) -> str:
    if terminated.reason:
        return terminated.reason
    if terminated.signal:
        return f"Signal:{terminated.signal}"
    return f"ExitCode:{terminated.exit_code}"


PodSortKey = tuple[int, bool, int, bool, bool, float, float, int, float, str, str]

_HEALTH_ORDER = {PodHealth.ERROR: 0, PodHealth.PENDING: 1, PodHealth.TERMINATING: 3}
_FAILED_ORDER = 4
"""Of a Pod that has failed for good: a ReplicaSet leaves hundreds of them behind."""
_PHASE_ORDER = {"Unknown": 1, "Running": 2}
_NO_TIME = float("-inf")


def pod_sort_key(pod: Pod, health: PodHealth = PodHealth.OK) -> PodSortKey:
    """Sort key: failing Pods first, then in kubectl's order, then terminating ones, and last those
    that have failed for good.

    kubectl's order: not assigned to a node, phase Pending before Unknown before Running, not ready,
    being deleted, ready for less time, more restarts, newer (kubernetes kubectl
    pkg/util/podutils/podutils.go, ActivePods). Ties are sorted by name and uid, so no two Pods have
    the same key.
    """
    ready_since = _NO_TIME
    ready = False
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            ready = True
            ready_since = _descending_time(condition.last_transition_time)
            break
    deleted = pod.metadata.deletion_timestamp
    is_failed = pod.status.phase == "Failed" and deleted is None
    return (
        _FAILED_ORDER if is_failed else _HEALTH_ORDER.get(health, 2),
        pod.spec.node_name != "",
        _PHASE_ORDER.get(pod.status.phase, 0),
        ready,
        deleted is None,
        0.0 if deleted is None else deleted.timestamp(),
        ready_since,
        -max((c.restart_count for c in pod.status.container_statuses), default=0),
        _descending_time(pod.metadata.creation_timestamp),
        pod.metadata.name,
        pod.metadata.uid,
    )


def _descending_time(time: datetime | None) -> float:
    return _NO_TIME if time is None else -time.timestamp()
