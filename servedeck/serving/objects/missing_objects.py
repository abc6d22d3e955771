"""The Service and the route that a serving lacks: they are created where nothing takes their place,
for a serving of servedeck again, for example because they were deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.conventions import SERVICE_PORT
from servedeck.serving.objects.backends import Backend, route_backends
from servedeck.serving.objects.manifests import build_route, build_service
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.mapping.ports import port_target
from servedeck.serving.spec.mapping.request_ports import entry_port, request_ports, route_port
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.names import service_name
from servedeck.serving.spec.spec import ServingSpec


@dataclass(frozen=True, slots=True)
class RelatedObjects:
    """What is known about the objects beside those of a serving."""

    unlisted_kinds: frozenset[str] = frozenset()
    """Kinds that may not be listed: it is not known which of them belong to the serving."""
    other_objects: tuple[JsonObject, ...] = ()
    """Services and routes of the serving's name that do not route to its Pods."""

    def find_other(self, kind: str) -> JsonObject | None:
        return next((one for one in self.other_objects if one.get("kind") == kind), None)


@dataclass(frozen=True, slots=True)
class MissingObjects:
    objects: list[JsonObject] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    """Why a missing object is not created."""
    unchecked: list[str] = field(default_factory=list)
    """Why it is not known whether an object is missing, in sentences."""


def build_missing_objects(
    objects: ServingObjects,
    spec: ServingSpec,
    platform: PlatformSettings,
    related: RelatedObjects,
) -> MissingObjects:
    """What an edit creates again: `find_missing_objects`, but nothing for a serving of others."""
    if not objects.is_managed:
        return MissingObjects()
    return find_missing_objects(objects, spec, platform, related)


def find_missing_objects(
    objects: ServingObjects,
    spec: ServingSpec,
    platform: PlatformSettings,
    related: RelatedObjects,
) -> MissingObjects:
    """The Service if none is for requests, or if a route of the serving routes to a Service of its
    name that does not exist; and the route if no route goes to a Service of the Pods, unless it is
    a revision of another serving. Nothing of a kind that may not be listed."""
    missing = MissingObjects()
    services = [one for one in objects.services if request_ports(objects, spec, one)]
    own = next((one for one in objects.services if _name(one) == spec.name), None)
    if own is None and (not services or _has_dangling_route(objects, spec, related)):
        missing.objects.extend(_build_missing_service(objects, spec, related, missing))
        services += missing.objects
    target = services[0] if services else own
    if target is not None and not objects.routes and not spec.revision_of:
        route = _build_missing_route(objects, spec, platform, target, related, missing)
        if route is not None:
            missing.objects.append(route)
    return missing


def _has_dangling_route(
    objects: ServingObjects, spec: ServingSpec, related: RelatedObjects
) -> bool:
    """Whether a route of a serving without a Service of its name routes to one."""
    return related.find_other("Service") is None and any(_own_backends(objects, spec))


def _name(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


def _own_backends(objects: ServingObjects, spec: ServingSpec) -> Iterator[Backend]:
    """The backends of the serving's routes that are a Service of its name."""
    for route in objects.routes:
        for one in route_backends(route):
            if one.service == spec.name and one.namespace == spec.namespace:
                yield one


def _build_missing_service(
    objects: ServingObjects,
    spec: ServingSpec,
    related: RelatedObjects,
    missing: MissingObjects,
) -> list[JsonObject]:
    """The Service, or [] and why it is not created."""
    if "Service" in related.unlisted_kinds:
        missing.unchecked.append(
            "Services may not be listed, so it is not known whether one is missing."
        )
        return []
    if other := related.find_other("Service"):
        what = "selects other Pods" if as_mapping(other, "spec", "selector") else "has no selector"
        _skip(
            missing,
            f"Service {spec.name} {what}, so it is not changed; change its selector if it "
            "should select the Pods of this serving.",
        )
        return []
    selector = as_mapping(objects.deployment, "spec", "selector")
    # A Service has no expressions: without them it would select the Pods of others, too.
    has_expressions = bool(selector.get("matchExpressions"))
    pods = as_mapping(selector, "matchLabels")
    if has_expressions or not pods:
        pods = objects.pod_labels
    if not pods:
        _skip(missing, "The Pods have no labels, so no Service can select them; give them labels.")
        return []
    entry = entry_port(spec)
    if entry is None:
        who, field = ("inference server", "inferencePort")
        if spec.transformer is not None:
            who, field = ("transformer", "transformer.port")
        _skip(
            missing, f"The port of the {who} is not known, so no Service is created; set {field}."
        )
        return []
    service = build_service(spec)
    service["metadata"]["name"] = service_name(spec.name)
    service["spec"]["selector"] = dict(pods)
    [port] = service["spec"]["ports"]
    container = objects.container if spec.transformer is None else objects.transformer
    port["targetPort"] = port_target(objects, container, entry)
    ports = (one.port for one in _own_backends(objects, spec) if one.port)
    port["port"] = next(ports, SERVICE_PORT)  # the one that the routes expect
    return [service]


def _skip(missing: MissingObjects, message: str) -> None:
    """Do not create a missing object; the message says why."""
    missing.issues.append(warning("", message))


_ROUTE_KINDS = (*RouteKind, "Route")
"""Those that may lead to a serving; a Route is OpenShift's."""


def _build_missing_route(
    objects: ServingObjects,
    spec: ServingSpec,
    platform: PlatformSettings,
    service: JsonObject,
    related: RelatedObjects,
    missing: MissingObjects,
) -> JsonObject | None:
    name = _name(service)
    port = route_port(request_ports(objects, spec, service))
    route = build_route(spec, platform, service=name, port=port or SERVICE_PORT)
    if route is None:
        return None
    if unlisted := [kind for kind in _ROUTE_KINDS if kind in related.unlisted_kinds]:
        source = "OpenShift" if unlisted[0] == "Route" else f"kind {unlisted[0]}"
        missing.unchecked.append(
            f"Routes of {source} may not be listed, so it is not known whether one is missing."
        )
        return None
    if related.find_other(route["kind"]):
        _skip(
            missing,
            f"{route['kind']} {spec.name} routes to other Services, so it is not changed; change "
            "its backends if it should route to this serving.",
        )
        return None
    if not port:
        _skip(
            missing,
            f"Service {name} has no TCP port for requests to the model, or is headless, so no "
            "route is created; change it if requests should go to it.",
        )
        return None
    return route
