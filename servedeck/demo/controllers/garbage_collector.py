"""Deletes or orphans the dependents of deleted owners, and the content of deleted namespaces.

Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go,
pkg/controller/namespace/deletion.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from servedeck.demo.controllers.base import ControllerContext, WorkQueue
from servedeck.demo.resources import BY_KIND, EVENTS, EVENTS_V1, NAMESPACES, RESOURCES, Resource
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json, Key, key_of

ObjectLocation = tuple[Resource, Key]

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_DELAY_SECONDS = 0.05


class GarbageCollector:
    def __init__(self, context: ControllerContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._dependents: dict[str, set[ObjectLocation]] = defaultdict(set)
        self._namespace_queue = WorkQueue(context.clock, self._delete_namespace_content)
        context.store.subscribe(self._changed)

    def resync(self) -> None:
        for resource in RESOURCES:
            if resource is EVENTS_V1:
                continue
            for obj in self._store.list(resource):
                self._update_dependents(resource, obj, None)
                if obj["metadata"].get("finalizers"):
                    self._schedule_finalize(resource, obj)
        for namespace in self._store.list(NAMESPACES):
            if "deletionTimestamp" in namespace["metadata"]:
                self._namespace_queue.add(key_of(namespace), _DELAY_SECONDS)

    def _changed(self, change: StoreChange) -> None:
        resource, obj = change.resource, change.object
        if resource is EVENTS:
            return
        if change.type == "DELETED":
            self._update_dependents(resource, None, change.old)
            uid = obj["metadata"]["uid"]
            if self._dependents.get(uid):
                self._clock.call_later(_DELAY_SECONDS, lambda: self._collect_dependents(uid))
            for owner in obj["metadata"].get("ownerReferences") or ():
                self._recheck_owner(owner, obj["metadata"].get("namespace", ""))
            namespace = self._store.find(NAMESPACES, "", obj["metadata"].get("namespace", ""))
            if namespace is not None and "deletionTimestamp" in namespace["metadata"]:
                self._namespace_queue.add(key_of(namespace), _DELAY_SECONDS)
            return
        self._update_dependents(resource, obj, change.old)
        if "deletionTimestamp" not in obj["metadata"]:
            if change.type == "ADDED" and obj["metadata"].get("ownerReferences"):
                self._clock.call_later(
                    _DELAY_SECONDS, lambda: self._delete_if_ownerless(resource, key_of(obj))
                )
            return
        if resource is NAMESPACES:
            self._namespace_queue.add(key_of(obj), _DELAY_SECONDS)
        self._schedule_finalize(resource, obj)

    def _update_dependents(self, resource: Resource, new: Json | None, old: Json | None) -> None:
        for owner in ((old or {}).get("metadata") or {}).get("ownerReferences") or ():
            self._dependents[owner["uid"]].discard((resource, key_of(old or {})))
        if new is not None:
            for owner in new["metadata"].get("ownerReferences") or ():
                self._dependents[owner["uid"]].add((resource, key_of(new)))

    def _dependents_of(self, uid: str) -> list[ObjectLocation]:
        found = self._dependents.get(uid, set())
        return sorted(found, key=lambda place: (place[0].key, place[1]))

    # -- in the background ----------------------------------------------------------------------

    def _collect_dependents(self, uid: str) -> None:
        """Deletes the dependents of a deleted owner that have no other owner, each in a step of
        its own."""
        for place in self._dependents_of(uid):
            self._clock.call_later(0.0, partial(self._delete_if_ownerless, *place))

    def _delete_if_ownerless(self, resource: Resource, key: Key) -> None:
        obj = self._store.find(resource, *key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return
        owners = obj["metadata"].get("ownerReferences") or []
        if owners and not any(self._owner_exists(owner, key[0]) for owner in owners):
            self._store.delete(resource, *key)

    def _owner_exists(self, reference: Json, namespace: str) -> bool:
        resource = BY_KIND.get((reference.get("apiVersion", ""), reference.get("kind", "")))
        if resource is None:
            return True
        place = namespace if resource.namespaced else ""
        owner = self._store.find(resource, place, reference.get("name", ""))
        return owner is not None and owner["metadata"]["uid"] == reference.get("uid")

    # -- in the foreground, and orphans -----------------------------------------------------------

    def _schedule_finalize(self, resource: Resource, obj: Json) -> None:
        finalizers = obj["metadata"].get("finalizers") or ()
        if "deletionTimestamp" in obj["metadata"] and {_FOREGROUND, _ORPHAN} & set(finalizers):
            self._clock.call_later(_DELAY_SECONDS, lambda: self._finalize(resource, key_of(obj)))

    def _recheck_owner(self, reference: Json, namespace: str) -> None:
        resource = BY_KIND.get((reference.get("apiVersion", ""), reference.get("kind", "")))
        if resource is None:
            return
        key = (namespace if resource.namespaced else "", reference.get("name", ""))
        owner = self._store.find(resource, *key)
        if owner is not None:
            self._schedule_finalize(resource, owner)

    def _finalize(self, resource: Resource, key: Key) -> None:
        owner = self._store.find(resource, *key)
        if owner is None:
            return
        uid, finalizers = owner["metadata"]["uid"], owner["metadata"].get("finalizers") or []
        if _ORPHAN in finalizers:
            for place in self._dependents_of(uid):
                self._remove_owner_reference(place, uid)
            self._remove_finalizer(resource, key, _ORPHAN)
        elif _FOREGROUND in finalizers:
            left = [
                p for p in self._dependents_of(uid) if self._store.find(p[0], *p[1]) is not None
            ]
            if not left:
                self._remove_finalizer(resource, key, _FOREGROUND)
            for kind, name in left:
                found = self._store.find(kind, *name)
                if found is not None and "deletionTimestamp" not in found["metadata"]:
                    has_own = bool(self._dependents.get(found["metadata"]["uid"]))
                    self._store.delete(
                        kind, *name, propagation="Foreground" if has_own else "Background"
                    )

    def _remove_owner_reference(self, place: ObjectLocation, uid: str) -> None:
        def release(obj: Json) -> None:
            left = [o for o in obj["metadata"]["ownerReferences"] if o["uid"] != uid]
            obj["metadata"]["ownerReferences"] = left
            if not left:
                del obj["metadata"]["ownerReferences"]

        self._store.mutate(place[0], *place[1], release)

    def _remove_finalizer(self, resource: Resource, key: Key, finalizer: str) -> None:
        def write(obj: Json) -> None:
            left = [name for name in obj["metadata"].get("finalizers") or () if name != finalizer]
            obj["metadata"]["finalizers"] = left
            if not left:
                del obj["metadata"]["finalizers"]

        self._store.mutate(resource, *key, write)

    # -- namespaces -------------------------------------------------------------------------------

    def _delete_namespace_content(self, key: Key) -> None:
        """Deletes the content of a namespace that is being deleted, then its finalizer."""
        namespace = self._store.find(NAMESPACES, *key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        left = 0
        for resource in RESOURCES:
            if not resource.namespaced or resource is EVENTS_V1:
                continue
            for obj in self._store.list(resource, key[1]):
                if "deletionTimestamp" not in obj["metadata"]:
                    self._store.delete(resource, *key_of(obj))
                left += self._store.find(resource, *key_of(obj)) is not None
        if left:
            return

        def release(obj: Json) -> None:
            obj["spec"] = {**(obj.get("spec") or {}), "finalizers": []}

        self._store.mutate(NAMESPACES, *key, release)
