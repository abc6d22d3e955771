"""Endpoint of a serving: URL, in-cluster address, and why it may not respond."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from servedeck.serving.client_examples import port_forward_command
from servedeck.serving.conventions import ASYNC_SUFFIX
from servedeck.serving.objects import detection
from servedeck.serving.objects.backends import replaced_service
from servedeck.serving.objects.records import (
    HTTPRoute,
    HTTPRouteMatch,
    Ingress,
    IngressService,
    IngressServicePort,
    IstioMatch,
    Service,
    VirtualService,
    Workload,
)
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.service_address import (
    cluster_address,
    entry_port,
    external_address,
    find_service_address,
)
from servedeck.serving.text import one_line


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str = ""
    """https://<host>/<namespace>/<name>, or "" if no route matches the serving."""
    source: str = ""
    """Object that the URL was read from: "HTTPRoute team-a/llama"."""
    issue: str = ""
    """Why the URL may not respond, in one sentence (no route, host unknown, route not accepted)."""
    cluster_url: str = ""
    """In-cluster address, "http://llama.team-a.svc:80", or "" without a Service; without "http://"
    for gRPC."""
    service_name: str = ""
    port: int = 0
    """The Service's port, that of the Pods for a headless Service; 0 without a Service."""
    is_grpc: bool = False
    """Whether it accepts gRPC only, so that there is no HTTP request to it."""
    model: str = ""
    """Name of the model in requests, "" if unknown."""
    port_forward_command: str = ""
    """kubectl port-forward command for the serving."""
    pod_port: int = 0
    """Port of the Pods that requests go to: the server's, or that of what is in front of it in the
    same Pod; 0 if unknown."""

    def local_url(self, address: str, port: int) -> str:
        """URL of a forwarded port, "http://127.0.0.1:8000"; without "http://" for gRPC."""
        host = f"[{address}]" if ":" in address else address
        if self.is_grpc:
            return f"{host}:{port}"
        scheme = "https" if self.cluster_url.startswith("https://") else "http"
        return f"{scheme}://{host}:{port}"


class _RouteCandidate(NamedTuple):
    """A route from outside to the serving, and its properties for ranking."""

    source: str
    scheme: str
    hosts: tuple[str, ...]
    path: str
    issue: str
    conditional: bool
    """Matches only requests with certain headers."""
    port: int


# -- from objects to an endpoint --------------------------------------------------------------


def resolve_endpoint(
    deployment: Workload,
    services: Iterable[Service],
    http_routes: Iterable[HTTPRoute],
    virtual_services: Iterable[VirtualService],
    ingresses: Iterable[Ingress],
    default_host: str,
    *,
    kind: str = "Deployment",
) -> Endpoint:
    """The serving's endpoint as the cluster's objects define it.

    An HTTPRoute is preferred to a VirtualService, and that to an Ingress; a route without an issue
    to one with an issue, one for all requests to one that requires headers, and the path
    /<namespace>/<name> to others. `default_host` is used if the route has no host, or only a
    wildcard that it matches. Routes may be in other namespaces. `kind` is that of the workload.
    """
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    server = detection.detect_deployment(deployment)
    target = _Target(deployment, server, _matching_services(deployment, server, services), kind)
    given = list(http_routes), list(virtual_services), list(ingresses)
    plain = Endpoint(
        model=server.served_model, pod_port=entry_port(deployment.spec.template, server)
    )
    if not target.services:
        return replace(
            plain,
            issue=_pool_issue(name, given[0])
            or one_line(
                f"No Service selects {_pods_text(kind)} {namespace}/{name}, so it has no route"
            ),
            is_grpc=server.is_grpc,
            port_forward_command=target.port_forward_command,
        )
    routes = [
        (service, route)
        for service in target.services
        for found in (
            _http_route_candidates(service, given[0]),
            _virtual_service_candidates(service, given[1]),
            _ingress_candidates(service, given[2]),
        )
        for route in found
    ]
    if not routes:
        return _without_route(plain, target, given[0])

    convention = f"/{namespace}/{name}"
    order = {"HTTPRoute": 0, "VirtualService": 1, "Ingress": 2}

    def sort_key(
        candidate: tuple[Service, _RouteCandidate],
    ) -> tuple[bool, bool, int, bool, bool, str, str]:
        _, route = candidate
        host, problem = _resolve_host(route, default_host)
        return (
            not host,
            bool(route.issue or problem),
            order[route.source.partition(" ")[0]],
            route.conditional,
            route.path != convention,
            route.path,
            route.source,
        )

    service, route = min(routes, key=sort_key)
    host, problem = _resolve_host(route, default_host)
    return replace(
        _with_cluster_url(plain, service, route.port, target),
        url=f"{route.scheme}://{host}{route.path}" if host else "",
        source=one_line(route.source),
        issue=one_line(route.issue or problem),
    )


class _Target(NamedTuple):
    """What the endpoint leads to."""

    deployment: Workload
    server: detection.DetectedServer
    services: list[Service]
    kind: str

    @property
    def port_forward_command(self) -> str:
        meta = self.deployment.metadata
        port = entry_port(self.deployment.spec.template, self.server)
        kind, name = self.kind.lower(), meta.name
        if self.kind == "LeaderWorkerSet":  # kubectl does not forward to it; its leaders serve
            kind, name = "pod", f"{name}-0"
        return port_forward_command((meta.namespace, name), port, kind=kind)


def _pods_text(kind: str) -> str:
    return "Pod" if kind == "Pod" else f"the Pods of {kind}"


def _without_route(
    endpoint: Endpoint, target: _Target, http_routes: Sequence[HTTPRoute]
) -> Endpoint:
    """The endpoint of a serving that no route goes to: the address of a load balancer, if a
    Service has one."""
    template = target.deployment.spec.template
    first = target.services[0]
    found = _with_cluster_url(endpoint, first, 0, target)
    name = f"Service {first.metadata.namespace}/{first.metadata.name}"
    issue = f"No HTTPRoute, VirtualService or Ingress routes to {name}"
    for service in target.services:
        address = find_service_address(service, template, target.server)
        if url := external_address(service, address):
            source = f"Service {service.metadata.namespace}/{service.metadata.name}"
            found = _with_cluster_url(endpoint, service, 0, target)
            return replace(found, url=url, source=one_line(source))
        if service.spec.type == "LoadBalancer":
            issue += ", whose load balancer has no address yet"
            break
        if service.spec.type == "NodePort" and address.node_port:
            issue += f", which is open at port {address.node_port} of every node"
            break
    name = target.deployment.metadata.name
    return replace(found, issue=_pool_issue(name, http_routes) or one_line(issue))


def _pool_issue(name: str, http_routes: Iterable[HTTPRoute]) -> str:
    """That an HTTPRoute goes to an InferencePool, which selects Pods without a Service; "" without
    one. Pools are not read, so which Pods they select is not known; of several, one with the name
    of the serving in its own comes first."""
    found = [
        (name not in backend.name, route.metadata.name, backend.name, route)
        for route in http_routes
        for rule in route.spec.rules
        for backend in rule.backend_refs
        if backend.kind == "InferencePool"
    ]
    if not found:
        return ""
    *_, pool, route = min(found, key=lambda one: one[:3])
    return one_line(
        f"HTTPRoute {route.metadata.namespace}/{route.metadata.name} routes to InferencePool "
        f"{pool}; whether it selects the Pods of {name} is not known"
    )


def _matching_services(
    deployment: Workload, server: detection.DetectedServer, services: Iterable[Service]
) -> list[Service]:
    """Services that select the Deployment's Pods: those with a port that leads to the server first,
    then the one with the Deployment's name, then those with the most specific selector."""
    meta, template = deployment.metadata, deployment.spec.template
    labels = template.metadata.labels.items()
    found = [
        service
        for service in services
        if service.metadata.namespace == meta.namespace
        and service.spec.selector
        and service.spec.selector.items() <= labels
    ]
    found.sort(
        key=lambda service: (
            not find_service_address(service, template, server).leads_to_server,
            service.metadata.name != meta.name,
            -len(service.spec.selector),
            service.metadata.name,
        )
    )
    return found


def _with_cluster_url(endpoint: Endpoint, service: Service, port: int, target: _Target) -> Endpoint:
    """`endpoint` with the Service's address, at `port` if a route sets it."""
    meta = service.metadata
    address = find_service_address(service, target.deployment.spec.template, target.server, port)
    return replace(
        endpoint,
        cluster_url=cluster_address(service, address),
        service_name=meta.name,
        port=address.port,
        is_grpc=address.is_grpc,
        pod_port=address.pod_port or endpoint.pod_port,
        port_forward_command=port_forward_command(
            (meta.namespace, meta.name), address.port, kind="service"
        )
        if address.port
        else target.port_forward_command,
    )


def _resolve_host(route: _RouteCandidate, default_host: str) -> tuple[str, str]:
    """Host of the URL, "" if unknown, and the issue with it."""
    hosts = [host for host in map(one_line, route.hosts) if host]
    wildcards = [host for host in hosts if host.startswith("*")]
    if len(wildcards) < len(hosts):
        return next(host for host in hosts if not host.startswith("*")), ""
    default_host = one_line(default_host)
    if not wildcards:
        if default_host:
            return default_host, ""
        return "", f"{route.source} has no host; set endpoint_host in the settings"
    for wildcard in wildcards:
        suffix = wildcard[1:]
        if default_host and default_host.endswith(suffix) and default_host != suffix:
            return default_host, ""
    return "", (
        f"{route.source} accepts any host that matches {wildcards[0]}; "
        "set endpoint_host in the settings to one of them"
    )


# -- HTTPRoute (Gateway API v1) ---------------------------------------------------------------


def _http_route_candidates(
    service: Service, routes: Iterable[HTTPRoute]
) -> Iterator[_RouteCandidate]:
    meta = service.metadata
    for route in routes:
        namespace = route.metadata.namespace
        source = f"HTTPRoute {namespace}/{route.metadata.name}"
        for rule in route.spec.rules:
            for backend in rule.backend_refs:
                if (
                    backend.kind == "Service"
                    and backend.name == meta.name
                    and (backend.namespace or namespace) == meta.namespace
                ):
                    for match in rule.matches or (HTTPRouteMatch(),):
                        yield _RouteCandidate(
                            source,
                            "https",
                            route.spec.hostnames,
                            _normalize_path(
                                match.path.value, match.path.type == "RegularExpression"
                            ),
                            _http_route_issue(source, route),
                            bool(match.headers),
                            backend.port or 0,
                        )


def _http_route_issue(source: str, route: HTTPRoute) -> str:
    """Why no Gateway serves the route, "" if one does: the conditions Accepted and ResolvedRefs
    of its parents (Gateway API, RouteParentStatus)."""
    problem = f"{source} has not been accepted by a Gateway yet"
    for parent in route.status.parents:
        rejected = next(
            (
                condition
                for kind in ("Accepted", "ResolvedRefs")
                for condition in parent.conditions
                if condition.type == kind and condition.status == "False"
            ),
            None,
        )
        if rejected is not None:
            verb = (
                "is not accepted" if rejected.type == "Accepted" else "has an unresolved reference"
            )
            why = one_line(rejected.message or rejected.reason)
            problem = f"{source} {verb}{f': {why}' if why else ''}"
        elif any(c.type == "Accepted" and c.status == "True" for c in parent.conditions):
            return ""
    return problem


# -- VirtualService (Istio) -------------------------------------------------------------------


def _virtual_service_candidates(
    service: Service, routes: Iterable[VirtualService]
) -> Iterator[_RouteCandidate]:
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
                    yield _RouteCandidate(
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


def _ingress_candidates(service: Service, routes: Iterable[Ingress]) -> Iterator[_RouteCandidate]:
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
                yield _RouteCandidate(
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


_REGEX_SYNTAX_PATTERN = re.compile(r"[(\[*?+^$|\\].*", re.DOTALL)


def _normalize_path(path: str, regular_expression: bool = False) -> str:
    """A route's path as a URL path prefix: with a leading slash and no trailing one. For a regular
    expression only its literal prefix: "/team-a/llama(/|$)(.*)" is "/team-a/llama"."""
    if regular_expression:
        path = _REGEX_SYNTAX_PATTERN.sub("", path.removeprefix("^"))
    path = "".join(path.split()).strip("/")
    return f"/{path}" if path else ""
