"""The backends of a route, in its four kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from servedeck.serving.conventions import ASYNC_SERVICE_LABEL
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.port_number import parse_port_number
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, as_str, mappings


class Backend(NamedTuple):
    """A port of a Service that a route sends requests to."""

    namespace: str
    service: str
    port: int | None
    """None if it is not given as a number."""


def route_backends(route: Mapping[str, Any]) -> Iterator[Backend]:
    """The Services that an HTTPRoute, a VirtualService, a Route of OpenShift or an Ingress routes
    to; none for another kind. The route is decoded JSON of any shape."""
    namespace = as_str(as_mapping(route, "metadata").get("namespace"))
    spec = as_mapping(route, "spec")
    kind = route.get("kind")
    if kind == "HTTPRoute":
        yield from _http_route_backends(spec, namespace)
    elif kind == "VirtualService":
        yield from _virtual_service_backends(spec, namespace)
    elif kind == "Route":
        yield from _openshift_backends(spec, namespace)
    elif kind == "Ingress":
        yield from _ingress_backends(spec, namespace)
        if service := replaced_service(as_mapping(route, "metadata", "labels")):
            yield Backend(namespace, service[0], as_int(service[1]))


def replaced_service(labels: Mapping[str, Any]) -> tuple[str, int | str] | None:
    """Name, and number or name of the port, of the Service in whose place an async gateway stands
    in an Ingress with these labels; None if none does."""
    name, dot, port = as_str(labels.get(ASYNC_SERVICE_LABEL)).partition(".")
    if not (name and dot and port):
        return None
    number = parse_port_number(port)
    return name, port if number is None else number


def _http_route_backends(spec: Mapping[str, Any], namespace: str) -> Iterator[Backend]:
    for rule in mappings(spec.get("rules")):
        for ref in mappings(rule.get("backendRefs")):
            if (as_str(ref.get("kind")) or "Service") == "Service":
                where = as_str(ref.get("namespace")) or namespace
                yield Backend(where, as_str(ref.get("name")), as_int(ref.get("port")))


def _virtual_service_backends(spec: Mapping[str, Any], namespace: str) -> Iterator[Backend]:
    for protocol in ("http", "tls", "tcp"):
        for rule in mappings(spec.get(protocol)):
            for target in mappings(rule.get("route")):
                destination = as_mapping(target, "destination")
                where, name = parse_istio_host(as_str(destination.get("host")), namespace)
                port = as_int(as_mapping(destination, "port").get("number"))
                if name:
                    yield Backend(where, name, port)


def _openshift_backends(spec: Mapping[str, Any], namespace: str) -> Iterator[Backend]:
    """Without a port: that of a Route is one of the Pods, or the name of one of the Service."""
    for target in (as_mapping(spec, "to"), *mappings(spec.get("alternateBackends"))):
        name = as_str(target.get("name"))
        if name and (as_str(target.get("kind")) or "Service") == "Service":
            yield Backend(namespace, name, None)


def _ingress_backends(spec: Mapping[str, Any], namespace: str) -> Iterator[Backend]:
    backends = [spec.get("defaultBackend")]
    for rule in mappings(spec.get("rules")):
        backends += [one.get("backend") for one in mappings(as_mapping(rule, "http").get("paths"))]
    for backend in backends:
        if service := as_mapping(backend, "service"):
            number = as_int(as_mapping(service, "port").get("number"))
            yield Backend(namespace, as_str(service.get("name")), number)
