"""What log is to be shown."""

from __future__ import annotations

from typing import NamedTuple


class LogTarget(NamedTuple):
    """A log, and where in it."""

    pod: str
    container: str = ""
    """"" for the one that fails, or that of the inference server."""
    time_ns: int | None = None
    """Unix time of the line to go to in nanoseconds; None for the end."""
