"""A Pod that starts: init containers, creation, probes, readiness gates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from servedeck.serving.objects.records import Condition, ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import find_cause
from servedeck.serving.status.container_failures import describe_end
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.events import event_time, newest_first
from servedeck.serving.status.pod_fields import (
    add_delay,
    concerns_container,
    container_statuses,
    find_condition,
    restart_count_text,
)
from servedeck.serving.temperature import TEMPERATURE_GATE, heat_text

_NODE_EVENT_LEAD = timedelta(minutes=1)
"""The node lifecycle controller writes the Event and then the Pod's condition."""


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
        return _diagnose_not_ready(pod, container, events)
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


def _diagnose_not_ready(pod: Pod, container: ContainerStatus, events: Sequence[Event]) -> Diagnosis:
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
        detail = f": {found.detail}" if found.detail else ""
        cause = find_cause(
            Finding(Signal.PROBE_EVENT, found.kind, event.message, {"detail": detail})
        )
        if cause is not None:
            raw, message = event.message, f"{container.name} {cause.text}"
        break
    last = container.last_state.terminated
    if last is not None and container.restart_count:
        ended = describe_end(pod, container, last, events)[0]
        message += f" ({restart_count_text(container)}, last: {ended})"
    return Diagnosis(
        PodHealth.STARTING, reason, reasons.shorten(message), container.name, raw_message=raw
    )


def _is_before_transition(event: Event, ready: Condition | None) -> bool:
    """Whether the Pod was ready again after the Event."""
    time = event_time(event)
    if time is None or ready is None or ready.last_transition_time is None:
        return False
    return time < add_delay(ready.last_transition_time, -_NODE_EVENT_LEAD)


def _diagnose_temperature(condition: Condition | None) -> Diagnosis:
    """The gate of the temperature policy is closed, or was never set."""
    if condition is None:
        message = (
            "The controller of the temperature policy has not set the Pod's readiness gate "
            f"{TEMPERATURE_GATE}; check that servedeck controller runs"
        )
        return Diagnosis(PodHealth.STARTING, "ReadinessGate", message)
    heat = heat_text(condition.reason, condition.message)
    why = f"accelerator at {condition.message}" if heat else condition.message
    message = f"The temperature policy has taken it out of traffic: {why}"
    return Diagnosis(
        PodHealth.STARTING,
        heat or "ReadinessGate",
        reasons.shorten(message),
        raw_message=condition.message,
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
        if gate.condition_type == TEMPERATURE_GATE:
            return _diagnose_temperature(condition)
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
        if event.reason == "NodeNotReady" and not _is_before_transition(event, ready):
            message = f"Its node {pod.spec.node_name} is not ready"
            return Diagnosis(PodHealth.ERROR, "NodeNotReady", message, raw_message=event.message)
    raw = ready.message if ready is not None else ""
    why = raw or "its node may not respond"
    message = reasons.shorten(f"All containers are ready but the Pod is not: {why}")
    return Diagnosis(PodHealth.STARTING, "NotReady", message, raw_message=raw)
