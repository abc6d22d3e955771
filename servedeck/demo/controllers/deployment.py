"""The Deployment controller: ReplicaSets for revisions, rolled out within surge and availability.

Source: kubernetes pkg/controller/deployment (sync.go, rolling.go, recreate.go).
"""

from __future__ import annotations

from servedeck.demo import event_messages
from servedeck.demo.api.status import StatusError
from servedeck.demo.controllers import rollout
from servedeck.demo.controllers.base import (
    Context,
    Queue,
    condition,
    controller_of,
    is_active,
    key_of,
    owner_reference,
    selects,
)
from servedeck.demo.controllers.deployment_status import Progress
from servedeck.demo.controllers.rollout import DESIRED, HASH, MAXIMUM, REVISION, replicas_of
from servedeck.demo.resources import DEPLOYMENTS, PODS, REPLICASETS
from servedeck.demo.store.changes import Change
from servedeck.demo.store.objects import Json, Key, copy_json

_LATENCY = 0.01
_NOT_COPIED = frozenset(
    ("kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM)
)


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._queue = Queue(context.clock, self._sync)
        context.store.subscribe(self._deployment_changed, DEPLOYMENTS)
        context.store.subscribe(self._replicaset_changed, REPLICASETS)
        context.store.subscribe(self._pod_changed, PODS)

    def resync(self) -> None:
        for deployment in self._store.list(DEPLOYMENTS):
            self._queue.add(key_of(deployment))

    def _deployment_changed(self, change: Change) -> None:
        if change.type != "DELETED":
            self._queue.add(key_of(change.object))

    def _replicaset_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == "Deployment":
            # later than the ReplicaSets act, so that a size is true before the next step
            key = (change.object["metadata"]["namespace"], owner["name"])
            self._queue.add(key, _LATENCY)

    def _pod_changed(self, change: Change) -> None:
        """Recreate waits for the last old Pod to be gone."""
        owner = controller_of(change.object)
        if change.type != "DELETED" or owner is None or owner.get("kind") != "ReplicaSet":
            return
        namespace = change.object["metadata"]["namespace"]
        replicaset = self._store.find(REPLICASETS, namespace, owner["name"])
        above = controller_of(replicaset) if replicaset is not None else None
        if above is not None:
            self._queue.add((namespace, above["name"]))

    # -- one pass ----------------------------------------------------------------------------------

    def _sync(self, key: Key) -> None:
        deployment = self._store.find(DEPLOYMENTS, *key)
        if deployment is None:
            return
        pass_ = _Pass(self._context, self._queue, deployment)
        try:
            pass_.run()
        except StatusError as error:
            if error.code not in (404, 409):
                raise
            # somebody else wrote or deleted in between: look again
            self._queue.add(key, 0.05)


class _Pass(Progress):
    """One look at one Deployment, and the next step of its rollout."""

    def run(self) -> None:
        self._adopt()
        self.look()
        deployment = self.deployment
        if "deletionTimestamp" in deployment["metadata"]:
            self._write_status()
            return
        self._paused_condition()
        if deployment["spec"].get("paused") or self._scaling():
            self._find_new(create=False)
            self._scale()
            self._cleanup(when_paused=bool(deployment["spec"].get("paused")))
            self._write_status()
        elif rollout.rolls(deployment):
            self._find_new(create=True)
            # as upstream, one kind of step in each pass: the next follows from its change
            if not self._scale_up() and not self._scale_down_old():
                self._cleanup()
            self._progress()
        else:
            self._recreate()
            self._progress()

    def _adopt(self) -> None:
        """Takes ReplicaSets that nobody controls and that the selector matches."""
        deployment = self.deployment
        for replicaset in self._store.list(REPLICASETS, self.key[0]):
            if controller_of(replicaset) is None and selects(
                deployment["spec"].get("selector"), replicaset["metadata"].get("labels")
            ):

                def own(obj: Json) -> None:
                    references = obj["metadata"].setdefault("ownerReferences", [])
                    references.append(owner_reference(DEPLOYMENTS, deployment))

                self._store.mutate(REPLICASETS, *key_of(replicaset), own)

    # -- the new ReplicaSet ------------------------------------------------------------------------

    def _find_new(self, *, create: bool) -> None:
        highest = max((rollout.revision(r) for r in self.old), default=0)
        revision = str(highest + 1)
        if self.new is not None:
            self._annotate(self.new, revision)
            self._mark_revision(self.new["metadata"]["annotations"][REVISION])
            if condition({"status": self.status}, "Progressing") is None:
                self._set_progressing("True", event_messages.FOUND_REPLICASET)
            return
        if not create:
            return
        self.new = self._create_new(revision)
        self.sets.append(self.new)
        self._mark_revision(revision)
        size = replicas_of(self.new)
        if size:
            self._tell_scaled(self.new, 0, size)
        self._set_progressing("True", event_messages.NEW_REPLICASET)

    def _create_new(self, revision: str) -> Json:
        deployment, meta = self.deployment, self.deployment["metadata"]
        template = copy_json(deployment["spec"]["template"])
        hash_ = rollout.template_hash(template, self.status.get("collisionCount", 0))
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[HASH] = hash_
        selector = copy_json(deployment["spec"].get("selector") or {})
        selector.setdefault("matchLabels", {})[HASH] = hash_
        draft: Json = {
            "metadata": {
                "name": f"{meta['name']}-{hash_}",
                "namespace": meta["namespace"],
                "labels": dict(labels),
                "annotations": self._annotations(revision),
                "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
            "status": {"replicas": 0},
        }
        if wait := deployment["spec"].get("minReadySeconds"):
            draft["spec"]["minReadySeconds"] = wait
        draft["spec"]["replicas"] = rollout.new_size(deployment, [*self.sets, draft], draft)
        try:
            return self._store.create(REPLICASETS, draft)
        except StatusError as error:
            if error.reason == "AlreadyExists":

                def count(obj: Json) -> None:
                    status = obj.setdefault("status", {})
                    status["collisionCount"] = status.get("collisionCount", 0) + 1

                self._store.mutate(DEPLOYMENTS, *self.key, count, "status")
            raise

    def _annotations(self, revision: str) -> Json:
        own = self.deployment["metadata"].get("annotations") or {}
        wanted = replicas_of(self.deployment)
        return {
            **{name: value for name, value in own.items() if name not in _NOT_COPIED},
            DESIRED: str(wanted),
            MAXIMUM: str(wanted + rollout.bounds(self.deployment).surge),
            REVISION: revision,
        }

    def _annotate(self, replicaset: Json, revision: str) -> None:
        """Keeps the new ReplicaSet's annotations; a revision that is the highest stays."""
        have = replicaset["metadata"].get("annotations") or {}
        if rollout.revision(replicaset) >= int(revision):
            revision = have[REVISION]
        told = {DESIRED: have.get(DESIRED), MAXIMUM: have.get(MAXIMUM)}
        wanted = have | self._annotations(revision)
        wanted |= {name: value for name, value in told.items() if value is not None}
        if wanted != have:

            def write(obj: Json) -> None:
                obj["metadata"]["annotations"] = wanted

            self._replace(self._store.mutate(REPLICASETS, *key_of(replicaset), write))

    def _mark_revision(self, revision: str) -> None:
        if rollout.revision(self.deployment) == int(revision):
            return

        def write(obj: Json) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION] = revision

        self.deployment = self._store.mutate(DEPLOYMENTS, *self.key, write)

    def _replace(self, replicaset: Json) -> None:
        uid = replicaset["metadata"]["uid"]
        self.sets = [replicaset if r["metadata"]["uid"] == uid else r for r in self.sets]
        if self.new is not None and self.new["metadata"]["uid"] == uid:
            self.new = replicaset

    # -- scaling -----------------------------------------------------------------------------------

    def _scaling(self) -> bool:
        """The number asked for changed since a ReplicaSet was last scaled (isScalingEvent)."""
        for replicaset in self.sets:
            told = (replicaset["metadata"].get("annotations") or {}).get(DESIRED)
            if replicas_of(replicaset) and told not in (None, str(replicas_of(self.deployment))):
                return True
        return False

    def _scale(self) -> None:
        deployment, wanted = self.deployment, replicas_of(self.deployment)
        active = [r for r in self.sets if replicas_of(r)]
        if len(active) <= 1:
            only = active[0] if active else self.new or (self.sets[-1] if self.sets else None)
            if only is not None:
                self._resize(only, wanted)
            return
        if rollout.saturated(deployment, self.new):
            for replicaset in self.old:
                self._resize(replicaset, 0)
            return
        if not rollout.rolls(deployment):
            return
        allowed = wanted + rollout.bounds(deployment).surge if wanted else 0
        to_add = allowed - rollout.total(self.sets)
        added, sizes = 0, {}
        order = sorted(active, key=lambda r: (-replicas_of(r), r["metadata"]["creationTimestamp"]))
        for replicaset in order:
            told = (replicaset["metadata"].get("annotations") or {}).get(MAXIMUM)
            share = (
                rollout.proportion(replicaset, deployment, to_add, added, int(told or 0))
                if to_add
                else 0
            )
            sizes[replicaset["metadata"]["name"]] = replicas_of(replicaset) + share
            added += share
        for index, replicaset in enumerate(order):
            name = replicaset["metadata"]["name"]
            rest = to_add - added if index == 0 else 0
            self._resize(replicaset, max(0, sizes[name] + rest))

    def _resize(self, replicaset: Json, size: int) -> bool:
        """Sets a ReplicaSet's size and what it is told of the Deployment's."""
        old = replicas_of(replicaset)
        wanted = replicas_of(self.deployment)
        most = str(wanted + rollout.bounds(self.deployment).surge)
        told = replicaset["metadata"].get("annotations") or {}
        marks = {DESIRED: str(wanted), MAXIMUM: most}
        if old == size and all(told.get(name) == value for name, value in marks.items()):
            return False

        def write(obj: Json) -> None:
            obj["spec"]["replicas"] = size
            obj["metadata"].setdefault("annotations", {}).update(marks)

        self._replace(self._store.mutate(REPLICASETS, *key_of(replicaset), write))
        if old != size:
            self._tell_scaled(replicaset, old, size)
        return old != size

    def _tell_scaled(self, replicaset: Json, old: int, new: int) -> None:
        self._recorder.event(
            self.deployment,
            event_messages.SCALED_REPLICASET,
            direction="up" if new > old else "down",
            name=replicaset["metadata"]["name"],
            old=old,
            new=new,
        )

    # -- rolling update ----------------------------------------------------------------------------

    def _scale_up(self) -> bool:
        assert self.new is not None
        wanted = replicas_of(self.deployment)
        if replicas_of(self.new) == wanted:
            return False
        if replicas_of(self.new) > wanted:
            return self._resize(self.new, wanted)
        return self._resize(self.new, rollout.new_size(self.deployment, self.sets, self.new))

    def _scale_down_old(self) -> bool:
        """reconcileOldReplicaSets: never below what must stay available; Pods that are not ready
        go first."""
        assert self.new is not None
        count = rollout.total(self.sets)
        if not rollout.total(self.old):
            return False
        least = replicas_of(self.deployment) - rollout.bounds(self.deployment).unavailable
        lacking = replicas_of(self.new) - rollout.counted([self.new], "availableReplicas")
        room = count - least - lacking
        if room <= 0:
            return False
        changed = self._drop_unready(room)
        available = rollout.counted(self.sets, "availableReplicas")
        spare = available - least
        for replicaset in self.old:
            size = replicas_of(replicaset)
            drop = min(size, spare)
            if drop > 0:
                changed = self._resize(replicaset, size - drop) or changed
                spare -= drop
        return changed

    def _drop_unready(self, room: int) -> bool:
        changed = False
        for replicaset in self.old:
            size = replicas_of(replicaset)
            ready = rollout.counted([replicaset], "availableReplicas")
            drop = min(room, size - ready)
            if size and drop > 0:
                changed = self._resize(replicaset, size - drop) or changed
                room -= drop
        return changed

    # -- recreate ----------------------------------------------------------------------------------

    def _recreate(self) -> None:
        self._find_new(create=False)
        if [self._resize(r, 0) for r in self.old if replicas_of(r)]:
            return
        old = {r["metadata"]["uid"] for r in self.old}
        pods = self._store.list(PODS, self.key[0])
        if any(
            (controller_of(pod) or {}).get("uid") in old
            and (is_active(pod) or "deletionTimestamp" in pod["metadata"])
            for pod in pods
        ):
            return
        if self.new is None:
            self._find_new(create=True)
        assert self.new is not None
        self._resize(self.new, replicas_of(self.deployment))
        self._cleanup()

    # -- status ------------------------------------------------------------------------------------

    def _cleanup(self, *, when_paused: bool = False) -> None:
        """Deletes what is beyond revisionHistoryLimit, once a rollout is complete."""
        limit = self.deployment["spec"].get("revisionHistoryLimit", 10)
        if when_paused or limit is None or not rollout.complete(self.deployment, self.status):
            return
        idle = [
            r
            for r in self.old
            if not replicas_of(r)
            and not (r.get("status") or {}).get("replicas")
            and "deletionTimestamp" not in r["metadata"]
        ]
        idle.sort(key=rollout.revision)
        for replicaset in idle[: max(0, len(idle) - limit)]:
            self._store.delete(REPLICASETS, *key_of(replicaset))
