"""The six states of a serving, each with its recovery step."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """In the order of the list: what needs the operator first."""

    ERROR = "Error"
    DEGRADED = "Degraded"
    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    SCALED_DOWN = "Scaled Down"

    @property
    def meaning(self) -> str:
        """What the state says, in one or two sentences."""
        return _MEANING[self]

    @property
    def recovery(self) -> str:
        """What the operator does about it; "" where nothing is to be done."""
        return _RECOVERY[self]

    @property
    def glyph(self) -> str:
        """One character, one cell wide in every locale, that tells the states apart without
        colour."""
        return _GLYPH[self]


_MEANING = {
    Status.READY: "All Pods are in the Ready state. The service is operating normally.",
    Status.STARTING: "Pods are starting. Not yet Ready, e.g., still loading the model.",
    Status.DEGRADED: "Only some Pods are Ready. Requests are still served but overall performance "
    "is reduced.",
    Status.ERROR: "One or more Pods are in an error state such as CrashLoopBackOff.",
    Status.PENDING: "Pods are not scheduled. Resource shortage or image pull failure.",
    Status.SCALED_DOWN: "Replicas were scaled to 0.",
}

_RECOVERY = {
    Status.READY: "",
    Status.STARTING: "Wait briefly. If it persists, check the logs.",
    Status.DEGRADED: "Check the logs and events of the failing Pods.",
    Status.ERROR: "Check the failure reason and the logs of the failing Pods.",
    Status.PENDING: "Check cluster resource availability and image settings.",
    Status.SCALED_DOWN: "Change Replicas to 1 or more if needed.",
}

# None of them is "ambiguous" in Unicode's East Asian Width, so none takes two cells in a CJK
# terminal.
_GLYPH = {
    Status.READY: "✓",
    Status.STARTING: "↻",
    Status.DEGRADED: "!",
    Status.ERROR: "✗",
    Status.PENDING: "◌",
    Status.SCALED_DOWN: "-",
}


class Verdict(NamedTuple):
    """State of a serving and the one cause that the operator should read first."""

    status: Status
    reason: str
    """Short cause, "OOMKilled"; "" where all is well."""
    message: str
    """The cause in one sentence; "" where all is well."""
    failing: int
    """Number of Pods in an error or pending state."""
