"""What the cluster has of the async queue of a serving."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from servedeck.changes.async_queue.secrets import has_view_key, missing_keys
from servedeck.changes.live_objects import LiveObjects, fetch_live_objects
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DEPLOYMENT, OPENSHIFT_ROUTE, SECRET, SERVICE
from servedeck.serving.async_limits import AsyncQueueSettings
from servedeck.serving.conventions import ASYNC_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL
from servedeck.serving.objects.async_gateway import (
    AsyncPlatform,
    build_async_gateway,
    find_settings_problems,
    read_async_settings,
    read_other_settings,
)
from servedeck.serving.objects.async_routes import (
    async_gateway_name,
    async_view_secret_name,
    has_async_rules,
)
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.routes import RouteKind
from servedeck.serving.spec.mapping.inference_pools import pools_of, read_as_service
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.spec.mapping.request_ports import request_ports
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import one_line, sanitize


@dataclass(frozen=True, slots=True)
class AsyncQueueState:
    namespace: str
    serving: str
    live: LiveObjects
    """The serving's own objects."""
    objects: Mapping[ObjectRef, JsonObject | None]
    """Those of a gateway in the order in which they are applied, the Secrets first; None for one
    that is not there, or may not be read."""
    unreadable: Mapping[ObjectRef, str]
    """Why an object may not be read, in a sentence."""

    @property
    def deployment(self) -> JsonObject:
        """Of the serving; {} without one."""
        return self.live.objects[0] if self.live.objects else {}

    @property
    def routes(self) -> list[JsonObject]:
        """The routes that lead to the serving, and can lead to the gateway."""
        return [one for one in self.live.objects if one.get("kind") in tuple(RouteKind)]

    @property
    def openshift_routes(self) -> list[JsonObject]:
        """Those that lead to the serving: servedeck changes none, so they lead past the gateway."""
        return [one for one in self.live.objects if one.get("kind") == OPENSHIFT_ROUTE.kind]

    @property
    def pools(self) -> list[Mapping[str, Any]]:
        """The InferencePools that select the Pods of the serving: a route to one leads to it."""
        deployment = next(iter(self.live.objects), {})
        return pools_of(deployment, self.live.engines.pools)

    def routes_as_to(self, service: str) -> list[JsonObject]:
        """The routes as they read if those to a pool sent to the Service."""
        return [read_as_service(one, self.pools, service) for one in self.routes]

    @property
    def secret(self) -> JsonObject | None:
        """The one with all keys."""
        return self.objects.get(secret_refs(self.namespace, self.serving)[0])

    @property
    def view_secret(self) -> JsonObject | None:
        """The one for viewers."""
        return self.objects.get(secret_refs(self.namespace, self.serving)[1])

    @property
    def gateway(self) -> JsonObject | None:
        """The Deployment of the gateway, if it is one."""
        found = self.find(DEPLOYMENT.kind)
        return found if found is not None and self.is_own(found) else None

    @property
    def settings(self) -> AsyncQueueSettings | None:
        """None without a ConfigMap of the gateway."""
        found = self.find("ConfigMap")
        return read_async_settings(found) if found is not None and self.is_own(found) else None

    @property
    def settings_problems(self) -> Mapping[str, str]:
        """What of them cannot be read, so that `settings` has the default; see
        `find_settings_problems`."""
        found = self.find("ConfigMap")
        return find_settings_problems(found) if found is not None and self.is_own(found) else {}

    @property
    def other_settings(self) -> JsonObject:
        """Those in the ConfigMap of the gateway that somebody has added."""
        found = self.find("ConfigMap")
        return read_other_settings(found) if found is not None and self.is_own(found) else {}

    @property
    def own(self) -> list[ObjectRef]:
        """The objects that are there and are the gateway's; a Secret that somebody else has made is
        not."""
        return [ref for ref, one in self.objects.items() if one is not None and self.is_own(one)]

    @property
    def missing(self) -> list[ObjectRef]:
        return [
            ref for ref, one in self.objects.items() if one is None and ref not in self.unreadable
        ]

    @property
    def foreign(self) -> list[ObjectRef]:
        """Objects of others that have the name of one of the gateway's. A Secret that has the keys
        is used, whoever made it."""
        return [
            ref
            for ref, one in self.objects.items()
            if one is not None and not self.is_own(one) and not self._has_keys(ref, one)
        ]

    @property
    def routes_with_rules(self) -> list[JsonObject]:
        return [one for one in self.routes if has_async_rules(one, self.serving)]

    @property
    def is_off(self) -> bool:
        """Whether nothing of it is there."""
        return not self.own and not self.routes_with_rules

    @property
    def accepts_tasks(self) -> bool:
        """Whether a gateway may have tasks that have not ended. The Service for callers is made
        after its Deployment; it is deleted before the tasks are accounted for, and the Deployment
        after that."""
        name = async_gateway_name(self.serving)
        return any(ref.name == name and ref.kind in _ADDRESS_KINDS for ref in self.own)

    @property
    def not_available(self) -> str:
        """Why no request should be sent to the gateway yet, one sentence; "" if it is up."""
        return "" if self.gateway is None else why_not_available(self.gateway)

    def find(self, kind: str) -> JsonObject | None:
        """The first object of a kind."""
        return next((one for ref, one in self.objects.items() if ref.kind == kind), None)

    def _has_keys(self, ref: ObjectRef, obj: JsonObject) -> bool:
        """Whether it is a Secret as it must be."""
        if ref.kind != SECRET.kind:
            return False
        if ref.name == async_gateway_name(self.serving):
            return not missing_keys(obj)
        return has_view_key(obj, self.secret)

    def is_own(self, obj: Mapping[str, Any]) -> bool:
        return is_part_of_queue(obj, self.serving)


@dataclass(frozen=True, slots=True)
class CurrentLimits:
    """The limits of an async queue that is on."""

    settings: AsyncQueueSettings
    has_objects: bool
    """Whether large bodies are not in the Valkey."""
    problems: tuple[str, ...] = ()
    """What of `settings` is the default, as what is set cannot be read; sentences."""


async def read_current_limits(
    connection: Connection, namespace: str, serving: str
) -> CurrentLimits | None:
    """The limits now; None while the queue is off. Raises ClusterError."""
    name = async_gateway_name(serving)
    try:
        found = await connection.get_json(ObjectRef("v1", "ConfigMap", namespace, name).path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    if not is_part_of_queue(found, serving):
        return None
    return CurrentLimits(
        read_async_settings(found),
        bool(read_other_settings(found).get("objects")),
        tuple(find_settings_problems(found).values()),
    )


def is_part_of_queue(obj: Mapping[str, Any], serving: str) -> bool:
    """Whether it is an object of the gateway of that serving."""
    labels = as_mapping(obj, "metadata", "labels")
    is_ours = labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER
    return is_ours and labels.get(ASYNC_LABEL) == serving


_ADDRESS_KINDS = (DEPLOYMENT.kind, SERVICE.kind)


async def read_state(connection: Connection, namespace: str, serving: str) -> AsyncQueueState:
    """The state now; `live` has no objects without a Deployment of that name. Raises
    ClusterError."""
    live, (objects, unreadable) = await asyncio.gather(
        fetch_live_objects(connection, namespace, serving),
        read_gateway_objects(connection, namespace, serving),
    )
    return AsyncQueueState(namespace, serving, live, objects, unreadable)


async def read_gateway_objects(
    connection: Connection, namespace: str, serving: str
) -> tuple[dict[ObjectRef, JsonObject | None], dict[ObjectRef, str]]:
    """The objects by the names that a gateway's have, and why some may not be read. Raises
    ClusterError."""

    async def read(ref: ObjectRef) -> JsonObject | str | None:
        try:
            return await connection.get_json(ref.path)
        except ApiError as error:
            if error.code == 404:
                return None
            if error.code == 403:
                return str(error)
            raise

    refs = gateway_refs(namespace, serving)
    found = await asyncio.gather(*map(read, refs))
    answers = dict(zip(refs, found, strict=True))
    objects = {ref: None if isinstance(one, str) else one for ref, one in answers.items()}
    return objects, {ref: one for ref, one in answers.items() if isinstance(one, str)}


def gateway_refs(namespace: str, serving: str) -> list[ObjectRef]:
    """The objects of a gateway in the order in which they are applied, the Secrets first."""
    platform = AsyncPlatform(image="", store="")
    built = build_async_gateway(namespace, serving, platform, AsyncQueueSettings())
    return [*secret_refs(namespace, serving), *map(ObjectRef.from_manifest, built)]


def secret_refs(namespace: str, serving: str) -> tuple[ObjectRef, ObjectRef]:
    """The Secret with all keys, and the one for viewers."""
    return (
        ObjectRef("v1", SECRET.kind, namespace, async_gateway_name(serving)),
        ObjectRef("v1", SECRET.kind, namespace, async_view_secret_name(serving)),
    )


def why_not_available(gateway: Mapping[str, Any]) -> str:
    """Why no Pod of this version of the Deployment is available, one sentence; "" if one is."""
    metadata, status = as_mapping(gateway, "metadata"), as_mapping(gateway, "status")
    name = one_line(sanitize(as_str(metadata.get("name"))))
    if not desired_replicas(gateway):
        return f"Deployment {name} is scaled to 0."
    observed = as_int(status.get("observedGeneration")) or 0
    if observed < (as_int(metadata.get("generation")) or 0):
        return f"The new Pods of Deployment {name} are not started yet."
    conditions = {one.get("type"): one for one in mappings(status.get("conditions"))}
    for kind, wanted in (("ReplicaFailure", "True"), ("Progressing", "False")):
        one = as_mapping(conditions, kind)
        if one.get("status") == wanted:
            why = one_line(sanitize(as_str(one.get("message")))).rstrip(".")
            return f"Deployment {name} has no available Pod: {why}."
    updated = as_int(status.get("updatedReplicas")) or 0
    if updated and as_mapping(conditions, "Available").get("status") == "True":
        return ""
    return f"Deployment {name} has no available Pod yet."


def find_target(state: AsyncQueueState) -> str:
    """name:port of the Service that the gateway delivers to: the one that routes lead to, else one
    for requests to the model; "" without one."""
    imported = state.live.import_serving()
    services = {
        as_str(as_mapping(one, "metadata").get("name")): one for one in imported.objects.services
    }
    for route in state.routes:
        for backend in route_backends(route):
            if backend.namespace == state.namespace and backend.service in services:
                port = backend.port or _first_port(services[backend.service])
                return f"{backend.service}:{port}"
    for name, one in services.items():
        for each in request_ports(imported.objects, imported.spec, one):
            return f"{name}:{each.port['port']}"
    return ""


def _first_port(service: Mapping[str, Any]) -> int:
    ports = as_list(as_mapping(service, "spec").get("ports"))
    return next((port for one in ports if (port := as_int(as_mapping(one).get("port")))), 80)


def target_name(target: str) -> str:
    """The Service of name:port."""
    return target.partition(":")[0]


def describe_ref(ref: ObjectRef) -> str:
    """ "Service llama-async", sanitized."""
    return one_line(sanitize(f"{ref.kind} {ref.name}"))


def managers(obj: Mapping[str, Any]) -> Iterator[str]:
    """Field managers of an object, sanitized."""
    for one in mappings(as_mapping(obj, "metadata").get("managedFields")):
        yield one_line(sanitize(as_str(one.get("manager"))))
