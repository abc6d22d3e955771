"""Why a Pod does not serve: its cause, not its symptom."""

from __future__ import annotations

from enum import StrEnum


class Health(StrEnum):
    """What a Pod contributes to the status of its serving."""

    OK = "ok"
    STARTING = "starting"
    PENDING = "pending"
    ERROR = "error"
    TERMINATING = "terminating"
