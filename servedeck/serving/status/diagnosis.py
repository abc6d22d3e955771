"""Why a Pod does not serve: its cause, not its symptom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.capacity import Amounts, Scarce, container_requests, described
from servedeck.serving.objects.records import Condition, ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.events import event_time, newest_first

LATELY = timedelta(minutes=10)
"""A Pod that restarted within this time and is not ready keeps its error, so that the status does
not flap between CrashLoopBackOff and Running with the back-off (at most five minutes)."""
OVERDUE = timedelta(seconds=30)
"""A Pod that is still there this long after its grace period ended is stuck."""
FRESH = timedelta(minutes=5)
"""The kubelet tries a mount or sandbox again at least every two to three minutes: an older Event
about it tells of trouble that is over."""


class Health(StrEnum):
    """What a Pod contributes to the status of its serving."""

    OK = "ok"
    STARTING = "starting"
    PENDING = "pending"
    ERROR = "error"
    TERMINATING = "terminating"


class Finding(NamedTuple):
    """What is the matter with one Pod."""

    health: Health
    reason: str = ""
    """Short cause, "OOMKilled"; "" for a healthy Pod."""
    message: str = ""
    """The cause in one sentence for an operator."""
    container: str = ""
    """Container that the cause lies in; "" where it is the Pod's."""
    until: datetime | None = None
    """When the Pod must be judged again although nothing about it changed; None for never."""
    evidence: str = ""
    """The cluster's own text behind `message`, unshortened; "" where there is none."""
    scarce: tuple[Scarce, ...] = ()
    """Resources of which nodes have not enough free."""


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
# The first attempt fails as one, the back-off after it as the other: shown as one, or the reason
# would change with every attempt.
_PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff"})


def diagnose(pod: Pod, events: Sequence[Event], now: datetime) -> Finding:
    """The first cause, from the Pod's end to its start, that keeps the Pod from serving.

    `events` are the Pod's own, in any order; they add causes that the Pod's status does not hold
    (volumes, sandboxes, probes, its node) and may be empty: Events live for an hour.
    """
    found = _first_cause(pod, events, now)
    if found is _HEALTHY:
        return found
    return found._replace(
        reason=reasons.shorten(found.reason), message=reasons.whole(found.message)
    )


def _first_cause(pod: Pod, events: Sequence[Event], now: datetime) -> Finding:
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return _terminating(pod, pod.metadata.deletion_timestamp, now)
    if status.phase == "Failed":
        return _failed(pod)
    if status.phase == "Succeeded":
        return Finding(Health.TERMINATING, "Completed", "It ended; its ReplicaSet replaces it")
    ready = _condition(pod, "Ready")
    if ready is not None and ready.status == "True":
        return _serving(pod, now)
    if status.phase == "Unknown" or status.reason == "NodeLost":
        node = pod.spec.node_name
        message = f"Its node{f' {node}' if node else ''} does not answer"
        return Finding(Health.ERROR, status.reason or "Unknown", message, evidence=status.message)
    return (
        _unscheduled(pod)
        or _broken(pod, events, now)
        or _held_up(pod, events, now)
        or _starting(pod, events, ready)
    )


# -- the Pod as a whole -----------------------------------------------------------------------


def _terminating(pod: Pod, deadline: datetime, now: datetime) -> Finding:
    """`deadline` is when the Pod should be gone: the API server adds the grace period to it."""
    overdue = _after(deadline, OVERDUE)
    if now < overdue:
        return Finding(Health.TERMINATING, "Terminating", "It is being deleted", until=overdue)
    finalizers = pod.metadata.finalizers
    if finalizers:
        holder = f"{'finalizer' if len(finalizers) == 1 else 'finalizers'} {', '.join(finalizers)}"
        why = f"waits for {holder}"
    elif pod.spec.node_name:
        why = f"node {pod.spec.node_name} has not confirmed its end"
    else:
        why = "nothing has confirmed its end"
    message = reasons.shorten(
        f"Stuck while being deleted since {deadline:%Y-%m-%d %H:%M} UTC: {why}"
    )
    return Finding(Health.TERMINATING, "Stuck terminating", message)


def _failed(pod: Pod) -> Finding:
    """Evicted, preempted, refused by its node, or ended for good."""
    status = pod.status
    for _, container in _containers(pod):
        terminated = container.state.terminated
        if terminated is not None and terminated.exit_code != 0:
            reason, words = reasons.ended(terminated, _memory_limit(pod, container.name))
            if status.reason:
                break
            return Finding(
                Health.ERROR,
                reason,
                f"{container.name} {words}",
                container.name,
                evidence=terminated.message,
            )
    reason = status.reason or "Failed"
    message = reasons.shorten(status.message) or f"The Pod failed: {reason}"
    return Finding(Health.ERROR, reason, message, evidence=status.message)


def _serving(pod: Pod, now: datetime) -> Finding:
    """A ready Pod; a restart shortly before is worth a word."""
    for container in pod.status.container_statuses:
        if container.restart_count and (restarted := _restarted(container)) is not None:
            until = _after(restarted, LATELY)
            terminated = container.last_state.terminated
            if now < until and terminated is not None:
                _, words = reasons.ended(terminated, _memory_limit(pod, container.name))
                message = f"Ready again, {_times(container)}: {container.name} {words}"
                return Finding(
                    Health.OK,
                    message=message,
                    container=container.name,
                    until=until,
                    evidence=terminated.message,
                )
    return _HEALTHY


_HEALTHY = Finding(Health.OK)


def _unscheduled(pod: Pod) -> Finding | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status != "True":
        if scheduled.reason == "SchedulingGated":
            message = "Held back by a scheduling gate"
            if scheduled.message:
                message = reasons.shorten(f"{message}: {scheduled.message}")
        else:
            message = reasons.unschedulable(scheduled.message)
        reason = scheduled.reason or "Unschedulable"
        short = reasons.scarce(scheduled.message)
        asked = _asked(pod, short)
        scarce = tuple(Scarce(key, amount, short[key]) for key, amount in asked.items())
        if asked:
            message = f"{message}; it asks for {described(asked)} on one node"
        return Finding(Health.PENDING, reason, message, evidence=scheduled.message, scarce=scarce)
    if scheduled is None and not pod.spec.node_name and pod.status.phase in ("", "Pending"):
        return Finding(Health.PENDING, "Unscheduled", "The scheduler has not placed it yet")
    return None


# -- containers that fail ---------------------------------------------------------------------


def _broken(pod: Pod, events: Sequence[Event], now: datetime) -> Finding | None:
    """The failing container: one that is in error now before one that was a moment ago, and both
    before one whose image cannot be pulled."""
    lately: Finding | None = None
    pulling: Finding | None = None
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    for init, container in _containers(pod):
        waiting, terminated = container.state.waiting, container.state.terminated
        reason = waiting.reason if waiting is not None else ""
        if reason in _IMAGE_REASONS:
            pulling = pulling or _image_failure(container, events)
        elif reason == "CrashLoopBackOff":
            return _ended(pod, container, events)
        elif waiting is not None and _is_error(reason):
            return _refused(container)
        elif terminated is not None:
            if terminated.exit_code or not init or container.name in sidecars:
                return _ended(pod, container, events)
        elif lately is None and not container.ready and container.restart_count:
            restarted = _restarted(container)
            if restarted is not None and now < (until := _after(restarted, LATELY)):
                lately = _ended(pod, container, events)._replace(until=until)
    return lately or pulling


def _is_error(reason: str) -> bool:
    """Whether a waiting container's reason tells of an error: CreateContainerConfigError,
    CreateContainerError, PreCreateHookError, PreStartHookError, PostStartHookError,
    RunContainerError (kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_container.go,
    pkg/kubelet/container/sync_result.go), and those of its successors by their form."""
    return reason.endswith(("Error", "BackOff", "Failed")) or reason.startswith("Err")


def _ended(pod: Pod, container: ContainerStatus, events: Sequence[Event]) -> Finding:
    """A container whose instance ended: how, from the instance itself rather than the back-off."""
    terminated = container.state.terminated or container.last_state.terminated
    if terminated is None:
        waiting = container.state.waiting
        why = waiting.message if waiting is not None else ""
        message = reasons.shorten(f"{container.name} keeps ending{f': {why}' if why else ''}")
        return Finding(Health.ERROR, "CrashLoopBackOff", message, container.name, evidence=why)
    reason, words = reasons.ended(terminated, _memory_limit(pod, container.name))
    killer = None
    if terminated.exit_code in (137, 143) and terminated.reason != "OOMKilled":
        killer = _killing_probe(container, terminated.finished_at, events)
    if killer is not None:
        reason = f"{killer.kind} probe failed"
        words = f"was killed because its {reason}: {killer.why}"
    message = f"{container.name} {words}"
    if container.restart_count:
        message += f" ({_times(container)})"
    return Finding(Health.ERROR, reason, message, container.name, evidence=terminated.message)


def _refused(container: ContainerStatus) -> Finding:
    """A container that its node cannot create or start."""
    waiting, last = container.state.waiting, container.last_state.terminated
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    if not raw and last is not None:
        raw = last.message
    why = reasons.runtime(raw)
    verb = "be started" if reason in ("RunContainerError", "PostStartHookError") else "be created"
    message = f"{container.name} cannot {verb}: {why or reason}"
    return Finding(Health.ERROR, reason, message, container.name, evidence=raw)


def _image_failure(container: ContainerStatus, events: Sequence[Event]) -> Finding:
    waiting = container.state.waiting
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    image, why = reasons.image(raw)
    if reason in _PULL_REASONS:
        reason = "ImagePullBackOff"
        if not why:
            # Kubelets before 1.31 leave the registry's answer to the Event alone.
            for event in newest_first(events):
                if event.reason == "Failed" and event.message.startswith("Failed to pull image"):
                    raw = event.message
                    image, why = reasons.image(raw)
                    break
    subject = f"Image {image} of {container.name}" if image else f"The image of {container.name}"
    message = reasons.shorten(f"{subject} cannot be pulled{f': {why}' if why else ''}")
    return Finding(Health.PENDING, reason, message, container.name, evidence=raw)


def _killing_probe(
    container: ContainerStatus, finished: datetime | None, events: Sequence[Event]
) -> reasons.Probe | None:
    """The liveness or startup probe whose failure made the kubelet kill the container."""
    if finished is None:
        return None
    for event in newest_first(events):
        time = event_time(event)
        if event.reason != "Unhealthy" or time is None or not _about(event, container.name):
            continue
        found = reasons.probe(event.message)
        # A container that stops slowly ends up to its grace period after the last failure.
        if (
            found is not None
            and found.kind != "readiness"
            and -LATELY < time - finished <= timedelta(seconds=5)
        ):
            return found
    return None


# -- Pods on their way ------------------------------------------------------------------------


def _held_up(pod: Pod, events: Sequence[Event], now: datetime) -> Finding | None:
    """A Pod whose node cannot set it up: volumes, sandbox, network, devices."""
    if not events or any(container.state.running for _, container in _containers(pod)):
        return None
    for event in newest_first(events):
        time = event_time(event)
        if event.reason not in reasons.SETUP_EVENTS:
            continue
        until = None if time is None else _after(time, FRESH)
        if until is not None and now >= until:
            return None
        return Finding(
            Health.PENDING,
            event.reason,
            reasons.setup(event.reason, event.message),
            until=until,
            evidence=event.message,
        )
    return None


def _starting(pod: Pod, events: Sequence[Event], ready: Condition | None) -> Finding:
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
        return Finding(Health.STARTING, f"Init:{done}/{total}", message, container.name)
    for _, container in _containers(pod):
        if container.ready or container.state.terminated is not None:
            continue
        if container.state.running is None:
            return _creating(pod, container)
        return _not_ready(container, events)
    return _gated(pod, events, ready)


def _creating(pod: Pod, container: ContainerStatus) -> Finding:
    waiting = container.state.waiting
    reason = (waiting.reason if waiting is not None else "") or "ContainerCreating"
    where = f" on node {pod.spec.node_name}" if pod.spec.node_name else ""
    message = f"{container.name} is being created{where}: image, volumes, devices"
    raw = waiting.message if waiting is not None else ""
    if raw:
        message = reasons.shorten(f"{container.name} waits{where}: {raw}")
    return Finding(Health.STARTING, reason, message, container.name, evidence=raw)


def _not_ready(container: ContainerStatus, events: Sequence[Event]) -> Finding:
    """A container that runs and does not answer yet, or no longer."""
    loading = container.started is False
    reason = "Starting" if loading else "NotReady"
    running = container.state.running
    started = running.started_at if running is not None else None
    message = f"{container.name} runs and is not ready yet"
    raw = ""
    for event in newest_first(events):
        time = event_time(event)
        if event.reason != "Unhealthy" or not _about(event, container.name):
            continue
        if started is not None and time is not None and time < started:
            break
        found = reasons.probe(event.message)
        if found is None:
            continue
        raw = event.message
        message = f"{container.name} is not ready: {found.kind} probe failed"
        if found.why:
            message += f": {found.why}"
        break
    last = container.last_state.terminated
    if last is not None and container.restart_count:
        message += f" ({_times(container)}, last: {reasons.ended(last)[0]})"
    return Finding(Health.STARTING, reason, reasons.shorten(message), container.name, evidence=raw)


def _gated(pod: Pod, events: Sequence[Event], ready: Condition | None) -> Finding:
    """All containers are ready, or none is known, and the Pod is not."""
    for gate in pod.spec.readiness_gates:
        condition = _condition(pod, gate.condition_type)
        if condition is not None and condition.status == "True":
            continue
        why = condition.message if condition is not None else "nothing has set it yet"
        message = f"Readiness gate {gate.condition_type} is not met{f': {why}' if why else ''}"
        return Finding(Health.STARTING, "ReadinessGate", reasons.shorten(message), evidence=why)
    if not pod.status.container_statuses:
        where = f"Node {pod.spec.node_name}" if pod.spec.node_name else "Its node"
        return Finding(Health.STARTING, "Starting", f"{where} has not started its containers yet")
    for event in events:
        if event.reason == "NodeNotReady":
            message = f"Its node {pod.spec.node_name} is not ready"
            return Finding(Health.ERROR, "NodeNotReady", message, evidence=event.message)
    raw = ready.message if ready is not None else ""
    why = raw or "its node may not answer"
    message = reasons.shorten(f"All containers are ready and the Pod is not: {why}")
    return Finding(Health.STARTING, "NotReady", message, evidence=raw)


def _asked(pod: Pod, resources: Collection[str]) -> Amounts:
    """How much of these resources the Pod asks for; those that it does not ask for are left out."""
    if not resources:
        return {}
    all_asked = container_requests(pod.spec.containers, pod.spec.init_containers)
    return {key: all_asked[key] for key in resources if all_asked.get(key)}


def _memory_limit(pod: Pod, container: str) -> str | None:
    """The container's memory limit as it is written; None where it has none, "" where the
    container is not known."""
    for spec in (*pod.spec.containers, *pod.spec.init_containers):
        if spec.name == container:
            limit = spec.resources.limits.get("memory")
            return None if limit is None else str(limit)
    return ""


# -- reading a Pod ----------------------------------------------------------------------------


def _containers(pod: Pod) -> Iterator[tuple[bool, ContainerStatus]]:
    """Whether it is an init container, and its status: init containers first, as they start."""
    for container in pod.status.init_container_statuses:
        yield True, container
    for container in pod.status.container_statuses:
        yield False, container


def _condition(pod: Pod, kind: str) -> Condition | None:
    for condition in pod.status.conditions:
        if condition.type == kind:
            return condition
    return None


def _restarted(container: ContainerStatus) -> datetime | None:
    """When the container restarted; None where it never did."""
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


def _after(time: datetime, delay: timedelta) -> datetime:
    """`time + delay`; a time so late that it has no such sum (foreign objects) is left alone."""
    try:
        return time + delay
    except OverflowError:
        return time


def _times(container: ContainerStatus) -> str:
    count = container.restart_count
    return "restarted once" if count == 1 else f"restarted {count} times"


def _about(event: Event, container: str) -> bool:
    """Whether the Event names no container, or this one: "spec.containers{inference-server}"."""
    path = event.involved_object.field_path
    return not path or path.endswith(f"{{{container}}}")
