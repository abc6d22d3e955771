"""Moments as other programs give them: numbers that may be no date of a calendar."""

from __future__ import annotations

from datetime import UTC, datetime

MAX_SECONDS = 253_402_214_400.0
"""The last day that a date can have, in seconds since the epoch."""


def date_of(seconds: float) -> datetime:
    """The date of a time in seconds since the epoch; the nearest one of a time that has none."""
    # In this order, as not a number is then the epoch.
    return datetime.fromtimestamp(min(max(0.0, seconds), MAX_SECONDS), UTC)
