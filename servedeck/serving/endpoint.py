"""Endpoint of a serving: URL, in-cluster address, and why it may not respond."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import NamedTuple

from servedeck.serving.client_examples import api_paths, port_forward_command
from servedeck.serving.gateway_listeners import ANY_HOST, ListenerLookup, RouteListener
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.objects import detection
from servedeck.serving.objects.gateway_records import Gateways
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.pool_records import Pool
from servedeck.serving.objects.records import (
    HTTPRoute,
    Ingress,
    Service,
    VirtualService,
    Workload,
)
from servedeck.serving.openshift_routes import openshift_route_candidates
from servedeck.serving.route_candidates import (
    RouteCandidate,
    http_route_candidates,
    ingress_candidates,
    pool_candidates,
    unknown_pool,
    virtual_service_candidates,
)
from servedeck.serving.route_paths import client_path
from servedeck.serving.service_address import (
    ServiceAddress,
    cluster_address,
    entry_port,
    external_address,
    find_service_address,
    is_host,
    service_proxy_path,
)
from servedeck.serving.spec.mapping.inference_pools import PoolKey
from servedeck.serving.text import one_line


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str = ""
    """https://<host>/<namespace>/<name>, http:// and with a port as the listener of its Gateway
    has them; "" if no route matches the serving."""
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
    """kubectl port-forward command for the serving, without the options that name a cluster."""
    proxy_path: str = ""
    """Path of its Service in the API server, which forwards requests below it; "" for none."""
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


# -- from objects to an endpoint --------------------------------------------------------------


def resolve_endpoint(
    deployment: Workload,
    services: Iterable[Service],
    http_routes: Iterable[HTTPRoute],
    virtual_services: Iterable[VirtualService],
    ingresses: Iterable[Ingress],
    default_host: str,
    *,
    openshift_routes: Iterable[Route] = (),
    kind: str = "Deployment",
    pools: Mapping[PoolKey, Pool] | None = None,
    gateways: Gateways | None = None,
    scheme: str = "",
) -> Endpoint:
    """The serving's endpoint as the cluster's objects define it.

    An HTTPRoute is preferred to a VirtualService, that to a Route of OpenShift, and that to an
    Ingress, whose Routes take its place where it has some; a route without an issue to one with an
    issue, one for all requests to one that requires headers, and the path
    /<namespace>/<name> to others. `default_host` is used if the route has no host, or only a
    wildcard that it matches. Routes may be in other namespaces. `kind` is that of the workload.
    `pools` are the known ones that the HTTPRoutes send to: one that selects the Pods leads to them,
    with or without a Service. `gateways` are the known ones: their listeners define scheme and port
    of the URL, with https preferred, and its host where neither the route nor `default_host` does.
    `scheme` is that of HTTPRoutes and VirtualServices whatever the listeners are, "" for theirs;
    https where no Gateway of the route is known.
    """
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    server = detection.detect_deployment(deployment)
    target = _Target(deployment, server, _matching_services(deployment, server, services), kind)
    given = list(http_routes), list(virtual_services), list(openshift_routes)
    replaced = {(one.metadata.namespace, one.ingress_name) for one in given[2]}
    plain_ingresses = [
        one for one in ingresses if (one.metadata.namespace, one.metadata.name) not in replaced
    ]
    plain = Endpoint(
        model=server.served_model, pod_port=entry_port(deployment.spec.template, server)
    )
    known, listeners = pools or {}, ListenerLookup(gateways or {}, scheme)
    template = deployment.spec.template
    pooled = list(pool_candidates(namespace, template, plain.pod_port, given[0], known, listeners))
    if not target.services and not pooled:
        return replace(
            plain,
            issue=_pool_issue(target, given[0], known)
            or one_line(
                f"No Service selects {_pods_text(kind)} {namespace}/{name}, so it has no route"
            ),
            is_grpc=server.is_grpc,
            port_forward_command=target.port_forward_command,
        )
    routes: list[tuple[Service | None, RouteCandidate]] = [
        (service, route)
        for service in target.services
        for found in (
            http_route_candidates(service, given[0], listeners),
            virtual_service_candidates(service, given[1], listeners),
            openshift_route_candidates(service, template, given[2]),
            ingress_candidates(service, plain_ingresses),
        )
        for route in found
    ]
    # In the cluster, a serving behind a pool is reached through its first Service, if it has one.
    routes += [(next(iter(target.services), None), route) for route in pooled]
    convention = f"/{namespace}/{name}"
    paths = api_paths(server.template, server.model)
    routes = [(service, _as_client(route, paths, convention)) for service, route in routes]
    if not routes:
        return _without_route(plain, target, _pool_issue(target, given[0], known))

    order = {"HTTPRoute": 0, "VirtualService": 1, "Route": 2, "Ingress": 3}

    def sort_key(
        candidate: tuple[Service | None, RouteCandidate],
    ) -> tuple[bool, bool, int, bool, bool, str, str, bool, bool, int, int]:
        _, route = candidate
        host, problem = _resolve_host(route, default_host)
        listener = route.listener
        return (
            not host,
            bool(route.issue or problem),
            order[route.source.partition(" ")[0]],
            route.conditional,
            route.path != convention,
            route.path,
            route.source,
            _is_address(host),  # of which no certificate is
            not host.endswith(f":{listener.port}"),  # the settings may name the port of one
            listener.rank,
            listener.port,
        )

    service, route = min(routes, key=sort_key)
    host, problem = _resolve_host(route, default_host)
    reached = replace(
        plain, is_grpc=server.is_grpc, port_forward_command=target.port_forward_command
    )
    if service is not None:
        reached = _with_cluster_url(plain, service, route.port, target)
    return replace(
        reached,
        url=f"{_base_url(route.listener, host)}{route.path}" if host else "",
        source=one_line(route.source),
        issue=one_line(route.issue or problem),
    )


def _as_client(route: RouteCandidate, paths: Sequence[str], convention: str) -> RouteCandidate:
    """The route with the path that a client writes before those of the API; the usual path of a
    serving is none of the API."""
    found = client_path(route.path, route.sent, paths)
    if route.path == convention or found.base == route.path:
        return route
    issue = f"{route.source} routes {route.path} only" if found.is_partial else ""
    return route._replace(path=found.base, issue=route.issue or issue)


Pools = Mapping[PoolKey, Pool]
_DEFAULT_HOST = re.compile(r"[\w.-]+(:\d{1,5})?(/[\w.~/-]*)?")
"""A host name, also an international one, with a port and the beginning of a path if it has them:
nothing that means something to a shell."""


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
        elif self.kind not in _FORWARDABLE_KINDS:
            return ""
        return port_forward_command((meta.namespace, name), port, kind=kind)


_FORWARDABLE_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Pod"})
"""kubectl port-forward finds the Pods of these kinds (Kubernetes 1.34,
staging/src/k8s.io/kubectl/pkg/polymorphichelpers/helpers.go), not those of custom resources."""


def _pods_text(kind: str) -> str:
    return "Pod" if kind == "Pod" else f"the Pods of {kind}"


def _without_route(endpoint: Endpoint, target: _Target, pool_issue: str) -> Endpoint:
    """The endpoint of a serving that no route goes to: the address of a load balancer, if a
    Service has one. `pool_issue` is what is known instead, "" for nothing."""
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
    return replace(found, issue=pool_issue or one_line(issue))


def _pool_issue(target: _Target, http_routes: Iterable[HTTPRoute], pools: Pools) -> str:
    """That an HTTPRoute goes to an InferencePool that is not known, "" if none does."""
    name = target.deployment.metadata.name
    if (found := unknown_pool(name, http_routes, pools)) is None:
        return ""
    route, pool = found
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
    labels = template.metadata.labels
    found = [
        service
        for service in services
        if service.metadata.namespace == meta.namespace
        # Of such a one the selector has no effect (Kubernetes API reference, ServiceSpec).
        and service.spec.type != "ExternalName"
        and selects_labels(service.spec.selector, labels)
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
        port_forward_command=_forward_command(service, address, target),
        proxy_path=service_proxy_path(service, address),
    )


def _forward_command(service: Service, address: ServiceAddress, target: _Target) -> str:
    """To the Service; to the workload where kubectl cannot find the port of the Pods: that of a
    headless Service has no effect for it (kubectl pkg/util/service_port.go)."""
    if not address.port or address.port != address.service_port:
        return target.port_forward_command
    meta = service.metadata
    return port_forward_command((meta.namespace, meta.name), address.port, kind="service")


def _base_url(listener: RouteListener, host: str) -> str:
    """ "http://ai.example.com:8080". A host of the settings may have a port, or a path: that of a
    proxy in front of the Gateway."""
    own = host.rpartition("]")[2]
    port = f":{listener.port}" if listener.port and not set(":/") & set(own) else ""
    return f"{listener.scheme}://{host}{port}"


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _resolve_host(route: RouteCandidate, default_host: str) -> tuple[str, str]:
    """Host of the URL, "" if unknown, and the issue with it."""
    given, fallback = route.listener.hosts, map(_url_host, route.listener.fallback_hosts)
    hosts = [one for one in given if one == ANY_HOST or is_host(one.removeprefix("*."))]
    wildcards = [host for host in hosts if host.startswith("*")]
    if len(wildcards) < len(hosts):
        return next(host for host in hosts if not host.startswith("*")), ""
    if given and not hosts:
        return "", f"{route.source} has no host name that a URL can have"
    default_host = default_host.strip()
    if default_host and not _DEFAULT_HOST.fullmatch(default_host):
        return "", "endpoint_host in the settings is no host name"
    if not wildcards or ANY_HOST in wildcards:
        if default_host:
            return default_host, ""
        if found := next(filter(is_host, fallback), ""):
            return found, ""
    if not wildcards:
        return "", f"{route.source} has no host; set endpoint_host in the settings"
    for wildcard in wildcards:
        suffix = wildcard[1:]
        if default_host and default_host.endswith(suffix) and default_host != suffix:
            return default_host, ""
    return "", (
        f"{route.source} accepts any host that matches {wildcards[0]}; "
        "set endpoint_host in the settings to one of them"
    )
