"""The chain of causes of a Pod in order of time: scheduled, pulled, started, ended, and next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import Condition, ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.container_failures import describe_end
from servedeck.serving.status.events import event_count, event_time, first_event_time
from servedeck.serving.status.pod_fields import (
    container_statuses,
    find_condition,
)
from servedeck.serving.status.scheduling_failures import describe_unschedulable
from servedeck.serving.text import format_count, one_line


class HistoryStep(NamedTuple):
    """Something that happened to a Pod, or is about to."""

    time: datetime | None
    """None if it is not known; the step keeps its place."""
    text: str
    is_failure: bool = False


# kubernetes v1.36 pkg/kubelet/images/image_manager.go: 'Successfully pulled image "x" in 4m10.2s
# (4m12s including waiting). Image size: 123 bytes.'
_PULLED_PATTERN = re.compile(r'^Successfully pulled image "([^"]+)" in (\S+)')
_ALREADY_PRESENT_PATTERN = re.compile(r'^Container image "([^"]+)" already present')
# pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff: 'back-off 5m0s restarting failed
# container=x pod=y'
_BACK_OFF_PATTERN = re.compile(r"back-off (\S+) restarting failed container")
_GO_DURATION_PATTERN = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_SECONDS_OF_UNIT = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}

_SETUP_TIME = timedelta(seconds=2)
"""Times of conditions have a precision of one second."""
_WARNING_REASONS = frozenset({"Unhealthy", "BackOff", "Failed", "FailedScheduling"})
"""Reasons of warnings that the steps state in other words, or that repeat."""


def pod_history(pod: Pod, events: Sequence[Event], now: datetime) -> tuple[HistoryStep, ...]:
    """What happened to the Pod, in order of time, and what happens next.

    `events` are those about the Pod, of every type; they add what the status does not keep: how
    long the image was pulled, probes, warnings of the node. They may be empty: Events expire after
    an hour.
    """
    steps = [
        *_created_steps(pod),
        *_pull_steps(events),
        *_warning_steps(events),
    ]
    for _, container in container_statuses(pod):
        steps += _container_steps(pod, container, events)
    steps += _condition_steps(pod)
    ordered = _in_order_of_time(steps)
    return (*ordered, *_next_steps(pod, now))


def _created_steps(pod: Pod) -> Iterable[HistoryStep]:
    yield HistoryStep(pod.metadata.creation_timestamp, "created")
    scheduled = find_condition(pod, "PodScheduled")
    if scheduled is None:
        return
    if scheduled.status == "True":
        where = f" to node {pod.spec.node_name}" if pod.spec.node_name else ""
        yield HistoryStep(scheduled.last_transition_time, f"scheduled{where}")
    else:
        reason = scheduled.reason or "Unschedulable"
        text = f"not scheduled ({reason}): {describe_unschedulable(scheduled.message)}"
        yield HistoryStep(scheduled.last_transition_time, text, True)


def _pull_steps(events: Sequence[Event]) -> Iterable[HistoryStep]:
    for event in events:
        if event.reason == "Pulled" and (found := _PULLED_PATTERN.match(event.message)):
            took = parse_go_duration(found[2].rstrip(".,"))
            duration = format_duration(took) if took is not None else found[2]
            yield HistoryStep(event_time(event), f"image {found[1]} pulled in {duration}")
        elif event.reason == "Pulled" and (found := _ALREADY_PRESENT_PATTERN.match(event.message)):
            yield HistoryStep(event_time(event), f"image {found[1]} was on the node")
        elif event.reason == "Failed" and event.message.startswith("Failed to pull image"):
            image, why = reasons.parse_image_pull_error(event.message)
            yield HistoryStep(
                event_time(event), f"image {image} not pulled{f': {why}' if why else ''}", True
            )


def _warning_steps(events: Sequence[Event]) -> Iterable[HistoryStep]:
    for event in events:
        count = event_count(event)
        times = f" ({format_count(count, 'time')})" if count > 1 else ""
        probe = reasons.parse_probe_failure(event.message) if event.reason == "Unhealthy" else None
        if probe is not None:
            detail = f": {probe.detail}" if probe.detail else ""
            yield HistoryStep(
                first_event_time(event), f"{probe.kind} probe failed{times}{detail}", True
            )
        elif event.reason == "Killing":
            yield HistoryStep(event_time(event), one_line(event.message))
        elif event.type == "Warning" and event.reason not in _WARNING_REASONS:
            text = reasons.shorten(event.message) or event.reason
            yield HistoryStep(first_event_time(event), f"{event.reason}{times}: {text}", True)


def _container_steps(
    pod: Pod, container: ContainerStatus, events: Sequence[Event]
) -> Iterable[HistoryStep]:
    name = container.name
    last, state = container.last_state.terminated, container.state
    restarts = container.restart_count
    for terminated in (last, state.terminated):
        if terminated is None:
            continue
        if terminated.started_at is not None:
            yield HistoryStep(terminated.started_at, f"{name} started")
        _, words = describe_end(pod, container, terminated, events)
        ran = ""
        if terminated.started_at is not None and terminated.finished_at is not None:
            seconds = (terminated.finished_at - terminated.started_at).total_seconds()
            ran = f" after {format_duration(max(seconds, 0))}"
        is_failure = terminated.exit_code != 0 or bool(terminated.signal)
        text = f"{name} {words}{ran}" if is_failure else f"{name} completed{ran}"
        if terminated.exit_code and f"{terminated.exit_code}" not in text:
            text += f", exit code {terminated.exit_code}"
        if terminated is last and restarts:
            text += f"; {format_count(restarts, 'restart')} until now"
        yield HistoryStep(terminated.finished_at, text, is_failure)
    if state.running is not None:
        verb = "restarted" if restarts else "started"
        yield HistoryStep(state.running.started_at, f"{name} {verb}")


def _condition_steps(pod: Pod) -> Iterable[HistoryStep]:
    ready = find_condition(pod, "Ready")
    if ready is not None and ready.status == "True":
        yield HistoryStep(ready.last_transition_time, "ready")
    elif ready is not None and _was_ready(pod, ready):
        yield HistoryStep(ready.last_transition_time, "no longer ready", True)
    target = find_condition(pod, "DisruptionTarget")
    if target is not None and target.status == "True":
        text = f"to be deleted ({target.reason}): {reasons.shorten(target.message)}"
        yield HistoryStep(target.last_transition_time, text.removesuffix(": "), True)
    if pod.status.phase == "Failed" and pod.status.reason:
        text = f"{pod.status.reason}: {reasons.shorten(pod.status.message)}"
        yield HistoryStep(None, text.removesuffix(": "), True)


def _was_ready(pod: Pod, ready: Condition) -> bool:
    """Whether the Pod had been ready before its condition became False: the kubelet sets it first
    when it starts to set the Pod up, before the Pod is initialized."""
    initialized = find_condition(pod, "Initialized")
    if ready.last_transition_time is None or initialized is None:
        return False
    begin = initialized.last_transition_time
    return (
        initialized.status == "True"
        and begin is not None
        and ready.last_transition_time - begin > _SETUP_TIME
    )


def _next_steps(pod: Pod, now: datetime) -> Iterable[HistoryStep]:
    if pod.metadata.deletion_timestamp is not None:
        yield HistoryStep(pod.metadata.deletion_timestamp, "to be terminated by then")
    for _, container in container_statuses(pod):
        next_start = next_restart(container)
        if next_start is None:
            continue
        seconds = (next_start - now).total_seconds()
        when = f"in {format_duration(seconds)}" if seconds > 0 else "due"
        yield HistoryStep(next_start, f"next start of {container.name} {when}")


def next_restart(container: ContainerStatus) -> datetime | None:
    """When the kubelet starts the container again; None if it does not wait for that, or the time
    is unknown. The back-off begins when the container ended."""
    waiting = container.state.waiting
    last = container.last_state.terminated or container.state.terminated
    if waiting is None or last is None or last.finished_at is None:
        return None
    found = _BACK_OFF_PATTERN.search(waiting.message)
    seconds = parse_go_duration(found[1]) if found is not None else None
    if seconds is None:
        return None
    try:
        return last.finished_at + timedelta(seconds=seconds)
    except OverflowError:
        return None


def parse_go_duration(text: str) -> float | None:
    """Seconds of a duration as Go prints it, "4m10.2s"; None for another text."""
    parts = _GO_DURATION_PATTERN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS_OF_UNIT[unit] for number, unit in parts)


def _in_order_of_time(steps: Iterable[HistoryStep]) -> list[HistoryStep]:
    """Sorted by time; a step without one stays behind the step before it. Equal steps once."""
    keyed: list[tuple[float, int, HistoryStep]] = []
    last = float("-inf")
    for position, step in enumerate(dict.fromkeys(steps)):
        last = step.time.timestamp() if step.time is not None else last
        keyed.append((last, position, step))
    return [step for _, _, step in sorted(keyed, key=lambda entry: entry[:2])]
