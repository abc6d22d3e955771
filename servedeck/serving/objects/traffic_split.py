"""Sending a share of the requests of a serving's endpoint to another Service, by the weights of its
HTTPRoutes and VirtualServices.

Only the weights, and the one backend that is added, are touched: matches, filters, timeouts,
mirrors, rules of others and those of an async gateway stay as they are. Rules that servedeck cannot
express by one weight (three backends, other kinds, other namespaces) are read, but not changed. An
Ingress has no weights.

Weights are those of the Gateway API (v1, HTTPBackendRef.weight: the share is weight / sum, 1 if it
is absent) and of Istio (HTTPRouteDestination.weight: the same, 0 if it is absent among several
destinations, and without meaning for a single one).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.spec.mapping.inference_pools import (
    HTTP_CONDITIONS,
    HTTP_ROUTE_KIND,
    are_conditional,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.text import one_line, sanitize

HTTP_ROUTE, VIRTUAL_SERVICE = HTTP_ROUTE_KIND, "VirtualService"
WEIGHTED_KINDS = (HTTP_ROUTE, VIRTUAL_SERVICE)
"""Kinds of routes that have weights."""
TOTAL_WEIGHT = 100
"""Sum of the weights that are written, so that each is a percentage."""
SERVICE_KIND = "Service"

_RULES = {HTTP_ROUTE: "rules", VIRTUAL_SERVICE: "http"}
_BACKENDS = {HTTP_ROUTE: "backendRefs", VIRTUAL_SERVICE: "route"}
_CONDITIONS = {
    HTTP_ROUTE: HTTP_CONDITIONS,
    VIRTUAL_SERVICE: ("headers", "withoutHeaders", "queryParams"),
}
_OWN_FILTERS = {HTTP_ROUTE: "filters", VIRTUAL_SERVICE: "headers"}
"""Where a backend has what is done with its requests alone."""


class WeightedBackend(NamedTuple):
    """What a rule sends requests to. Names are as the API server has them, not sanitized."""

    kind: str
    """ "Service", or another kind, such as InferencePool; "host" for an Istio host outside."""
    namespace: str
    name: str
    weight: int
    """As it counts among those of the rule; negative ones count as 0."""
    subset: str = ""
    """Of an Istio DestinationRule; "" for all Pods."""

    @property
    def label(self) -> str:
        """ "llama", "InferencePool pool", "llama (subset v2)"; sanitized."""
        text = self.name if self.kind == SERVICE_KIND else f"{self.kind} {self.name}"
        return one_line(sanitize(f"{text} (subset {self.subset})" if self.subset else text))


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """A rule of a route with at least one backend."""

    route: str
    """ "HTTPRoute llama", sanitized."""
    index: int
    """Among the rules of the route."""
    paths: tuple[str, ...]
    """What it matches, "/chat/llama", sanitized; () for all paths."""
    backends: tuple[WeightedBackend, ...]
    is_conditional: bool
    """Whether it matches only requests with certain headers or query parameters."""
    mirrors: tuple[str, ...] = ()
    """Services that get a copy of each request, whose answers nobody sees."""
    has_sessions: bool = False
    """Whether a session stays with the backend that it began with."""

    @property
    def total(self) -> int:
        return sum(one.weight for one in self.backends)

    def percentage(self, services: Collection[str]) -> float:
        """Of its requests, what goes to these Services; 0 if all weights are 0, as then every
        request is answered with an error."""
        weight = sum(
            one.weight for one in self.backends if one.kind == SERVICE_KIND and one.name in services
        )
        return 100 * weight / self.total if self.total else 0.0

    @property
    def shares(self) -> str:
        """ "llama 90 %, llama-2 10 %", sanitized."""
        parts = []
        for one in self.backends:
            share = 100 * one.weight / self.total if self.total else 0.0
            parts.append(f"{one.label} {format_percentage(share)}")
        return ", ".join(parts)

    @property
    def label(self) -> str:
        """ "HTTPRoute llama, /chat/llama"."""
        return ", ".join((self.route, *self.paths[:1]))


def format_percentage(value: float) -> str:
    """ "10 %", "33.3 %"."""
    text = f"{value:.1f}".removesuffix(".0")
    return f"{text} %"


# -- reading --------------------------------------------------------------------------------------


def read_rules(route: Mapping[str, Any]) -> list[TrafficRule]:
    """The rules of an HTTPRoute or a VirtualService (of HTTP) that have backends; [] for another
    kind. The route is decoded JSON of any shape."""
    kind = as_str(route.get("kind"))
    if kind not in WEIGHTED_KINDS:
        return []
    metadata = as_mapping(route, "metadata")
    namespace = as_str(metadata.get("namespace"))
    name = one_line(sanitize(f"{kind} {as_str(metadata.get('name'))}"))
    found = []
    for index, rule in enumerate(as_list(as_mapping(route, "spec").get(_RULES[kind]))):
        if not isinstance(rule, Mapping):
            continue
        entries = mappings(rule.get(_BACKENDS[kind]))
        read = _read_http_backend if kind == HTTP_ROUTE else _read_istio_backend
        backends = tuple(read(one, namespace, len(entries)) for one in entries)
        if backends:
            found.append(
                TrafficRule(
                    name,
                    index,
                    tuple(dict.fromkeys(_paths(kind, rule))),
                    backends,
                    _is_conditional(kind, rule),
                    tuple(dict.fromkeys(_mirrors(kind, rule, namespace))),
                    bool(as_mapping(rule, "sessionPersistence")),
                )
            )
    return found


def _read_http_backend(ref: Mapping[str, Any], namespace: str, count: int) -> WeightedBackend:
    weight = as_int(ref.get("weight"))
    return WeightedBackend(
        as_str(ref.get("kind")) or SERVICE_KIND,
        as_str(ref.get("namespace")) or namespace,
        as_str(ref.get("name")),
        1 if weight is None else max(weight, 0),
    )


def _read_istio_backend(target: Mapping[str, Any], namespace: str, count: int) -> WeightedBackend:
    destination = as_mapping(target, "destination")
    host = as_str(destination.get("host"))
    where, name = parse_istio_host(host, namespace)
    weight = TOTAL_WEIGHT if count == 1 else max(as_int(target.get("weight")) or 0, 0)
    subset = as_str(destination.get("subset"))
    if not name:
        return WeightedBackend("host", "", host, weight, subset)
    return WeightedBackend(SERVICE_KIND, where, name, weight, subset)


def _paths(kind: str, rule: Mapping[str, Any]) -> Iterator[str]:
    for one in mappings(rule.get("matches" if kind == HTTP_ROUTE else "match")):
        if kind == HTTP_ROUTE:
            path = as_str(as_mapping(one, "path").get("value"))
        else:
            uri = as_mapping(one, "uri")
            path = next(
                (as_str(uri[key]) for key in ("prefix", "exact", "regex") if key in uri), ""
            )
        if path := one_line(sanitize(path)):
            yield path if path == "/" else path.rstrip("/")


def _is_conditional(kind: str, rule: Mapping[str, Any]) -> bool:
    found = mappings(rule.get("matches" if kind == HTTP_ROUTE else "match"))
    return are_conditional(found, _CONDITIONS[kind])


def _mirrors(kind: str, rule: Mapping[str, Any], namespace: str) -> Iterator[str]:
    """Names of the Services of the namespace that get copies."""
    if kind == HTTP_ROUTE:
        filters = [*mappings(rule.get("filters"))]
        for one in mappings(rule.get("backendRefs")):
            filters += mappings(one.get("filters"))
        for one in filters:
            yield from _mirror_of_filter(one, namespace)
        return
    hosts = [as_mapping(rule, "mirror").get("host")]
    hosts += [as_mapping(one, "destination").get("host") for one in mappings(rule.get("mirrors"))]
    for host in hosts:
        where, name = parse_istio_host(as_str(host), namespace)
        if name and where == namespace:
            yield name


def _mirror_of_filter(one: Mapping[str, Any], namespace: str) -> Iterator[str]:
    ref = as_mapping(one, "requestMirror", "backendRef")
    if as_str(ref.get("name")) and (as_str(ref.get("namespace")) or namespace) == namespace:
        yield as_str(ref.get("name"))


def rejected_conditions(route: Mapping[str, Any]) -> Iterator[str]:
    """What Gateways say against an HTTPRoute, in sentences: the conditions Accepted and
    ResolvedRefs of its parents that are False (Gateway API, RouteParentStatus). Sanitized."""
    if route.get("kind") != HTTP_ROUTE:
        return
    name = as_str(as_mapping(route, "metadata").get("name"))
    for parent in mappings(as_mapping(route, "status").get("parents")):
        gateway = as_str(as_mapping(parent, "parentRef").get("name"))
        for one in mappings(parent.get("conditions")):
            if one.get("type") not in ("Accepted", "ResolvedRefs") or one.get("status") != "False":
                continue
            why = as_str(one.get("message")) or as_str(one.get("reason"))
            who = f"Gateway {gateway}" if gateway else "Its Gateway"
            verb = "does not accept" if one.get("type") == "Accepted" else "cannot resolve all of"
            text = f"{who} {verb} HTTPRoute {name}: {why.rstrip('.') or 'no reason is given'}."
            yield one_line(sanitize(text))


# -- changing -------------------------------------------------------------------------------------


class SplitTarget(NamedTuple):
    """The port of the other Service that is sent a share."""

    service: str
    port: int


def set_weight(
    route: JsonObject, indexes: Collection[int], main: str, other: SplitTarget, weight: int
) -> JsonObject:
    """The route with these rules, which send to Service `main` and at most to `other` besides,
    sending `weight` percent (0 to 100) to `other`. It is added after `main` if it is not there,
    with the filters that `main` alone has, but for mirrors to itself."""
    route = copy.deepcopy(route)
    kind = as_str(route.get("kind"))
    for backends in _backend_lists(route, indexes):
        entries = [one for one in backends if isinstance(one, dict)]
        first = next((one for one in entries if _name(kind, one, route) == main), None)
        if first is None:
            continue
        second = next((one for one in entries if _name(kind, one, route) == other.service), None)
        if second is None:
            second = _new_backend(kind, first, main, other, route)
            backends.insert(backends.index(first) + 1, second)
        first["weight"], second["weight"] = TOTAL_WEIGHT - weight, weight
    return route


def remove_backend(
    route: JsonObject, indexes: Collection[int], main: str, other: str
) -> JsonObject:
    """The route with these rules not sending to Service `other` any more. Service `main` needs no
    weight where it is left alone."""
    route = copy.deepcopy(route)
    kind = as_str(route.get("kind"))
    for backends in _backend_lists(route, indexes):
        left = [
            one
            for one in backends
            if not (isinstance(one, dict) and _name(kind, one, route) == other)
        ]
        if any(isinstance(one, dict) and _name(kind, one, route) == main for one in left):
            backends[:] = left
            if len(left) == 1:
                left[0].pop("weight", None)
    return route


def own_filters(route: Mapping[str, Any], indexes: Collection[int], main: str) -> bool:
    """Whether `main` has filters or headers of its own in one of these rules."""
    kind = as_str(route.get("kind"))
    return any(
        bool(one.get(_OWN_FILTERS[kind]))
        for backends in _backend_lists(dict(route), indexes)
        for one in mappings(backends)
        if _name(kind, one, route) == main
    )


def _backend_lists(route: JsonObject, indexes: Collection[int]) -> Iterator[list[Any]]:
    kind = as_str(route.get("kind"))
    if kind not in WEIGHTED_KINDS:
        return
    for index, rule in enumerate(as_list(as_mapping(route, "spec").get(_RULES[kind]))):
        if index not in indexes or not isinstance(rule, dict):
            continue
        if isinstance(found := rule.get(_BACKENDS[kind]), list):
            yield found


def _name(kind: str, entry: Mapping[str, Any], route: Mapping[str, Any]) -> str:
    """The Service of the route's namespace that a backend is; "" for any other."""
    namespace = as_str(as_mapping(route, "metadata").get("namespace"))
    read = _read_http_backend if kind == HTTP_ROUTE else _read_istio_backend
    found = read(entry, namespace, 1)
    is_here = found.kind == SERVICE_KIND and found.namespace == namespace
    return found.name if is_here else ""


def _new_backend(
    kind: str, first: JsonObject, main: str, other: SplitTarget, route: JsonObject
) -> JsonObject:
    if kind == HTTP_ROUTE:
        found: JsonObject = {"name": other.service, "port": other.port}
        namespace = as_str(as_mapping(route, "metadata").get("namespace"))
        filters = [
            copy.deepcopy(one)
            for one in as_list(first.get("filters"))
            if other.service not in _mirror_of_filter(as_mapping(one), namespace)
        ]
        if filters:
            found["filters"] = filters
        return found
    host = as_str(as_mapping(first, "destination").get("host"))
    # The same form of the name: short, or with its namespace.
    host = other.service + host[len(main) :]
    found = {"destination": {"host": host, "port": {"number": other.port}}}
    if "headers" in first:
        found["headers"] = copy.deepcopy(first["headers"])
    return found
