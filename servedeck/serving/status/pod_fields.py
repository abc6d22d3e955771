"""Reads single facts from a Pod and its container statuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from servedeck.serving.objects.records import (
    Condition,
    ContainerStatus,
    Event,
    Pod,
    PodContainer,
)


def container_statuses(pod: Pod) -> Iterator[tuple[bool, ContainerStatus]]:
    """Whether it is an init container, and its status: init containers first, as they start."""
    for container in pod.status.init_container_statuses:
        yield True, container
    for container in pod.status.container_statuses:
        yield False, container


def find_condition(pod: Pod, kind: str) -> Condition | None:
    for condition in pod.status.conditions:
        if condition.type == kind:
            return condition
    return None


def restart_time(container: ContainerStatus) -> datetime | None:
    """When the container restarted; None if it never did."""
    terminated = container.last_state.terminated
    if terminated is None:
        return None
    running = container.state.running
    times = [
        time
        for time in (terminated.finished_at, running.started_at if running is not None else None)
        if time is not None
    ]
    return max(times, default=None)


def restart_count_text(container: ContainerStatus) -> str:
    count = container.restart_count
    return "restarted once" if count == 1 else f"restarted {count} times"


def memory_limit(pod: Pod, container: str) -> str | None:
    """The container's memory limit as written; None if it has none, "" if the container is
    unknown."""
    spec = find_container(pod, container)
    if spec is None:
        return ""
    limit = spec.resources.limits.get("memory")
    return None if limit is None else str(limit)


def find_container(pod: Pod, name: str) -> PodContainer | None:
    """The container of that name in the Pod's spec; None if it is unknown."""
    for spec in (*pod.spec.containers, *pod.spec.init_containers):
        if spec.name == name:
            return spec
    return None


def end_time(pod: Pod) -> datetime | None:
    """When a Pod that ended did so. A Pod that its node rejected has no containers, and ended when
    it was created."""
    ended = [
        container.state.terminated.finished_at
        for _, container in container_statuses(pod)
        if container.state.terminated is not None
    ]
    changed = [condition.last_transition_time for condition in pod.status.conditions]
    times = [time for time in (*ended, *changed) if time is not None]
    return max(times, default=pod.metadata.creation_timestamp)


def node_values(pod: Pod) -> dict[str, str]:
    """The Pod's node for the texts of the failure causes: "node gpu-1", or "its node" before it is
    assigned."""
    name = pod.spec.node_name
    return {
        "node": f"node {name}" if name else "its node",
        "Node": f"Node {name}" if name else "Its node",
        "Its_node": f"Its node {name}" if name else "Its node",
    }


def concerns_container(event: Event, container: str) -> bool:
    """Whether the Event is about no container, or about this one:
    "spec.containers{inference-server}"."""
    path = event.involved_object.field_path
    return not path or path.endswith(f"{{{container}}}")


def add_delay(time: datetime, delay: timedelta) -> datetime:
    """`time + delay`; if the sum overflows (invalid objects), `time` is returned unchanged."""
    try:
        return time + delay
    except OverflowError:
        return time
