"""The routes from outside to a serving, in their three kinds, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from servedeck.serving.conventions import ASYNC_SUFFIX
from servedeck.serving.gateway_listeners import ListenerLookup, RouteListener
from servedeck.serving.objects.backends import replaced_service
from servedeck.serving.objects.pool_records import Pool, selects
from servedeck.serving.objects.records import (
    BackendRef,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    Ingress,
    IngressPath,
    IngressRule,
    IngressService,
    IngressServicePort,
    IstioHTTPRoute,
    IstioMatch,
    PodTemplate,
    RouteParentStatus,
    Service,
    VirtualService,
)
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.route_paths import (
    is_pattern,
    literal_prefix,
    normalize_path,
    rewritten_start,
)
from servedeck.serving.spec.mapping.inference_pools import PoolKey, referenced_key
from servedeck.serving.text import one_line


class RouteCandidate(NamedTuple):
    """A route from outside to the serving, and its properties for ranking."""

    source: str
    listener: RouteListener
    path: str
    sent: str
    """What of the path arrives at the server: the path itself, or what it is replaced by."""
    issue: str
    conditional: bool
    """Matches only requests with certain headers, parameters or methods."""
    port: int


# -- HTTPRoute (Gateway API v1) ---------------------------------------------------------------


def http_route_candidates(
    service: Service, routes: Iterable[HTTPRoute], listeners: ListenerLookup
) -> Iterator[RouteCandidate]:
    """The rules that send to the Service, at each listener of the route."""
    meta = service.metadata
    for route in routes:
        namespace = route.metadata.namespace
        for backend, rule in _backends(route):
            if (
                backend.kind == "Service"
                and backend.name == meta.name
                and (backend.namespace or namespace) == meta.namespace
            ):
                issue = _route_issue(route) or weight_issue(_source(route), backend.weight == 0)
                yield from _candidates(route, rule, backend.port or 0, issue, listeners)


def pool_key(pool: Pool) -> PoolKey:
    """Of an InferencePool."""
    return PoolKey(pool.metadata.namespace, pool.group, pool.metadata.name)


def referenced_pool(route: HTTPRoute, backend: BackendRef) -> PoolKey | None:
    """The InferencePool that a backend is; None for another kind."""
    namespace = backend.namespace or route.metadata.namespace
    return referenced_key(backend.kind, PoolKey(namespace, backend.group, backend.name))


def pool_candidates(
    namespace: str,
    template: PodTemplate,
    entry: int,
    routes: Iterable[HTTPRoute],
    pools: Mapping[PoolKey, Pool],
    listeners: ListenerLookup,
) -> Iterator[RouteCandidate]:
    """The rules that send to one of the pools that selects the Pods of a template in the namespace;
    `entry` is the port of the Pods that requests go to, 0 if it is unknown."""
    labels = template.metadata.labels
    for route in routes:
        for backend, rule in _backends(route):
            key = referenced_pool(route, backend)
            pool = pools.get(key) if key is not None else None
            if pool is not None and pool.metadata.namespace == namespace and selects(pool, labels):
                issue = _route_issue(route) or weight_issue(_source(route), backend.weight == 0)
                issue = issue or _pool_issue(pool, entry)
                yield from _candidates(route, rule, 0, issue, listeners)


def unknown_pool(
    name: str, routes: Iterable[HTTPRoute], pools: Mapping[PoolKey, Pool]
) -> tuple[HTTPRoute, str] | None:
    """An HTTPRoute and the InferencePool that it sends to, which is not among the known ones: it
    may select the Pods of the serving. Of several, one with the name of the serving in its own
    comes first. None if there is none."""
    found = [
        (name not in key.name, route.metadata.name, key.name, route)
        for route in routes
        for backend, _ in _backends(route)
        if (key := referenced_pool(route, backend)) is not None and key not in pools
    ]
    if not found:
        return None
    *_, pool, route = min(found, key=lambda one: one[:3])
    return route, pool


def _backends(route: HTTPRoute) -> Iterator[tuple[BackendRef, HTTPRouteRule]]:
    """The backends of all rules."""
    for rule in route.spec.rules:
        for backend in rule.backend_refs:
            yield backend, rule


def _candidates(
    route: HTTPRoute,
    rule: HTTPRouteRule,
    port: int,
    issue: str,
    listeners: ListenerLookup,
) -> Iterator[RouteCandidate]:
    for listener in listeners.of_http_route(route):
        for match in rule.matches or (HTTPRouteMatch(),):
            is_regex = match.path.type == "RegularExpression"
            path = (literal_prefix if is_regex else normalize_path)(match.path.value)
            yield RouteCandidate(
                _source(route),
                listener,
                path,
                _sent_path(rule, path),
                issue,
                bool(match.headers or match.query_params or match.method not in ("", "POST")),
                port,
            )


def _sent_path(rule: HTTPRouteRule, path: str) -> str:
    """Replacing the whole path leaves none for the server's API (Gateway API, HTTPPathModifier)."""
    rewrites = [one.url_rewrite.path for one in rule.filters if one.type == "URLRewrite"]
    found = next((one for one in rewrites if one.type), None)
    return path if found is None else normalize_path(found.replace_prefix_match)


def _source(route: HTTPRoute) -> str:
    return f"HTTPRoute {route.metadata.namespace}/{route.metadata.name}"


def _route_issue(route: HTTPRoute) -> str:
    """Why no Gateway serves the route, "" if one does: the conditions Accepted and ResolvedRefs
    of its parents (Gateway API, RouteParentStatus)."""
    problem = f"{_source(route)} has not been accepted by a Gateway yet"
    for parent in route.status.parents:
        if rejected := _rejection(_source(route), parent):
            problem = rejected
        elif any(c.type == "Accepted" and c.status == "True" for c in parent.conditions):
            return ""
    return problem


def _pool_issue(pool: Pool, entry: int) -> str:
    """Why requests through a pool may fail, "" if nothing is known: what all Gateways say against
    it, or another port of the Pods."""
    source = f"InferencePool {pool.metadata.namespace}/{pool.metadata.name}"
    rejected = [_rejection(source, parent) for parent in pool.status.parents]
    if rejected and all(rejected):
        return rejected[0]
    if entry and pool.ports and entry not in pool.ports:
        ports = ", ".join(map(str, pool.ports))
        return f"{source} sends to port {ports} of the Pods, whose requests go to port {entry}"
    return ""


def weight_issue(source: str, is_zero: bool) -> str:
    """That a route sends no requests, "" if its weight is not 0."""
    return f"{source} sends it no requests: its weight is 0" if is_zero else ""


def _rejection(source: str, parent: RouteParentStatus) -> str:
    """What a Gateway says against an object, "" if nothing."""
    for kind in ("Accepted", "ResolvedRefs"):
        for condition in parent.conditions:
            if condition.type == kind and condition.status == "False":
                verb = "is not accepted" if kind == "Accepted" else "has an unresolved reference"
                why = one_line(condition.message or condition.reason)
                return f"{source} {verb}{f': {why}' if why else ''}"
    return ""


# -- VirtualService (Istio) -------------------------------------------------------------------


def virtual_service_candidates(
    service: Service, routes: Iterable[VirtualService], listeners: ListenerLookup
) -> Iterator[RouteCandidate]:
    """The rules that send to the Service, at each listener of the route."""
    for route in routes:
        source = f"VirtualService {route.metadata.namespace}/{route.metadata.name}"
        for rule in route.spec.http:
            is_split = len(rule.route) > 1
            for target in rule.route:
                destination = target.destination
                if not _targets_service(destination.host, route.metadata.namespace, service):
                    continue
                weightless = weight_issue(source, is_split and not target.weight)
                for match in rule.match or (IstioMatch(),):
                    found, problem = listeners.of_virtual_service(route, match)
                    path = _istio_path(match)
                    for listener in found:
                        yield RouteCandidate(
                            source,
                            listener,
                            path,
                            _istio_sent_path(rule, path),
                            f"{source} {problem}" if problem else weightless,
                            bool(match.headers or match.query_params)
                            or match.method.exact not in ("", "POST"),
                            destination.port.number,
                        )


def _istio_path(match: IstioMatch) -> str:
    if match.uri.regex and not (match.uri.exact or match.uri.prefix):
        return literal_prefix(match.uri.regex)
    return normalize_path(match.uri.exact or match.uri.prefix)


def _istio_sent_path(rule: IstioHTTPRoute, path: str) -> str:
    rewrite = rule.rewrite
    return normalize_path(rewrite.uri) if rewrite.uri or rewrite.uri_regex_rewrite else path


def _targets_service(host: str, namespace: str, service: Service) -> bool:
    """Whether an Istio destination is the Service."""
    meta = service.metadata
    return parse_istio_host(host, namespace) == (meta.namespace, meta.name)


# -- Ingress ----------------------------------------------------------------------------------


def ingress_candidates(service: Service, routes: Iterable[Ingress]) -> Iterator[RouteCandidate]:
    """The paths that lead to the Service, and the default backend, which receives what no path
    matches."""
    meta = service.metadata
    numbers = {port.name: port.port for port in service.spec.ports}
    for route in routes:
        if route.metadata.namespace != meta.namespace:
            continue
        addresses = tuple(one.hostname or one.ip for one in route.status.load_balancer.ingress)
        for rule, entry in _ingress_paths(route):
            backend = _behind_gateway(entry.backend.service, route)
            if backend.name != meta.name:
                continue
            scheme = "https" if _has_tls(route, rule.host) else "http"
            is_regex = entry.path_type == "ImplementationSpecific" or is_pattern(entry.path)
            path = (literal_prefix if is_regex else normalize_path)(entry.path)
            target = route.metadata.annotations.rewrite_target
            hosts = (rule.host,) if rule.host else ()
            yield RouteCandidate(
                f"Ingress {route.metadata.namespace}/{route.metadata.name}",
                RouteListener(scheme, hosts, fallback_hosts=addresses),
                path,
                path if target is None else rewritten_start(target),
                "",
                False,
                backend.port.number or numbers.get(backend.port.name, 0),
            )


def _ingress_paths(route: Ingress) -> Iterator[tuple[IngressRule, IngressPath]]:
    for rule in route.spec.rules:
        for entry in rule.http.paths:
            yield rule, entry
    yield IngressRule(), IngressPath(backend=route.spec.default_backend)


def _behind_gateway(backend: IngressService, route: Ingress) -> IngressService:
    """The backend, or the Service in whose place an async gateway stands there."""
    before = replaced_service(route.metadata.labels)
    if before is None or not backend.name.endswith(ASYNC_SUFFIX):
        return backend
    name, port = before
    number = IngressServicePort(port) if isinstance(port, int) else IngressServicePort(name=port)
    return IngressService(name, number)


def _has_tls(ingress: Ingress, host: str) -> bool:
    for entry in ingress.spec.tls:
        if not entry.hosts or host in entry.hosts:
            return True
        if f"*.{host.partition('.')[2]}" in entry.hosts:
            return True
    return False
