"""What sets how a serving is scaled and reached, watched while a part of the page shows it: its
autoscaler, Services, routes and their policies, the InferencePools that select its Pods, its async
gateway, and the Lease of the controller of the temperature policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from servedeck.changes.live_objects import LiveObjects, own_objects
from servedeck.changes.traffic_split.state import TrafficState, find_rules
from servedeck.cluster import resources
from servedeck.cluster.lease import CONTROLLER_LEASE, LEASE, ControllerLease, decode_lease
from servedeck.cluster.resources import Resource
from servedeck.config import PLATFORM_NAMESPACE
from servedeck.detail.candidates import Candidates, may_name, read_selector
from servedeck.detail.scaler_watch import ScalerWatch
from servedeck.detail.serving_object_refs import scales
from servedeck.detail.workloads import as_deployment
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import ASYNC_LABEL
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.objects.async_routes import async_gateway_name
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.owners import find_controller
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping

if TYPE_CHECKING:
    from servedeck.detail.detail_service import DetailService, ObjectWatch
    from servedeck.detail.object_watch import LiveObject

_NAMING_SERVICES = (
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.OPENSHIFT_ROUTE,
    resources.INGRESS,
    resources.DESTINATION_RULE,
)
"""Kinds whose objects act on a serving by the names of its Services, or of the InferencePools that
select its Pods."""
_LISTED = (
    resources.SERVICE,
    *resources.POOL_RESOURCES,
    *_NAMING_SERVICES,
    resources.BACKEND_TRAFFIC_POLICY,
)


@dataclass(frozen=True)
class ServingSettings:
    """What is known of the settings of a serving. Texts are sanitized."""

    workload: JsonObject
    """In the shape of a Deployment."""
    live: LiveObjects
    unlisted: Mapping[str, str]
    """Why objects of a kind may not be listed, in a sentence; by kind."""
    has_keda: bool | None
    """None while it is not known."""
    is_complete: bool
    """Whether everything is listed that may be."""
    gateway: JsonObject | None
    """The Deployment of its async gateway; None without one."""
    gateway_settings: JsonObject | None
    """The ConfigMap of it."""
    lease: ControllerLease | None
    """None while it is not known who applies temperature policies."""

    @cached_property
    def imported(self) -> ImportedServing:
        """The serving as it is read from its objects."""
        return self.live.import_serving()

    @cached_property
    def traffic(self) -> TrafficState:
        """How the requests of its endpoint are divided."""
        spec = self.imported.spec
        return find_rules(spec.namespace, spec.name, self.live, None)

    def has_controller(self, now: datetime) -> bool | None:
        """Whether somebody applies temperature policies; None if that is not known."""
        return None if self.lease is None else self.lease.is_alive(now)


class SettingsWatch:
    """Open until `close`. What acts on a serving names it in its own spec, so the objects of the
    whole namespace are watched."""

    def __init__(
        self, detail_service: DetailService, key: NamespacedName, on_change: Callable[[], None]
    ) -> None:
        """Start to watch. `on_change` is called on the event loop after changes."""
        self._detail_service = detail_service
        self._key = key
        self._on_change = on_change
        self._cached: tuple[tuple[object, ...], ServingSettings] | None = None
        """What was read last, with what it was made of."""
        self.scaler = ScalerWatch(detail_service, key, on_change)
        self._lists = {one: self._watch(one) for one in _LISTED}
        self._candidates = {one: Candidates() for one in _LISTED}
        name = async_gateway_name(key.name)
        self._gateway = self._watch(resources.DEPLOYMENT, name=name)
        self._gateway_settings = self._watch(resources.CONFIG_MAP, name=name)
        self._lease = self._watch(LEASE, namespace=PLATFORM_NAMESPACE, name=CONTROLLER_LEASE)

    def _watch(
        self, resource: Resource, *, namespace: str = "", name: str = ""
    ) -> ObjectWatch | None:
        # Imported late: it loads the client, for which the first frame does not wait.
        from servedeck.detail.object_watch import ObjectQuery

        query = ObjectQuery(resource, namespace or self._key.namespace, name)
        return self._detail_service.watch_objects(query, self._on_change)

    # -- a Watch ------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether all are listed, or it is known that they cannot be."""
        return all(one is None or one.is_settled for one in self._watches)

    @property
    def missing_permission(self) -> str:
        """The missing verb and resource in one sentence; "" if there is none."""
        return next(filter(None, (one.missing_permission for one in self._watches if one)), "")

    @property
    def _watches(self) -> list[ObjectWatch | None]:
        own = (self._gateway, self._gateway_settings, self._lease)
        return [*self._listed.values(), *own]

    @property
    def _listed(self) -> dict[Resource, ObjectWatch | None]:
        return {**self._lists, **self.scaler.watches}

    async def close(self) -> None:
        """Stop all watches; what was read stays."""
        await self.scaler.close()
        for watch in (*self._lists.values(), self._gateway, self._gateway_settings, self._lease):
            if watch is not None:
                await watch.close()

    # -- what was read ------------------------------------------------------------------------

    def read(self, workload: LiveObject, api_groups: frozenset[str] | None) -> ServingSettings:
        """The settings as they are now: the same instance as before if nothing has changed.
        `api_groups` are those that the API server has, None if they are not known."""
        deployment = as_deployment(workload.value)
        found = self._find_candidates(deployment)
        gateway = self._objects(self._gateway)
        config = self._objects(self._gateway_settings)
        lease = self._objects(self._lease)
        states = tuple(
            (one.is_settled, one.missing_permission, one.is_kind_missing)
            for one in self._watches
            if one is not None
        )
        source = (workload, api_groups, states, *found.values(), gateway, config, lease)
        if self._cached is None or not _is_same(self._cached[0], source):
            self._cached = source, self._read(deployment, api_groups, found)
        return self._cached[1]

    def _find_candidates(self, deployment: JsonObject) -> dict[Resource, tuple[LiveObject, ...]]:
        """The objects that may be the serving's, among them all that `own_objects` chooses: the
        others are not parsed, and their changes are none of its settings."""
        name, labels = (
            self._key.name,
            as_mapping(deployment, "spec", "template", "metadata", "labels"),
        )

        def is_service(one: LiveObject) -> bool:
            # One of its name that is not its own keeps the routes to it from being the serving's.
            return one.metadata.name == name or selects_labels(read_selector(one), labels)

        def is_pool(one: LiveObject) -> bool:
            selector = read_selector(one)
            # That of v1 has its labels one level below.
            labels_of = as_mapping(selector, "matchLabels") or selector
            return selects_labels(labels_of, labels)

        services = self._find(resources.SERVICE, labels, is_service)
        found = {resources.SERVICE: services}
        names = {name} | {one.metadata.name for one in services}
        for resource in resources.POOL_RESOURCES:
            found[resource] = self._find(resource, labels, is_pool)
            names |= {one.metadata.name for one in found[resource]}
        for resource in _NAMING_SERVICES:
            found[resource] = self._find(resource, names, lambda one: may_name(one, names))
        routes = {one.metadata.name for one in found[resources.HTTP_ROUTE]}
        found[resources.BACKEND_TRAFFIC_POLICY] = self._find(
            resources.BACKEND_TRAFFIC_POLICY, routes, lambda one: may_name(one, routes)
        )
        for resource in self.scaler.watches:
            found[resource] = self.scaler.own_objects(resource)
        return found

    def _find(
        self, resource: Resource, sought: object, is_candidate: Callable[[LiveObject], bool]
    ) -> tuple[LiveObject, ...]:
        objects = self._objects(self._lists[resource])
        return self._candidates[resource].find(objects, sought, is_candidate)

    def _read(
        self,
        deployment: JsonObject,
        api_groups: frozenset[str] | None,
        found: Mapping[Resource, Sequence[LiveObject]],
    ) -> ServingSettings:
        listed: dict[str, list[JsonObject]] = {}
        for resource, objects in found.items():  # two resources are InferencePools
            values = [one.value for one in self._named_first(objects)]
            listed.setdefault(resource.kind, []).extend(values)
        own = own_objects(deployment, listed)
        if not self._key.is_deployment:
            own += [
                one
                for resource in self.scaler.watches
                for one in listed[resource.kind]
                if scales(one, self._key) and find_controller(one) is None
            ]
        unlisted = {
            resource.kind: watch.missing_permission
            for resource, watch in self._listed.items()
            if watch is not None
            and watch.missing_permission
            # The API server also forbids what does not exist.
            and (not resource.group or api_groups is None or resource.group in api_groups)
        }
        gateway = self._own_gateway(self._objects(self._gateway))
        config = self._own_gateway(self._objects(self._gateway_settings))
        watched = [(one.group, watch) for one, watch in self._listed.items() if watch is not None]
        # The groups are read once; a definition may have been deleted since.
        deleted = {group for group, watch in watched if watch.is_kind_missing}
        installed = {group for group, watch in watched if self._is_installed(watch)}
        groups = ((api_groups or frozenset()) - deleted) | installed
        pools = tuple(listed[resources.INFERENCE_POOL.kind])
        hidden = {
            one.group
            for one in resources.POOL_RESOURCES
            if (watch := self._listed[one]) is not None and watch.missing_permission
        }
        engines = Engines(
            groups,
            has_async_gateway=gateway is not None,
            pools=pools,
            hidden_pool_groups=groups & hidden,
        )
        related = RelatedObjects(frozenset(unlisted), ())
        return ServingSettings(
            deployment,
            LiveObjects([deployment, *own], related, engines),
            unlisted,
            self._has_keda(api_groups),
            self.is_settled,
            gateway,
            config,
            self._read_lease(),
        )

    @staticmethod
    def _objects(watch: ObjectWatch | None) -> tuple[LiveObject, ...]:
        return () if watch is None else tuple(watch.objects)

    def _named_first(self, objects: Sequence[LiveObject]) -> list[LiveObject]:
        return sorted(objects, key=lambda one: one.metadata.name != self._key.name)

    def _own_gateway(self, objects: Sequence[LiveObject]) -> JsonObject | None:
        """The object of that name, if it is one of the serving's async gateway."""
        return next(
            (
                one.value
                for one in objects
                if as_mapping(one.value, "metadata", "labels").get(ASYNC_LABEL) == self._key.name
            ),
            None,
        )

    @staticmethod
    def _is_installed(watch: ObjectWatch) -> bool:
        return watch.is_settled and not (watch.is_kind_missing or watch.missing_permission)

    def _has_keda(self, api_groups: frozenset[str] | None) -> bool | None:
        watch = self.scaler.watches.get(resources.SCALED_OBJECT)
        if watch is None or not watch.is_settled:
            return None
        if watch.missing_permission:
            return None if api_groups is None else resources.SCALED_OBJECT.group in api_groups
        return not watch.is_kind_missing

    def _read_lease(self) -> ControllerLease | None:
        watch = self._lease
        if watch is None or not watch.is_settled or watch.missing_permission:
            return None
        if (found := watch.newest) is None:
            return ControllerLease()
        spec = decode_lease(found.json_text.encode()).spec
        return ControllerLease(spec.holder_identity, spec.renew_time, spec.lease_duration_seconds)


def _is_same(before: Sequence[object], now: Sequence[object]) -> bool:
    """Whether both have the same objects; those that did not change are the same instances."""
    return len(before) == len(now) and all(
        len(one) == len(other) and all(map(_is_identical, one, other))
        if isinstance(one, tuple) and isinstance(other, tuple)
        else _is_identical(one, other)
        for one, other in zip(before, now, strict=True)
    )


def _is_identical(one: object, other: object) -> bool:
    return one is other or (isinstance(one, tuple | frozenset) and one == other)
