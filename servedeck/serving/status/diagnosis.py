"""Why a Pod does not serve: the cause, not the symptom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.capacity import (
    InsufficientResource,
    ResourceList,
    container_requests,
    format_requests,
)
from servedeck.serving.objects.records import Condition, ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.events import event_time, newest_first

RECENT_RESTART_WINDOW = timedelta(minutes=10)
"""A Pod that restarted within this time and is not ready keeps its error, so that the status does
not flap between CrashLoopBackOff and Running with the back-off (at most five minutes)."""
STUCK_TERMINATING_DELAY = timedelta(seconds=30)
"""A Pod that is still there this long after its grace period ended is stuck."""
SETUP_EVENT_MAX_AGE = timedelta(minutes=5)
"""The kubelet retries a mount or sandbox at least every two to three minutes: an older Event about
it is a resolved failure."""


class PodHealth(StrEnum):
    """Health of a Pod, used for the status of its serving."""

    OK = "ok"
    STARTING = "starting"
    PENDING = "pending"
    ERROR = "error"
    TERMINATING = "terminating"


class Diagnosis(NamedTuple):
    """The diagnosis of one Pod."""

    health: PodHealth
    reason: str = ""
    """Short cause, "OOMKilled"; "" for a healthy Pod."""
    message: str = ""
    """The cause in one sentence for an operator."""
    container: str = ""
    """Container with the cause; "" if it is the Pod itself."""
    reevaluate_at: datetime | None = None
    """When to reevaluate the Pod although it did not change; None for never."""
    raw_message: str = ""
    """The cluster's full text for `message`; "" if there is none."""
    insufficient_resources: tuple[InsufficientResource, ...] = ()
    """Resources of which nodes have too little free."""


# kubernetes v1.36 pkg/kubelet/images/types.go
_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
# The attempt fails with the first, the back-off after it with the second: shown as one reason,
# which would otherwise change with every attempt.
_IMAGE_PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff"})


def diagnose(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis:
    """The first cause, from the Pod's end to its start, that prevents the Pod from serving.

    `events` are the Pod's own, in any order; they add causes that the Pod's status does not contain
    (volumes, sandboxes, probes, its node) and may be empty: Events expire after an hour.
    """
    found = _first_diagnosis(pod, events, now)
    if found is _HEALTHY:
        return found
    return found._replace(
        reason=reasons.shorten(found.reason), message=reasons.shorten_message(found.message)
    )


def _first_diagnosis(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis:
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return _diagnose_terminating(pod, pod.metadata.deletion_timestamp, now)
    if status.phase == "Failed":
        return _diagnose_failed(pod)
    if status.phase == "Succeeded":
        return Diagnosis(PodHealth.TERMINATING, "Completed", "It ended; its ReplicaSet replaces it")
    ready = _find_condition(pod, "Ready")
    if ready is not None and ready.status == "True":
        return _diagnose_ready(pod, now)
    if status.phase == "Unknown" or status.reason == "NodeLost":
        node = pod.spec.node_name
        message = f"Its node{f' {node}' if node else ''} does not respond"
        return Diagnosis(
            PodHealth.ERROR, status.reason or "Unknown", message, raw_message=status.message
        )
    return (
        _diagnose_unscheduled(pod)
        or _diagnose_containers(pod, events, now)
        or _diagnose_setup(pod, events, now)
        or _diagnose_starting(pod, events, ready)
    )


# -- the Pod as a whole -----------------------------------------------------------------------


def _diagnose_terminating(pod: Pod, deadline: datetime, now: datetime) -> Diagnosis:
    """`deadline` is when the Pod should be gone: the API server adds the grace period to it."""
    overdue = _add_delay(deadline, STUCK_TERMINATING_DELAY)
    if now < overdue:
        return Diagnosis(
            PodHealth.TERMINATING, "Terminating", "It is being deleted", reevaluate_at=overdue
        )
    finalizers = pod.metadata.finalizers
    if finalizers:
        holder = f"{'finalizer' if len(finalizers) == 1 else 'finalizers'} {', '.join(finalizers)}"
        why = f"waits for {holder}"
    elif pod.spec.node_name:
        why = f"node {pod.spec.node_name} has not confirmed its deletion"
    else:
        why = "its deletion is not confirmed"
    message = reasons.shorten(
        f"Stuck while being deleted since {deadline:%Y-%m-%d %H:%M} UTC: {why}"
    )
    return Diagnosis(PodHealth.TERMINATING, "Stuck terminating", message)


def _diagnose_failed(pod: Pod) -> Diagnosis:
    """Evicted, preempted, rejected by its node, or failed."""
    status = pod.status
    for _, container in _container_statuses(pod):
        terminated = container.state.terminated
        if terminated is not None and terminated.exit_code != 0:
            reason, words = reasons.describe_termination(
                terminated, _memory_limit(pod, container.name)
            )
            if status.reason:
                break
            return Diagnosis(
                PodHealth.ERROR,
                reason,
                f"{container.name} {words}",
                container.name,
                raw_message=terminated.message,
            )
    reason = status.reason or "Failed"
    message = reasons.shorten(status.message) or f"The Pod failed: {reason}"
    return Diagnosis(PodHealth.ERROR, reason, message, raw_message=status.message)


def _diagnose_ready(pod: Pod, now: datetime) -> Diagnosis:
    """A ready Pod; a recent restart is reported."""
    for container in pod.status.container_statuses:
        if container.restart_count and (restarted := _restart_time(container)) is not None:
            until = _add_delay(restarted, RECENT_RESTART_WINDOW)
            terminated = container.last_state.terminated
            if now < until and terminated is not None:
                _, words = reasons.describe_termination(
                    terminated, _memory_limit(pod, container.name)
                )
                message = f"Ready again, {_restart_count_text(container)}: {container.name} {words}"
                return Diagnosis(
                    PodHealth.OK,
                    message=message,
                    container=container.name,
                    reevaluate_at=until,
                    raw_message=terminated.message,
                )
    return _HEALTHY


_HEALTHY = Diagnosis(PodHealth.OK)


def _diagnose_unscheduled(pod: Pod) -> Diagnosis | None:
    scheduled = _find_condition(pod, "PodScheduled")
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
        scarce = tuple(
            InsufficientResource(key, amount, short[key]) for key, amount in asked.items()
        )
        if asked:
            message = f"{message}; it requests {format_requests(asked)} on one node"
        return Diagnosis(
            PodHealth.PENDING,
            reason,
            message,
            raw_message=scheduled.message,
            insufficient_resources=scarce,
        )
    if scheduled is None and not pod.spec.node_name and pod.status.phase in ("", "Pending"):
        return Diagnosis(PodHealth.PENDING, "Unscheduled", "Not scheduled yet")
    return None


# -- containers that fail ---------------------------------------------------------------------


def _diagnose_containers(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis | None:
    """The failing container: first one in error now, then one recently in error, then one whose
    image cannot be pulled."""
    lately: Diagnosis | None = None
    pulling: Diagnosis | None = None
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    for init, container in _container_statuses(pod):
        waiting, terminated = container.state.waiting, container.state.terminated
        reason = waiting.reason if waiting is not None else ""
        if reason in _IMAGE_REASONS:
            pulling = pulling or _diagnose_image_pull(container, events)
        elif reason == "CrashLoopBackOff":
            return _diagnose_terminated(pod, container, events)
        elif waiting is not None and _is_error_reason(reason):
            return _diagnose_start_error(container)
        elif terminated is not None:
            if terminated.exit_code or not init or container.name in sidecars:
                return _diagnose_terminated(pod, container, events)
        elif lately is None and not container.ready and container.restart_count:
            restarted = _restart_time(container)
            if restarted is not None and now < (
                until := _add_delay(restarted, RECENT_RESTART_WINDOW)
            ):
                lately = _diagnose_terminated(pod, container, events)._replace(reevaluate_at=until)
    return lately or pulling


def _is_error_reason(reason: str) -> bool:
    """Whether a waiting container's reason is an error: CreateContainerConfigError,
    CreateContainerError, PreCreateHookError, PreStartHookError, PostStartHookError,
    RunContainerError (kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_container.go,
    pkg/kubelet/container/sync_result.go), and later ones by their pattern."""
    return reason.endswith(("Error", "BackOff", "Failed")) or reason.startswith("Err")


def _diagnose_terminated(
    pod: Pod, container: ContainerStatus, events: Sequence[Event]
) -> Diagnosis:
    """A terminated container: the cause is from the terminated instance, not the back-off."""
    terminated = container.state.terminated or container.last_state.terminated
    if terminated is None:
        waiting = container.state.waiting
        why = waiting.message if waiting is not None else ""
        message = reasons.shorten(f"{container.name} keeps crashing{f': {why}' if why else ''}")
        return Diagnosis(
            PodHealth.ERROR, "CrashLoopBackOff", message, container.name, raw_message=why
        )
    reason, words = reasons.describe_termination(terminated, _memory_limit(pod, container.name))
    killer = None
    if terminated.exit_code in (137, 143) and terminated.reason != "OOMKilled":
        killer = _find_killing_probe(container, terminated.finished_at, events)
    if killer is not None:
        reason = f"{killer.kind} probe failed"
        words = f"was killed because its {reason}: {killer.detail}"
    message = f"{container.name} {words}"
    if container.restart_count:
        message += f" ({_restart_count_text(container)})"
    return Diagnosis(
        PodHealth.ERROR, reason, message, container.name, raw_message=terminated.message
    )


def _diagnose_start_error(container: ContainerStatus) -> Diagnosis:
    """A container that its node cannot create or start."""
    waiting, last = container.state.waiting, container.last_state.terminated
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    if not raw and last is not None:
        raw = last.message
    why = reasons.strip_runtime_wrappers(raw)
    verb = "be started" if reason in ("RunContainerError", "PostStartHookError") else "be created"
    message = f"{container.name} cannot {verb}: {why or reason}"
    return Diagnosis(PodHealth.ERROR, reason, message, container.name, raw_message=raw)


def _diagnose_image_pull(container: ContainerStatus, events: Sequence[Event]) -> Diagnosis:
    waiting = container.state.waiting
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    image, why = reasons.parse_image_pull_error(raw)
    if reason in _IMAGE_PULL_REASONS:
        reason = "ImagePullBackOff"
        if not why:
            # Kubelets before 1.31 report the registry's response only in the Event.
            for event in newest_first(events):
                if event.reason == "Failed" and event.message.startswith("Failed to pull image"):
                    raw = event.message
                    image, why = reasons.parse_image_pull_error(raw)
                    break
    subject = f"Image {image} of {container.name}" if image else f"The image of {container.name}"
    message = reasons.shorten(f"{subject} cannot be pulled{f': {why}' if why else ''}")
    return Diagnosis(PodHealth.PENDING, reason, message, container.name, raw_message=raw)


def _find_killing_probe(
    container: ContainerStatus, finished: datetime | None, events: Sequence[Event]
) -> reasons.ProbeFailure | None:
    """The liveness or startup probe whose failure caused the kubelet to kill the container."""
    if finished is None:
        return None
    for event in newest_first(events):
        time = event_time(event)
        if (
            event.reason != "Unhealthy"
            or time is None
            or not _concerns_container(event, container.name)
        ):
            continue
        found = reasons.parse_probe_failure(event.message)
        # A container may terminate up to its grace period after the last failure.
        if (
            found is not None
            and found.kind != "readiness"
            and -RECENT_RESTART_WINDOW < time - finished <= timedelta(seconds=5)
        ):
            return found
    return None


# -- Pods on their way ------------------------------------------------------------------------


def _diagnose_setup(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis | None:
    """A Pod whose node cannot set it up: volumes, sandbox, network, devices."""
    if not events or any(container.state.running for _, container in _container_statuses(pod)):
        return None
    for event in newest_first(events):
        time = event_time(event)
        if event.reason not in reasons.SETUP_EVENT_REASONS:
            continue
        until = None if time is None else _add_delay(time, SETUP_EVENT_MAX_AGE)
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


def _diagnose_starting(pod: Pod, events: Sequence[Event], ready: Condition | None) -> Diagnosis:
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
    for _, container in _container_statuses(pod):
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
    message = f"{container.name} is being created{where}: image, volumes, devices"
    raw = waiting.message if waiting is not None else ""
    if raw:
        message = reasons.shorten(f"{container.name} waits{where}: {raw}")
    return Diagnosis(PodHealth.STARTING, reason, message, container.name, raw_message=raw)


def _diagnose_not_ready(container: ContainerStatus, events: Sequence[Event]) -> Diagnosis:
    """A running container that is not ready yet, or no longer ready."""
    loading = container.started is False
    reason = "Starting" if loading else "NotReady"
    running = container.state.running
    started = running.started_at if running is not None else None
    message = f"{container.name} runs and is not ready yet"
    raw = ""
    for event in newest_first(events):
        time = event_time(event)
        if event.reason != "Unhealthy" or not _concerns_container(event, container.name):
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
            f" ({_restart_count_text(container)}, last: {reasons.describe_termination(last)[0]})"
        )
    return Diagnosis(
        PodHealth.STARTING, reason, reasons.shorten(message), container.name, raw_message=raw
    )


def _diagnose_readiness_gates(
    pod: Pod, events: Sequence[Event], ready: Condition | None
) -> Diagnosis:
    """All containers are ready, or none is reported, and the Pod is not ready."""
    for gate in pod.spec.readiness_gates:
        condition = _find_condition(pod, gate.condition_type)
        if condition is not None and condition.status == "True":
            continue
        why = condition.message if condition is not None else "nothing has set it yet"
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
    message = reasons.shorten(f"All containers are ready and the Pod is not: {why}")
    return Diagnosis(PodHealth.STARTING, "NotReady", message, raw_message=raw)


def _requested_amounts(pod: Pod, resources: Collection[str]) -> ResourceList:
    """The Pod's requests of these resources; those that it does not request are omitted."""
    if not resources:
        return {}
    all_asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return {key: all_asked[key] for key in resources if all_asked.get(key)}


def _memory_limit(pod: Pod, container: str) -> str | None:
    """The container's memory limit as written; None if it has none, "" if the container is
    unknown."""
    for spec in (*pod.spec.containers, *pod.spec.init_containers):
        if spec.name == container:
            limit = spec.resources.limits.get("memory")
            return None if limit is None else str(limit)
    return ""


# -- reading a Pod ----------------------------------------------------------------------------


def _container_statuses(pod: Pod) -> Iterator[tuple[bool, ContainerStatus]]:
    """Whether it is an init container, and its status: init containers first, as they start."""
    for container in pod.status.init_container_statuses:
        yield True, container
    for container in pod.status.container_statuses:
        yield False, container


def _find_condition(pod: Pod, kind: str) -> Condition | None:
    for condition in pod.status.conditions:
        if condition.type == kind:
            return condition
    return None


def _restart_time(container: ContainerStatus) -> datetime | None:
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


def _add_delay(time: datetime, delay: timedelta) -> datetime:
    """`time + delay`; if the sum overflows (invalid objects), `time` is returned unchanged."""
    try:
        return time + delay
    except OverflowError:
        return time


def _restart_count_text(container: ContainerStatus) -> str:
    count = container.restart_count
    return "restarted once" if count == 1 else f"restarted {count} times"


def _concerns_container(event: Event, container: str) -> bool:
    """Whether the Event is about no container, or about this one:
    "spec.containers{inference-server}"."""
    path = event.involved_object.field_path
    return not path or path.endswith(f"{{{container}}}")
