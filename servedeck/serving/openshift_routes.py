"""The Routes of OpenShift to a serving.

Sources: openshift/api, route/v1/types.go; openshift/router, pkg/router/template (router.go for
weights and ports, util/haproxy/map_entry.go for TLS) and images/router/haproxy/conf/
haproxy-config.template for the rewritten path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from servedeck.serving.gateway_listeners import RouteListener
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.records import PodTemplate, Service
from servedeck.serving.route_candidates import RouteCandidate, weight_issue
from servedeck.serving.route_paths import normalize_path
from servedeck.serving.service_address import resolve_target, tcp_ports
from servedeck.serving.text import one_line


def openshift_route_candidates(
    service: Service, template: PodTemplate, routes: Iterable[Route]
) -> Iterator[RouteCandidate]:
    """The Routes that send to the Service, which selects Pods of the template."""
    meta = service.metadata
    for route in routes:
        if route.metadata.namespace != meta.namespace:
            continue
        source = f"Route {route.metadata.namespace}/{route.metadata.name}"
        admission = _read_admission(route, source)
        path = normalize_path(route.spec.path)
        for target in route.targets:
            if target.name != meta.name:
                continue
            port, problem = _find_port(route, service, template)
            issue = admission.issue or weight_issue(source, target.weight == 0)
            yield RouteCandidate(
                source,
                # A router that does not know the host serves no other one.
                RouteListener("https" if route.spec.tls.termination else "http", admission.hosts),
                path,
                _sent_path(route, path),
                issue or (f"{source} {problem}" if problem else ""),
                False,
                port,
            )


class _Admission(NamedTuple):
    hosts: tuple[str, ...]
    """At least one, "" if it is unknown."""
    issue: str


def _read_admission(route: Route, source: str) -> _Admission:
    """Where routers serve the Route, or why none does: their condition Admitted. Without a host in
    the Route, that of a router is the one that it has chosen."""
    problem = f"{source} has not been admitted by a router yet"
    admitted: list[str] = []
    for router in route.status.ingress:
        for condition in router.conditions:
            if condition.type != "Admitted":
                continue
            if condition.status == "True":
                admitted.append(router.host)
            elif condition.status == "False":
                why = one_line(condition.message or condition.reason)
                problem = f"{source} is not admitted{f': {why}' if why else ''}"
    hosts = tuple(dict.fromkeys(one for one in admitted if one))
    return _Admission(hosts or (route.spec.host,), "" if admitted else problem)


def _sent_path(route: Route, path: str) -> str:
    """The rest of a path stays behind what the router replaces by the annotation; of a connection
    that it passes through, it sees no path."""
    target = route.metadata.annotations.rewrite_target
    if not target or route.spec.tls.termination == "passthrough":
        return path
    return normalize_path(target)


def _find_port(route: Route, service: Service, template: PodTemplate) -> tuple[int, str]:
    """The port of the Service that the router sends to, 0 if it is unknown, and what is wrong. A
    router sends to the Pods: the name of the Route's port is that of a port of the Service, its
    number that of a port of the Pods; without either, it sends to all ports of the Service."""
    ports = tcp_ports(service)
    wanted = str(route.spec.port.target_port)
    if not wanted or wanted == "0":
        if len({resolve_target(one, template) or one.target_port for one in ports}) > 1:
            names = ", ".join(one.name or str(one.port) for one in ports)
            return 0, f"has no targetPort, so it sends to all ports of the Service: {names}"
        return 0, ""
    targets = [(one, resolve_target(one, template)) for one in ports]
    for one, target in targets:
        if wanted in (one.name, str(target)):
            return one.port, ""
    if wanted.isdigit() and not all(target for _, target in targets):
        return 0, ""  # the Pods may have a port that their template does not declare
    return 0, f"sends to port {wanted}, and Service {service.metadata.name} leads to no such port"
