"""A serving read back from its objects, whoever made them.

Nothing here fails: what is absent or of the wrong type becomes the default, and what the spec
cannot express is listed as left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.accelerators import is_accelerator
from servedeck.serving.objects import manifests
from servedeck.serving.objects.manifests import HTTP_PORT, Shape
from servedeck.serving.objects.records import (
    DESCRIPTION_ANNOTATION,
    INFERENCE_CONTAINER,
    SERVING_LABEL,
    TEMPLATE_LABEL,
    TRANSFORMER_CONTAINER,
)
from servedeck.serving.objects.routes import NGINX_ANNOTATIONS, Platform, RouteKind
from servedeck.serving.objects.unmanaged_fields import Leftover, compare
from servedeck.serving.spec.names import resource_problem
from servedeck.serving.spec.spec import (
    MODEL_CACHE,
    MODEL_CACHE_PATH,
    PREDICTOR_ENV,
    SHARED_MEMORY,
    EnvVar,
    KeyRef,
    Quantity,
    ServingSpec,
    Transformer,
    Volume,
)
from servedeck.serving.spec.templates import TEMPLATES, Settings, Template, find


@dataclass(frozen=True, slots=True)
class Reading:
    spec: ServingSpec
    """Strings are as the cluster has them: sanitise before showing them."""
    leftovers: tuple[Leftover, ...]
    """What the objects say beyond the spec, or otherwise than servedeck would write it."""
    shape: Shape
    """For building the objects of the serving that exists, not of a new one."""
    platform: Platform
    """The route's and the model cache's settings as the objects show them."""


def read(objects: Iterable[object]) -> Reading:
    """Spec of a Deployment and the objects around it, given as decoded JSON. Without a Deployment
    it is an empty custom serving."""
    known = [one for one in objects if isinstance(one, Mapping)]
    deployment = next((one for one in known if one.get("kind") == "Deployment"), {})
    pod = _mapping(deployment, "spec", "template", "spec")
    containers = [one for one in _list(pod.get("containers")) if isinstance(one, Mapping)]
    main = _main_container(containers)
    template, override, settings, port = _command_line(deployment, main)
    spec = ServingSpec(
        name=_str(_mapping(deployment, "metadata").get("name")),
        project=_str(_mapping(deployment, "metadata").get("namespace")),
        description=_str(
            _mapping(deployment, "metadata", "annotations").get(DESCRIPTION_ANNOTATION)
        ),
        template=template.id,
        image=_str(main.get("image")),
        **_resources(main),
        replicas=_int(_mapping(deployment, "spec").get("replicas"), 1),
        settings=settings,
        volumes=tuple(_volumes(pod, main)),
        inference_port=port or _container_port(main, HTTP_PORT) or 8000,
        command=override,
        env=tuple(_env(main)),
        transformer=_transformer(containers),
        readiness_path=_probe_path(main, "readinessProbe"),
        liveness_path=_probe_path(main, "livenessProbe"),
    )
    shape = _shape(deployment, spec, pod, main)
    platform = _platform(known, pod)
    built = manifests.build(spec, platform, shape)
    return Reading(spec, tuple(compare(known, built)), shape, platform)


# -- the container ------------------------------------------------------------------------------


def _main_container(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The inference server: by name, else by an accelerator, else the first."""
    others = [one for one in containers if one.get("name") != TRANSFORMER_CONTAINER]
    tests: tuple[Callable[[Mapping[str, Any]], bool], ...] = (
        lambda one: one.get("name") == INFERENCE_CONTAINER,
        lambda one: bool(_accelerator(one)),
        lambda one: True,
    )
    for test in tests:
        for one in others:
            if test(one):
                return one
    return {}


def _command_line(
    deployment: Mapping[str, Any], main: Mapping[str, Any]
) -> tuple[Template, tuple[str, ...], Settings, int | None]:
    """Template and what it makes of command and arguments. One that cannot express them (a shell
    script, say) gives way to custom, which keeps them word by word."""
    command, args = _words(main.get("command")), _words(main.get("args"))
    labels = (
        _mapping(deployment, "metadata", "labels"),
        _mapping(deployment, "spec", "template", "metadata", "labels"),
    )
    labelled = next((t for one in labels if (t := find(_str(one.get(TEMPLATE_LABEL))))), None)
    argv = (*command, *args)
    guessed = (t for t in TEMPLATES.values() if t.recognises(_str(main.get("image")), argv))
    for template in (labelled,) if labelled else guessed:
        if found := template.read(command, args):
            return template, *found
    custom = TEMPLATES["custom"]
    return custom, command, {**custom.defaults(), "arguments": args}, None


def _resources(main: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("cpu", "memory"):
        if (amount := _quantity(_amount(main, name))) is not None:
            found[name] = amount
    if key := _accelerator(main):
        found["accelerator"] = key
        found["accelerator_count"] = _int(_amount(main, key), 1)
    return found


def _accelerator(main: Mapping[str, Any]) -> str:
    """Key of the accelerator that a container asks for: of several extended resources one that is
    known as an accelerator; "" for none."""
    resources = _mapping(main, "resources")
    keys = {
        key
        for part in ("limits", "requests")
        for key in _mapping(resources, part)
        if isinstance(key, str) and not resource_problem(key)
    }
    ranked = sorted(keys, key=lambda key: (not is_accelerator(key), key))
    return ranked[0] if ranked else ""


def _amount(main: Mapping[str, Any], key: str) -> object:
    """What is asked for; the API server takes the limit where no request is written."""
    requests = _mapping(main, "resources", "requests")
    return requests.get(key, _mapping(main, "resources", "limits").get(key))


def _volumes(pod: Mapping[str, Any], main: Mapping[str, Any]) -> list[Volume]:
    claims = {
        _str(volume.get("name")): _str(claim)
        for volume in _list(pod.get("volumes"))
        if isinstance(volume, Mapping)
        and (claim := _mapping(volume, "persistentVolumeClaim").get("claimName"))
    }
    found: list[Volume] = []
    for mount in _list(main.get("volumeMounts")):
        if not isinstance(mount, Mapping):
            continue
        name, path = _str(mount.get("name")), _str(mount.get("mountPath"))
        is_cache = name == MODEL_CACHE and path == MODEL_CACHE_PATH
        # A part of a volume (subPath) is not the volume: it stays among what is left over.
        whole = not mount.get("subPath") and not mount.get("subPathExpr")
        if name in claims and not is_cache and name != SHARED_MEMORY and whole:
            read_only = mount.get("readOnly") is True
            found.append(Volume(claim=claims[name], mount_path=path, read_only=read_only))
    return found


def _env(container: Mapping[str, Any]) -> list[EnvVar]:
    found: list[EnvVar] = []
    for one in _list(container.get("env")):
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            continue
        name, source = _str(one["name"]), one.get("valueFrom")
        if not source:
            found.append(EnvVar(name=name, value=_str(one.get("value"))))
        elif ref := _mapping(one, "valueFrom", "secretKeyRef"):
            found.append(EnvVar(name=name, secret=_key_ref(ref)))
        elif ref := _mapping(one, "valueFrom", "configMapKeyRef"):
            found.append(EnvVar(name=name, config_map=_key_ref(ref)))
    return found


def _key_ref(ref: Mapping[str, Any]) -> KeyRef:
    return KeyRef(name=_str(ref.get("name")), key=_str(ref.get("key")))


def _transformer(containers: Sequence[Mapping[str, Any]]) -> Transformer | None:
    for one in containers:
        if one.get("name") == TRANSFORMER_CONTAINER:
            return Transformer(
                image=_str(one.get("image")),
                port=_container_port(one, manifests.TRANSFORMER_PORT) or 8080,
                command=_words(one.get("command")),
                env=tuple(v for v in _env(one) if v.name != PREDICTOR_ENV),
            )
    return None


def _container_port(container: Mapping[str, Any], name: str) -> int:
    """The port of that name, else the first; 0 for none."""
    ports = [one for one in _list(container.get("ports")) if isinstance(one, Mapping)]
    ordered = sorted(ports, key=lambda one: one.get("name") != name)
    return next((n for one in ordered if (n := _int(one.get("containerPort"), 0)) > 0), 0)


def _probe_path(main: Mapping[str, Any], probe: str) -> str:
    return _str(_mapping(main, probe, "httpGet").get("path"))


# -- around it ----------------------------------------------------------------------------------


def _shape(
    deployment: Mapping[str, Any],
    spec: ServingSpec,
    pod: Mapping[str, Any],
    main: Mapping[str, Any],
) -> Shape:
    selector = {
        _str(key): _str(value)
        for key, value in _mapping(deployment, "spec", "selector", "matchLabels").items()
    }
    own = [manifests.own_toleration(spec.accelerator)] if spec.accelerator else []
    tolerations = tuple(
        one
        for one in _list(pod.get("tolerations"))
        if isinstance(one, Mapping) and dict(one) not in own
    )
    return Shape(
        container=_str(main.get("name")) or INFERENCE_CONTAINER,
        selector=None if selector in ({}, {SERVING_LABEL: spec.name}) else selector,
        tolerations=tolerations,
    )


def _platform(objects: Sequence[Mapping[str, Any]], pod: Mapping[str, Any]) -> Platform:
    found: dict[str, Any] = {}
    for volume in _list(pod.get("volumes")):
        if isinstance(volume, Mapping) and volume.get("name") == MODEL_CACHE:
            found["model_cache"] = _str(_mapping(volume, "persistentVolumeClaim").get("claimName"))
    for one in objects:
        kind = one.get("kind")
        if kind == "HTTPRoute":
            found.update(_http_route(one))
        elif kind == "VirtualService":
            found.update(_virtual_service(one))
        elif kind == "Ingress":
            found.update(_ingress(one))
        else:
            continue
        platform = Platform(**found)
        if not platform.problem:
            return platform
        found = {key: value for key, value in found.items() if key == "model_cache"}
    return Platform(**found)


def _http_route(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _mapping(route, "spec")
    parent = _first_mapping(spec.get("parentRefs"))
    namespace = _str(parent.get("namespace")) or _str(_mapping(route, "metadata").get("namespace"))
    return {
        "route": RouteKind.HTTP_ROUTE,
        "host": _first_str(spec.get("hostnames")),
        "gateway": f"{namespace}/{_str(parent.get('name'))}",
    }


def _virtual_service(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _mapping(route, "spec")
    return {
        "route": RouteKind.VIRTUAL_SERVICE,
        "host": _first_str(spec.get("hosts")),
        "gateway": _first_str(spec.get("gateways")),
    }


def _ingress(route: Mapping[str, Any]) -> dict[str, Any]:
    spec = _mapping(route, "spec")
    annotations = {
        _str(key): value
        for key, value in _mapping(route, "metadata", "annotations").items()
        if isinstance(value, str)
    }
    ours = annotations == NGINX_ANNOTATIONS
    return {
        "route": RouteKind.INGRESS,
        "host": _str(_first_mapping(spec.get("rules")).get("host")),
        "ingress_class": _str(spec.get("ingressClassName")),
        "ingress_annotations": {} if ours else annotations,
        "tls_secret": _str(_first_mapping(spec.get("tls")).get("secretName")),
    }


# -- JSON that may be anything ------------------------------------------------------------------


def _mapping(value: object, *path: str) -> Mapping[str, Any]:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _first_mapping(value: object) -> Mapping[str, Any]:
    return _mapping(next(iter(_list(value)), None))


def _first_str(value: object) -> str:
    return _str(next(iter(_list(value)), None))


def _str(value: object) -> str:
    """A string without lone surrogates, which JSON can carry and no spec may."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _int(value: object, default: int) -> int:
    """A whole number that fits 64 bits, also one written as a quantity ("4")."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return default


def _words(value: object) -> tuple[str, ...]:
    return tuple(_str(word) for word in _list(value) if isinstance(word, str))


def _quantity(value: object) -> Quantity | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return Quantity(str(value))
    except ValueError:  # left over: the comparison shows it
        return None
