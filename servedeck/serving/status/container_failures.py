"""Failure reasons in containers: crashes, start errors, image pulls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from servedeck.serving.objects.records import ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.events import event_time, newest_first
from servedeck.serving.status.pod_fields import (
    add_delay,
    concerns_container,
    container_statuses,
    memory_limit,
    restart_count_text,
    restart_time,
)

RECENT_RESTART_WINDOW = timedelta(minutes=10)
"""A Pod that restarted within this time and is not ready keeps its error, so that the status does
not flap between CrashLoopBackOff and Running with the back-off (at most five minutes)."""
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


def diagnose_containers(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis | None:
    """The failing container: first one in error now, then one recently in error, then one whose
    image cannot be pulled."""
    lately: Diagnosis | None = None
    pulling: Diagnosis | None = None
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    for init, container in container_statuses(pod):
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
            restarted = restart_time(container)
            if restarted is not None and now < (
                until := add_delay(restarted, RECENT_RESTART_WINDOW)
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
    """A terminated container: the reason is that of the terminated instance, not the back-off."""
    terminated = container.state.terminated or container.last_state.terminated
    if terminated is None:
        waiting = container.state.waiting
        why = waiting.message if waiting is not None else ""
        message = reasons.shorten(f"{container.name} keeps crashing{f': {why}' if why else ''}")
        return Diagnosis(
            PodHealth.ERROR, "CrashLoopBackOff", message, container.name, raw_message=why
        )
    reason, words = reasons.describe_termination(terminated, memory_limit(pod, container.name))
    killer = None
    if terminated.exit_code in (137, 143) and terminated.reason != "OOMKilled":
        killer = _find_killing_probe(container, terminated.finished_at, events)
    if killer is not None:
        reason = f"{killer.kind} probe failed"
        words = f"was killed because its {reason}: {killer.detail}"
    message = f"{container.name} {words}"
    if container.restart_count:
        message += f" ({restart_count_text(container)})"
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
            or not concerns_container(event, container.name)
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
