"""Import a serving from its objects, of any origin.

Nothing here raises: an absent field or one of the wrong type gets its default, and what the spec
cannot express is listed as unmanaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.accelerators import is_accelerator
from servedeck.serving.objects import manifests
from servedeck.serving.objects.manifests import HTTP_PORT_NAME, ImmutableFields
from servedeck.serving.objects.records import (
    DESCRIPTION_ANNOTATION,
    INFERENCE_CONTAINER,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects.routes import NGINX_ANNOTATIONS, Platform, RouteKind
from servedeck.serving.objects.unmanaged_fields import UnmanagedField, find_unmanaged_fields
from servedeck.serving.spec.names import validate_resource_name
from servedeck.serving.spec.spec import (
    MODEL_CACHE_PATH,
    MODEL_CACHE_VOLUME,
    PREDICTOR_URL_ENV,
    SHARED_MEMORY_VOLUME,
    ServingSpec,
)
from servedeck.serving.spec.templates import TEMPLATES, Settings, Template, find_template
from servedeck.serving.spec.types import EnvVar, KeyRef, Quantity, Transformer, Volume


@dataclass(frozen=True, slots=True)
class ImportedServing:
    spec: ServingSpec
    """Strings are unchanged from the cluster: sanitize before showing them."""
    unmanaged_fields: tuple[UnmanagedField, ...]
    """Fields that the spec does not express, or that servedeck would write differently."""
    immutable_fields: ImmutableFields
    """For building the objects of an existing serving."""
    platform: Platform
    """The route and model cache settings, as found in the objects."""


def import_objects(objects: Iterable[object]) -> ImportedServing:
    """Spec of a Deployment and the objects around it, given as decoded JSON. Without a Deployment
    the spec is an empty custom serving."""
    known = [one for one in objects if isinstance(one, Mapping)]
    deployment = next((one for one in known if one.get("kind") == "Deployment"), {})
    pod = _as_mapping(deployment, "spec", "template", "spec")
    containers = [one for one in _as_list(pod.get("containers")) if isinstance(one, Mapping)]
    main = _find_inference_container(containers)
    template, override, settings, port = _import_command_line(deployment, main)
    spec = ServingSpec(
        name=_as_str(_as_mapping(deployment, "metadata").get("name")),
        namespace=_as_str(_as_mapping(deployment, "metadata").get("namespace")),
        description=_as_str(
            _as_mapping(deployment, "metadata", "annotations").get(DESCRIPTION_ANNOTATION)
        ),
        template=template.id,
        image=_as_str(main.get("image")),
        **_import_resources(main),
        replicas=_as_int(_as_mapping(deployment, "spec").get("replicas"), 1),
        settings=settings,
        volumes=tuple(_import_volumes(pod, main)),
        inference_port=port or _container_port(main, HTTP_PORT_NAME) or 8000,
        command=override,
        env=tuple(_import_env(main)),
        transformer=_import_transformer(containers),
        readiness_path=_probe_path(main, "readinessProbe"),
        liveness_path=_probe_path(main, "livenessProbe"),
    )
    shape = _import_immutable_fields(deployment, spec, pod, main)
    platform = _import_platform(known, pod)
    built = manifests.build_manifests(spec, platform, shape)
    return ImportedServing(spec, tuple(find_unmanaged_fields(known, built)), shape, platform)


# -- the container ------------------------------------------------------------------------------


def _find_inference_container(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The inference server: by name, else by an accelerator, else the first."""
    others = [one for one in containers if one.get("name") != TRANSFORMER_CONTAINER]
    tests: tuple[Callable[[Mapping[str, Any]], bool], ...] = (
        lambda one: one.get("name") == INFERENCE_CONTAINER,
        lambda one: bool(_accelerator_key(one)),
        lambda one: True,
    )
    for test in tests:
        for one in others:
            if test(one):
                return one
    return {}


def _import_command_line(
    deployment: Mapping[str, Any], main: Mapping[str, Any]
) -> tuple[Template, tuple[str, ...], Settings, int | None]:
    """Template, and what it parses from command and arguments. If it cannot express them (such as a
    shell script), custom is used, which keeps them unchanged."""
    command, args = _as_str_tuple(main.get("command")), _as_str_tuple(main.get("args"))
    labels = (
        _as_mapping(deployment, "metadata", "labels"),
        _as_mapping(deployment, "spec", "template", "metadata", "labels"),
    )
    labelled = next(
        (t for one in labels if (t := find_template(_as_str(one.get(TEMPLATE_LABEL))))), None
    )
    argv = (*command, *args)
    guessed = (t for t in TEMPLATES.values() if t.matches(_as_str(main.get("image")), argv))
    for template in (labelled,) if labelled else guessed:
        if found := template.parse_command(command, args):
            return template, *found
    custom = TEMPLATES["custom"]
    return custom, command, {**custom.default_settings(), "arguments": args}, None


def _import_resources(main: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("cpu", "memory"):
        if (amount := _as_quantity(_requested_amount(main, name))) is not None:
            found[name] = amount
    if key := _accelerator_key(main):
        found["accelerator"] = key
        found["accelerator_count"] = _as_int(_requested_amount(main, key), 1)
    return found


def _accelerator_key(main: Mapping[str, Any]) -> str:
    """Key of the accelerator that a container requests: of several extended resources a known
    accelerator; "" for none."""
    resources = _as_mapping(main, "resources")
    keys = {
        key
        for part in ("limits", "requests")
        for key in _as_mapping(resources, part)
        if isinstance(key, str) and not validate_resource_name(key)
    }
    ranked = sorted(keys, key=lambda key: (not is_accelerator(key), key))
    return ranked[0] if ranked else ""


def _requested_amount(main: Mapping[str, Any], key: str) -> object:
    """The requests; the API server uses the limit if no request is set."""
    requests = _as_mapping(main, "resources", "requests")
    return requests.get(key, _as_mapping(main, "resources", "limits").get(key))


def _import_volumes(pod: Mapping[str, Any], main: Mapping[str, Any]) -> list[Volume]:
    pvcs = {
        _as_str(volume.get("name")): _as_str(claim)
        for volume in _as_list(pod.get("volumes"))
        if isinstance(volume, Mapping)
        and (claim := _as_mapping(volume, "persistentVolumeClaim").get("claimName"))
    }
    found: list[Volume] = []
    for mount in _as_list(main.get("volumeMounts")):
        if not isinstance(mount, Mapping):
            continue
        name, path = _as_str(mount.get("name")), _as_str(mount.get("mountPath"))
        is_cache = name == MODEL_CACHE_VOLUME and path == MODEL_CACHE_PATH
        # A part of a volume (subPath) is not the whole volume: it stays unmanaged.
        whole = not mount.get("subPath") and not mount.get("subPathExpr")
        if name in pvcs and not is_cache and name != SHARED_MEMORY_VOLUME and whole:
            read_only = mount.get("readOnly") is True
            found.append(Volume(pvc=pvcs[name], mount_path=path, read_only=read_only))
    return found


def _import_env(container: Mapping[str, Any]) -> list[EnvVar]:
    found: list[EnvVar] = []
    for one in _as_list(container.get("env")):
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            continue
        name, source = _as_str(one["name"]), one.get("valueFrom")
        if not source:
            found.append(EnvVar(name=name, value=_as_str(one.get("value"))))
        elif ref := _as_mapping(one, "valueFrom", "secretKeyRef"):
            found.append(EnvVar(name=name, secret=_import_key_ref(ref)))
        elif ref := _as_mapping(one, "valueFrom", "configMapKeyRef"):
            found.append(EnvVar(name=name, config_map=_import_key_ref(ref)))
    return found


def _import_key_ref(ref: Mapping[str, Any]) -> KeyRef:
    return KeyRef(name=_as_str(ref.get("name")), key=_as_str(ref.get("key")))


def _import_transformer(containers: Sequence[Mapping[str, Any]]) -> Transformer | None:
    for one in containers:
        if one.get("name") == TRANSFORMER_CONTAINER:
            return Transformer(
                image=_as_str(one.get("image")),
                port=_container_port(one, manifests.TRANSFORMER_PORT_NAME) or 8080,
                command=_as_str_tuple(one.get("command")),
                env=tuple(v for v in _import_env(one) if v.name != PREDICTOR_URL_ENV),
            )
    return None


def _container_port(container: Mapping[str, Any], name: str) -> int:
    """The port with that name, else the first; 0 for none."""
    ports = [one for one in _as_list(container.get("ports")) if isinstance(one, Mapping)]
    ordered = sorted(ports, key=lambda one: one.get("name") != name)
    return next((n for one in ordered if (n := _as_int(one.get("containerPort"), 0)) > 0), 0)


def _probe_path(main: Mapping[str, Any], probe: str) -> str:
    return _as_str(_as_mapping(main, probe, "httpGet").get("path"))


# -- around it ----------------------------------------------------------------------------------


def _import_immutable_fields(
    deployment: Mapping[str, Any],
    spec: ServingSpec,
    pod: Mapping[str, Any],
    main: Mapping[str, Any],
) -> ImmutableFields:
    selector = {
        _as_str(key): _as_str(value)
        for key, value in _as_mapping(deployment, "spec", "selector", "matchLabels").items()
    }
    own = [manifests.accelerator_toleration(spec.accelerator)] if spec.accelerator else []
    tolerations = tuple(
        one
        for one in _as_list(pod.get("tolerations"))
        if isinstance(one, Mapping) and dict(one) not in own
    )
    return ImmutableFields(
        container_name=_as_str(main.get("name")) or INFERENCE_CONTAINER,
        selector=None if selector in ({}, {SERVING_LABEL: spec.name}) else selector,
        tolerations=tolerations,
    )


def _import_platform(objects: Sequence[Mapping[str, Any]], pod: Mapping[str, Any]) -> Platform:
    found: dict[str, Any] = {}
    for volume in _as_list(pod.get("volumes")):
        if isinstance(volume, Mapping) and volume.get("name") == MODEL_CACHE_VOLUME:
            found["model_cache"] = _as_str(
                _as_mapping(volume, "persistentVolumeClaim").get("claimName")
            )
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
        platform = Platform(**found)
        if not platform.issue:
            return platform
        found = {key: value for key, value in found.items() if key == "model_cache"}
    return Platform(**found)


def _import_http_route(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _as_mapping(route, "spec")
    parent = _first_mapping(spec.get("parentRefs"))
    namespace = _as_str(parent.get("namespace")) or _as_str(
        _as_mapping(route, "metadata").get("namespace")
    )
    return {
        "route": RouteKind.HTTP_ROUTE,
        "host": _first_str(spec.get("hostnames")),
        "gateway": f"{namespace}/{_as_str(parent.get('name'))}",
    }


def _import_virtual_service(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _as_mapping(route, "spec")
    return {
        "route": RouteKind.VIRTUAL_SERVICE,
        "host": _first_str(spec.get("hosts")),
        "gateway": _first_str(spec.get("gateways")),
    }


def _import_ingress(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _as_mapping(route, "spec")
    annotations = {
        _as_str(key): value
        for key, value in _as_mapping(route, "metadata", "annotations").items()
        if isinstance(value, str)
    }
    ours = annotations == NGINX_ANNOTATIONS
    return {
        "route": RouteKind.INGRESS,
        "host": _as_str(_first_mapping(spec.get("rules")).get("host")),
        "ingress_class": _as_str(spec.get("ingressClassName")),
        "ingress_annotations": {} if ours else annotations,
        "tls_secret": _as_str(_first_mapping(spec.get("tls")).get("secretName")),
    }


# -- JSON that may be anything ------------------------------------------------------------------


def _as_mapping(value: object, *path: str) -> Mapping[str, Any]:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _first_mapping(value: object) -> Mapping[str, Any]:
    return _as_mapping(next(iter(_as_list(value)), None))


def _first_str(value: object) -> str:
    return _as_str(next(iter(_as_list(value)), None))


def _as_str(value: object) -> str:
    """A string without lone surrogates, which JSON may contain and a spec may not."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _as_int(value: object, default: int) -> int:
    """A 64-bit integer, also one written as a quantity ("4")."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return default


def _as_str_tuple(value: object) -> tuple[str, ...]:
    return tuple(_as_str(word) for word in _as_list(value) if isinstance(word, str))


def _as_quantity(value: object) -> Quantity | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return Quantity(str(value))
    except ValueError:  # unmanaged: the comparison lists it
        return None
