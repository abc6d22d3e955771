"""The ports of Services that requests to the model can go to."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.serving.conventions import SERVICE_PORT
from servedeck.serving.spec.mapping.container_ports import (
    ServicePort,
    is_for_metrics,
    resolve_target,
    tcp_ports,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_int, as_mapping, as_str
from servedeck.serving.spec.mapping.ports import INFERENCE_PORT
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.templates.base import SpecLike


def entry_port(spec: SpecLike) -> int | None:
    """The port of the Pods that requests go to first: the transformer's, if there is one, else the
    inference server's; None if it is unknown."""
    return spec.inference_port if spec.transformer is None else spec.transformer.port


def read_entry_port(objects: ServingObjects) -> int | None:
    """The same of the objects, for fields that are read before there is a spec."""
    # The list of servings is drawn without it: it needs pydantic.
    from servedeck.serving.spec.mapping.transformer import TRANSFORMER

    transformer = TRANSFORMER.read(objects)
    port: int | None = INFERENCE_PORT.read(objects) if transformer is None else transformer.port
    return port


def request_ports(
    objects: ServingObjects, spec: SpecLike, service: JsonObject
) -> list[ServicePort]:
    """The ports of a Service that requests to the model can go to: none for a Service that is
    headless, only for metrics or UDP, or that bypasses the transformer."""
    return ports_to(objects, entry_port(spec), service)


def ports_to(objects: ServingObjects, entry: int | None, service: JsonObject) -> list[ServicePort]:
    """The same for the port of the Pods that requests go to first."""
    return [
        one
        for one in tcp_ports(service)
        if as_int(one.port.get("port"))
        and not one.is_headless
        and not is_for_metrics(objects, one)
        and (entry is None or resolve_target(objects, one.target) == entry)
    ]


def route_port(ports: Sequence[ServicePort]) -> int | None:
    """Number of the port that a route sends to: of those for requests the usual one for HTTP, else
    the first; None without any."""

    def rank(one: ServicePort) -> tuple[bool, bool]:
        return one.port["port"] != SERVICE_PORT, not as_str(one.port.get("name")).startswith("http")

    return as_int(min(ports, key=rank).port["port"]) if ports else None


def service_target(objects: ServingObjects, spec: SpecLike) -> tuple[str, int] | None:
    """Service and port that a route of the serving sends to; None if no Service has a port for
    requests."""
    for service in objects.services:
        if port := route_port(request_ports(objects, spec, service)):
            return as_str(as_mapping(service, "metadata").get("name")), port
    return None
