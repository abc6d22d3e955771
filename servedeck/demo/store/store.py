"""The demo cluster's object store: objects by kind, namespace and name, one resourceVersion for
all, a bounded change log for each kind, and watches. It is synchronous and in memory."""

from __future__ import annotations

import json
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from servedeck.demo.api import status
from servedeck.demo.faults import Isolation, call_directly
from servedeck.demo.resources import BY_KEY, NAMESPACES, PODS, RESOURCES, Resource
from servedeck.demo.store.changes import ChangeLog, Listener, StoreChange, Subscription
from servedeck.demo.store.key_order import KeyOrder
from servedeck.demo.store.objects import Json, Key, format_datetime, key_of
from servedeck.demo.store.preconditions import (
    check_current,
    check_delete_preconditions,
    check_namespace,
)
from servedeck.demo.store.update_strategy import (
    can_be_removed,
    generation_fields,
    grace_period,
    merge_update,
)
from servedeck.serving.json_copy import copy_json

_NAME_ALPHABET = (
    "bcdfghjklmnpqrstvwxz2456789"  # apimachinery pkg/util/rand: no vowels, no bad words
)
_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class TimeSource(Protocol):
    """Where the store takes its timestamps from."""

    def now(self) -> datetime: ...


class SystemClock:
    """The wall clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


AdmissionHook = Callable[["ObjectStore", Resource, Json, Json | None, str], None]
"""Called with (store, resource, new object, old object or None, subresource) before a write. It may
change the new object, and rejects it by raising a StatusError."""


def _differs_only_in_times(new: Json, old: Json) -> bool:
    """Whether only the times in managedFields differ, which does not count as a change. Source:
    apiserver fieldmanager, ignoreManagedFieldsTimestampsTransformer."""

    def owners(obj: Json) -> list[Json]:
        entries = obj["metadata"].get("managedFields") or ()
        return [{key: each[key] for key in each if key != "time"} for each in entries]

    def rest(obj: Json) -> Json:
        meta = {key: obj["metadata"][key] for key in obj["metadata"] if key != "managedFields"}
        return {**obj, "metadata": meta}

    return owners(new) == owners(old) and rest(new) == rest(old)


class ObjectStore:
    """All objects of the demo cluster.

    Objects that `get`, `list` and changes return are shared: never alter them; `mutate` works on a
    copy. Every failure is a `StatusError`. Listeners are called after a write is complete, in the
    order of the changes, through `isolation`. A listener may write; its changes are delivered
    afterwards.
    """

    def __init__(
        self,
        clock: TimeSource | None = None,
        *,
        seed: int = 0,
        history: int = 2000,
        isolation: Isolation = call_directly,
    ) -> None:
        self.clock: TimeSource = clock or SystemClock()
        self.version = 1000
        self.admission: list[AdmissionHook] = []
        self._random = random.Random(seed)  # noqa: S311 - names and uids that tests can replay
        self._history_size = history
        self._objects: dict[Resource, dict[Key, Json]] = {r: {} for r in RESOURCES}
        self._orders = {r: KeyOrder() for r in RESOURCES}
        self._histories = {r: ChangeLog(history, self.version) for r in RESOURCES}
        self._listeners: list[tuple[Resource | None, Listener]] = []
        self._undelivered: deque[StoreChange] = deque()
        self._delivering = False
        self._isolation = isolation

    # -- reading ------------------------------------------------------------------------------

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The object; StatusError 404 where there is none."""
        found = self._objects[resource].get((namespace, name))
        if found is None:
            raise status.not_found(resource.group, resource.plural, name)
        return found

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        return self._objects[resource].get((namespace, name))

    def list(self, resource: Resource, namespace: str | None = None) -> list[Json]:
        """Objects of one namespace, or of all (None), ordered by namespace and name."""
        objects = self._objects[resource]
        return [objects[key] for key in self._orders[resource].of(namespace)]

    def snapshot(self, resource: Resource, version: int) -> dict[Key, Json]:
        """All objects of a kind as they were at `version`; StatusError 410 where the log no longer
        reaches back to it."""
        history = self._histories[resource]
        if version < history.compacted_version:
            raise _expired_error(version, history)
        objects = dict(self._objects[resource])
        for change in reversed(history.changes):
            if change.version <= version:
                break
            key = key_of(change.object)
            if change.old is None:
                objects.pop(key, None)
            else:
                objects[key] = change.old
        return objects

    def timestamp(self) -> str:
        """Now, as metav1.Time."""
        return format_datetime(self.clock.now())

    # -- writing ------------------------------------------------------------------------------

    def create(self, resource: Resource, obj: Json, *, dry_run: bool = False) -> Json:
        """Stores a copy with uid, creationTimestamp, generation and a name (from generateName
        where it has none). StatusError 409 for a name that exists, 404 for a namespace that does
        not exist, 403 for one that is being deleted, and whatever admission raises."""
        new = copy_json(obj)
        meta = new.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._generate_name(resource, meta)
        if resource.namespaced:
            name = meta.get("namespace", "")
            namespace = self.find(NAMESPACES, "", name)
            check_namespace(resource, meta.get("name", ""), name, namespace)
        else:
            meta.pop("namespace", None)
        key = key_of(new)
        if key in self._objects[resource]:
            terminating = "deletionTimestamp" in self._objects[resource][key]["metadata"]
            raise status.already_exists(
                resource.group, resource.plural, key[1], terminating=terminating
            )
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            meta.pop(field, None)
        meta["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        meta["creationTimestamp"] = self.timestamp()
        if resource.generation:
            meta["generation"] = 1
        meta.pop("resourceVersion", None)
        self._run_admission(resource, new, None, "")
        return new if dry_run else self._commit("ADDED", resource, new, None)

    def update(
        self, resource: Resource, obj: Json, subresource: str = "", *, dry_run: bool = False
    ) -> Json:
        """Replaces the object, only its status ("status"), or all but its status ("", for a kind
        with a status). A metadata.resourceVersion that is set must be current (409 Conflict). A
        write without a difference makes no change and no new version."""
        meta = obj["metadata"]
        namespace = meta.get("namespace", "") if resource.namespaced else ""
        old = self.get(resource, namespace, meta["name"])
        check_current(resource, meta, old["metadata"])
        new: Json = copy_json(merge_update(resource, old, obj, subresource))
        meta = new["metadata"]
        for field in _SERVER_FIELDS:
            meta.pop(field, None)
            if field in old["metadata"]:
                meta[field] = old["metadata"][field]
        meta["resourceVersion"] = old["metadata"]["resourceVersion"]
        meta.pop("generation", None)
        if "generation" in old["metadata"]:
            meta["generation"] = old["metadata"]["generation"]
            if subresource in ("", "scale") and generation_fields(old) != generation_fields(new):
                meta["generation"] += 1
        self._run_admission(resource, new, old, subresource)
        if new == old or _differs_only_in_times(new, old):
            return old
        if dry_run:
            return new
        if can_be_removed(resource, new):
            return self._remove(resource, new)
        return self._commit("MODIFIED", resource, new, old)

    def mutate(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        fn: Callable[[Json], Json | None],
        subresource: str = "",
    ) -> Json:
        """Lets `fn` alter a copy (or return another object) and writes it; the stored object."""
        obj = copy_json(self.get(resource, namespace, name))
        replaced = fn(obj)
        return self.update(resource, obj if replaced is None else replaced, subresource)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        propagation: str = "Background",
        grace: int | None = None,
        uid: str = "",
        version: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Deletes an object. One with finalizers, and a Pod that its kubelet has to stop within
        `grace` seconds, only gets a deletionTimestamp (None: the Pod's own
        terminationGracePeriodSeconds; the kubelet removes the Pod with grace=0). "Foreground" and
        "Orphan" add a finalizer for the garbage collector. Returns the last state; with a
        deletionTimestamp the object is still stored."""
        old = self.get(resource, namespace, name)
        check_delete_preconditions(resource, old, uid, version)
        seconds = grace_period(old, grace) if resource is PODS else 0
        new: Json = copy_json(old)
        meta = new["metadata"]
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if finalizer and finalizer not in meta.get("finalizers", ()):
            meta["finalizers"] = [*meta.get("finalizers", ()), finalizer]
        if "deletionTimestamp" in meta:
            seconds = min(seconds, meta.get("deletionGracePeriodSeconds", 0))
        else:
            if "generation" in meta:
                meta["generation"] += 1
            if resource is NAMESPACES:
                new["status"] = (new.get("status") or {}) | {"phase": "Terminating"}
        held = bool(meta.get("finalizers")) or (
            resource is NAMESPACES and bool(new.get("spec", {}).get("finalizers"))
        )
        if not held and seconds == 0:
            if resource is PODS:
                meta.setdefault("deletionTimestamp", self.timestamp())
                meta["deletionGracePeriodSeconds"] = 0
            return new if dry_run else self._remove(resource, new)
        if "deletionTimestamp" not in meta or seconds != meta.get("deletionGracePeriodSeconds"):
            meta["deletionTimestamp"] = format_datetime(
                self.clock.now() + timedelta(seconds=seconds)
            )
            if resource is NAMESPACES:
                meta.pop("deletionGracePeriodSeconds", None)
            else:
                meta["deletionGracePeriodSeconds"] = seconds
        if new == old or dry_run:
            return new
        return self._commit("MODIFIED", resource, new, old)

    # -- watching -----------------------------------------------------------------------------

    def watch(self, resource: Resource | None, since: int | None = None) -> Subscription:
        """Changes after the version `since` (None: from now on). StatusError 410 where the log no
        longer reaches back to it."""
        backlog: Iterable[StoreChange] = ()
        if since is not None and since < self.version:
            wanted = RESOURCES if resource is None else (resource,)
            for history in (self._histories[r] for r in wanted):
                if since < history.compacted_version:
                    raise _expired_error(since, history)
            backlog = sorted(
                (c for r in wanted for c in self._histories[r].changes if c.version > since),
                key=lambda change: change.version,
            )
        subscription = Subscription(resource, backlog, self.unsubscribe)
        self.subscribe(subscription.push, resource)
        return subscription

    def subscribe(self, listener: Listener, resource: Resource | None = None) -> None:
        """Calls `listener` for every change, or for those of one kind."""
        self._listeners.append((resource, listener))

    def unsubscribe(self, listener: Listener) -> None:
        self._listeners = [entry for entry in self._listeners if entry[1] != listener]

    def compact(self) -> None:
        """Drops all logged changes: a watch from an earlier version gets 410."""
        self.version += 1
        for history in self._histories.values():
            history.changes.clear()
            history.compacted_version = self.version

    # -- saving -------------------------------------------------------------------------------

    def dump(self, path: Path) -> None:
        """Writes all objects to a JSON file, which is replaced atomically."""
        state = {
            "resourceVersion": self.version,
            "objects": {r.key: self.list(r) for r in RESOURCES if self._objects[r]},
        }
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(path)

    def load(self, path: Path, keep: Callable[[Resource, Json], bool] = lambda *_: True) -> None:
        """Replaces all objects by those in a file that `dump` wrote, without those that `keep`
        rejects. OSError; ValueError with a sentence where the file does not hold such a state."""
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            version = int(state["resourceVersion"])
            objects: dict[Resource, dict[Key, Json]] = {r: {} for r in RESOURCES}
            for key, items in state["objects"].items():
                for item in items:
                    if keep(BY_KEY[key], item):
                        objects[BY_KEY[key]][key_of(item)] = item
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} does not hold the state of a demo cluster ({error!r}); delete it or "
                "choose another file"
            ) from error
        self.version = max(self.version, version)
        self._objects = objects
        self._orders = {r: KeyOrder(objects[r]) for r in RESOURCES}
        self._histories = {r: ChangeLog(self._history_size, self.version) for r in RESOURCES}
        # new uids must differ from those in the file
        self._random.seed(f"{self._random.random()} {self.version}")

    # -- internal -----------------------------------------------------------------------------

    def _commit(self, type_: str, resource: Resource, new: Json, old: Json | None) -> Json:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        key = key_of(new)
        if type_ == "DELETED":
            del self._objects[resource][key]
            self._orders[resource].remove(key)
        else:
            if key not in self._objects[resource]:
                self._orders[resource].add(key)
            self._objects[resource][key] = new
        change = StoreChange(type_, resource, new, old, self.version)
        self._histories[resource].append(change)
        self._undelivered.append(change)
        self._deliver()
        return new

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._undelivered:
                change = self._undelivered.popleft()
                for resource, listener in self._listeners:
                    if resource is None or resource is change.resource:
                        self._isolation(partial(listener, change))
        finally:
            self._delivering = False

    def _remove(self, resource: Resource, last: Json) -> Json:
        old = self._objects[resource][key_of(last)]
        return self._commit("DELETED", resource, last, old)

    def _run_admission(
        self, resource: Resource, new: Json, old: Json | None, subresource: str
    ) -> None:
        for admit in self.admission:
            admit(self, resource, new, old, subresource)

    def _generate_name(self, resource: Resource, meta: Json) -> str:
        base = str(meta["generateName"])[:58]
        while True:
            name = base + "".join(self._random.choices(_NAME_ALPHABET, k=5))
            if (meta.get("namespace", ""), name) not in self._objects[resource]:
                return name


def _expired_error(version: int, history: ChangeLog) -> status.StatusError:
    return status.expired(f"too old resource version: {version} ({history.compacted_version})")
