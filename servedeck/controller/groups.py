"""The Pods of each Deployment, by three watches, and which Deployments have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import RecordChange, Reflector, ReflectorConfig
from servedeck.controller.records import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    GatedPod,
    PolicyDeployment,
    PolicyReplicaSet,
)
from servedeck.fleet.index import OwnedRecords, controller_uid, record_uid

_POD, _REPLICA_SET = "pod/", "replicaset/"
"""Begin the keys of groups of no Deployment: a Pod that no ReplicaSet controls, and the Pods of a
ReplicaSet that no Deployment controls."""


class PodGroup(NamedTuple):
    """Pods that are decided on together."""

    policy: str | None
    """The annotation of their Deployment, "" if it has none; None without a Deployment."""
    pods: tuple[GatedPod, ...]
    """Those that have not ended."""


class PodGroups:
    """Groups by key: the uid of a Deployment, or a key of what has the gate without one. A Pod
    whose ReplicaSet or Deployment has not come yet is in no group: its policy is not known."""

    def __init__(
        self,
        connection: Connection,
        namespace: str | None,
        *,
        config: ReflectorConfig | None = None,
    ) -> None:
        """Watches one namespace, or (None) all."""
        self.changed = asyncio.Event()
        """Set when a group has changed, and when `is_synced` may have."""
        self._deployments: dict[str, PolicyDeployment] = {}
        self._replica_sets = OwnedRecords[PolicyReplicaSet]("Deployment")
        self._pods = OwnedRecords[GatedPod]("ReplicaSet")
        self._others: dict[str, GatedPod] = {}
        """Pods with the gate that no ReplicaSet controls, by uid."""
        self._other_replica_sets: set[str] = set()
        """uids of ReplicaSets that no Deployment controls."""
        self._changed_keys: set[str] = set()
        self._complete: set[ResourceKind] = set()
        """Kinds of which all objects of the first list have come here."""
        self._reflectors = [
            Reflector(connection, kind, namespace, self.on_change, self._on_state, config=config)
            for kind in (DEPLOYMENTS, REPLICA_SETS, PODS)
        ]

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._reflectors:
                group.create_task(one.run())

    @property
    def is_synced(self) -> bool:
        """Whether all objects are known. Before that nothing is to be decided."""
        return len(self._complete) == len(self._reflectors)

    @property
    def problem(self) -> str:
        """Why they are not known, or may be old, one sentence; "" if they are."""
        for one in self._reflectors:
            if one.error:
                return one.error
        return "" if self.is_synced else "The Pods are not read yet."

    def take_changed(self) -> set[str]:
        """Keys of the groups that have changed since this was called last."""
        keys, self._changed_keys = self._changed_keys, set()
        self.changed.clear()
        return keys

    def mark(self, key: str) -> None:
        """Have a group decided on again."""
        self._changed_keys.add(key)
        self.changed.set()

    def mark_all(self) -> None:
        """The same for all."""
        self._changed_keys.update(self._keys())
        self.changed.set()

    def find(self, key: str) -> PodGroup | None:
        """The group; None if none of its Pods has the gate."""
        policy: str | None = None
        if key.startswith(_POD):
            other = self._others.get(key.removeprefix(_POD))
            pods = [] if other is None else [other]
        elif key.startswith(_REPLICA_SET):
            pods = list(self._pods.owned_by(key.removeprefix(_REPLICA_SET)).values())
        elif (deployment := self._deployments.get(key)) is not None:
            policy = deployment.metadata.annotations.policy
            replica_sets = self._replica_sets.owned_by(key)
            pods = [pod for uid in replica_sets for pod in self._pods.owned_by(uid).values()]
        else:
            return None
        pods = [one for one in pods if not one.has_ended]
        return PodGroup(policy, tuple(pods)) if any(one.has_gate for one in pods) else None

    def gated_pods(self) -> Iterator[GatedPod]:
        """All Pods that have the gate and have not ended."""
        for key in self._keys():
            if (group := self.find(key)) is not None:
                yield from (one for one in group.pods if one.has_gate)

    def _keys(self) -> list[str]:
        return [
            *self._deployments,
            *(f"{_REPLICA_SET}{uid}" for uid in self._other_replica_sets),
            *(f"{_POD}{uid}" for uid in self._others),
        ]

    # -- changes ------------------------------------------------------------------------------

    def on_change(self, change: RecordChange) -> None:
        """Take a change of one of the watches."""
        if change.type == "SYNC":
            self._complete.add(change.kind)
            self.changed.set()
            return
        is_gone = change.type == "DELETED"
        if change.kind == DEPLOYMENTS:
            self._update_deployment(change.record, is_gone)
        elif change.kind == REPLICA_SETS:
            self._update_replica_set(change.record, is_gone)
        else:
            self._update_pod(change.record, is_gone)

    def _on_state(self, reflector: Reflector) -> None:
        if not reflector.synced:
            self._complete.discard(reflector.kind)

    def _update_deployment(self, deployment: PolicyDeployment, is_gone: bool) -> None:
        uid = record_uid(deployment)
        if is_gone:
            self._deployments.pop(uid, None)
        else:
            self._deployments[uid] = deployment
        self.mark(uid)

    def _update_replica_set(self, replica_set: PolicyReplicaSet, is_gone: bool) -> None:
        uid = record_uid(replica_set)
        owners = self._replica_sets.update(replica_set, deleted=is_gone, unlabeled=False)
        for deployment in filter(None, owners):
            self.mark(deployment)
        if is_gone or controller_uid(replica_set, "Deployment"):
            self._other_replica_sets.discard(uid)
        else:
            self._other_replica_sets.add(uid)
            self.mark(f"{_REPLICA_SET}{uid}")

    def _update_pod(self, pod: GatedPod, is_gone: bool) -> None:
        uid = record_uid(pod)
        for owner in self._pods.update(pod, deleted=is_gone, unlabeled=False):
            if (replica_set := self._replica_sets.get(owner)) is not None:
                self.mark(controller_uid(replica_set, "Deployment"))
            elif owner in self._other_replica_sets:
                self.mark(f"{_REPLICA_SET}{owner}")
        if is_gone or not pod.has_gate or controller_uid(pod, "ReplicaSet"):
            self._others.pop(uid, None)
        else:
            self._others[uid] = pod
            self.mark(f"{_POD}{uid}")
