"""Shared by the controllers: their context, work queues, owner references, labels, conditions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from servedeck.demo.clock import Clock, Timer, parse_timestamp
from servedeck.demo.faults import Isolation, call_directly
from servedeck.demo.resources import Resource
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.quantity import parse_quantity

if TYPE_CHECKING:
    from servedeck.demo.controllers.event_recorder import EventRecorder


_RETRY_SECONDS = 0.005
_RETRY_MAX_SECONDS = 1000.0
_MAX_DOUBLINGS = 20


@dataclass(frozen=True)
class ControllerContext:
    """Passed to each controller."""

    store: ObjectStore
    clock: Clock
    recorder: EventRecorder
    seed: int = 0
    isolation: Isolation = call_directly

    def rng(self, what: object) -> random.Random:
        """A random generator for `what`; the same in every run with this seed."""
        return random.Random(f"{self.seed}/{what}")  # noqa: S311 - a simulation, not a secret


class WorkQueue:
    """Calls `work` for each key that is added. A key that is already queued stays queued once, for
    the earlier of the two times; `add` itself never calls `work`. A key whose work failed is tried
    again, after growing pauses. Source: client-go util/workqueue/default_rate_limiters.go."""

    def __init__(self, clock: Clock, work: Callable[[Key], None]) -> None:
        self._clock = clock
        self._work = work
        self._waiting: dict[Key, Timer] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, after: float = 0.0) -> None:
        when = self._clock.time() + after
        waiting = self._waiting.get(key)
        if waiting is not None:
            if waiting.when <= when:
                return
            waiting.cancel()

        def run() -> None:
            self._waiting.pop(key, None)
            try:
                self._work(key)
            except Exception:
                tries = self._failures.get(key, 0)
                self._failures[key] = min(tries + 1, _MAX_DOUBLINGS)
                self.add(key, min(_RETRY_MAX_SECONDS, _RETRY_SECONDS * 2**tries))
                raise
            self._failures.pop(key, None)

        self._waiting[key] = self._clock.call_at(when, run)


def controller_of(obj: Json) -> Json | None:
    """The owner reference that controls the object."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Json = owner
            return found
    return None


def controlled_by(objects: Iterable[Json], uid: str) -> Iterator[Json]:
    """The objects that the owner with this uid controls."""
    for obj in objects:
        owner = controller_of(obj)
        if owner is not None and owner.get("uid") == uid:
            yield obj


def owner_reference(resource: Resource, owner: Json) -> Json:
    meta = owner["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def find_condition(obj: Json, type_: str) -> Json | None:
    """The condition of that type in the object's status."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == type_:
            result: Json = found
            return result
    return None


def condition_time(condition: Json, field: str = "lastTransitionTime") -> float:
    """Seconds since the epoch; 0 for a condition whose writer left the time out."""
    stamp = condition.get(field)
    return parse_timestamp(stamp) if stamp else 0.0


def condition_is_true(obj: Json, type_: str) -> bool:
    found = find_condition(obj, type_)
    return found is not None and found.get("status") == "True"


def is_active_pod(pod: Json) -> bool:
    """Neither finished nor being deleted. Source: kubernetes
    pkg/controller/controller_utils.go, IsPodActive."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]


def quantity_or_zero(value: object) -> Fraction:
    """A resource quantity; 0 for an invalid one, which the API accepts from nobody."""
    return _parse_quantity(str(value))


@lru_cache(maxsize=1024)
def _parse_quantity(text: str) -> Fraction:
    try:
        return parse_quantity(text)
    except ValueError:
        return Fraction(0)
