"""How the requests of a serving's endpoint are divided now, and what is known of both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from servedeck.changes.live_objects import LiveObjects, fetch_live_objects
from servedeck.changes.traffic_split.pool_routes import pool_problem, pool_routes
from servedeck.changes.traffic_split.rule_problem import rule_problem
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import DEPLOYMENT, SERVICE
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.serving.conventions import ASYNC_LABEL, SERVING_LABEL
from servedeck.serving.objects.async_routes import has_async_rules
from servedeck.serving.objects.detection import detect_served_model
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.records import Deployment
from servedeck.serving.objects.traffic_split import (
    SERVICE_KIND,
    WEIGHTED_KINDS,
    SplitTarget,
    TrafficRule,
    WeightedBackend,
    read_rules,
    rejected_conditions,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.spec.mapping.request_ports import request_ports, route_port
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import one_line, sanitize


@dataclass(frozen=True, slots=True)
class Side:
    """A serving that gets a share, or a Service without a Deployment that is known."""

    name: str
    """Of the serving, else of the Service; as the API server has it."""
    target: SplitTarget | None
    """Service and port for its requests; None if it has none."""
    deployment: JsonObject
    """{} without one."""

    @property
    def label(self) -> str:
        """Its name, sanitized."""
        return one_line(sanitize(self.name))

    @property
    def is_serving(self) -> bool:
        return bool(self.deployment)

    @property
    def ready(self) -> int:
        return as_int(as_mapping(self.deployment, "status").get("readyReplicas")) or 0

    @property
    def desired(self) -> int:
        return desired_replicas(self.deployment) if self.deployment else 0

    @property
    def replicas(self) -> str:
        """ "1 of 2 replicas ready"; "" if it is not known."""
        return f"{self.ready:,} of {self.desired:,} replicas ready" if self.is_serving else ""

    @property
    def is_deleted(self) -> bool:
        return bool(as_mapping(self.deployment, "metadata").get("deletionTimestamp"))

    @property
    def is_async_gateway(self) -> bool:
        return ASYNC_LABEL in as_mapping(self.deployment, "metadata", "labels")

    @property
    def model(self) -> str:
        """The name of its model in requests, sanitized; "" if it is not known."""
        if not self.deployment:
            return ""
        record = RecordDecoder(Deployment).decode(msgspec.json.encode(self.deployment)).record
        return one_line(detect_served_model(record))


class OtherSide(NamedTuple):
    """Which other the requests are divided with. Names are as the API server has them."""

    service: str
    """In the routes."""
    name: str
    """Of the serving behind it, else of the Service."""


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """A rule that sends requests of the serving's endpoint."""

    route: JsonObject
    rule: TrafficRule


@dataclass(frozen=True, slots=True)
class TrafficState:
    namespace: str
    serving: str
    live: LiveObjects
    """The serving's own objects; none without a Deployment."""
    main: Side
    other: Side | None
    """Which the requests are divided with, or which was asked for; None for none."""
    rules: tuple[EndpointRule, ...] = ()
    """Those of the endpoint of the serving."""
    kept: tuple[TrafficRule, ...] = ()
    """Those for certain headers only, beside others of the endpoint: they are left as they are."""
    received: tuple[TrafficRule, ...] = ()
    """Those of other endpoints, of which the serving gets a share."""
    has_ingress: bool = False
    pool_problem: str = ""
    """Why an InferencePool of the serving keeps the weights from being changed; "" without one."""
    is_asked_missing: bool = False
    """Whether there is neither a serving nor a Service of the name that was asked for."""

    @property
    def services(self) -> frozenset[str]:
        """Names of the Services that select the Pods of the serving."""
        return service_names(self.live)

    @property
    def others(self) -> list[str]:
        """Names of what the requests are divided with, as the API server has them."""
        return list(dict.fromkeys(_other_names(self.rules, self.services)))

    @property
    def other_side(self) -> OtherSide | None:
        """Which other the requests are divided with; None while they are not."""
        if not self.is_split or not self.others:
            return None
        service = self.others[0]
        return OtherSide(service, self.other.name if self.other is not None else service)

    @property
    def gone(self) -> str:
        """That the Service that requests are divided with does not exist any more, one sentence; ""
        if it does. Only of a state that `read_state` has read."""
        if self.problem or self.is_asked_missing or self.other is not None:
            return ""
        if (side := self.other_side) is None:
            return ""
        return one_line(
            f"Service {sanitize(side.service)}, which the requests are divided with, is not in "
            f"namespace {self.namespace} any more; abort, so that all go to {self.main.label} "
            "again."
        )

    def main_service(self, rule: EndpointRule) -> str:
        """The Service of the serving that a rule of its endpoint sends to."""
        return next(one.name for one in rule.rule.backends if one.name in self.services)

    @property
    def weights(self) -> list[float]:
        """The percentages that others than the serving get, each once, of the rules that divide
        requests."""
        divided = [one.rule for one in self.rules if len(one.rule.backends) > 1]
        return sorted({100 - one.percentage(self.services) if one.total else 0 for one in divided})

    @property
    def is_split(self) -> bool:
        return any(len(one.rule.backends) > 1 for one in self.rules)

    @property
    def problem(self) -> str:
        """Why servedeck does not change the weights, one sentence; "" if it does. Different weights
        of the same two are no such problem."""
        if self.pool_problem:
            return self.pool_problem
        if not self.rules:
            return self._no_route
        for one in self.rules:
            if text := rule_problem(one.rule, self.namespace, self.services):
                return text
        if len(self.others) > 1:
            names = ", ".join(one_line(sanitize(name)) for name in self.others)
            return (
                f"Its rules divide requests with different Services ({names}), which servedeck "
                "does not change; give them the same one, or edit the routes."
            )
        return ""

    @property
    def _no_route(self) -> str:
        name = self.main.label
        if self.has_ingress:
            return (
                f"Only an Ingress leads to {name}, and the Ingress API has no weights; create an "
                "HTTPRoute or a VirtualService to split its traffic."
            )
        if unlisted := [
            kind for kind in WEIGHTED_KINDS if kind in self.live.related.unlisted_kinds
        ]:
            return (
                f"{unlisted[0]}s of namespace {self.namespace} may not be listed, so it is not "
                "known how requests are divided; ask for the permission to list them."
            )
        if self.received:
            shared = self.received[0]
            return (
                f"{name} has no endpoint of its own: it gets a share of {shared.label} "
                f"({shared.shares}); change that of the serving whose endpoint it is."
            )
        return one_line(
            f"No HTTPRoute or VirtualService of namespace {self.namespace} sends to a Service of "
            f"{name}, so it has no endpoint whose traffic could be split; create such a route "
            "first: those of other namespaces, and those to an InferencePool, are not changed."
        )

    @property
    def conditions(self) -> list[str]:
        """What Gateways say against its HTTPRoutes, in sentences."""
        leading = [*(one.route for one in self.rules), *pool_routes(self.live)]
        found = (text for route in leading for text in rejected_conditions(route))
        return list(dict.fromkeys(found))

    @property
    def has_async_queue(self) -> bool:
        """Whether asynchronous requests go to the gateway of the serving."""
        return any(has_async_rules(one.route, self.serving) for one in self.rules)


def service_names(live: LiveObjects) -> frozenset[str]:
    """Of the Services that select the Pods; with none, of one of the serving's name."""
    found = frozenset(
        as_str(as_mapping(one, "metadata").get("name"))
        for one in live.objects
        if one.get("kind") == SERVICE.kind
    )
    name = as_str(as_mapping(live.objects[0], "metadata").get("name")) if live.objects else ""
    return found or (frozenset({name}) if name else frozenset())


def _other_names(rules: Sequence[EndpointRule], services: Collection[str]) -> Iterator[str]:
    for one in rules:
        for backend in one.rule.backends:
            if backend.kind != SERVICE_KIND or backend.name not in services:
                yield backend.name


# -- reading --------------------------------------------------------------------------------------


async def read_state(
    connection: Connection, namespace: str, serving: str, other: str = ""
) -> TrafficState:
    """The state now. `other` is a serving or a Service that is asked for; without it, the other is
    the one that requests are divided with. Raises ClusterError."""
    if other:
        live, asked = await asyncio.gather(
            fetch_live_objects(connection, namespace, serving),
            read_side(connection, namespace, other),
        )
        state = find_rules(namespace, serving, live, asked)
        return replace(state, is_asked_missing=asked is None)
    live = await fetch_live_objects(connection, namespace, serving)
    state = find_rules(namespace, serving, live, None)
    if len(state.others) != 1 or state.problem:
        return state
    found = await read_side(connection, namespace, state.others[0], is_service=True)
    return find_rules(namespace, serving, live, found)


def find_rules(namespace: str, serving: str, live: LiveObjects, other: Side | None) -> TrafficState:
    """The state of a serving with these objects."""
    services = service_names(live)
    own: list[EndpointRule] = []
    received: list[TrafficRule] = []
    routes = [one for one in live.objects if one.get("kind") in WEIGHTED_KINDS]
    for route in routes:
        for rule in read_rules(route):
            if not any(_is_here(one, namespace, services) for one in rule.backends):
                continue
            if _is_endpoint(route, rule, serving, services):
                own.append(EndpointRule(route, rule))
            else:
                received.append(rule)
    # A rule for certain headers is a choice of its own, unless there is no other one.
    plain = [one for one in own if not one.rule.is_conditional]
    kept = [one.rule for one in own if one.rule.is_conditional] if plain else []
    return TrafficState(
        namespace,
        serving,
        live,
        Side(serving, find_target(live), live.objects[0] if live.objects else {}),
        other,
        tuple(plain or own),
        tuple(kept),
        tuple(received),
        any(one.get("kind") == "Ingress" for one in live.objects),
        pool_problem(live),
    )


def _is_here(backend: WeightedBackend, namespace: str, services: Collection[str]) -> bool:
    is_service = backend.kind == SERVICE_KIND and backend.namespace == namespace
    return is_service and backend.name in services


def _is_endpoint(
    route: JsonObject, rule: TrafficRule, serving: str, services: Collection[str]
) -> bool:
    """Whether the rule is one of the serving's endpoint, not one of another serving that sends it a
    share, or its requests with certain headers: the label of the route says whose it is, else its
    name, else its first backend."""
    is_alone = len(rule.backends) == 1
    if is_alone and not rule.is_conditional:
        return True
    metadata = as_mapping(route, "metadata")
    if label := as_str(as_mapping(metadata, "labels").get(SERVING_LABEL)):
        return label == serving
    # A single backend says nothing of whose rule it is; those of the other rules do.
    rules = read_rules(route) if is_alone else [rule]
    names = [one.name for each in rules for one in each.backends if one.kind == SERVICE_KIND]
    name = as_str(metadata.get("name"))
    if name in names:
        return name in services
    return is_alone or (bool(names) and names[0] in services)


def find_target(live: LiveObjects) -> SplitTarget | None:
    """The Service and port for requests of a serving, that of its name first; None if it has none
    that leads to its inference server or transformer."""
    imported = import_objects(live.objects)
    for service in imported.objects.services:
        if port := route_port(request_ports(imported.objects, imported.spec, service)):
            return SplitTarget(as_str(as_mapping(service, "metadata").get("name")), port)
    return None


async def read_side(
    connection: Connection, namespace: str, name: str, *, is_service: bool = False
) -> Side | None:
    """The serving of a name, else the Service of that name with the serving whose Pods it selects;
    with `is_service` the Service first. None if there is neither. Raises ClusterError."""
    if not is_service:
        live = await fetch_live_objects(connection, namespace, name)
        if live.objects:
            return Side(name, find_target(live), live.objects[0])
    service = await _get(connection, SERVICE.object_path(namespace, name))
    if service is None:
        return None
    ports = [
        as_int(one.get("port")) or 0 for one in mappings(as_mapping(service, "spec").get("ports"))
    ]
    deployment = await _find_deployment(connection, namespace, name, service)
    target = SplitTarget(name, ports[0]) if ports and ports[0] else None
    if not deployment:
        return Side(name, target, {})
    serving = as_str(as_mapping(deployment, "metadata").get("name"))
    return Side(serving, find_target(LiveObjects([deployment, service])) or target, deployment)


async def _find_deployment(
    connection: Connection, namespace: str, name: str, service: JsonObject
) -> JsonObject:
    """The Deployment whose Pods a Service selects, that of its name first; {} for none, and where
    Deployments may not be listed."""
    selector = as_mapping(service, "spec", "selector")
    if not selector:
        return {}
    try:
        response = await connection.get_json(DEPLOYMENT.collection_path(namespace))
    except ApiError as error:
        if error.code == 403:
            return {}
        raise
    found = [
        one
        for one in mappings(response.get("items"))
        if selector.items() <= as_mapping(one, "spec", "template", "metadata", "labels").items()
    ]
    found.sort(key=lambda one: as_str(as_mapping(one, "metadata").get("name")) != name)
    kind = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind}
    return {**kind, **found[0]} if found else {}


async def _get(connection: Connection, path: str) -> JsonObject | None:
    try:
        found: JsonObject = await connection.get_json(path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return found
