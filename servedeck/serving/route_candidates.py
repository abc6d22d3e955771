"""The routes from outside to a serving, in their three kinds, and what is wrong with each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from servedeck.serving.conventions import ASYNC_SUFFIX
from servedeck.serving.objects.backends import replaced_service
from servedeck.serving.objects.pool_records import Pool, selects
from servedeck.serving.objects.records import (
    BackendRef,
    HTTPRoute,
    HTTPRouteMatch,
    Ingress,
    IngressService,
    IngressServicePort,
    IstioMatch,
    PodTemplate,
    RouteParentStatus,
    Service,
    VirtualService,
)
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.spec.mapping.inference_pools import PoolKey, referenced_key
from servedeck.serving.text import one_line


class RouteCandidate(NamedTuple):
    """A route from outside to the serving, and its properties for ranking."""

    source: str
    scheme: str
    hosts: tuple[str, ...]
    path: str
    issue: str
    conditional: bool
    """Matches only requests with certain headers."""
    port: int


# -- HTTPRoute (Gateway API v1) ---------------------------------------------------------------


def http_route_candidates(
    service: Service, routes: Iterable[HTTPRoute]
) -> Iterator[RouteCandidate]:
    """The rules that send to the Service."""
    meta = service.metadata
    for route in routes:
        namespace = route.metadata.namespace
        for backend, matches in _backends(route):
            if (
                backend.kind == "Service"
                and backend.name == meta.name
                and (backend.namespace or namespace) == meta.namespace
            ):
                yield from _candidates(route, matches, backend.port or 0, _route_issue(route))


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
) -> Iterator[RouteCandidate]:
    """The rules that send to one of the pools that selects the Pods of a template in the namespace;
    `entry` is the port of the Pods that requests go to, 0 if it is unknown."""
    labels = template.metadata.labels
    for route in routes:
        for backend, matches in _backends(route):
            key = referenced_pool(route, backend)
            pool = pools.get(key) if key is not None else None
            if pool is not None and pool.metadata.namespace == namespace and selects(pool, labels):
                issue = _route_issue(route) or _pool_issue(pool, entry)
                yield from _candidates(route, matches, 0, issue)


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


def _backends(route: HTTPRoute) -> Iterator[tuple[BackendRef, Sequence[HTTPRouteMatch]]]:
    """The backends of all rules, with what each rule matches."""
    for rule in route.spec.rules:
        for backend in rule.backend_refs:
            yield backend, rule.matches or (HTTPRouteMatch(),)


def _candidates(
    route: HTTPRoute, matches: Iterable[HTTPRouteMatch], port: int, issue: str
) -> Iterator[RouteCandidate]:
    for match in matches:
        yield RouteCandidate(
            _source(route),
            "https",
            route.spec.hostnames,
            _normalize_path(match.path.value, match.path.type == "RegularExpression"),
            issue,
            bool(match.headers),
            port,
        )


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
    service: Service, routes: Iterable[VirtualService]
) -> Iterator[RouteCandidate]:
    for route in routes:
        source = f"VirtualService {route.metadata.namespace}/{route.metadata.name}"
        # Without gateways it applies to the mesh only (Istio, VirtualService.gateways).
        inside = all(gateway == "mesh" for gateway in route.spec.gateways)
        problem = f"{source} applies inside the mesh only: it has no gateways" if inside else ""
        for rule in route.spec.http:
            for target in rule.route:
                destination = target.destination
                if not _targets_service(destination.host, route.metadata.namespace, service):
                    continue
                for match in _istio_matches(rule.match):
                    yield RouteCandidate(
                        source,
                        "http" if inside else "https",
                        route.spec.hosts,
                        _istio_path(match),
                        problem,
                        bool(match.headers),
                        destination.port.number,
                    )


def _istio_matches(matches: Sequence[IstioMatch]) -> Sequence[IstioMatch]:
    return matches or (IstioMatch(),)


def _istio_path(match: IstioMatch) -> str:
    if match.uri.regex and not (match.uri.exact or match.uri.prefix):
        return _normalize_path(match.uri.regex, regular_expression=True)
    return _normalize_path(match.uri.exact or match.uri.prefix)


def _targets_service(host: str, namespace: str, service: Service) -> bool:
    """Whether an Istio destination is the Service."""
    meta = service.metadata
    return parse_istio_host(host, namespace) == (meta.namespace, meta.name)


# -- Ingress ----------------------------------------------------------------------------------


def ingress_candidates(service: Service, routes: Iterable[Ingress]) -> Iterator[RouteCandidate]:
    meta = service.metadata
    numbers = {port.name: port.port for port in service.spec.ports}
    for route in routes:
        if route.metadata.namespace != meta.namespace:
            continue
        for rule in route.spec.rules:
            for entry in rule.http.paths:
                backend = _behind_gateway(entry.backend.service, route)
                if backend.name != meta.name:
                    continue
                yield RouteCandidate(
                    f"Ingress {route.metadata.namespace}/{route.metadata.name}",
                    "https" if _has_tls(route, rule.host) else "http",
                    (rule.host,) if rule.host else (),
                    _normalize_path(entry.path, entry.path_type == "ImplementationSpecific"),
                    "",
                    False,
                    backend.port.number or numbers.get(backend.port.name, 0),
                )


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


_PATH_CHARACTERS = "/-._~@:+,=%"
"""Characters of a URL's path that stand for themselves, in a shell, too; "%" begins what is
encoded already (RFC 3986, section 3.3)."""
_REGEX_SYNTAX_PATTERN = re.compile(r"[(\[*?+^$|\\].*", re.DOTALL)


def _normalize_path(path: str, regular_expression: bool = False) -> str:
    """A route's path as a URL path prefix: with a leading slash and no trailing one, what may not
    stand there percent-encoded. For a regular expression only its literal prefix:
    "/team-a/llama(/|$)(.*)" is "/team-a/llama"."""
    if regular_expression:
        path = _REGEX_SYNTAX_PATTERN.sub("", path.removeprefix("^"))
    path = quote("".join(path.split()).strip("/"), safe=_PATH_CHARACTERS)
    return f"/{path}" if path else ""
