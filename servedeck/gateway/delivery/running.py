"""The attempts that a worker makes at present."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic, time
from typing import Any

from servedeck.gateway.stores.store import Claimed

_MOST_GIVEN_UP = 1000


class Abort(Enum):
    HAND_BACK = auto()
    """The worker ends: the task is given back at once."""
    LOST = auto()
    """It is no longer this worker's: there is nothing to record."""


@dataclass(eq=False)
class Running:
    claimed: Claimed
    url: str
    """Of the Pod."""
    renewed: float
    """Before its lease was renewed last, by the monotonic clock."""
    abort_reason: Abort | None = None
    request: asyncio.Task[Any] | None = None
    """The request to the inference server, until it has ended."""

    def __post_init__(self) -> None:
        self.began = time()
        self._deadline = monotonic() + self.claimed.seconds_left

    @property
    def key(self) -> tuple[str, int]:
        return self.claimed.id, self.claimed.attempt

    @property
    def is_lost(self) -> bool:
        return self.abort_reason is Abort.LOST

    @property
    def seconds_left(self) -> float:
        return self._deadline - monotonic()

    def abort(self, reason: Abort) -> None:
        """End the request, whose connection is closed; an end that is being recorded goes on."""
        if not self.is_lost:
            self.abort_reason = reason
        if self.request is not None:
            self.request.cancel()


class RunningAttempts:
    """By task; two of one task only until the one that was lost has ended."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, int], Running] = {}
        self._by_id: dict[str, Running] = {}
        self._given_up: deque[tuple[str, int]] = deque(maxlen=_MOST_GIVEN_UP)
        self.changed = asyncio.Event()
        """Set when one has ended."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._by_key.values()))

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Of all that were made and are not recorded: also those that were given up, and are left
        to their leases."""
        return [*self._by_key, *self._given_up]

    def find(self, id: str) -> Running | None:
        """The latest of a task."""
        return self._by_id.get(id)

    def add(self, running: Running) -> None:
        earlier = self._by_id.get(running.claimed.id)
        if earlier is not None:
            earlier.abort(Abort.LOST)
        self._by_key[running.key] = self._by_id[running.claimed.id] = running

    def remove(self, running: Running, *, is_recorded: bool) -> None:
        if not is_recorded:
            self._given_up.append(running.key)
        del self._by_key[running.key]
        if self._by_id.get(running.claimed.id) is running:
            del self._by_id[running.claimed.id]
        self.changed.set()
