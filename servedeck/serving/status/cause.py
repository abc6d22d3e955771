"""What a failure cause is recognized by, and what is known about a failing Pod."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.status.diagnosis import PodHealth


class Signal(StrEnum):
    """The part of Kubernetes' objects that shows a failure."""

    POD_STATUS = "status.reason and status.message of a Pod"
    TERMINATED = "a terminated container: its reason, exit code and message"
    LOG_ERROR = "a terminated container: a known error in the last lines of its log"
    KILLED_BY_PROBE = "a terminated container, and an Event about its startup or liveness probe"
    WAITING = "a waiting container: its reason and message"
    IMAGE = "a container that waits for its image: its reason and message"
    SCHEDULING = "the condition PodScheduled: its reason and message"
    NODE_REASON = "one reason in the scheduler's message, why some nodes do not fit"
    SETUP_EVENT = "an Event about volumes, devices, the network or the sandbox of a Pod"
    PROBE_EVENT = "an Event about the readiness of a running container"
    CREATION = "the condition ReplicaFailure of a ReplicaSet: its message"


class FailureCause(NamedTuple):
    """One row of the table of failure causes."""

    signals: Signal | tuple[Signal, ...]
    reasons: str
    """Reasons separated by spaces, of which one must be the finding's; a final * stands for any
    end, and "" for any reason."""
    pattern: str
    """Regular expression that is found in the message, on one line; "" for any message."""
    text: str
    """The sentence for an operator, or for a container the predicate that follows its name. In
    braces: named groups of `pattern`, and the finding's values. {name:bytes} rounds a quantity,
    {name:cores} converts milli-CPUs."""
    source: str
    """The file of Kubernetes, with its version, that writes the text, or a report of it."""
    health: PodHealth = PodHealth.ERROR
    exit_codes: tuple[int, ...] = ()
    """Exit codes, of which one must be the finding's; empty for any."""
    requires: str = ""
    """Name of a value that must be known and not empty; "" for none."""


class Finding(NamedTuple):
    """One thing that is known about a failing Pod."""

    signal: Signal
    reason: str
    """The reason as the cluster reports it."""
    message: str
    """The cluster's full text, "" if there is none."""
    values: Mapping[str, str] = {}
    """Values for the text: "container", "node", "limit", ..."""
    exit_code: int = -1
    """Exit code of a terminated container, otherwise -1."""
    container: str = ""
    """The container, "" for the Pod itself."""
    shown_reason: str = ""
    """Short reason for the operator, if it is not `reason`."""
    time: datetime | None = None
    """When it happened last, None if unknown."""
    is_recent: bool = False
    """The container runs again, and the failure was a moment ago."""
    reevaluate_at: datetime | None = None
    """When the finding expires, None for never."""
