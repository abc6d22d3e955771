"""Diagnoses why a Pod does not serve: the failure reason, not the symptom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import find_main_cause, to_diagnosis
from servedeck.serving.status.container_failures import (
    RECENT_RESTART_WINDOW,
    describe_end,
    diagnose_containers,
)
from servedeck.serving.status.diagnosis import HEALTHY, Diagnosis, PodHealth
from servedeck.serving.status.pod_fields import (
    add_delay,
    container_statuses,
    end_time,
    find_condition,
    node_values,
    restart_count_text,
    restart_time,
)
from servedeck.serving.status.pod_startup import diagnose_starting
from servedeck.serving.status.scheduling_failures import diagnose_unscheduled
from servedeck.serving.status.setup_failures import diagnose_setup

STUCK_TERMINATING_DELAY = timedelta(seconds=30)
"""A Pod that is still there this long after its grace period ended is stuck."""


def diagnose(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis:
    """The reason that prevents the Pod from serving: the first in the order of the table of failure
    causes (`failure_causes.py`) of what is not history.

    `events` are the Pod's own, in any order; they add reasons that the Pod's status does not
    contain (volumes, sandboxes, probes, its node) and may be empty: Events expire after an hour.
    Normal Events show which failures are history, and may be missing. `now` is the API server's
    time.
    """
    found = _first_diagnosis(pod, events, now)
    if found is HEALTHY:
        return found
    reason = reasons.shorten(found.reason)
    if found.reason and not reason:
        reason = "Unknown"  # it was blank
    return found._replace(reason=reason, message=reasons.shorten_message(found.message))


def _first_diagnosis(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis:
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return _diagnose_terminating(pod, pod.metadata.deletion_timestamp, now)
    if status.phase == "Failed":
        return _mark_history(pod, _diagnose_failed(pod), now)
    if status.phase == "Succeeded":
        owner = next((one for one in pod.metadata.owner_references if one.controller), None)
        then = f"its {owner.kind} replaces it" if owner is not None else "nothing replaces it"
        return Diagnosis(PodHealth.TERMINATING, "Completed", f"The Pod terminated; {then}")
    ready = find_condition(pod, "Ready")
    if ready is not None and ready.status == "True":
        return _diagnose_ready(pod, events, now)
    if status.phase == "Unknown" or status.reason == "NodeLost":
        return _diagnose_pod_status(pod, status.reason or "Unknown")
    return (
        diagnose_unscheduled(pod, events)
        or diagnose_containers(pod, events, now)
        or diagnose_setup(pod, events, now)
        or diagnose_starting(pod, events, ready)
    )


def _diagnose_terminating(pod: Pod, deadline: datetime, now: datetime) -> Diagnosis:
    """`deadline` is when the Pod should be gone: the API server adds the grace period to it."""
    overdue = add_delay(deadline, STUCK_TERMINATING_DELAY)
    if now < overdue:
        return Diagnosis(
            PodHealth.TERMINATING, "Terminating", "It is being deleted", reevaluate_at=overdue
        )
    finalizers = pod.metadata.finalizers
    if finalizers:
        holder = f"{'finalizer' if len(finalizers) == 1 else 'finalizers'} {', '.join(finalizers)}"
        why = f"waiting for {holder}"
    elif pod.spec.node_name:
        why = f"node {pod.spec.node_name} has not confirmed its deletion"
    else:
        why = "its deletion is not confirmed"
    message = reasons.shorten(f"Stuck terminating since {deadline:%Y-%m-%d %H:%M} UTC: {why}")
    return Diagnosis(PodHealth.TERMINATING, "Stuck terminating", message)


def _mark_history(pod: Pod, found: Diagnosis, now: datetime) -> Diagnosis:
    """A Pod that ended is a cause as long as a restart is: its replacement may end as it did."""
    ended = end_time(pod)
    until = None if ended is None else add_delay(ended, RECENT_RESTART_WINDOW)
    if until is not None and now < until:
        return found._replace(reevaluate_at=until)
    return found._replace(is_history=True)


def _diagnose_failed(pod: Pod) -> Diagnosis:
    """Evicted, preempted, rejected by its node, or failed."""
    status = pod.status
    if not status.reason:
        for _, container in container_statuses(pod):
            terminated = container.state.terminated
            if terminated is not None and terminated.exit_code != 0:
                reason, words = describe_end(pod, container, terminated)
                return Diagnosis(
                    PodHealth.ERROR,
                    reason,
                    f"{container.name} {words}",
                    container.name,
                    raw_message=terminated.message,
                )
    return _diagnose_pod_status(pod, status.reason or "Failed")


def _diagnose_pod_status(pod: Pod, reason: str) -> Diagnosis:
    message = pod.status.message
    why = reasons.strip_admission_wrappers(message)
    found = find_main_cause(
        [Finding(Signal.POD_STATUS, reason, message, {**node_values(pod), "why": why})]
    )
    assert found is not None, "the table has a row for every reason of a Pod's status"
    return to_diagnosis(found)


def _diagnose_ready(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis:
    """A ready Pod; a recent restart is reported."""
    for container in pod.status.container_statuses:
        if container.restart_count and (restarted := restart_time(container)) is not None:
            until = add_delay(restarted, RECENT_RESTART_WINDOW)
            terminated = container.last_state.terminated
            if now < until and terminated is not None:
                _, words = describe_end(pod, container, terminated, events)
                message = f"Ready again, {restart_count_text(container)}: {container.name} {words}"
                return Diagnosis(
                    PodHealth.OK,
                    message=message,
                    container=container.name,
                    reevaluate_at=until,
                    raw_message=terminated.message,
                )
    return HEALTHY
