"""How many replicas the Deployments have had, which kube-state-metrics shows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from servedeck.demo.clock import Clock
from servedeck.demo.resources import DEPLOYMENTS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.instance_history import RETENTION_SECONDS

MAX_CHANGES = 5000
"""Of one Deployment; of more, the oldest are forgotten."""


class ReplicaCounts(NamedTuple):
    """The replicas of a Deployment from `time` on (seconds since the epoch)."""

    time: float
    wanted: int
    created: int
    ready: int


class DeploymentPast:
    """A Deployment since its creation; times are in seconds since the epoch."""

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.deleted: float | None = None
        self._changes: list[ReplicaCounts] = []

    @property
    def created(self) -> float:
        """When its first counts are known."""
        return self._changes[0].time

    def counts_at(self, time: float) -> ReplicaCounts:
        """The counts at a time from `created` on."""
        index = bisect_right(self._changes, time, key=attrgetter("time"))
        return self._changes[max(0, index - 1)]

    def add(self, counts: ReplicaCounts) -> None:
        """Newer counts than all before."""
        if self._changes and self._changes[-1][1:] == counts[1:]:
            return
        self._changes.append(counts)
        kept = bisect_right(self._changes, counts.time - RETENTION_SECONDS, key=attrgetter("time"))
        del self._changes[: max(kept - 1, len(self._changes) - MAX_CHANGES, 0)]


class ReplicaHistory:
    """Notes the counts of all Deployments as they change, for RETENTION_SECONDS."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._clock = clock
        self._deployments: dict[str, DeploymentPast] = {}
        store.subscribe(self._deployment_changed, DEPLOYMENTS)
        self._store = store

    def resync(self) -> None:
        """Notes the Deployments that the store already holds."""
        for deployment in self._store.list(DEPLOYMENTS):
            self._note(deployment)

    def between(self, start: float, end: float) -> Iterator[DeploymentPast]:
        """Deployments that were there within these times."""
        for past in self._deployments.values():
            if past.created <= end and (past.deleted is None or past.deleted >= start):
                yield past

    def _deployment_changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._note(change.object)
            return
        now = self._clock.time()
        past = self._deployments.get(change.object["metadata"]["uid"])
        if past is not None:
            past.deleted = now
        for uid, known in list(self._deployments.items()):
            if known.deleted is not None and known.deleted < now - RETENTION_SECONDS:
                del self._deployments[uid]

    def _note(self, deployment: Json) -> None:
        meta, status = deployment["metadata"], deployment.get("status") or {}
        past = self._deployments.get(meta["uid"])
        if past is None:
            past = self._deployments[meta["uid"]] = DeploymentPast(meta["namespace"], meta["name"])
        wanted = deployment["spec"].get("replicas", 1)
        counts = (int(wanted), int(status.get("replicas", 0)), int(status.get("readyReplicas", 0)))
        past.add(ReplicaCounts(self._clock.time(), *counts))
