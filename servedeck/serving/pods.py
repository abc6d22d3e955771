"""A Pod's READY, STATUS and RESTARTS as kubectl prints them, and the order of Pods in a list."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class PodColumns(NamedTuple):
    """kubectl's columns of one Pod."""

    ready_count: int
    total: int
    """Containers that count for READY: the main ones and restartable init containers (sidecars)."""
    status: str
    restarts: int
    restarted_at: datetime | None
    """End of the newest terminated instance, None where none is known."""

    @property
    def ready(self) -> str:
        """The READY column, "1/2"."""
        return f"{self.ready_count}/{self.total}"
