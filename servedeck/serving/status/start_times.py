"""How long the inference servers of a serving took to start, and the start-up time to allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from servedeck.serving.conventions import MAX_STARTUP_SECONDS
from servedeck.serving.duration import format_duration
from servedeck.serving.objects.records import ContainerStatus, Pod, PodContainer
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.status.pod_fields import find_condition
from servedeck.serving.text import format_count

MAX_STARTS = 5
"""Starts that count, the latest."""
MIN_PROPOSED_SECONDS = 600
_PROPOSED_FACTOR = 3
_PROPOSED_STEP_SECONDS = 60

_READINESS_SECONDS = 60
"""From the success of the start-up probe to that of the readiness probe, at most, as far as a start
is distinguished from a Pod that stopped being ready and is ready again."""


class Start(NamedTuple):
    """The first start of a container in a Pod."""

    started_at: datetime
    seconds: int
    """Until it was ready."""


def find_start(pod: Pod, spec: PodContainer, status: ContainerStatus) -> Start | None:
    """The start of a container that has not restarted: from when it runs until all containers were
    ready. Scheduling and the image's pull come before. The condition ContainersReady is taken, as
    readiness gates do not count for it; Ready where there is none.

    None before the Pod is ready, and if it became ready later than the start-up probe allows: then
    it was ready before.
    """
    running = status.state.running
    if running is None or running.started_at is None or status.restart_count or not status.ready:
        return None
    ready = find_condition(pod, "ContainersReady") or find_condition(pod, "Ready")
    if ready is None or ready.status != "True" or ready.last_transition_time is None:
        return None
    seconds = int((ready.last_transition_time - running.started_at).total_seconds())
    longest = MAX_STARTUP_SECONDS
    if (probe := spec.startup_probe) is not None:
        allowed = probe.initial_delay_seconds + probe.period_seconds * probe.failure_threshold
        longest = min(longest, allowed)
    if not 0 <= seconds <= longest + _READINESS_SECONDS:
        return None
    return Start(running.started_at, seconds)


def latest_starts(starts: Iterable[Start]) -> tuple[int, ...]:
    """The durations of the last MAX_STARTS starts in seconds, newest first."""
    return tuple(one.seconds for one in sorted(starts, reverse=True)[:MAX_STARTS])


def propose_startup_seconds(starts: Sequence[int]) -> int:
    """Start-up time for starts that took so many seconds: three times the longest, rounded up to
    whole minutes, at least ten minutes; 0 without any start."""
    if not starts:
        return 0
    minutes = -(-_PROPOSED_FACTOR * max(starts) // _PROPOSED_STEP_SECONDS)
    proposed = max(MIN_PROPOSED_SECONDS, minutes * _PROPOSED_STEP_SECONDS)
    return min(proposed, MAX_STARTUP_SECONDS)


def describe_starts(starts: Sequence[int]) -> str:
    """ "The last 5 starts took 3m40s at most."; "" without any start."""
    if not starts:
        return ""
    longest = format_duration(max(starts))
    if len(starts) == 1:
        return f"The last start took {longest}."
    return f"The last {format_count(len(starts), 'start')} took {longest} at most."


def startup_seconds_issue(seconds: int | None, starts: Sequence[int]) -> Issue | None:
    """A warning if the start-up time is shorter than the longest start; None without a start-up
    probe (0 or None)."""
    if not seconds or not starts or seconds >= max(starts):
        return None
    return warning(
        "startup_seconds",
        f"The last starts took up to {format_duration(max(starts))}; Pods that take longer than "
        f"{format_duration(seconds)} are restarted.",
    )
