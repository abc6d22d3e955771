"""Failure reasons before a Pod is ready: scheduling, setup on the node, probes, readiness gates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from servedeck.serving.capacity import (
    InsufficientResource,
    ResourceList,
    container_requests,
    format_requests,
)
from servedeck.serving.objects.records import Condition, ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.events import event_time, newest_first
from servedeck.serving.status.pod_fields import (
    add_delay,
    concerns_container,
    container_statuses,
    find_condition,
    restart_count_text,
)

SETUP_EVENT_MAX_AGE = timedelta(minutes=5)
"""The kubelet retries a mount or sandbox at least every two to three minutes: an older Event about
it is a resolved failure."""


def diagnose_unscheduled(pod: Pod) -> Diagnosis | None:
    scheduled = find_condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status != "True":
        if scheduled.reason == "SchedulingGated":
            message = "Blocked by a scheduling gate"
            if scheduled.message:
                message = reasons.shorten(f"{message}: {scheduled.message}")
        else:
            message = reasons.describe_unschedulable(scheduled.message)
        reason = scheduled.reason or "Unschedulable"
        short = reasons.insufficient_resources(scheduled.message)
        asked = _requested_amounts(pod, short)
        insufficient = tuple(
            InsufficientResource(key, amount, short[key]) for key, amount in asked.items()
        )
        if asked:
            message = f"{message}; it requests {format_requests(asked)} on one node"
        return Diagnosis(
            PodHealth.PENDING,
            reason,
            message,
            raw_message=scheduled.message,
            insufficient_resources=insufficient,
        )
    if scheduled is None and not pod.spec.node_name and pod.status.phase in ("", "Pending"):
        return Diagnosis(PodHealth.PENDING, "Unscheduled", "Not scheduled yet")
    return None


def _requested_amounts(pod: Pod, resources: Collection[str]) -> ResourceList:
    """The Pod's requests of these resources; those that it does not request are omitted."""
    if not resources:
        return {}
    all_asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return {key: all_asked[key] for key in resources if all_asked.get(key)}


def diagnose_setup(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis | None:
    """A Pod whose node cannot set it up: volumes, sandbox, network, devices."""
    if not events or any(container.state.running for _, container in container_statuses(pod)):
        return None
    for event in newest_first(events):
        time = event_time(event)
        if event.reason not in reasons.SETUP_EVENT_REASONS:
            continue
        until = None if time is None else add_delay(time, SETUP_EVENT_MAX_AGE)
        if until is not None and now >= until:
            return None
        return Diagnosis(
            PodHealth.PENDING,
            event.reason,
            reasons.describe_setup_error(event.reason, event.message),
            reevaluate_at=until,
            raw_message=event.message,
        )
    return None


def diagnose_starting(pod: Pod, events: Sequence[Event], ready: Condition | None) -> Diagnosis:
    done = 0
    for index, container in enumerate(pod.status.init_container_statuses):
        terminated = container.state.terminated
        if (terminated is not None and terminated.exit_code == 0) or container.started:
            done = index + 1
            continue
        if container.state.running is None:
            break
        total = max(len(pod.spec.init_containers), done + 1)
        message = f"Init container {container.name} is running, {done} of {total} are done"
        return Diagnosis(PodHealth.STARTING, f"Init:{done}/{total}", message, container.name)
    for _, container in container_statuses(pod):
        if container.ready or container.state.terminated is not None:
            continue
        if container.state.running is None:
            return _diagnose_creating(pod, container)
        return _diagnose_not_ready(container, events)
    return _diagnose_readiness_gates(pod, events, ready)


def _diagnose_creating(pod: Pod, container: ContainerStatus) -> Diagnosis:
    waiting = container.state.waiting
    reason = (waiting.reason if waiting is not None else "") or "ContainerCreating"
    where = f" on node {pod.spec.node_name}" if pod.spec.node_name else ""
    message = f"{container.name} is being created{where} (image pull, volumes, devices)"
    raw = waiting.message if waiting is not None else ""
    if raw:
        message = reasons.shorten(f"{container.name} is waiting{where}: {raw}")
    return Diagnosis(PodHealth.STARTING, reason, message, container.name, raw_message=raw)


def _diagnose_not_ready(container: ContainerStatus, events: Sequence[Event]) -> Diagnosis:
    """A running container that is not ready yet, or no longer ready."""
    loading = container.started is False
    reason = "Starting" if loading else "NotReady"
    running = container.state.running
    started = running.started_at if running is not None else None
    message = f"{container.name} is running but not ready yet"
    raw = ""
    for event in newest_first(events):
        time = event_time(event)
        if event.reason != "Unhealthy" or not concerns_container(event, container.name):
            continue
        if started is not None and time is not None and time < started:
            break
        found = reasons.parse_probe_failure(event.message)
        if found is None:
            continue
        raw = event.message
        message = f"{container.name} is not ready: {found.kind} probe failed"
        if found.detail:
            message += f": {found.detail}"
        break
    last = container.last_state.terminated
    if last is not None and container.restart_count:
        message += (
            f" ({restart_count_text(container)}, last: {reasons.describe_termination(last)[0]})"
        )
    return Diagnosis(
        PodHealth.STARTING, reason, reasons.shorten(message), container.name, raw_message=raw
    )


def _diagnose_readiness_gates(
    pod: Pod, events: Sequence[Event], ready: Condition | None
) -> Diagnosis:
    """All containers are ready, or none is reported, and the Pod is not ready."""
    for gate in pod.spec.readiness_gates:
        condition = find_condition(pod, gate.condition_type)
        if condition is not None and condition.status == "True":
            continue
        why = condition.message if condition is not None else "the condition is not set"
        message = f"Readiness gate {gate.condition_type} is not met{f': {why}' if why else ''}"
        return Diagnosis(
            PodHealth.STARTING, "ReadinessGate", reasons.shorten(message), raw_message=why
        )
    if not pod.status.container_statuses:
        where = f"Node {pod.spec.node_name}" if pod.spec.node_name else "Its node"
        return Diagnosis(
            PodHealth.STARTING, "Starting", f"{where} has not started its containers yet"
        )
    for event in events:
        if event.reason == "NodeNotReady":
            message = f"Its node {pod.spec.node_name} is not ready"
            return Diagnosis(PodHealth.ERROR, "NodeNotReady", message, raw_message=event.message)
    raw = ready.message if ready is not None else ""
    why = raw or "its node may not respond"
    message = reasons.shorten(f"All containers are ready but the Pod is not: {why}")
    return Diagnosis(PodHealth.STARTING, "NotReady", message, raw_message=raw)
