"""Where the fleet finds what belongs to a change: records by uid, by owner, by the object they are
about, by what they lead to. Every step costs what the change touches, whatever the cluster's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import (
    SERVING_LABEL,
    Deployment,
    Event,
    HTTPRoute,
    Ingress,
    ObjectMeta,
    Service,
    VirtualService,
)


class HasMetadata(Protocol):
    """Any record of an object."""

    @property
    def metadata(self) -> ObjectMeta: ...


R = TypeVar("R", bound=HasMetadata)
K = TypeVar("K")


def record_uid(record: HasMetadata) -> str:
    """uid, or namespace and name of a broken object that has none."""
    meta = record.metadata
    return meta.uid or f"{meta.namespace}/{meta.name}"


def controller_uid(record: HasMetadata, kind: str) -> str:
    """uid of the controller of that kind, "" where another kind or nobody controls the object."""
    for owner in record.metadata.owner_references:
        if owner.controller:
            return owner.uid if owner.kind == kind else ""
    return ""


class OwnedRecords(Generic[R]):
    """Records by uid, and by the uid of the controller that owns them.

    The same object may come from two sources, one for each label selector, and while its label
    changes both or neither hold it, in any order. Each source keeps its own record; the first
    source's is the one that counts. Records that no controller of the kind owns are not kept.
    """

    def __init__(self, owner_kind: str) -> None:
        self._owner_kind = owner_kind
        self._sources: tuple[dict[str, R], dict[str, R]] = ({}, {})
        self._by_owner: dict[str, dict[str, R]] = {}

    def get(self, uid: str) -> R | None:
        """The record that counts."""
        first, second = self._sources
        return first.get(uid) or second.get(uid)

    def owned_by(self, owner_uid: str) -> Iterable[R]:
        """Records that the controller owns, in the order they came."""
        children = self._by_owner.get(owner_uid)
        return children.values() if children else ()

    def is_only_unlabeled(self, uid: str) -> bool:
        """Whether only the second source holds the object."""
        first, second = self._sources
        return uid in second and uid not in first

    def update(self, record: R, *, deleted: bool, unlabeled: bool) -> tuple[str, str]:
        """Takes a record of a source in, or out when it is gone; returns the uids of the owner
        before and after, "" for none."""
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
        return old, new


class RecordIndex(Generic[R, K]):
    """Records by the keys of what they are about, which `keys` tells."""

    def __init__(self, index_keys: Callable[[R], Iterable[K]]) -> None:
        self._index_keys = index_keys
        self._records: dict[str, R] = {}
        self._by_key: dict[K, dict[str, R]] = {}

    def lookup(self, key: K) -> Iterable[R]:
        """Records about one thing, in the order they came."""
        records = self._by_key.get(key)
        return records.values() if records else ()

    def has_key(self, key: K) -> bool:
        """Whether a record is about it."""
        return key in self._by_key

    def keys(self) -> Iterable[K]:
        """Everything that records are about."""
        return self._by_key.keys()

    def get(self, uid: str) -> R | None:
        """The record of that identity."""
        return self._records.get(uid)

    def update(self, record: R, *, deleted: bool) -> set[K]:
        """Takes a record in, or out when it is gone; returns what it was and is about."""
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


# -- what records are about -------------------------------------------------------------------


def event_object_uids(event: Event) -> Iterable[str]:
    """uid of the object that the Event is about."""
    uid = event.involved_object.uid
    return (uid,) if uid else ()


def http_route_backends(route: HTTPRoute) -> Iterator[NamespacedName]:
    """Services that the route sends to, possibly of other namespaces."""
    for rule in route.spec.rules:
        for backend in rule.backend_refs:
            if backend.kind == "Service":
                yield NamespacedName(backend.namespace or route.metadata.namespace, backend.name)


def virtual_service_backends(route: VirtualService) -> Iterator[NamespacedName]:
    """Services that the route sends to: `name`, `name.namespace` or `name.namespace.svc...`.

    Source: https://istio.io/latest/docs/reference/config/networking/destination-rule, "host".
    """
    for rule in route.spec.http:
        for target in rule.route:
            name, _, rest = target.destination.host.partition(".")
            yield NamespacedName(rest.split(".", 1)[0] or route.metadata.namespace, name)


def ingress_backends(route: Ingress) -> Iterator[NamespacedName]:
    """Services that the route sends to."""
    for rule in route.spec.rules:
        for path in rule.http.paths:
            yield NamespacedName(route.metadata.namespace, path.backend.service.name)


# -- Services and the Pods they select ---------------------------------------------------------

NamespacedLabel = tuple[str, str, str]
"""Namespace, label, value."""


def _service_index_keys(service: Service) -> Iterator[NamespacedLabel | NamespacedName]:
    """Where a Service is looked up: by its name, and by one pair of its selector.

    Every Pod that it selects has that pair. The serving's own label is preferred, since others
    ("managed-by") may be those of the whole namespace.
    """
    namespace, selector = service.metadata.namespace, service.spec.selector
    yield NamespacedName(namespace, service.metadata.name)
    if selector:
        label = SERVING_LABEL if SERVING_LABEL in selector else next(iter(selector))
        yield namespace, label, selector[label]


class ServiceIndex:
    """Which Services select the Pods of which servings, both ways."""

    def __init__(self) -> None:
        self._services: RecordIndex[Service, NamespacedLabel | NamespacedName] = RecordIndex(
            _service_index_keys
        )
        self._servings_by_label: dict[NamespacedLabel, set[NamespacedName]] = {}
        self._pod_labels: dict[NamespacedName, dict[str, str]] = {}

    def update(self, service: Service, *, deleted: bool) -> set[NamespacedName]:
        """Takes a Service in or out; returns the servings that it concerned or concerns."""
        before = self._services.get(record_uid(service))
        self._services.update(service, deleted=deleted)
        concerned = {NamespacedName(service.metadata.namespace, service.metadata.name)}
        for state in (before, service):
            if state is not None:
                concerned |= self._selected_servings(state)
        return concerned

    def _selected_servings(self, service: Service) -> set[NamespacedName]:
        """Servings whose Pods the Service selects; none where it has no selector."""
        namespace = service.metadata.namespace
        pairs = [
            self._servings_by_label.get((namespace, label, value), set())
            for label, value in service.spec.selector.items()
        ]
        return set.intersection(*sorted(pairs, key=len)) if pairs else set()

    def update_serving(self, key: NamespacedName, deployment: Deployment | None) -> None:
        """Learns the labels of the Pods of a serving; None forgets it."""
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
        """Servings that a Service of that name leads to."""
        return {service_name}.union(
            *(map(self._selected_servings, self._services.lookup(service_name)))
        )
