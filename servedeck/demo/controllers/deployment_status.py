"""The status of a Deployment: counts, and conditions of its availability and progress.

Source: kubernetes pkg/controller/deployment/progress.go, sync.go (calculateStatus).
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.controllers import rollout
from servedeck.demo.controllers.base import (
    ControllerContext,
    WorkQueue,
    controlled_by,
    find_condition,
)
from servedeck.demo.controllers.rollout import desired_replicas
from servedeck.demo.resources import DEPLOYMENTS, REPLICA_SETS
from servedeck.demo.store.objects import Json, key_of
from servedeck.serving.json_copy import copy_json


class DeploymentStatusSync:
    """The status part of one reconciliation of a Deployment. `status` is written at its end;
    `queue` reconciles the Deployment again when its progress deadline is over."""

    def __init__(self, context: ControllerContext, queue: WorkQueue, deployment: Json) -> None:
        self._store = context.store
        self._clock = context.clock
        self._recorder = context.recorder
        self._queue = queue
        self.deployment = deployment
        self.key = key_of(deployment)
        self.status: Json = copy_json(deployment.get("status") or {})
        self.replicasets: list[Json] = []
        self.new_replicaset: Json | None = None

    def read_replicasets(self) -> None:
        """Reads the ReplicaSets that the Deployment controls."""
        self.replicasets = sorted(
            controlled_by(
                self._store.list(REPLICA_SETS, self.key[0]), self.deployment["metadata"]["uid"]
            ),
            key=lambda r: (r["metadata"]["creationTimestamp"], r["metadata"]["name"]),
        )
        self.new_replicaset = next(
            (r for r in self.replicasets if rollout.same_template(r, self.deployment)), None
        )

    @property
    def old_replicasets(self) -> list[Json]:
        uid = self.new_replicaset["metadata"]["uid"] if self.new_replicaset else ""
        return [r for r in self.replicasets if r["metadata"]["uid"] != uid]

    def _calculate_status(self) -> None:
        total = rollout.sum_status(self.replicasets, "replicas")
        available = rollout.sum_status(self.replicasets, "availableReplicas")
        counts = {
            "replicas": total,
            "updatedReplicas": rollout.sum_status([self.new_replicaset], "replicas")
            if self.new_replicaset
            else 0,
            "readyReplicas": rollout.sum_status(self.replicasets, "readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(0, rollout.total_replicas(self.replicasets) - available),
        }
        kept: Json = {
            name: self.status[name]
            for name in ("collisionCount", "conditions")
            if name in self.status
        }
        self.status = {
            "observedGeneration": self.deployment["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
            "terminatingReplicas": rollout.sum_status(self.replicasets, "terminatingReplicas"),
            **kept,
        }
        least = (
            desired_replicas(self.deployment) - rollout.rollout_bounds(self.deployment).unavailable
        )
        enough = available >= least
        reason_and_message = (
            event_messages.MINIMUM_AVAILABLE if enough else event_messages.MINIMUM_UNAVAILABLE
        )
        rollout.set_condition(
            self.status,
            rollout.new_condition(
                "Available", str(enough), reason_and_message, self._clock.timestamp()
            ),
        )

    def _sync_progress(self) -> None:
        """Updates the condition Progressing and writes the status (syncRolloutStatus)."""
        self._calculate_status()
        deployment, status = self.deployment, self.status
        current = find_condition({"status": status}, "Progressing")
        done = (
            current is not None
            and current.get("reason") == event_messages.REPLICASET_AVAILABLE[0]
            and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        )
        now = self._clock.time()
        if rollout.progress_deadline(deployment) is not None and not done:
            left = rollout.seconds_to_deadline(deployment, status, now)
            if rollout.is_complete(deployment, status):
                self._set_progressing("True", event_messages.REPLICASET_AVAILABLE)
            elif rollout.has_progressed(deployment, status):
                self._refresh_progressing(current)
            elif left is not None and left <= 0:
                self._set_progressing("False", event_messages.DEADLINE_EXCEEDED)
        self._copy_replica_failure()
        self._store_status()
        left = rollout.seconds_to_deadline(deployment, self.status, now)
        if left is not None and left > 0 and not rollout.is_complete(deployment, self.status):
            self._queue.add(self.key, left + 1)

    def _refresh_progressing(self, current: Json | None) -> None:
        new = self._progressing_condition("True", event_messages.REPLICASET_UPDATED)
        if current is not None and current.get("status") == "True":
            new["lastTransitionTime"] = current.get("lastTransitionTime", new["lastUpdateTime"])
        rollout.remove_condition(self.status, "Progressing")
        self.status["conditions"] = [*self.status.get("conditions", ()), new]

    def _copy_replica_failure(self) -> None:
        failures = [
            found
            for r in ([self.new_replicaset] if self.new_replicaset else []) + self.old_replicasets
            if (found := find_condition(r, "ReplicaFailure")) is not None
        ]
        rollout.remove_condition(self.status, "ReplicaFailure")
        if failures:
            known = find_condition(self.deployment, "ReplicaFailure")
            stamp = self._clock.timestamp()
            reason_and_message = (
                failures[0].get("reason", ""),
                failures[0].get("message", "").replace("{", "{{").replace("}", "}}"),
            )
            new = rollout.new_condition("ReplicaFailure", "True", reason_and_message, stamp)
            same = known is not None and known.get("reason") == new["reason"]
            self.status["conditions"] = [
                *self.status.get("conditions", ()),
                known if same and known is not None else new,
            ]

    def _write_status(self) -> None:
        self._calculate_status()
        self._store_status()

    def _store_status(self) -> None:
        current = self._store.find(DEPLOYMENTS, *self.key)
        if current is None or current.get("status") == self.status:
            return
        status = self.status

        def write(obj: Json) -> None:
            obj["status"] = status

        self._store.mutate(DEPLOYMENTS, *self.key, write, "status")

    def _sync_paused_condition(self) -> None:
        """Marks in the condition Progressing that the Deployment is paused or resumed
        (checkPausedConditions)."""
        if rollout.progress_deadline(self.deployment) is None:
            return
        current = find_condition({"status": self.status}, "Progressing")
        if current is not None and current.get("reason") == event_messages.DEADLINE_EXCEEDED[0]:
            return
        paused = bool(self.deployment["spec"].get("paused"))
        known = current is not None and current.get("reason") == event_messages.PAUSED[0]
        if paused and not known:
            self._set_progressing("Unknown", event_messages.PAUSED)
        elif known and not paused:
            self._set_progressing("Unknown", event_messages.RESUMED)

    def _set_progressing(self, value: str, reason_and_message: tuple[str, str]) -> None:
        rollout.set_condition(self.status, self._progressing_condition(value, reason_and_message))

    def _progressing_condition(self, value: str, reason_and_message: tuple[str, str]) -> Json:
        name = (
            self.new_replicaset["metadata"]["name"]
            if self.new_replicaset
            else self.deployment["metadata"]["name"]
        )
        return rollout.new_condition(
            "Progressing", value, reason_and_message, self._clock.timestamp(), name=name
        )
