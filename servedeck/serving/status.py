"""The six states of a serving, each with its recovery step."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """In the order of the list: what needs the operator first."""

    ERROR = "Error"
    DEGRADED = "Degraded"
    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    SCALED_DOWN = "Scaled Down"
