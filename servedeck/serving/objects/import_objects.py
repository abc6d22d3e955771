"""Import a serving from its objects, of any origin.

Nothing here raises: an absent field or one of the wrong type is not set, and what the spec cannot
express is listed as unmanaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from servedeck.serving.objects import manifests
from servedeck.serving.objects.async_routes import has_async_rules, remove_async_rules
from servedeck.serving.objects.detection import server_container_index
from servedeck.serving.objects.records import Container
from servedeck.serving.objects.routes import NGINX_ANNOTATIONS, PlatformSettings, RouteKind
from servedeck.serving.objects.unmanaged_fields import UnmanagedField, find_unmanaged_fields
from servedeck.serving.spec.mapping.auto_scaling import (
    HPA_KIND,
    SCALED_OBJECT_KIND,
    read_prometheus_url,
)
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
    first_mapping,
    first_str,
)
from servedeck.serving.spec.mapping.load_balancing import (
    BACKEND_TRAFFIC_POLICY_KIND,
    DESTINATION_RULE_KIND,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.mapping.volumes import OtherMounts, read_model_cache, read_other_mounts
from servedeck.serving.spec.spec import FIELDS, ServingSpec


@dataclass(frozen=True, slots=True)
class ImportedServing:
    spec: ServingSpec
    """Strings are unchanged from the cluster: sanitize before showing them."""
    unmanaged_fields: tuple[UnmanagedField, ...]
    """Fields that the spec does not express: a new serving made from it lacks them."""
    mounts: OtherMounts
    """What is mounted beside the volumes of the spec."""
    objects: ServingObjects
    """What it was imported from."""
    platform: PlatformSettings
    """The route and model cache settings, as found in the objects."""


_SCALER_KINDS = (SCALED_OBJECT_KIND, HPA_KIND)
_POLICY_KINDS = (DESTINATION_RULE_KIND, BACKEND_TRAFFIC_POLICY_KIND)
_OTHER_KINDS = ("Deployment", "Service", *_SCALER_KINDS, *_POLICY_KINDS)
"""Those that are no routes."""


def import_objects(objects: Iterable[object], engines: Engines | None = None) -> ImportedServing:
    """Spec of a Deployment and the objects around it, given as decoded JSON. Without a Deployment
    the spec is an empty custom serving. `engines` are what the cluster has."""
    known = [one for one in objects if isinstance(one, dict)]
    # The rules of an async queue are no part of the spec: they are kept by a change of the objects,
    # and belong to no file that is made of it.
    plain = [_without_async_rules(one, known) for one in known]
    deployment = next((one for one in known if one.get("kind") == "Deployment"), {})
    found = ServingObjects(
        deployment,
        [one for one in known if one.get("kind") == "Service"],
        [one for one in known if one.get("kind") not in _OTHER_KINDS],
        scalers=[one for one in known if one.get("kind") in _SCALER_KINDS],
        policies=[one for one in known if one.get("kind") in _POLICY_KINDS],
        engines=engines or Engines(),
    )
    found.container_index = find_container_index(found.containers)
    spec = read_spec(found)
    platform = _import_platform(plain, read_model_cache(found))
    # The route and the model cache of a serving of others are no settings of ours.
    own = platform if found.is_managed else PlatformSettings()
    own = replace(own, engines=_find_engines(found))
    built = manifests.build_manifests(spec, own)
    built[0]["spec"]["template"]["spec"]["containers"][0]["name"] = found.container.get("name")
    return ImportedServing(
        spec,
        tuple(find_unmanaged_fields(plain, built)),
        read_other_mounts(found, spec),
        found,
        platform,
    )


def _find_engines(objects: ServingObjects) -> Engines:
    """The engines that its objects need, whatever is known about the cluster."""
    groups = {
        as_str(one.get("apiVersion")).partition("/")[0]
        for one in (*objects.scalers, *objects.policies)
    }
    return replace(
        objects.engines,
        api_groups=objects.engines.api_groups | groups,
        prometheus_url=read_prometheus_url(objects) or objects.engines.prometheus_url,
    )


def _without_async_rules(obj: JsonObject, objects: Sequence[JsonObject]) -> JsonObject:
    serving = next((one for one in objects if one.get("kind") == "Deployment"), {})
    name = as_str(as_mapping(serving, "metadata").get("name"))
    return remove_async_rules(obj, name) if name and has_async_rules(obj, name) else obj


def read_spec(objects: ServingObjects) -> ServingSpec:
    """The value of every field in the objects."""
    values = {
        name: value
        for name, field in FIELDS.items()
        if (value := field.access.read(objects)) is not None
    }
    return ServingSpec(**values).without_system_env()


def find_container_index(containers: Sequence[Mapping[str, Any]]) -> int:
    """Position of the inference server among the containers of a Deployment."""
    records = []
    for one in containers:
        try:
            records.append(msgspec.convert(one, Container))
        except (msgspec.ValidationError, UnicodeError):
            records.append(Container(name=as_str(one.get("name"))))
    return server_container_index(records) or 0


def _import_platform(objects: Sequence[Mapping[str, Any]], model_cache: str) -> PlatformSettings:
    found: dict[str, Any] = {"model_cache": model_cache}
    for one in objects:
        kind = one.get("kind")
        if kind == "HTTPRoute":
            found.update(_import_http_route(one))
        elif kind == "VirtualService":
            found.update(_import_virtual_service(one))
        elif kind == "Ingress":
            found.update(_import_ingress(one))
        else:
            continue
        platform = PlatformSettings(**found)
        if not platform.issue:
            return platform
        found = {key: value for key, value in found.items() if key == "model_cache"}
    return PlatformSettings(**found)


def _import_http_route(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = as_mapping(route, "spec")
    parent = first_mapping(spec.get("parentRefs"))
    namespace = as_str(parent.get("namespace")) or as_str(
        as_mapping(route, "metadata").get("namespace")
    )
    return {
        "route": RouteKind.HTTP_ROUTE,
        "host": first_str(spec.get("hostnames")),
        "gateway": f"{namespace}/{as_str(parent.get('name'))}",
    }


def _import_virtual_service(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = as_mapping(route, "spec")
    return {
        "route": RouteKind.VIRTUAL_SERVICE,
        "host": first_str(spec.get("hosts")),
        "gateway": first_str(spec.get("gateways")),
    }


def _import_ingress(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = as_mapping(route, "spec")
    annotations = {
        as_str(key): value
        for key, value in as_mapping(route, "metadata", "annotations").items()
        if isinstance(value, str)
    }
    ours = annotations == NGINX_ANNOTATIONS
    return {
        "route": RouteKind.INGRESS,
        "host": as_str(first_mapping(spec.get("rules")).get("host")),
        "ingress_class": as_str(spec.get("ingressClassName")),
        "ingress_annotations": {} if ours else annotations,
        "tls_secret": as_str(first_mapping(spec.get("tls")).get("secretName")),
    }
