"""The transformer: a sidecar that receives requests before the inference server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.serving.conventions import (
    PREDICTOR_URL_ENV,
    TRANSFORMER_CONTAINER,
    TRANSFORMER_PORT_NAME,
)
from servedeck.serving.spec.mapping.environment import build_env_var, read_env, write_env
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_str,
    as_str_tuple,
    child_list,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.mapping.ports import (
    declared_ports,
    find_port,
    retarget_services,
    server_targets,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import EnvVar, Transformer

_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
DEFAULT_PORT = 8080


def _read(objects: ServingObjects) -> Transformer | None:
    container = objects.transformer
    if not container or container is objects.container:
        return None
    port = as_int(_port(container).get("containerPort"))
    return Transformer(
        image=as_str(container.get("image")),
        port=port or DEFAULT_PORT,
        command=as_str_tuple(container.get("command")),
        env=tuple(one for one in read_env(container) if one.name != PREDICTOR_URL_ENV),
    )


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    present = current.transformer if current is not None else None
    if wanted.transformer is None:
        _remove(objects, wanted)
    elif present is None:
        pod = objects.writable_pod_spec
        child_list(pod, "containers").append(build_transformer(wanted, wanted.transformer))
        retarget_services(objects, server_targets(objects, wanted), TRANSFORMER_PORT_NAME)
    else:
        _change(objects, present, wanted.transformer)


def _remove(objects: ServingObjects, wanted: SpecLike) -> None:
    removed = objects.transformer
    targets: list[str | int] = [TRANSFORMER_PORT_NAME]
    for port in declared_ports(removed):
        targets += [as_str(port.get("name")), port["containerPort"]]
    server = objects.container
    kept = [one for one in objects.containers if one is not removed]
    objects.writable_pod_spec["containers"] = kept
    objects.container_index = next(
        (index for index, one in enumerate(kept) if one is server), objects.container_index
    )
    retarget_services(objects, set(targets) - {""}, server_targets(objects, wanted)[0])


def _change(objects: ServingObjects, present: Transformer, wanted: Transformer) -> None:
    container = next(one for one in objects.containers if one.get("name") == TRANSFORMER_CONTAINER)
    if wanted.image != present.image:
        container["image"] = wanted.image
    if wanted.command != present.command:
        set_or_remove(container, "command", list(wanted.command))
    if wanted.env != present.env:
        write_env(container, wanted.env, own=(PREDICTOR_URL_ENV,))
    if wanted.port != present.port:
        if declared := _port(container):
            declared["containerPort"] = wanted.port
        else:
            child_list(container, "ports").append(_container_port(wanted.port))
        retarget_services(objects, [present.port], wanted.port)


def _port(container: Mapping[str, Any]) -> JsonObject:
    """The port that it receives requests on: by its name, else the first; {} for none."""
    named = find_port(container, None, (TRANSFORMER_PORT_NAME,))
    return named or next(iter(declared_ports(container)), {})


def build_transformer(spec: SpecLike, transformer: Transformer) -> JsonObject:
    """The container of a new transformer."""
    container: JsonObject = {"name": TRANSFORMER_CONTAINER, "image": transformer.image}
    if transformer.command:
        container["command"] = list(transformer.command)
    container["ports"] = [_container_port(transformer.port)]
    address = EnvVar(name=PREDICTOR_URL_ENV, value=predictor_url(spec))
    container["env"] = [build_env_var(one) for one in (address, *transformer.env)]
    container["resources"] = {"requests": dict(_REQUESTS)}
    container["readinessProbe"] = {
        "tcpSocket": {"port": TRANSFORMER_PORT_NAME},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    return container


def _container_port(number: int) -> JsonObject:
    return {"name": TRANSFORMER_PORT_NAME, "containerPort": number, "protocol": "TCP"}


def predictor_url(spec: SpecLike) -> str:
    """The inference server's URL for a container of the same Pod."""
    return f"http://127.0.0.1:{spec.port}"


def change_predictor_url(objects: ServingObjects, current: SpecLike, wanted: SpecLike) -> None:
    """Change the address that the transformer uses with the inference server's port."""
    for one in mappings(objects.transformer.get("env")):
        is_own = one.get("name") == PREDICTOR_URL_ENV
        if is_own and one.get("value") == predictor_url(current):
            one["value"] = predictor_url(wanted)


TRANSFORMER = FieldAccess(_read, _write)
