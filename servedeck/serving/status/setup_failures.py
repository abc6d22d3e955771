"""Why a node cannot start the containers of a Pod: volumes, devices, the sandbox, the network.

Only Events tell it, and they remain for an hour after the problem is solved. An Event is history
if a later step of the Pod's setup was reached after it (kubernetes v1.36 pkg/kubelet/kubelet.go,
SyncPod, and pkg/kubelet/kuberuntime/kuberuntime_manager.go, SyncPod).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from servedeck.serving.objects.records import ContainerStatus, Event, Pod
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import find_main_cause, to_diagnosis
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.events import event_time
from servedeck.serving.status.pod_fields import add_delay, container_statuses, node_values
from servedeck.serving.text import one_line

SETUP_EVENT_MAX_AGE = timedelta(minutes=5)
"""The kubelet retries a mount or sandbox at least every two to three minutes: an older Event about
it is a resolved failure. An attachment is reported only once, so its Event has no maximum age."""

_SCHEDULING, _ATTACH, _MOUNT, _DEVICES, _SANDBOX = range(5)
_FAILURE_STEPS = {
    "FailedAttachVolume": _ATTACH,
    "FailedMount": _MOUNT,
    "FailedMapVolume": _MOUNT,
    "FailedPrepareDynamicResources": _DEVICES,
    "FailedCreatePodSandBox": _SANDBOX,
    "NetworkNotReady": _SANDBOX,
}
"""Events about a failure, and the step of the setup that failed."""
_SUCCESS_STEPS = {
    "SuccessfulAttachVolume": _ATTACH,
    "SuccessfulMountVolume": _MOUNT,
    "AddedInterface": _SANDBOX,
    "Pulling": _SANDBOX,
    "Pulled": _SANDBOX,
    "Created": _SANDBOX,
    "Started": _SANDBOX,
}
"""Events after which the failures of that step are history. They are Normal, so they are known only
where Normal Events are read."""
_PER_VOLUME_STEPS = (_ATTACH, _MOUNT)
_STEP_NAME_PATTERN = re.compile(
    r"^Failed (?:to )?(?:create pod sandbox|prepare dynamic resources): "
)
"""What the text says already."""
_VOLUME_PATTERN = re.compile(r'(?:for volume|volume) "([^"]+)"')
_ATTACHED_PATTERN = re.compile(r"^MountVolume\.(?:MountDevice|SetUp) failed for volume ")


def diagnose_setup(pod: Pod, events: Sequence[Event], now: datetime) -> Diagnosis | None:
    """The setup failure that tells most and is not history; None if there is none, or a container
    runs."""
    statuses = [container for _, container in container_statuses(pod)]
    if not events or any(container.state.running for container in statuses):
        return None
    started = _last_instance_time(statuses)
    findings = [
        _setup_finding(pod, event, until)
        for event in events
        if event.reason in _FAILURE_STEPS
        and not _is_before(event, started)
        and not _is_history(event, events)
        and ((until := _expiry(event)) is None or now < until)
    ]
    found = find_main_cause(findings)
    return to_diagnosis(found) if found is not None else None


def _setup_finding(pod: Pod, event: Event, until: datetime | None) -> Finding:
    why = reasons.strip_runtime_wrappers(_STEP_NAME_PATTERN.sub("", event.message))
    return Finding(
        Signal.SETUP_EVENT,
        event.reason,
        event.message,
        {**node_values(pod), "why": why, "colon_why": f": {why}" if why else ""},
        time=event_time(event),
        reevaluate_at=until,
    )


def _expiry(event: Event) -> datetime | None:
    time = event_time(event)
    if time is None or _FAILURE_STEPS[event.reason] == _ATTACH:
        return None
    return add_delay(time, SETUP_EVENT_MAX_AGE)


# -- what is history --------------------------------------------------------------------------


def _last_instance_time(statuses: Iterable[ContainerStatus]) -> datetime | None:
    """When an instance of a container last started or ended: the setup had succeeded before."""
    times = [
        time
        for container in statuses
        for state in (container.state, container.last_state)
        if state.terminated is not None
        for time in (state.terminated.started_at, state.terminated.finished_at)
        if time is not None
    ]
    return max(times, default=None)


def _is_before(event: Event, moment: datetime | None) -> bool:
    time = event_time(event)
    return moment is not None and (time is None or time <= moment)


def _is_history(failure: Event, events: Sequence[Event]) -> bool:
    """Whether a later Event shows that the step succeeded."""
    time = event_time(failure)
    step, volume = _FAILURE_STEPS[failure.reason], _volume(failure)
    for event in events:
        later = event_time(event)
        if event is failure or time is None or later is None or later <= time:
            continue
        reached, only_volume = _reached_step(event)
        if reached >= step and (not only_volume or not volume or only_volume == volume):
            return True
    return False


def _reached_step(event: Event) -> tuple[int, str]:
    """The last step that succeeded before this Event, and the volume for which it did, "" for the
    whole Pod; -1 if it shows none."""
    if event.reason in _SUCCESS_STEPS:
        step = _SUCCESS_STEPS[event.reason]
        return step, _volume(event) if step in _PER_VOLUME_STEPS else ""
    if event.reason == "FailedMount" and _ATTACHED_PATTERN.match(event.message):
        return _ATTACH, _volume(event)  # a volume is mounted after it is attached
    if event.reason in ("FailedMount", "FailedMapVolume", "NetworkNotReady"):
        return _SCHEDULING, ""  # neither a timeout nor the network says anything about volumes
    return _FAILURE_STEPS.get(event.reason, _SCHEDULING) - 1, ""


def _volume(event: Event) -> str:
    """The volume that the Event is about, "" if it names none."""
    match = _VOLUME_PATTERN.search(one_line(event.message[:1024]))
    return match[1] if match is not None else ""
