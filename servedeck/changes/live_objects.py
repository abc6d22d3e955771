"""The objects of a serving as the cluster has them now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from servedeck.changes.platform_settings import discover_api_groups
from servedeck.cluster import resources
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import Resource
from servedeck.serving.conventions import ASYNC_LABEL
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.objects.async_routes import async_gateway_name
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.owners import (
    find_controller,
    is_made_from_ingress,
    scales_deployment,
)
from servedeck.serving.objects.traffic_policies import is_policy_of, wildcard_rules
from servedeck.serving.spec.load_balancing import PREFIX_AWARE
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.inference_pools import (
    INFERENCE_POOL_KIND,
    pool_backends,
    selects_pods,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.spec import ServingSpec

_ROUTE_RESOURCES = (
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.OPENSHIFT_ROUTE,
    resources.INGRESS,
)
_SCALER_RESOURCES = (resources.SCALED_OBJECT, resources.HORIZONTAL_POD_AUTOSCALER)
_POLICY_RESOURCES = (resources.DESTINATION_RULE, resources.BACKEND_TRAFFIC_POLICY)
_LISTED = (resources.SERVICE, *_ROUTE_RESOURCES, *_SCALER_RESOURCES, *_POLICY_RESOURCES)


class ServingNotFoundError(ClusterError):
    """There is no Deployment of that name."""


@dataclass(frozen=True, slots=True)
class LiveObjects:
    objects: list[JsonObject] = field(default_factory=list)
    """Deployment, Services, routes, autoscalers and policies, as decoded JSON; [] without a
    Deployment. Of each kind, that of the serving's name is first."""
    related: RelatedObjects = field(default_factory=RelatedObjects)
    engines: Engines = field(default_factory=Engines)
    """What the cluster has that acts on settings, among it the InferencePools of the namespace; the
    address of Prometheus is not looked up."""

    def import_serving(self, prometheus_url: str = "") -> ImportedServing:
        """The serving that they are. `prometheus_url` is where Pods reach Prometheus, if that is
        known."""
        return import_objects(self.objects, replace(self.engines, prometheus_url=prometheus_url))


def unlisted_names(live: LiveObjects) -> list[str]:
    """What may not be listed, as a role names it: "httproutes.gateway.networking.k8s.io"."""
    kinds = live.related.unlisted_kinds - {INFERENCE_POOL_KIND}
    found = [resources.RESOURCES_BY_KIND[one].resource_name for one in kinds]
    hidden = live.engines.hidden_pool_groups
    found += [one.resource_name for one in resources.POOL_RESOURCES if one.group in hidden]
    return sorted(found)


class InferencePools(NamedTuple):
    """Those of a namespace."""

    objects: tuple[JsonObject, ...]
    hidden_groups: frozenset[str] = frozenset()
    """API groups of which there may be others, which may not be listed."""


class _Listing(NamedTuple):
    """Objects of one kind in a namespace."""

    objects: list[JsonObject]
    complete: bool
    """False if the kind may not be listed: at most the object of the serving's name is known."""


async def fetch_live_objects(
    connection: Connection, namespace: str, name: str, *, from_cache: bool = False
) -> LiveObjects:
    """The Deployment, the Services that select its Pods, and the routes of its namespace to
    these Services, to an InferencePool that selects its Pods, or to a Service of the serving's name
    that does not exist; its autoscalers, and the policies of its Services and routes, without those
    that are being deleted. All are requested at the same time.

    With `from_cache`, all but the Deployment are those of the API server's watch cache, which may
    be a moment behind: for a caller that watches them from then on. Without it, each list waits
    until the cache has caught up, 50 to 100 ms on a cluster where other objects change all the
    time.

    Of a kind that may not be listed, the object of the serving's name is read, if that is allowed.
    Raises ClusterError if the Deployment cannot be read.
    """
    lists = (
        _list_objects(connection, one, namespace, name, from_cache=from_cache) for one in _LISTED
    )
    deployment, gateway, groups, pools, *found = await asyncio.gather(
        _get_object(connection, _ref(resources.DEPLOYMENT, namespace, name)),
        _find_gateway(connection, namespace, name),
        discover_api_groups(connection),
        _list_pools(connection, namespace, name, from_cache=from_cache),
        *lists,
    )
    if deployment is None:
        return LiveObjects()
    listings = dict(zip((one.kind for one in _LISTED), found, strict=True))
    found_pools = [one for listing in pools.values() for one in listing.objects]
    own = own_objects(
        deployment,
        {kind: one.objects for kind, one in listings.items()} | {INFERENCE_POOL_KIND: found_pools},
    )
    others = [
        one
        for resource in (resources.SERVICE, *_ROUTE_RESOURCES)
        for one in _others(listings[resource.kind].objects, name, own)
    ]
    groups_by_kind = {one.kind: one.group for one in _LISTED}
    unlisted = {
        kind
        for kind, listing in listings.items()
        # The API server also forbids what does not exist.
        if not listing.complete and (groups_by_kind[kind] in groups or not groups_by_kind[kind])
    }
    hidden_groups = _hidden_groups(pools, groups)
    if hidden_groups:
        unlisted.add(INFERENCE_POOL_KIND)
    return LiveObjects(
        [deployment, *own],
        RelatedObjects(frozenset(unlisted), tuple(others)),
        Engines(
            groups,
            has_async_gateway=gateway,
            wildcard_rules=wildcard_rules(listings[resources.DESTINATION_RULE.kind].objects),
            pools=tuple(found_pools),
            hidden_pool_groups=hidden_groups,
        ),
    )


async def find_pools(connection: Connection, engines: Engines, spec: ServingSpec) -> InferencePools:
    """The InferencePools of the namespace of a new serving, if its load balancing needs one. Raises
    ClusterError if the server cannot be reached."""
    if spec.load_balancing != PREFIX_AWARE:
        return InferencePools(())
    found = await _list_pools(connection, spec.namespace, "", from_cache=False)
    return InferencePools(
        tuple(one for listing in found.values() for one in listing.objects),
        _hidden_groups(found, engines.api_groups),
    )


async def _list_pools(
    connection: Connection, namespace: str, name: str, *, from_cache: bool
) -> dict[str, _Listing]:
    """The InferencePools of both groups, by group."""
    found = await asyncio.gather(
        *(
            _list_objects(connection, one, namespace, name, from_cache=from_cache)
            for one in resources.POOL_RESOURCES
        )
    )
    return dict(zip((one.group for one in resources.POOL_RESOURCES), found, strict=True))


def _hidden_groups(pools: Mapping[str, _Listing], groups: Collection[str]) -> frozenset[str]:
    """API groups whose InferencePools may not be listed; the API server also forbids what does not
    exist."""
    return frozenset(
        group for group, listing in pools.items() if not listing.complete and group in groups
    )


def _is_being_deleted(obj: JsonObject) -> bool:
    """Whether an object waits for its finalizers, as a ScaledObject for KEDA: it is off already."""
    return bool(as_mapping(obj, "metadata").get("deletionTimestamp"))


def own_objects(
    deployment: JsonObject, listed: Mapping[str, Sequence[JsonObject]]
) -> list[JsonObject]:
    """Services, routes, autoscalers and policies of a Deployment, in this order, among the objects
    of its namespace by kind. InferencePools are none of its own: others make them, and several
    servings may share one."""
    metadata = as_mapping(deployment, "metadata")
    namespace, name = as_str(metadata.get("namespace")), as_str(metadata.get("name"))
    services = [one for one in listed.get("Service", ()) if _selects_pods(one, deployment)]
    others = _others(listed.get("Service", ()), name, services)
    # Routes to a Service that is to be created again are the serving's.
    service_names = {_name(one) for one in services} | ({name} if not others else set())
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    pools = [one for one in listed.get(INFERENCE_POOL_KIND, ()) if selects_pods(one, labels)]
    routes = [
        one
        for resource in _ROUTE_RESOURCES
        for one in listed.get(resource.kind, ())
        if (_routes_to(one, namespace, service_names) or pool_backends([one], pools))
        and not is_made_from_ingress(one)
    ]
    scalers = [
        one
        for resource in _SCALER_RESOURCES
        for one in listed.get(resource.kind, ())
        # KEDA makes a HorizontalPodAutoscaler of a ScaledObject.
        if scales_deployment(one, deployment)
        and find_controller(one) is None
        and not _is_being_deleted(one)
    ]
    policies = [
        one
        for resource in _POLICY_RESOURCES
        for one in listed.get(resource.kind, ())
        if is_policy_of(one, namespace, service_names, routes) and not _is_being_deleted(one)
    ]
    return [*services, *routes, *scalers, *policies]


def _others(
    listed: Sequence[JsonObject], name: str, own: Collection[JsonObject]
) -> list[JsonObject]:
    """The objects of the serving's name that are not its own."""
    return [one for one in listed if _name(one) == name and one not in own]


async def _find_gateway(connection: Connection, namespace: str, name: str) -> bool:
    """Whether the serving has an async gateway, as far as that may be read."""
    ref = _ref(resources.DEPLOYMENT, namespace, async_gateway_name(name))
    try:
        found = await _get_object(connection, ref)
    except ApiError as error:
        if error.code != 403:
            raise
        return False
    return as_mapping(found, "metadata", "labels").get(ASYNC_LABEL) == name


async def find_other_kind(connection: Connection, namespace: str, name: str) -> str:
    """Kind of a workload of that name that servedeck only shows; "" if there is none, or none that
    may be read."""
    for resource in resources.READONLY_WORKLOADS:
        with contextlib.suppress(ClusterError):
            await connection.get(resource.object_path(namespace, name))
            return resource.kind
    return ""


def _selects_pods(service: JsonObject, deployment: JsonObject) -> bool:
    if as_mapping(service, "spec").get("type") == "ExternalName":
        return False  # its selector has no effect
    selector = as_mapping(service, "spec", "selector")
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    return selects_labels(selector, labels)


def _routes_to(route: JsonObject, namespace: str, services: Collection[object]) -> bool:
    return any(
        one.namespace == namespace and one.service in services for one in route_backends(route)
    )


async def _list_objects(
    connection: Connection, resource: Resource, namespace: str, name: str, *, from_cache: bool
) -> _Listing:
    """The objects of a kind, that of the given name first."""
    params = [("resourceVersion", "0")] if from_cache else []
    try:
        response = await connection.get_json(resource.collection_path(namespace), params=params)
    except ApiError as error:
        if error.code == 404:  # the cluster does not have the kind
            return _Listing([], True)
        if error.code != 403:
            raise
        if not name:
            return _Listing([], False)
    else:
        # The entries of a list have no kind.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found = [{**kind, **one} for one in mappings(response.get("items"))]
        return _Listing(sorted(found, key=lambda one: _name(one) != name), True)
    try:
        one = await _get_object(connection, _ref(resource, namespace, name))
    except ApiError as error:
        if error.code != 403:
            raise
        one = None
    return _Listing([one] if one is not None else [], False)


def _name(obj: Mapping[str, Any]) -> object:
    return as_mapping(obj, "metadata").get("name")


def _ref(resource: Resource, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(resource.api_version, resource.kind, namespace, name)


async def _get_object(connection: Connection, ref: ObjectRef) -> dict[str, Any] | None:
    try:
        found = await connection.get_json(ref.path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    if found.get("kind") != ref.kind:
        raise InvalidResponseError(
            f"The server answered with an object that is not a {ref.kind}; is it a Kubernetes API?"
        )
    return found
