"""Indexes that find the records affected by a change: by uid, owner, involved object and backend.
The cost depends on the change, not on the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.backends import replaced_service
from servedeck.serving.objects.detection import find_async_serving
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.records import (
    Event,
    HTTPRoute,
    Ingress,
    ObjectMeta,
    Service,
    VirtualService,
    Workload,
)
from servedeck.serving.route_candidates import referenced_pool
from servedeck.serving.spec.mapping.inference_pools import PoolKey


class HasMetadata(Protocol):
    """Any record of an object."""

    @property
    def metadata(self) -> ObjectMeta: ...


R = TypeVar("R", bound=HasMetadata)
K = TypeVar("K")


def record_uid(record: HasMetadata) -> str:
    """uid, or namespace and name of an invalid object without one."""
    meta = record.metadata
    return meta.uid or f"{meta.namespace}/{meta.name}"


def controller_uid(record: HasMetadata, kind: str) -> str:
    """uid of the controller of that kind, "" if the object has none or one of another kind."""
    for owner in record.metadata.owner_references:
        if owner.controller:
            return owner.uid if owner.kind == kind else ""
    return ""


class OwnedRecords(Generic[R]):
    """Records by uid, and by the uid of the controller that owns them.

    The same object may come from two sources, one for each label selector, and while its label
    changes both or neither contain it, in any order. Each source has its own record; the first
    source takes precedence. Records without a controller of the kind are not stored.
    """

    def __init__(self, owner_kind: str) -> None:
        self._owner_kind = owner_kind
        self._sources: tuple[dict[str, R], dict[str, R]] = ({}, {})
        self._by_owner: dict[str, dict[str, R]] = {}
        self._changes: dict[str, tuple[object, set[str]]] = {}
        """For owners whose changes are read: the last reader, and uids that changed since."""

    def get(self, uid: str) -> R | None:
        """The record of the first source that has one."""
        first, second = self._sources
        return first.get(uid) or second.get(uid)

    def owned_by(self, owner_uid: str) -> Mapping[str, R]:
        """Records that the controller owns, by uid in order of arrival. It changes with them."""
        return self._by_owner.get(owner_uid, {})

    def take_changes(self, owner_uid: str, reader: object) -> set[str] | None:
        """uids of the controller's records that were stored or deleted since `reader` called this.
        None if they are unknown: on its first call, after one by another reader, and while the
        controller has no records. Nothing is kept then: there are many old ReplicaSets, and no
        change says that one was deleted."""
        if owner_uid not in self._by_owner:
            return None
        before = self._changes.get(owner_uid)
        self._changes[owner_uid] = (reader, set())
        return before[1] if before is not None and before[0] is reader else None

    def is_only_unlabeled(self, uid: str) -> bool:
        """Whether only the second source contains the object."""
        first, second = self._sources
        return uid in second and uid not in first

    def update(self, record: R, *, deleted: bool, unlabeled: bool) -> tuple[str, str]:
        """Store or delete a record of a source; returns the uids of the owner before and after, ""
        for none."""
        uid = record_uid(record)
        before = self.get(uid)
        source = self._sources[unlabeled]
        if deleted or not controller_uid(record, self._owner_kind):
            source.pop(uid, None)
        else:
            source[uid] = record
        after = self.get(uid)
        old = controller_uid(before, self._owner_kind) if before else ""
        new = controller_uid(after, self._owner_kind) if after else ""
        if old and old != new:
            _discard_from_index(self._by_owner, old, uid)
        if new and after is not None:
            self._by_owner.setdefault(new, {})[uid] = after
        for owner in {old, new} - {""}:
            if owner not in self._by_owner:
                self._changes.pop(owner, None)
            elif owner in self._changes:
                self._changes[owner][1].add(uid)
        return old, new


class RecordIndex(Generic[R, K]):
    """Records by the keys that `index_keys` returns for them."""

    def __init__(self, index_keys: Callable[[R], Iterable[K]]) -> None:
        self._index_keys = index_keys
        self._records: dict[str, R] = {}
        self._by_key: dict[K, dict[str, R]] = {}

    def lookup(self, key: K) -> Iterable[R]:
        """Records with the key, in order of arrival."""
        records = self._by_key.get(key)
        return records.values() if records else ()

    def has_key(self, key: K) -> bool:
        """Whether a record has the key."""
        return key in self._by_key

    def keys(self) -> Iterable[K]:
        """The keys of all records."""
        return self._by_key.keys()

    def get(self, uid: str) -> R | None:
        """The record with the uid."""
        return self._records.get(uid)

    def update(self, record: R, *, deleted: bool) -> set[K]:
        """Store or delete a record; returns its previous and current keys."""
        uid = record_uid(record)
        before = self._records.pop(uid, None)
        old = set(self._index_keys(before)) if before is not None else set()
        new = set() if deleted else set(self._index_keys(record))
        for key in old - new:
            _discard_from_index(self._by_key, key, uid)
        if new:
            self._records[uid] = record
            for key in new:
                self._by_key.setdefault(key, {})[uid] = record
        return old | new


def _discard_from_index(index: dict[K, dict[str, R]], key: K, uid: str) -> None:
    records = index.get(key)
    if records is not None and records.pop(uid, None) is not None and not records:
        del index[key]


# -- index keys -------------------------------------------------------------------------------


def async_gateway_servings(deployment: Workload) -> Iterable[NamespacedName]:
    """The serving whose async gateway the Deployment is."""
    serving = find_async_serving(deployment)
    return (NamespacedName(deployment.metadata.namespace, serving),) if serving else ()


def event_object_uids(event: Event) -> Iterable[str]:
    """uid of the involved object of the Event."""
    uid = event.involved_object.uid
    return (uid,) if uid else ()


def http_route_backends(route: HTTPRoute) -> Iterator[NamespacedName]:
    """Backend Services of the route, possibly in other namespaces; of an InferencePool `pool_name`,
    and `any_pool` of its namespace."""
    for rule in route.spec.rules:
        for backend in rule.backend_refs:
            namespace = backend.namespace or route.metadata.namespace
            if backend.kind == "Service":
                yield NamespacedName(namespace, backend.name)
            elif (key := referenced_pool(route, backend)) is not None:
                yield any_pool(namespace)
                yield pool_name(key)


def any_pool(namespace: str) -> NamespacedName:
    """Key of the routes to the InferencePools of a namespace: those to a pool that is not known
    concern all servings there. No Service has an empty name."""
    return NamespacedName(namespace, "")


def pool_name(pool: PoolKey) -> NamespacedName:
    """Key of the routes to an InferencePool. No Service has such a name."""
    return NamespacedName(pool.namespace, f"{pool.group}/{pool.name}")


def virtual_service_backends(route: VirtualService) -> Iterator[NamespacedName]:
    """Backend Services of the route: `name`, `name.namespace` or `name.namespace.svc...`.

    Source: https://istio.io/latest/docs/reference/config/networking/destination-rule, "host".
    """
    for rule in route.spec.http:
        for target in rule.route:
            name, _, rest = target.destination.host.partition(".")
            yield NamespacedName(rest.split(".", 1)[0] or route.metadata.namespace, name)


def ingress_backends(route: Ingress) -> Iterator[NamespacedName]:
    """Backend Services of the route, and the one in whose place an async gateway stands."""
    for rule in route.spec.rules:
        for path in rule.http.paths:
            yield NamespacedName(route.metadata.namespace, path.backend.service.name)
    if name := route.spec.default_backend.service.name:
        yield NamespacedName(route.metadata.namespace, name)
    if service := replaced_service(route.metadata.labels):
        yield NamespacedName(route.metadata.namespace, service[0])


def openshift_route_backends(route: Route) -> Iterator[NamespacedName]:
    """Backend Services of the Route, in its namespace."""
    for target in route.targets:
        yield NamespacedName(route.metadata.namespace, target.name)


# -- Services and the Pods they select ---------------------------------------------------------

NamespacedLabel = tuple[str, str, str]
"""Namespace, label, value."""


def _service_index_keys(service: Service) -> Iterator[NamespacedLabel | NamespacedName]:
    """Index keys of a Service: its name, and one label of its selector.

    Every Pod that it selects has that label. The serving's label is preferred, since others
    ("managed-by") may be on every Pod of the namespace.
    """
    namespace, selector = service.metadata.namespace, service.spec.selector
    yield NamespacedName(namespace, service.metadata.name)
    if selector:
        label = SERVING_LABEL if SERVING_LABEL in selector else next(iter(selector))
        yield namespace, label, selector[label]


class ServiceIndex:
    """Which Services select the Pods of which servings, in both directions."""

    def __init__(self) -> None:
        self._services: RecordIndex[Service, NamespacedLabel | NamespacedName] = RecordIndex(
            _service_index_keys
        )
        self._servings_by_label: dict[NamespacedLabel, set[NamespacedName]] = {}
        self._pod_labels: dict[NamespacedName, dict[str, str]] = {}

    def update(self, service: Service, *, deleted: bool) -> set[NamespacedName]:
        """Store or delete a Service; returns the servings that it affected or affects."""
        before = self._services.get(record_uid(service))
        self._services.update(service, deleted=deleted)
        concerned = {NamespacedName(service.metadata.namespace, service.metadata.name)}
        for state in (before, service):
            if state is not None:
                concerned |= self._selected_servings(state)
        return concerned

    def _selected_servings(self, service: Service) -> set[NamespacedName]:
        """Servings whose Pods the Service selects; none without a selector."""
        return self.selected(service.metadata.namespace, service.spec.selector)

    def selected(self, namespace: str, selector: Mapping[str, str]) -> set[NamespacedName]:
        """Servings whose Pods have these labels; none without any."""
        pairs = [
            self._servings_by_label.get((namespace, label, value), set())
            for label, value in selector.items()
        ]
        return set.intersection(*sorted(pairs, key=len)) if pairs else set()

    def update_serving(self, key: NamespacedName, deployment: Workload | None) -> None:
        """Set the Pod labels of a serving from its workload; None removes it."""
        labels = deployment.spec.template.metadata.labels if deployment is not None else {}
        before = self._pod_labels.get(key, {})
        if labels == before:
            return
        for label, value in before.items():
            servings = self._servings_by_label[key.namespace, label, value]
            servings.discard(key)
            if not servings:
                del self._servings_by_label[key.namespace, label, value]
        for label, value in labels.items():
            self._servings_by_label.setdefault((key.namespace, label, value), set()).add(key)
        if labels:
            self._pod_labels[key] = labels
        else:
            del self._pod_labels[key]

    def services_of(self, key: NamespacedName) -> list[Service]:
        """Services of the serving: those that select its Pods or have its name, by name."""
        found = {record_uid(service): service for service in self._services.lookup(key)}
        labels = self._pod_labels.get(key, {})
        for label, value in labels.items():
            for service in self._services.lookup((key.namespace, label, value)):
                if service.spec.selector.items() <= labels.items():
                    found[record_uid(service)] = service
        return sorted(
            found.values(), key=lambda service: (service.metadata.name, record_uid(service))
        )

    def servings_behind(self, service_name: NamespacedName) -> set[NamespacedName]:
        """Servings that a Service of that name routes to."""
        return {service_name}.union(
            *(map(self._selected_servings, self._services.lookup(service_name)))
        )
