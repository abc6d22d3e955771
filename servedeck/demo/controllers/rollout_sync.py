"""One reconciliation of a Deployment: its ReplicaSets and the next step of its rollout.

Source: kubernetes pkg/controller/deployment (sync.go, rolling.go, recreate.go).
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers import rollout
from servedeck.demo.controllers.base import (
    controller_of,
    find_condition,
    is_active_pod,
    owner_reference,
)
from servedeck.demo.controllers.deployment_status import DeploymentStatusSync
from servedeck.demo.controllers.rollout import (
    DESIRED_ANNOTATION,
    HASH_LABEL,
    MAX_REPLICAS_ANNOTATION,
    REVISION_ANNOTATION,
    REVISION_HISTORY_ANNOTATION,
    desired_replicas,
)
from servedeck.demo.label_selector import matches_selector
from servedeck.demo.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from servedeck.demo.store.objects import Json, key_of
from servedeck.serving.json_copy import copy_json

_NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION_ANNOTATION,
        REVISION_HISTORY_ANNOTATION,
        DESIRED_ANNOTATION,
        MAX_REPLICAS_ANNOTATION,
    )
)


class RolloutSync(DeploymentStatusSync):
    """One reconciliation of one Deployment: the next step of its rollout."""

    def run(self) -> None:
        self._adopt_orphans()
        self.read_replicasets()
        deployment = self.deployment
        if "deletionTimestamp" in deployment["metadata"]:
            self._write_status()
            return
        self._sync_paused_condition()
        if deployment["spec"].get("paused") or self._is_scaling_event():
            self._ensure_new_replicaset(create=False)
            self._scale()
            self._delete_old_revisions(when_paused=bool(deployment["spec"].get("paused")))
            self._write_status()
        elif rollout.is_rolling_update(deployment):
            self._ensure_new_replicaset(create=True)
            # as upstream, one kind of step in each pass; its change triggers the next pass
            if not self._scale_up_new() and not self._scale_down_old():
                self._delete_old_revisions()
            self._sync_progress()
        else:
            self._recreate()
            self._sync_progress()

    def _adopt_orphans(self) -> None:
        """Adopts ReplicaSets that match the selector and have no controller."""
        deployment = self.deployment
        for replicaset in self._store.list(REPLICA_SETS, self.key[0]):
            if controller_of(replicaset) is None and matches_selector(
                deployment["spec"].get("selector"), replicaset["metadata"].get("labels")
            ):

                def own(obj: Json) -> None:
                    references = obj["metadata"].setdefault("ownerReferences", [])
                    references.append(owner_reference(DEPLOYMENTS, deployment))

                self._store.mutate(REPLICA_SETS, *key_of(replicaset), own)

    # -- the new ReplicaSet ------------------------------------------------------------------------

    def _ensure_new_replicaset(self, *, create: bool) -> None:
        highest = max((rollout.revision(r) for r in self.old_replicasets), default=0)
        revision = str(highest + 1)
        if self.new_replicaset is not None:
            self._update_annotations(self.new_replicaset, revision)
            self._set_revision(self.new_replicaset["metadata"]["annotations"][REVISION_ANNOTATION])
            if find_condition({"status": self.status}, "Progressing") is None:
                self._set_progressing("True", event_messages.FOUND_REPLICASET)
            return
        if not create:
            return
        self.new_replicaset = self._create_new_replicaset(revision)
        self.replicasets.append(self.new_replicaset)
        self._set_revision(revision)
        size = desired_replicas(self.new_replicaset)
        if size:
            self._record_scaled(self.new_replicaset, 0, size)
        self._set_progressing("True", event_messages.NEW_REPLICASET)

    def _create_new_replicaset(self, revision: str) -> Json:
        deployment, meta = self.deployment, self.deployment["metadata"]
        template = copy_json(deployment["spec"]["template"])
        hash_ = rollout.template_hash(template, self.status.get("collisionCount", 0))
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[HASH_LABEL] = hash_
        selector = copy_json(deployment["spec"].get("selector") or {})
        selector.setdefault("matchLabels", {})[HASH_LABEL] = hash_
        draft: Json = {
            "metadata": {
                "name": f"{meta['name']}-{hash_}",
                "namespace": meta["namespace"],
                "labels": dict(labels),
                "annotations": self._replicaset_annotations(revision),
                "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
            "status": {"replicas": 0},
        }
        if wait := deployment["spec"].get("minReadySeconds"):
            draft["spec"]["minReadySeconds"] = wait
        draft["spec"]["replicas"] = rollout.new_replicaset_size(
            deployment, [*self.replicasets, draft], draft
        )
        try:
            return self._store.create(REPLICA_SETS, draft)
        except StatusError as error:
            if error.reason == "AlreadyExists":

                def count(obj: Json) -> None:
                    status = obj.setdefault("status", {})
                    status["collisionCount"] = status.get("collisionCount", 0) + 1

                self._store.mutate(DEPLOYMENTS, *self.key, count, "status")
            raise

    def _replicaset_annotations(self, revision: str) -> Json:
        own = self.deployment["metadata"].get("annotations") or {}
        wanted = desired_replicas(self.deployment)
        return {
            **{name: value for name, value in own.items() if name not in _NOT_COPIED},
            DESIRED_ANNOTATION: str(wanted),
            MAX_REPLICAS_ANNOTATION: str(wanted + rollout.rollout_bounds(self.deployment).surge),
            REVISION_ANNOTATION: revision,
        }

    def _update_annotations(self, replicaset: Json, revision: str) -> None:
        """Updates the new ReplicaSet's annotations; the highest revision stays."""
        have = replicaset["metadata"].get("annotations") or {}
        if rollout.revision(replicaset) >= int(revision):
            revision = have[REVISION_ANNOTATION]
        recorded = {
            DESIRED_ANNOTATION: have.get(DESIRED_ANNOTATION),
            MAX_REPLICAS_ANNOTATION: have.get(MAX_REPLICAS_ANNOTATION),
        }
        wanted = have | self._replicaset_annotations(revision)
        before = have.get(REVISION_ANNOTATION)
        if before not in (None, revision):  # made current again (SetNewReplicaSetAnnotations)
            history = have.get(REVISION_HISTORY_ANNOTATION)
            wanted[REVISION_HISTORY_ANNOTATION] = f"{history},{before}" if history else before
        wanted |= {name: value for name, value in recorded.items() if value is not None}
        if wanted != have:

            def write(obj: Json) -> None:
                obj["metadata"]["annotations"] = wanted

            self._replace_in_list(self._store.mutate(REPLICA_SETS, *key_of(replicaset), write))

    def _set_revision(self, revision: str) -> None:
        if rollout.revision(self.deployment) == int(revision):
            return

        def write(obj: Json) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION_ANNOTATION] = revision

        self.deployment = self._store.mutate(DEPLOYMENTS, *self.key, write)

    def _replace_in_list(self, replicaset: Json) -> None:
        uid = replicaset["metadata"]["uid"]
        self.replicasets = [
            replicaset if r["metadata"]["uid"] == uid else r for r in self.replicasets
        ]
        if self.new_replicaset is not None and self.new_replicaset["metadata"]["uid"] == uid:
            self.new_replicaset = replicaset

    # -- scaling -----------------------------------------------------------------------------------

    def _is_scaling_event(self) -> bool:
        """Whether spec.replicas changed since a ReplicaSet was last scaled (isScalingEvent)."""
        for replicaset in self.replicasets:
            recorded = (replicaset["metadata"].get("annotations") or {}).get(DESIRED_ANNOTATION)
            if desired_replicas(replicaset) and recorded not in (
                None,
                str(desired_replicas(self.deployment)),
            ):
                return True
        return False

    def _scale(self) -> None:
        deployment, wanted = self.deployment, desired_replicas(self.deployment)
        active = [r for r in self.replicasets if desired_replicas(r)]
        if len(active) <= 1:
            only = (
                active[0]
                if active
                else self.new_replicaset or (self.replicasets[-1] if self.replicasets else None)
            )
            if only is not None:
                self._scale_replicaset(only, wanted)
            return
        if rollout.is_saturated(deployment, self.new_replicaset):
            for replicaset in self.old_replicasets:
                self._scale_replicaset(replicaset, 0)
            return
        if not rollout.is_rolling_update(deployment):
            return
        allowed = wanted + rollout.rollout_bounds(deployment).surge if wanted else 0
        to_add = allowed - rollout.total_replicas(self.replicasets)
        added, sizes = 0, {}
        order = sorted(
            active, key=lambda r: (-desired_replicas(r), r["metadata"]["creationTimestamp"])
        )
        for replicaset in order:
            recorded = (replicaset["metadata"].get("annotations") or {}).get(
                MAX_REPLICAS_ANNOTATION
            )
            share = (
                rollout.replicaset_proportion(
                    replicaset, deployment, to_add, added, int(recorded or 0)
                )
                if to_add
                else 0
            )
            sizes[replicaset["metadata"]["name"]] = desired_replicas(replicaset) + share
            added += share
        for index, replicaset in enumerate(order):
            name = replicaset["metadata"]["name"]
            rest = to_add - added if index == 0 else 0
            self._scale_replicaset(replicaset, max(0, sizes[name] + rest))

    def _scale_entry(self) -> Json:
        """The entry of managedFields that says when a ReplicaSet was scaled."""
        return {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "apiVersion": REPLICA_SETS.api_version,
            "time": self._store.timestamp(),
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }

    def _scale_replicaset(self, replicaset: Json, size: int) -> bool:
        """Sets a ReplicaSet's size and the annotations of the desired size. Whether the size
        changed."""
        old = desired_replicas(replicaset)
        wanted = desired_replicas(self.deployment)
        most = str(wanted + rollout.rollout_bounds(self.deployment).surge)
        recorded = replicaset["metadata"].get("annotations") or {}
        annotations = {DESIRED_ANNOTATION: str(wanted), MAX_REPLICAS_ANNOTATION: most}
        if old == size and all(recorded.get(name) == value for name, value in annotations.items()):
            return False

        def write(obj: Json) -> None:
            obj["spec"]["replicas"] = size
            obj["metadata"].setdefault("annotations", {}).update(annotations)
            obj["metadata"]["managedFields"] = [self._scale_entry()]

        self._replace_in_list(self._store.mutate(REPLICA_SETS, *key_of(replicaset), write))
        if old != size:
            self._record_scaled(replicaset, old, size)
        return old != size

    def _record_scaled(self, replicaset: Json, old: int, new: int) -> None:
        self._recorder.record(
            self.deployment,
            event_messages.SCALED_REPLICASET,
            direction="up" if new > old else "down",
            name=replicaset["metadata"]["name"],
            old=old,
            new=new,
        )

    # -- rolling update ----------------------------------------------------------------------------

    def _scale_up_new(self) -> bool:
        assert self.new_replicaset is not None
        wanted = desired_replicas(self.deployment)
        if desired_replicas(self.new_replicaset) == wanted:
            return False
        if desired_replicas(self.new_replicaset) > wanted:
            return self._scale_replicaset(self.new_replicaset, wanted)
        return self._scale_replicaset(
            self.new_replicaset,
            rollout.new_replicaset_size(self.deployment, self.replicasets, self.new_replicaset),
        )

    def _scale_down_old(self) -> bool:
        """Keeps the minimum available and removes unready Pods first (reconcileOldReplicaSets)."""
        assert self.new_replicaset is not None
        count = rollout.total_replicas(self.replicasets)
        if not rollout.total_replicas(self.old_replicasets):
            return False
        least = (
            desired_replicas(self.deployment) - rollout.rollout_bounds(self.deployment).unavailable
        )
        lacking = desired_replicas(self.new_replicaset) - rollout.sum_status(
            [self.new_replicaset], "availableReplicas"
        )
        room = count - least - lacking
        if room <= 0:
            return False
        changed = self._scale_down_unready(room)
        available = rollout.sum_status(self.replicasets, "availableReplicas")
        spare = available - least
        for replicaset in self.old_replicasets:
            size = desired_replicas(replicaset)
            drop = min(size, spare)
            if drop > 0:
                changed = self._scale_replicaset(replicaset, size - drop) or changed
                spare -= drop
        return changed

    def _scale_down_unready(self, room: int) -> bool:
        changed = False
        for replicaset in self.old_replicasets:
            size = desired_replicas(replicaset)
            ready = rollout.sum_status([replicaset], "availableReplicas")
            drop = min(room, size - ready)
            if size and drop > 0:
                changed = self._scale_replicaset(replicaset, size - drop) or changed
                room -= drop
        return changed

    # -- recreate ----------------------------------------------------------------------------------

    def _recreate(self) -> None:
        self._ensure_new_replicaset(create=False)
        if [self._scale_replicaset(r, 0) for r in self.old_replicasets if desired_replicas(r)]:
            return
        old = {r["metadata"]["uid"] for r in self.old_replicasets}
        pods = self._store.list(PODS, self.key[0])
        if any(
            (controller_of(pod) or {}).get("uid") in old
            and (is_active_pod(pod) or "deletionTimestamp" in pod["metadata"])
            for pod in pods
        ):
            return
        if self.new_replicaset is None:
            self._ensure_new_replicaset(create=True)
        assert self.new_replicaset is not None
        self._scale_replicaset(self.new_replicaset, desired_replicas(self.deployment))
        self._delete_old_revisions()

    # -- status ------------------------------------------------------------------------------------

    def _delete_old_revisions(self, *, when_paused: bool = False) -> None:
        """Deletes ReplicaSets beyond revisionHistoryLimit after a complete rollout."""
        limit = self.deployment["spec"].get("revisionHistoryLimit", 10)
        if when_paused or limit is None or not rollout.is_complete(self.deployment, self.status):
            return
        idle = [
            r
            for r in self.old_replicasets
            if not desired_replicas(r)
            and not (r.get("status") or {}).get("replicas")
            and "deletionTimestamp" not in r["metadata"]
        ]
        idle.sort(key=rollout.revision)
        for replicaset in idle[: max(0, len(idle) - limit)]:
            self._store.delete(REPLICA_SETS, *key_of(replicaset))
