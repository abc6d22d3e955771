"""The ReplicaSet controller: creates and deletes Pods, and counts them.

Source: kubernetes pkg/controller/replicaset/replica_set.go, replica_set_utils.go, and
pkg/controller/controller_utils.go.
"""

from __future__ import annotations

from collections import Counter

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.clock import parse_timestamp
from servedeck.demo.controllers.base import (
    ControllerContext,
    WorkQueue,
    condition_is_true,
    condition_time,
    controlled_by,
    controller_of,
    find_condition,
    is_active_pod,
    owner_reference,
)
from servedeck.demo.resources import PODS, REPLICA_SETS
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of
from servedeck.serving.json_copy import copy_json

_BACKOFF_INITIAL_SECONDS = 0.005
_BACKOFF_MAX_SECONDS = 1000.0
_BURST_REPLICAS = 500
"""So many Pods are created or deleted in one pass; the next one follows their changes. Source:
replica_set.go, BurstReplicas."""


class ReplicaSetController:
    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._recorder = context.recorder
        self._queue = WorkQueue(context.clock, self._sync)
        self._failures: dict[Key, int] = {}
        context.store.subscribe(self._replicaset_changed, REPLICA_SETS)
        context.store.subscribe(self._pod_changed, PODS)

    def resync(self) -> None:
        for replicaset in self._store.list(REPLICA_SETS):
            self._queue.add(key_of(replicaset))

    def _replicaset_changed(self, change: StoreChange) -> None:
        if change.type == "DELETED":
            self._failures.pop(key_of(change.object), None)
        else:
            self._queue.add(key_of(change.object))

    def _pod_changed(self, change: StoreChange) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == "ReplicaSet":
            self._queue.add((change.object["metadata"]["namespace"], owner["name"]))

    def _sync(self, key: Key) -> None:
        replicaset = self._store.find(REPLICA_SETS, *key)
        if replicaset is None:
            return
        pods = list(controlled_by(self._store.list(PODS, key[0]), replicaset["metadata"]["uid"]))
        active = [pod for pod in pods if is_active_pod(pod)]
        failure: Exception | None = None
        if "deletionTimestamp" not in replicaset["metadata"]:
            failure = self._reconcile_pods(replicaset, active)
            if self._store.find(REPLICA_SETS, *key) is None:
                return
        # Pods just created or deleted are counted in the pass that their change triggers
        terminating_count = sum(_is_terminating(pod) for pod in pods)
        self._write_status(replicaset, active, terminating_count, failure)
        if failure is None:
            self._failures.pop(key, None)
        else:
            tries = self._failures.get(key, 0)
            self._failures[key] = tries + 1
            self._queue.add(key, min(_BACKOFF_MAX_SECONDS, _BACKOFF_INITIAL_SECONDS * 2**tries))

    def _reconcile_pods(self, replicaset: Json, active: list[Json]) -> Exception | None:
        """Creates or deletes Pods; the error that prevented it."""
        wanted = replicaset["spec"].get("replicas", 1)
        missing = wanted - len(active)
        if missing > 0:
            return self._create_pods(replicaset, min(missing, _BURST_REPLICAS))
        if missing == 0:
            return None
        by_node = Counter(_node_of(pod) for pod in active)
        ranked = sorted(active, key=lambda pod: _deletion_rank(pod, by_node[_node_of(pod)]))
        for pod in ranked[: min(-missing, _BURST_REPLICAS)]:
            self._store.delete(PODS, *key_of(pod))
            self._recorder.record(
                replicaset, event_messages.DELETED_POD, pod=pod["metadata"]["name"]
            )
        return None

    def _create_pods(self, replicaset: Json, missing: int) -> Exception | None:
        """Creates in batches of 1, 2, 4, … so that a quota rejects few (slowStartBatch)."""
        batch, left = 1, missing
        while left > 0:
            for _ in range(min(batch, left)):
                try:
                    pod = self._store.create(PODS, _pod_from_template(replicaset))
                except StatusError as error:
                    if error.reason == "NotFound" or "being terminated" in error.message:
                        return None
                    self._recorder.record(
                        replicaset, event_messages.CREATE_FAILED, error=error.message
                    )
                    return error
                self._recorder.record(
                    replicaset, event_messages.CREATED_POD, pod=pod["metadata"]["name"]
                )
            left -= min(batch, left)
            batch *= 2
        return None

    def _write_status(
        self,
        replicaset: Json,
        active: list[Json],
        terminating_count: int,
        failure: Exception | None,
    ) -> None:
        key = key_of(replicaset)
        template = replicaset["spec"].get("template") or {}
        labels = ((template.get("metadata") or {}).get("labels") or {}).items()
        wait = replicaset["spec"].get("minReadySeconds", 0)
        ready = [pod for pod in active if condition_is_true(pod, "Ready")]
        available, soonest = 0, None
        for pod in ready:
            since = condition_time(find_condition(pod, "Ready") or {})
            left = since + wait - self._clock.time()
            if left <= 0 or not wait:
                available += 1
            else:
                soonest = left if soonest is None else min(soonest, left)
        labeled = [pod for pod in active if labels <= (pod["metadata"].get("labels") or {}).items()]
        counts = {
            "fullyLabeledReplicas": len(labeled),
            "readyReplicas": len(ready),
            "availableReplicas": available,
        }
        old = replicaset.get("status") or {}
        status: Json = {
            "replicas": len(active),
            **{name: count for name, count in counts.items() if count},
            "terminatingReplicas": terminating_count,
            "observedGeneration": replicaset["metadata"].get("generation", 1),
        }
        conditions = [c for c in old.get("conditions") or () if c.get("type") != "ReplicaFailure"]
        if failure is not None:
            known = find_condition(replicaset, "ReplicaFailure")
            conditions.append(
                known
                or {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "lastTransitionTime": self._clock.timestamp(),
                    "reason": "FailedCreate",
                    "message": str(failure),
                }
            )
        if conditions:
            status["conditions"] = conditions
        if status != old:
            self._store.update(
                REPLICA_SETS, {**_without_version(replicaset), "status": status}, "status"
            )
        if soonest is not None:
            self._queue.add(key, soonest)


def _is_terminating(pod: Json) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" in pod["metadata"] and phase not in ("Succeeded", "Failed")


def _without_version(obj: Json) -> Json:
    """The object for a status update without a check of its resourceVersion."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return {**obj, "metadata": meta}


def _pod_from_template(replicaset: Json) -> Json:
    """A Pod from the template (controller_utils.go, GetPodFromTemplate)."""
    meta, template = replicaset["metadata"], replicaset["spec"]["template"]
    inner = template.get("metadata") or {}
    labels, annotations = inner.get("labels") or {}, inner.get("annotations") or {}
    pod: Json = {
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [owner_reference(REPLICA_SETS, replicaset)],
        },
        "spec": copy_json(template["spec"]),
        "status": {"phase": "Pending"},
    }
    if annotations:
        pod["metadata"]["annotations"] = dict(annotations)
    if inner.get("finalizers"):
        pod["metadata"]["finalizers"] = list(inner["finalizers"])
    return pod


def _node_of(pod: Json) -> str:
    return str((pod.get("spec") or {}).get("nodeName", ""))


def _deletion_rank(pod: Json, together: int) -> tuple[object, ...]:
    """The sort key of deletion when there are too many Pods: unscheduled first, then pending, not
    ready, sharing a node with more of them (`together`, this one included), ready for a shorter
    time, more restarts, newer. Source: controller_utils.go, ActivePodsWithRanks."""
    status = pod.get("status") or {}
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(status.get("phase", ""), 0)
    ready = condition_is_true(pod, "Ready")
    restarts = sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or ())
    since = condition_time(find_condition(pod, "Ready") or {}) if ready else 0.0
    created = parse_timestamp(pod["metadata"]["creationTimestamp"])
    name = pod["metadata"]["name"]
    return (bool(_node_of(pod)), phase, ready, -together, -since, -restarts, -created, name)
