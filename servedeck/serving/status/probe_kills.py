"""Whether a startup or liveness probe made the kubelet kill a container."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import ContainerStateTerminated, Event, Pod, Probe
from servedeck.serving.status import reasons
from servedeck.serving.status.events import event_count, event_time, newest_first
from servedeck.serving.status.pod_fields import add_delay, concerns_container, find_container

_DEFAULT_GRACE_PERIOD = timedelta(seconds=30)
_TOLERANCE = timedelta(seconds=5)
"""Times in a Pod's status are whole seconds, and a probe takes time itself."""
_MAX_EVENT_AGE = timedelta(minutes=10)
"""Age of the last Event about the probe when the container ended: the kubelet writes one Event in
five minutes after the first 25 (kubernetes client-go tools/record/events_cache.go), and waits for
the grace period."""
# 128 + n for SIGKILL and SIGTERM: somebody else ended the container.
_SIGNAL_EXIT_CODES = (137, 143)
_KILLING_PATTERN = re.compile(r"failed (startup|liveness) probe, will be restarted")
_START_ERROR_REASONS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})


class ProbeKill(NamedTuple):
    kind: str
    """"startup" or "liveness"."""
    detail: str
    """How the probe failed, "" if unknown."""
    allowed: str
    """Time from the start until the startup probe kills: "2m30s"; "" if unknown."""


def find_probe_kill(
    pod: Pod, container: str, terminated: ContainerStateTerminated, events: Sequence[Event]
) -> ProbeKill | None:
    """The probe that made the kubelet kill this instance, whatever its exit code: a server may end
    in order, with 0 or 1, when it receives SIGTERM.

    The kubelet says so in a Killing Event, which is Normal and often not watched. Without it, the
    last failure of the probe and the age of the instance decide: a server that crashes by itself
    while its probe fails ends before the probe's `failureThreshold` is reached.
    """
    if terminated.reason == "OOMKilled" or terminated.reason in _START_ERROR_REASONS:
        return None
    finished = terminated.finished_at
    if finished is None:
        return None
    spec = find_container(pod, container)
    probes: dict[str, Probe | None] = {
        "startup": spec.startup_probe if spec is not None else None,
        "liveness": spec.liveness_probe if spec is not None else None,
    }
    killed_by = _kind_in_killing_event(container, terminated, events)
    for event, failure in _probe_failures(container, events):
        time = event_time(event)
        probe = probes[failure.kind]
        if time is None or time > add_delay(finished, _TOLERANCE):
            continue
        if killed_by:
            if failure.kind != killed_by:
                continue
        elif not _has_killed(pod, failure.kind, probe, terminated, time, event_count(event)):
            continue
        return ProbeKill(failure.kind, failure.detail, _allowed_time(failure.kind, probe))
    if killed_by:
        return ProbeKill(killed_by, "", _allowed_time(killed_by, probes[killed_by]))
    return None


def _probe_failures(
    container: str, events: Sequence[Event]
) -> Iterator[tuple[Event, reasons.ProbeFailure]]:
    """Failures of the container's startup and liveness probes, newest first."""
    for event in newest_first(events):
        if event.reason == "Unhealthy" and concerns_container(event, container):
            failure = reasons.parse_probe_failure(event.message)
            if failure is not None and failure.kind in ("startup", "liveness"):
                yield event, failure


def _kind_in_killing_event(
    container: str, terminated: ContainerStateTerminated, events: Sequence[Event]
) -> str:
    """The probe in the Killing Event of this instance, "" if there is none."""
    finished = terminated.finished_at
    for event in newest_first(events):
        time = event_time(event)
        if (
            event.reason != "Killing"
            or time is None
            or finished is None
            or not concerns_container(event, container)
            or time > add_delay(finished, _TOLERANCE)
        ):
            continue
        oldest = terminated.started_at or add_delay(finished, -_MAX_EVENT_AGE)
        match = _KILLING_PATTERN.search(event.message) if time >= oldest else None
        return match[1] if match is not None else ""
    return ""


def _has_killed(
    pod: Pod,
    kind: str,
    probe: Probe | None,
    terminated: ContainerStateTerminated,
    failed: datetime,
    count: int,
) -> bool:
    """Whether the probe, whose last known failure was at `failed`, killed the instance."""
    finished, started = terminated.finished_at, terminated.started_at
    assert finished is not None
    if probe is None or started is None:
        # Too little is known to tell it from a crash: the probe is the better guess.
        return finished - failed < _MAX_EVENT_AGE
    ran = finished - started
    deadline = _time_until_kill(probe)
    if ran + _TOLERANCE < deadline:
        return False
    seconds = pod.spec.termination_grace_period_seconds
    grace = _DEFAULT_GRACE_PERIOD if seconds is None else timedelta(seconds=_bounded(seconds, 0))
    period = timedelta(seconds=_bounded(probe.period_seconds, 1))
    slack = grace + 2 * period + _TOLERANCE
    if kind == "startup":
        # It runs from the start until it succeeds once, so the age of the instance is enough.
        return ran <= deadline + slack
    if terminated.exit_code in _SIGNAL_EXIT_CODES:
        # Somebody killed it, and the kubelet may drop Events of later instances.
        return finished - failed < _MAX_EVENT_AGE
    return failed >= started and finished - failed <= slack and count >= probe.failure_threshold


def _time_until_kill(probe: Probe) -> timedelta:
    """Time from the start of a container to the failure that kills it."""
    attempts = _bounded(probe.failure_threshold, 1) - 1
    delay = _bounded(probe.initial_delay_seconds, 0)
    return timedelta(seconds=delay + attempts * _bounded(probe.period_seconds, 1))


def _bounded(value: int, least: int) -> int:
    """`value` within the range in which a timedelta does not overflow."""
    return min(max(value, least), 1_000_000)


def _allowed_time(kind: str, probe: Probe | None) -> str:
    if kind != "startup" or probe is None:
        return ""
    return format_duration(_time_until_kill(probe).total_seconds())
