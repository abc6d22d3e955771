"""Why a Pod does not serve: its cause, not its symptom."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


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
