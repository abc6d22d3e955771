"""At which listeners of its Gateways a route is reached: scheme, port and hosts.

Sources: Gateway API v1, Listener (hostname, allowedRoutes), ListenerSet and ParentReference;
Istio, Gateway (Server) and VirtualService (gateways), pilot/pkg/networking/core/gateway.go for how
hosts match and pilot/pkg/model/gateway.go for the servers that serve HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from servedeck.serving.conventions import GATEWAY_API_GROUP, ISTIO_GROUP
from servedeck.serving.objects.gateway_records import (
    LISTENER_SET,
    Gateway,
    GatewayAddress,
    GatewayKey,
    Gateways,
    IstioGateway,
    IstioServer,
    Listener,
    ListenerSet,
)
from servedeck.serving.objects.records import (
    HTTPRoute,
    IstioMatch,
    ParentReference,
    VirtualService,
)

MESH = "mesh"
"""Reserved name among the gateways of a VirtualService: the sidecars (Istio,
VirtualService.gateways)."""
ANY_HOST = "*"
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HTTP_PROTOCOLS = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")


class RouteListener(NamedTuple):
    """Where requests for a route are accepted."""

    scheme: str
    """ "https" or "http"."""
    hosts: tuple[str, ...]
    """Those of the route that the listener accepts; () if the route names none."""
    port: int = 0
    """0 if it is unknown, or the scheme's own."""
    rank: int = 0
    """Of several, the one with the lowest is preferred."""
    fallback_hosts: tuple[str, ...] = ()
    """Where the route names none: those of the listener, or else the addresses of the Gateway."""


class ListenerLookup(NamedTuple):
    """Finds the listeners of routes among the known Gateways."""

    gateways: Gateways
    scheme: str = ""
    """The one that the settings name for all routes; "" for that of each listener."""

    def of_http_route(self, route: HTTPRoute) -> Sequence[RouteListener]:
        """At least one: https at the usual port if no Gateway and no ListenerSet of the route is
        known."""
        found: list[RouteListener] = []
        for parent in _accepting_parents(route):
            owner = self.gateways.get(_parent_key(route, parent))
            if isinstance(owner, Gateway):
                found += _attached_listeners(route, parent, owner, owner.status.addresses)
            elif isinstance(owner, ListenerSet) and not owner.is_rejected:
                gateway = self.gateways.get(owner.gateway_key)
                addresses = gateway.status.addresses if isinstance(gateway, Gateway) else ()
                found += _attached_listeners(route, parent, owner, addresses)
        return self._choose(found, route.spec.hostnames)

    def of_virtual_service(
        self, route: VirtualService, match: IstioMatch
    ) -> tuple[Sequence[RouteListener], str]:
        """At least one, and what is wrong, "" for nothing: https at the usual port if no Gateway of
        the route is known, http if it applies inside the mesh only."""
        keys = list(_istio_gateway_keys(route, match.gateways or route.spec.gateways))
        if not keys:
            problem = "applies inside the mesh only: it has no gateways"
            if not route.spec.hosts:
                problem = "has no hosts: it applies where another VirtualService delegates to it"
            elif any(_istio_gateway_keys(route, route.spec.gateways)):
                problem = "has a match that applies inside the mesh only: its gateways are mesh"
            return [RouteListener("http", route.spec.hosts)], problem
        known = [one for key in keys if isinstance(one := self.gateways.get(key), IstioGateway)]
        found = [
            listener
            for gateway in known
            for server in gateway.spec.servers
            if match.port in (0, server.port.number)
            for listener in _server_listeners(route, gateway, server)
        ]
        problem = ""
        if not found and len(known) == len(keys):
            names = ", ".join(f"{one.metadata.namespace}/{one.metadata.name}" for one in known)
            hosts = ", ".join(route.spec.hosts)
            problem = f"has hosts ({hosts}) that no server of Gateway {names} accepts"
        return self._choose(found, route.spec.hosts), problem

    def _choose(
        self, found: Sequence[RouteListener], hosts: tuple[str, ...]
    ) -> Sequence[RouteListener]:
        if not found:
            return [RouteListener(self.scheme or "https", hosts)]
        if not self.scheme:
            return found
        # TLS may be terminated in front of the Gateway, at a port that is not known.
        same = [one for one in found if one.scheme == self.scheme]
        return same or [one._replace(scheme=self.scheme, port=0) for one in found]


# -- Gateway API ------------------------------------------------------------------------------


def http_route_gateways(route: HTTPRoute) -> Iterator[GatewayKey]:
    """The Gateways and ListenerSets that the route is attached to."""
    for parent in route.spec.parent_refs:
        if _has_listeners(parent):
            yield _parent_key(route, parent)


def _has_listeners(parent: ParentReference) -> bool:
    return parent.group == GATEWAY_API_GROUP and parent.kind in ("Gateway", LISTENER_SET)


def _parent_key(route: HTTPRoute, parent: ParentReference) -> GatewayKey:
    namespace = parent.namespace or route.metadata.namespace
    return GatewayKey(namespace, GATEWAY_API_GROUP, parent.name, parent.kind)


def _accepting_parents(route: HTTPRoute) -> list[ParentReference]:
    """The Gateways and ListenerSets among the parents that have accepted the route; those that
    have not said anything if none has, and else all."""

    def answer(parent: ParentReference) -> int:
        said = {
            condition.status
            for one in route.status.parents
            if _same_parent(route, one.parent_ref, parent)
            for condition in one.conditions
            if condition.type == "Accepted"
        }
        return 0 if "True" in said else 2 if "False" in said else 1

    parents = [one for one in route.spec.parent_refs if _has_listeners(one)]
    answers = [answer(one) for one in parents]
    best = min(answers, default=0)
    return [parent for parent, said in zip(parents, answers, strict=True) if said == best]


def _same_parent(route: HTTPRoute, one: ParentReference, other: ParentReference) -> bool:
    return (
        _has_listeners(one)
        and _parent_key(route, one) == _parent_key(route, other)
        and (one.section_name, one.port) == (other.section_name, other.port)
    )


def _attached_listeners(
    route: HTTPRoute,
    parent: ParentReference,
    owner: Gateway | ListenerSet,
    gateway_addresses: Iterable[GatewayAddress],
) -> Iterator[RouteListener]:
    """Those of the parent that the route is reached at. A route of a Gateway is not attached to the
    listeners of its ListenerSets."""
    addresses = tuple(
        one.value for one in gateway_addresses if one.type in ("IPAddress", "Hostname")
    )
    for listener in owner.spec.listeners:
        protocol = listener.protocol.upper()
        if (
            protocol not in ("HTTPS", "HTTP", "TLS")
            or parent.section_name not in ("", listener.name)
            or parent.port not in (0, listener.port)
            or not _may_attach(route, listener, owner.metadata.namespace)
        ):
            continue
        hosts = accepted_hosts(route.spec.hostnames, (listener.hostname or ANY_HOST,))
        if hosts is None:
            continue
        # An HTTPRoute is not attached to a TLS listener, but where an implementation does so.
        rank = ("HTTPS", "HTTP", "TLS").index(protocol)
        scheme = "http" if protocol == "HTTP" else "https"
        yield _make_listener(scheme, route.spec.hostnames, hosts, listener.port, rank, addresses)


def _may_attach(route: HTTPRoute, listener: Listener, namespace: str) -> bool:
    """False if the listener, of a Gateway or ListenerSet in `namespace`, takes no HTTPRoutes, or
    none of the route's namespace; what a selector of namespaces means is not known here."""
    allowed = listener.allowed_routes
    if allowed.kinds and not any(one.kind == "HTTPRoute" for one in allowed.kinds):
        return False
    taken = allowed.namespaces.from_namespaces
    is_same = route.metadata.namespace == namespace
    return taken in ("All", "Selector") or (taken == "Same" and is_same)


# -- Istio ------------------------------------------------------------------------------------


def virtual_service_gateways(route: VirtualService) -> Iterator[GatewayKey]:
    """The Istio Gateways that the route, or a match of it, is bound to."""
    yield from _istio_gateway_keys(route, route.spec.gateways)
    for rule in route.spec.http:
        for match in rule.match:
            yield from _istio_gateway_keys(route, match.gateways)


def _istio_gateway_keys(route: VirtualService, names: Iterable[str]) -> Iterator[GatewayKey]:
    """Written as "namespace/name", "./name" or "name"; earlier as "name.namespace", also with more
    of a Service's DNS name (Istio, resolveGatewayName)."""
    own = route.metadata.namespace
    for name in names:
        if name == MESH:
            continue
        namespace, slash, last = name.partition("/")
        if not slash:
            last, _, rest = name.partition(".")
            namespace = rest.partition(".")[0] or own
        yield GatewayKey(own if namespace == "." else namespace, ISTIO_GROUP, last)


def _server_listeners(
    route: VirtualService, gateway: IstioGateway, server: IstioServer
) -> Iterator[RouteListener]:
    protocol = server.port.protocol.upper()
    own = [_host_for(route, gateway, written) for written in server.hosts]
    hosts = accepted_hosts(route.spec.hosts, tuple(one for one in own if one))
    if hosts is None:
        return
    port, rank = server.port.number, 2
    if protocol in _HTTP_PROTOCOLS and server.tls.https_redirect:
        port = 0  # it sends clients to https at the usual port
    elif protocol in _HTTP_PROTOCOLS:
        rank = 1
    elif protocol == "HTTPS" and not server.tls.mode.endswith("PASSTHROUGH"):
        rank = 0
    elif protocol not in ("HTTPS", "TLS"):
        return
    yield _make_listener("http" if rank == 1 else "https", route.spec.hosts, hosts, port, rank)


def _host_for(route: VirtualService, gateway: IstioGateway, written: str) -> str:
    """The host of a server, "" if it is for VirtualServices of other namespaces: "ns/host", with
    "*" for all namespaces and "." for that of the Gateway."""
    namespace, slash, host = written.partition("/")
    if not slash:
        return written
    namespace = gateway.metadata.namespace if namespace == "." else namespace
    return host if namespace in ("*", route.metadata.namespace) else ""


# -- hosts ------------------------------------------------------------------------------------


def accepted_hosts(route: Sequence[str], listener: Sequence[str]) -> tuple[str, ...] | None:
    """The hosts for which a route is reached at a listener, the more specific of each pair, in the
    order of the route's; None if there is none. Either may have wildcards: "*.example.com" stands
    for every name below example.com, "*" for any, and no hosts of a route, too (Gateway API,
    Hostname)."""
    found = [
        host
        for one in (route or (ANY_HOST,))
        for other in listener
        if (host := _narrower(one, other)) is not None
    ]
    return tuple(dict.fromkeys(found)) if found else None


def _narrower(one: str, other: str) -> str | None:
    for host, pattern in ((one, other), (other, one)):
        name, suffix = host.lower(), pattern.lower().removeprefix("*")
        is_below = pattern.startswith("*.") and name.endswith(suffix)
        if pattern in (ANY_HOST, host) or name == suffix or is_below:
            return host
    return None


def _make_listener(
    scheme: str,
    route_hosts: tuple[str, ...],
    hosts: tuple[str, ...],
    port: int,
    rank: int,
    addresses: tuple[str, ...] = (),
) -> RouteListener:
    if port == _DEFAULT_PORTS[scheme] or not 0 < port < 65536:
        port = 0
    if all(one == ANY_HOST for one in route_hosts):
        named = tuple(one for one in hosts if not one.startswith("*"))
        if named or hosts == (ANY_HOST,):
            return RouteListener(scheme, route_hosts, port, rank, named or addresses)
    return RouteListener(scheme, hosts, port, rank)
