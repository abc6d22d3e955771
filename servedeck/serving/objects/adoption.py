"""What the Deployment of another tool gets when it is adopted: the label that makes it a serving of
servedeck, and a Service and a route where none leads to its Pods.

The label is the Deployment's own. On the Pod template it would restart the Pods, and `managed-by`
says who made an object: servedeck did not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from servedeck.serving.conventions import SERVICE_PORT, SERVING_LABEL, TEMPLATE_LABEL
from servedeck.serving.objects.detection import OTHER_PORTS
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.missing_objects import RelatedObjects, find_missing_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.servers.kinds import UNKNOWN_SERVER
from servedeck.serving.servers.recognition import recognize
from servedeck.serving.servers.settings import find_port
from servedeck.serving.spec.mapping.container_ports import (
    ServicePort,
    is_for_metrics,
    resolve_target,
    service_ports,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.mapping.server_container import container_facts
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec

HTTPS_SERVICE_PORT = 443
"""Port of the Service of a server that accepts TLS only."""


class RequestPort(NamedTuple):
    """The port of the Pods that requests go to."""

    number: int
    protocol: str
    """ "http", "https" or "grpc", which is also the name of the Service's port: Istio and others
    choose the protocol by it."""


@dataclass(frozen=True, slots=True)
class AdoptionParts:
    """What is created for a serving, and why it is not. All sentences are sanitized, except for
    names of objects."""

    port: RequestPort | None
    """None if it is not known."""
    service_names: tuple[str, ...] = ()
    """Services that lead to this port, or, if it is not known, to any port for requests."""
    route_names: tuple[str, ...] = ()
    """Routes to a Service of the Pods, "HTTPRoute llama"."""
    service: JsonObject | None = None
    route: JsonObject | None = None
    service_problems: tuple[str, ...] = ()
    """Why no Service is created although none leads to the Pods, in sentences."""
    route_problem: str = ""
    """Why no route can be created, one sentence; "" if one is, or is not needed."""


def find_adoption_parts(
    objects: Sequence[JsonObject],
    related: RelatedObjects,
    platform: PlatformSettings,
    *,
    wants_service: bool = True,
    wants_route: bool = False,
) -> AdoptionParts:
    """`objects` are the Deployment and the Services and routes that lead to its Pods."""
    imported = import_objects(objects)
    found, spec = imported.objects, imported.spec
    port = find_request_port(found, spec)
    leading = list(_leading_ports(found, port))
    names = tuple(dict.fromkeys(one.service_name for one in leading))
    routes = tuple(f"{one.get('kind')} {_name(one)}" for one in found.routes)
    parts = AdoptionParts(port, names, routes)
    # A route sends its requests to a Service with an address of its own.
    has_target = any(not one.is_headless for one in leading)
    is_open = wants_route and not routes
    needs_service = wants_service and not (has_target if is_open else leading)
    if not needs_service and not is_open:
        return parts
    problem = _route_problem(parts, platform, has_target or wants_service) if is_open else ""
    if port is None and needs_service:
        reason = "The port that receives requests is not known, so no Service is created."
        route_problem = problem or (reason if is_open else "")
        return replace(parts, service_problems=(reason,), route_problem=route_problem)
    wanted = spec.replace(inference_port=port.number if port is not None else None)
    known = platform if is_open and not problem else PlatformSettings()
    missing = find_missing_objects(found, wanted, known, related)
    built = {as_str(one.get("kind")): _as_created(one, port) for one in missing.objects}
    service = built.pop("Service", None) if needs_service else None
    route = next((one for kind, one in built.items() if kind != "Service"), None)
    reasons = [*(one.message for one in missing.issues), *missing.unchecked]
    if is_open and route is None and not problem:
        problem = " ".join(reasons) or "No Service leads to its Pods, which a route needs."
    if needs_service and service is None and not is_open and not reasons:
        reasons = [f"Service {spec.name} leads to other ports of its Pods, so it is not changed."]
    return replace(
        parts,
        service=service,
        route=route,
        service_problems=tuple(reasons) if needs_service and service is None else (),
        route_problem=problem,
    )


def find_request_port(objects: ServingObjects, spec: ServingSpec) -> RequestPort | None:
    """The port of the transformer, else that of the inference server; None if it is not known. A
    port of an unknown server counts unless other programs usually have it."""
    if spec.transformer is not None and spec.transformer.port is not None:
        return RequestPort(spec.transformer.port, "http")
    facts = container_facts(objects.container)
    kind = recognize(facts).kind or UNKNOWN_SERVER
    port = find_port(facts, kind)
    if kind is UNKNOWN_SERVER and (port.is_default or port.number in OTHER_PORTS):
        return None
    return RequestPort(port.number, "grpc" if port.is_grpc else "https" if port.is_tls else "http")


def _leading_ports(objects: ServingObjects, port: RequestPort | None) -> Iterator[ServicePort]:
    """The ports of Services that requests to the Pods can go to."""
    for one in service_ports(objects):
        if not is_for_metrics(objects, one) and (
            port is None or one.is_headless or resolve_target(objects, one.target) == port.number
        ):
            yield one


def _route_problem(parts: AdoptionParts, platform: PlatformSettings, has_service: bool) -> str:
    if not platform.host:
        return (
            "No route can be created: the host of the endpoints is not known; set endpoint_host in "
            "the settings."
        )
    if platform.issue:
        return platform.issue
    if parts.port is not None and parts.port.protocol != "http":
        what = "gRPC" if parts.port.protocol == "grpc" else "TLS"
        return (
            f"The server accepts {what} on port {parts.port.number}, and servedeck creates routes "
            "for plain HTTP only; create the route with kubectl."
        )
    if not has_service:
        return "A route needs a Service, and none leads to the Pods; let one be created, too."
    return ""


def _as_created(manifest: JsonObject, port: RequestPort | None) -> JsonObject:
    """The object without the label of a template, which would make the server another one, and with
    the protocol of the port."""
    metadata = manifest["metadata"]
    metadata["labels"] = {
        key: value for key, value in metadata["labels"].items() if key != TEMPLATE_LABEL
    }
    if manifest.get("kind") == "Service" and port is not None and port.protocol != "http":
        [entry] = manifest["spec"]["ports"]
        entry["name"] = port.protocol
        if entry["port"] == SERVICE_PORT:
            is_tls = port.protocol == "https"
            entry["port"] = HTTPS_SERVICE_PORT if is_tls else port.number
    return manifest


def adopted_name(deployment: JsonObject) -> str:
    """Value of servedeck's label on the Deployment; "" if it has none."""
    return as_str(as_mapping(deployment, "metadata", "labels").get(SERVING_LABEL))


def _name(obj: JsonObject) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))
