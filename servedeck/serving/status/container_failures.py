"""Failure reasons in containers: crashes, start errors, image pulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from servedeck.serving.objects.records import (
    ContainerStateTerminated,
    ContainerStatus,
    Event,
    Pod,
)
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import RankedCause, find_main_cause, to_diagnosis
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.events import newest_first
from servedeck.serving.status.log_error import LogErrorMatch
from servedeck.serving.status.log_errors import find_log_error
from servedeck.serving.status.pod_fields import (
    add_delay,
    concerns_container,
    container_statuses,
    memory_limit,
    node_values,
    restart_count_text,
    restart_time,
)
from servedeck.serving.status.probe_kills import find_probe_kill

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
    """The cause that tells most of those in the Pod's containers: first what is failing now, then
    what failed a moment ago, then an image that cannot be pulled."""
    found = find_main_cause(_container_findings(pod, events, now))
    if found is None:
        return None
    finding = found.finding
    if finding.signal is Signal.IMAGE:
        return to_diagnosis(found)
    message = f"{finding.container} {found.text}"
    statuses = (one for _, one in container_statuses(pod))
    status = next((one for one in statuses if one.name == finding.container), None)
    if status is not None and status.restart_count and finding.signal is not Signal.WAITING:
        message += f" ({restart_count_text(status)})"
    if advice := finding.values.get("advice"):
        message += f". {advice}"
    return to_diagnosis(found, message)._replace(is_unexplained=_is_unexplained(found))


def _is_unexplained(found: RankedCause) -> bool:
    """Whether only the exit code says how the container ended, or a signal."""
    return found.finding.signal is Signal.TERMINATED and found.cause.reasons.startswith("Error")


def _container_findings(pod: Pod, events: Sequence[Event], now: datetime) -> Iterator[Finding]:
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    for init, container in container_statuses(pod):
        waiting, terminated = container.state.waiting, container.state.terminated
        reason = waiting.reason if waiting is not None else ""
        if reason in _IMAGE_REASONS:
            yield _image_finding(pod, container, events)
        elif reason == "CrashLoopBackOff":
            # The cause is how the last instance ended, not the back-off.
            if (last := container.last_state.terminated) is not None:
                yield from termination_findings(pod, container, last, events)
            else:
                yield _waiting_finding(pod, container, events)
        elif waiting is not None and _is_error_reason(reason):
            yield _waiting_finding(pod, container, events)
        elif terminated is not None:
            if terminated.exit_code or not init or container.name in sidecars:
                yield from termination_findings(pod, container, terminated, events)
        elif not container.ready and container.restart_count:
            restarted, last = restart_time(container), container.last_state.terminated
            if restarted is not None and last is not None:
                until = add_delay(restarted, RECENT_RESTART_WINDOW)
                if now < until:
                    for finding in termination_findings(pod, container, last, events):
                        yield finding._replace(is_recent=True, reevaluate_at=until)


def _is_error_reason(reason: str) -> bool:
    """Whether a waiting container's reason is an error: CreateContainerConfigError,
    CreateContainerError, PreCreateHookError, PreStartHookError, PostStartHookError,
    RunContainerError (kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_container.go,
    pkg/kubelet/container/sync_result.go), and later ones by their pattern."""
    return reason.endswith(("Error", "BackOff", "Failed")) or reason.startswith("Err")


def termination_findings(
    pod: Pod,
    container: ContainerStatus,
    terminated: ContainerStateTerminated,
    events: Sequence[Event] = (),
) -> Iterator[Finding]:
    """How an instance of the container ended, and the probe that killed it, if one did.

    A known error at the end of its log tells more than its exit code and a probe that killed it.
    OOMKilled is only reported if the kernel killed the container's first process: a killed worker
    process appears as an ordinary exit code.
    """
    detail = reasons.last_nonempty_line(terminated.message)
    limit = memory_limit(pod, container.name)
    shown = reasons.termination_reason(terminated)
    ended = Finding(
        Signal.TERMINATED,
        terminated.reason or "Error",
        terminated.message,
        {
            **node_values(pod),
            "start_failed": "could not start",
            "why": reasons.strip_runtime_wrappers(terminated.message),
            "detail": f": {detail}" if detail else "",
            "comma_detail": f", {detail}" if detail else "",
            "limit": limit or "",
            "no_limit": "true" if limit is None else "",
            "shown": shown,
            "exit_code": str(terminated.exit_code),
            "signal_name": reasons.signal_name(terminated),
        },
        reasons.shell_exit_code(terminated),
        container.name,
        shown_reason=shown,
        time=terminated.finished_at,
    )
    yield ended
    known = _find_log_error(terminated.message) if terminated.exit_code else None
    if known is not None:
        yield ended._replace(
            signal=Signal.LOG_ERROR,
            values={"known": known.text, "advice": known.advice},
            shown_reason=known.error.title,
        )
    killer = find_probe_kill(pod, container.name, terminated, events)
    if killer is not None:
        yield ended._replace(
            signal=Signal.KILLED_BY_PROBE,
            reason=killer.kind,
            values={
                "detail": f": {killer.detail}" if killer.detail else "",
                "allowed": killer.allowed,
            },
            shown_reason=f"{killer.kind} probe failed",
        )


@lru_cache(maxsize=512)
def _find_log_error(message: str) -> LogErrorMatch | None:
    """The known error in the last lines of a container's log, which the kubelet puts in its message
    (terminationMessagePolicy FallbackToLogsOnError). A Pod is evaluated more often than its
    containers end."""
    return find_log_error(message.splitlines())


def describe_end(
    pod: Pod,
    container: ContainerStatus,
    terminated: ContainerStateTerminated,
    events: Sequence[Event] = (),
) -> tuple[str, str]:
    """Short reason for how an instance of the container ended, and the predicate of a sentence
    after the container's name: "exceeded its memory limit of 1Gi and was killed (OOMKilled)"."""
    found = find_main_cause(termination_findings(pod, container, terminated, events))
    assert found is not None, "the table has a row for every terminated container"
    return found.finding.shown_reason, found.text


def _waiting_finding(pod: Pod, container: ContainerStatus, events: Sequence[Event]) -> Finding:
    """A container that its node cannot create or start."""
    waiting, last = container.state.waiting, container.last_state.terminated
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    if not raw and reason == "PostStartHookError":
        raw = _newest_message(container, events, "FailedPostStartHook")
    if not raw and last is not None:
        raw = last.message
    why = reasons.strip_runtime_wrappers(raw)
    started = reason in ("RunContainerError", "PostStartHookError")
    return Finding(
        Signal.WAITING,
        reason,
        raw,
        {
            **node_values(pod),
            "start_failed": f"cannot be {'started' if started else 'created'}",
            "why": why,
            "colon_why": f": {why}" if why else "",
        },
        container=container.name,
    )


def _image_finding(pod: Pod, container: ContainerStatus, events: Sequence[Event]) -> Finding:
    waiting = container.state.waiting
    reason = waiting.reason if waiting is not None else ""
    raw = waiting.message if waiting is not None else ""
    image, why = reasons.parse_image_pull_error(raw)
    if reason in _IMAGE_PULL_REASONS:
        reason = "ImagePullBackOff"
        if not why:
            # Kubelets before 1.31 report the registry's response only in the Event.
            raw = _newest_message(container, events, "Failed", "Failed to pull image") or raw
            image, why = reasons.parse_image_pull_error(raw)
    name = container.name
    return Finding(
        Signal.IMAGE,
        reason,
        raw,
        {
            **node_values(pod),
            "Image": f"Image {image} of {name}" if image else f"The image of {name}",
            "why": why,
        },
        container=name,
    )


def _newest_message(
    container: ContainerStatus, events: Sequence[Event], reason: str, begin: str = ""
) -> str:
    """Message of the newest Event with that reason about the container, after its last successful
    pull; "" if there is none."""
    for event in newest_first(events):
        if not concerns_container(event, container.name):
            continue
        if event.reason == "Pulled":
            return ""
        if event.reason == reason and event.message.startswith(begin):
            return event.message
    return ""
