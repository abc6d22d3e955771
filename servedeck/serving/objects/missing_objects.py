"""The Service and the route that a serving of servedeck lacks, for example because they were
deleted: they are created again where nothing takes their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servedeck.serving.conventions import SERVICE_PORT, TRANSFORMER_PORT_NAME
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.manifests import build_route, build_service
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.issues import Issue, warning
from servedeck.serving.spec.mapping.container_ports import declared_ports, find_port
from servedeck.serving.spec.mapping.json_values import JsonObject, as_int, as_mapping, mappings
from servedeck.serving.spec.mapping.ports import server_target
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
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
    """The Service if no Service selects the Pods, and the route if no route goes to a Service of
    the Pods. Nothing for a serving of others, and of a kind that may not be listed."""
    missing = MissingObjects()
    if not objects.is_managed:
        return missing
    services = objects.services
    if not services:
        if service := _build_missing_service(objects, spec, related, missing):
            missing.objects.append(service)
        services = missing.objects[:]
    if services and not objects.routes:
        route = _build_missing_route(objects, spec, platform, services[0], related, missing)
        if route:
            missing.objects.append(route)
    return missing


def _build_missing_service(
    objects: ServingObjects,
    spec: ServingSpec,
    related: RelatedObjects,
    missing: MissingObjects,
) -> JsonObject | None:
    if "Service" in related.unlisted_kinds:
        missing.unchecked.append(
            "Services may not be listed, so it is not known whether one is missing."
        )
        return None
    if other := related.find_other("Service"):
        what = "selects other Pods" if as_mapping(other, "spec", "selector") else "has no selector"
        _skip(
            missing,
            f"Service {spec.name} {what}, so it is not changed; change its selector if it "
            "should select the Pods of this serving.",
        )
        return None
    pods = as_mapping(objects.deployment, "spec", "selector", "matchLabels") or objects.pod_labels
    if not pods:
        _skip(missing, "The Pods have no labels, so no Service can select them; give them labels.")
        return None
    is_unknown = spec.transformer is None and spec.inference_port is None
    targets = [] if is_unknown else _entry_targets(objects, spec)
    if not targets:
        who, field = ("inference server", "inferencePort")
        if spec.transformer is not None:
            who, field = ("transformer", "transformer.port")
        _skip(
            missing, f"The port of the {who} is not known, so no Service is created; set {field}."
        )
        return None
    service = build_service(spec)
    service["spec"]["selector"] = dict(pods)
    [port] = service["spec"]["ports"]
    port["targetPort"] = targets[0]
    port["port"] = _expected_port(objects, spec)
    return service


def _skip(missing: MissingObjects, message: str) -> None:
    """Do not create a missing object; the message says why."""
    missing.issues.append(warning("", message))


def _entry_targets(objects: ServingObjects, spec: ServingSpec) -> list[str | int]:
    """Name, if it has one, and number of the port that requests go to first: the transformer's, if
    there is one, else the inference server's."""
    if spec.transformer is None:
        return list(dict.fromkeys((server_target(objects, spec), spec.port)))
    container = objects.transformer
    named = find_port(container, None, (TRANSFORMER_PORT_NAME,))
    port = named or next(iter(declared_ports(container)), {})
    found = (port.get("name"), port.get("containerPort", spec.transformer.port))
    return [one for one in found if one]


def _expected_port(objects: ServingObjects, spec: ServingSpec) -> int:
    """The port at which the serving's routes expect the Service."""
    ports = (
        one.port
        for route in objects.routes
        for one in route_backends(route)
        if one.service == spec.name and one.port
    )
    return next(ports, SERVICE_PORT)


def _build_missing_route(
    objects: ServingObjects,
    spec: ServingSpec,
    platform: PlatformSettings,
    service: Mapping[str, Any],
    related: RelatedObjects,
    missing: MissingObjects,
) -> JsonObject | None:
    name = str(as_mapping(service, "metadata").get("name"))
    port = _route_port(service, _entry_targets(objects, spec))
    route = build_route(spec, platform, service=name, port=port or SERVICE_PORT)
    if route is None:
        return None
    if unlisted := [kind for kind in RouteKind if kind in related.unlisted_kinds]:
        missing.unchecked.append(
            f"Routes of kind {unlisted[0]} may not be listed, so it is not known whether one is "
            "missing."
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
        _skip(missing, f"Service {name} has no ports, so no route is created; give it one.")
        return None
    return route


def _route_port(service: Mapping[str, Any], targets: Sequence[str | int]) -> int | None:
    """The Service's port that targets one of `targets`, else its usual port for HTTP, else its
    first; None without ports."""
    ports = [
        one for one in mappings(as_mapping(service, "spec").get("ports")) if as_int(one.get("port"))
    ]

    def rank(port: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        return (
            port.get("targetPort", port["port"]) not in targets,
            port["port"] != SERVICE_PORT,
            not str(port.get("name")).startswith("http"),
        )

    return as_int(min(ports, key=rank)["port"]) if ports else None
