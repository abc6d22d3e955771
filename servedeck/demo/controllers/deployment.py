"""The Deployment controller: which Deployments are reconciled when.

Source: kubernetes pkg/controller/deployment (sync.go, rolling.go, recreate.go).
"""

from __future__ import annotations

from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers.base import (
    ControllerContext,
    WorkQueue,
    controller_of,
)
from servedeck.demo.controllers.rollout_sync import RolloutSync
from servedeck.demo.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Key, key_of

_REPLICASET_DELAY_SECONDS = 0.01


class DeploymentController:
    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._store = context.store
        self._queue = WorkQueue(context.clock, self._sync)
        context.store.subscribe(self._deployment_changed, DEPLOYMENTS)
        context.store.subscribe(self._replicaset_changed, REPLICA_SETS)
        context.store.subscribe(self._pod_changed, PODS)

    def resync(self) -> None:
        for deployment in self._store.list(DEPLOYMENTS):
            self._queue.add(key_of(deployment))

    def _deployment_changed(self, change: StoreChange) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object))

    def _replicaset_changed(self, change: StoreChange) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == "Deployment":
            # after the ReplicaSet controller, so that sizes are reached before the next step
            key = (change.object["metadata"]["namespace"], owner["name"])
            self._queue.add(key, _REPLICASET_DELAY_SECONDS)

    def _pod_changed(self, change: StoreChange) -> None:
        """Strategy Recreate waits until the last old Pod has been deleted."""
        owner = controller_of(change.object)
        if change.type != "DELETED" or owner is None or owner.get("kind") != "ReplicaSet":
            return
        namespace = change.object["metadata"]["namespace"]
        replicaset = self._store.find(REPLICA_SETS, namespace, owner["name"])
        deployment_owner = controller_of(replicaset) if replicaset is not None else None
        if deployment_owner is not None:
            self._queue.add((namespace, deployment_owner["name"]))

    # -- one pass ----------------------------------------------------------------------------------

    def _sync(self, key: Key) -> None:
        deployment = self._store.find(DEPLOYMENTS, *key)
        if deployment is None:
            return
        rollout_sync = RolloutSync(self._context, self._queue, deployment)
        try:
            rollout_sync.run()
        except StatusError as error:
            if error.code not in (404, 409):
                raise
            # written or deleted by somebody else meanwhile: retry
            self._queue.add(key, 0.05)
