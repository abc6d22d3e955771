"""The instances of containers that run or have run lately: their metrics at any time in the past
are functions of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from servedeck.demo.workloads.instance import SimulatedInstance

RETENTION_SECONDS = 26 * 3600.0
"""An instance is remembered so long after another has taken its place: a day, and the windows that
begin before it."""
MAX_ENDED_INSTANCES = 4000
"""Of more, those that were replaced first are forgotten."""
_PRUNE_INTERVAL = 64
"""Instances that are added between two searches for those to forget."""


class InstancePlace(NamedTuple):
    """Where an instance runs."""

    node: str
    host_address: str
    address: str
    """IP address of the Pod."""
    serving: str
    """"namespace/name"."""
    image: str
    """Full name with its registry."""


@dataclass(eq=False)
class PastInstance:
    """An instance and its place."""

    instance: SimulatedInstance
    place: InstancePlace
    devices: tuple[int, ...]
    """Indices of its accelerators on the node."""
    replaced: float = math.inf
    """When the next instance of the container started, or the Pod was deleted, in seconds since the
    epoch; infinite while neither has happened."""

    @property
    def ended(self) -> float:
        """Seconds since the epoch, infinite while it runs."""
        ended = self.instance.ended
        return math.inf if ended is None else ended


class InstanceHistory:
    """Bounded by time and number; see the constants."""

    def __init__(self) -> None:
        self._past: dict[str, PastInstance] = {}
        self._latest: dict[str, PastInstance] = {}
        self._devices: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._until_prune = _PRUNE_INTERVAL

    def add(self, instance: SimulatedInstance, place: InstancePlace) -> None:
        """An instance starts, or is known from a saved state."""
        devices = self._take_devices(instance, place.node)
        before = self._latest.get(_container_key(instance))
        if before is not None and before.instance is not instance:
            before.replaced = instance.started
        past = PastInstance(instance, place, devices)
        self._past[instance.key] = self._latest[_container_key(instance)] = past
        self._until_prune -= 1
        if self._until_prune <= 0:
            self._until_prune = _PRUNE_INTERVAL
            self._prune(instance.started)

    def end_pod(self, uid: str, time: float) -> None:
        """The Pod with this uid has been deleted: others may get its accelerators."""
        for key in [key for key in self._latest if key.startswith(f"{uid}/")]:
            self._latest.pop(key).replaced = time
            self._devices.pop(key, None)

    def between(self, start: float, end: float) -> Iterator[PastInstance]:
        """Instances that ran within these times (seconds since the epoch), or were not replaced
        yet, in the order of their starts."""
        for past in self._past.values():
            if past.instance.started <= end and past.replaced >= start:
                yield past

    def _take_devices(self, instance: SimulatedInstance, node: str) -> tuple[int, ...]:
        """The lowest indices that no other container of the node has; a container keeps its own
        until its Pod is deleted."""
        key = _container_key(instance)
        if key not in self._devices:
            taken = {
                index for where, indices in self._devices.values() if where == node
                for index in indices
            }  # fmt: skip
            count = instance.server.accelerators
            free = [index for index in range(len(taken) + count) if index not in taken]
            self._devices[key] = node, tuple(free[:count])
        return self._devices[key][1]

    def _prune(self, now: float) -> None:
        """Forgets what ended too long ago, and the first to end of too many."""
        ended = sorted(
            (past for past in self._past.values() if past.replaced < math.inf),
            key=lambda past: past.replaced,
        )
        excess = len(ended) - MAX_ENDED_INSTANCES
        for index, past in enumerate(ended):
            if index < excess or past.replaced < now - RETENTION_SECONDS:
                del self._past[past.instance.key]


def _container_key(instance: SimulatedInstance) -> str:
    return f"{instance.uid}/{instance.container}"
