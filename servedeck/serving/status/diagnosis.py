"""The diagnosis of one Pod: its health and its failure reason."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.capacity import InsufficientResource


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
    """Short reason, "OOMKilled"; "" for a healthy Pod."""
    message: str = ""
    """The failure reason in one sentence for an operator."""
    container: str = ""
    """Container that fails; "" if it is the Pod itself."""
    reevaluate_at: datetime | None = None
    """When to reevaluate the Pod although it did not change; None for never."""
    raw_message: str = ""
    """The cluster's full text for `message`; "" if there is none."""
    insufficient_resources: tuple[InsufficientResource, ...] = ()
    """Resources of which nodes have too little free."""
    is_unexplained: bool = False
    """Nothing but an exit code is known of how the container ended: its log may tell more."""
    is_history: bool = False
    """The Pod ended long ago, so it says nothing about the Pods that have replaced it."""


HEALTHY = Diagnosis(PodHealth.OK)
