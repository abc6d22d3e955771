"""The transformer: a container that receives requests before the inference server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.serving.conventions import (
    DEFAULT_TRANSFORMER_PORT,
    PREDICTOR_URL_ENV,
    TRANSFORMER_CONTAINER,
    TRANSFORMER_PORT_NAME,
)
from servedeck.serving.servers.settings import SERVING_PORT_NAMES
from servedeck.serving.spec.mapping.container_ports import (
    change_port,
    declare_port,
    is_for_metrics,
    ports_targeting,
    read_serving_port,
)
from servedeck.serving.spec.mapping.environment import build_env_var, read_env, write_env
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
    as_str_tuple,
    child_list,
    child_mapping,
    mappings,
    set_or_remove,
)
from servedeck.serving.spec.mapping.ports import known_port, server_target
from servedeck.serving.spec.mapping.resources import as_quantity
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import EnvVar, Quantity, Transformer

_AMOUNTS = ("cpu", "memory")
"""Of the container's requests."""


def _read(objects: ServingObjects) -> Transformer | None:
    container = objects.transformer
    if not container or container is objects.container:
        return None
    return Transformer(
        image=as_str(container.get("image")),
        port=_port(container),
        cpu=_read_amount(container, "cpu"),
        memory=_read_amount(container, "memory"),
        command=as_str_tuple(container.get("command")),
        env=tuple(one for one in read_env(container) if one.name != PREDICTOR_URL_ENV),
    )


def _read_amount(container: Mapping[str, Any], name: str) -> Quantity | None:
    """The request; without one, the limit, which the API server requests."""
    found = (as_mapping(container, "resources", one).get(name) for one in ("requests", "limits"))
    return next((one for one in map(as_quantity, found) if one is not None), None)


def _write_amounts(container: JsonObject, amounts: Mapping[str, Quantity | None]) -> None:
    resources = child_mapping(container, "resources")
    requests = child_mapping(resources, "requests")
    for name, amount in amounts.items():
        set_or_remove(requests, name, str(amount) if amount is not None else None)
    set_or_remove(resources, "requests", requests)
    set_or_remove(container, "resources", resources)


def _port(container: Mapping[str, Any]) -> int | None:
    return read_serving_port(container, (TRANSFORMER_PORT_NAME, *SERVING_PORT_NAMES))


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    present = current.transformer if current is not None else None
    if wanted.transformer is None:
        _remove(objects, wanted)
    elif present is None:
        _add(objects, wanted, wanted.transformer, is_new=current is None)
    else:
        _change(objects, present, wanted.transformer)


def _add(
    objects: ServingObjects, wanted: SpecLike, transformer: Transformer, *, is_new: bool
) -> None:
    """Requests that reached the inference server reach the transformer, and those for metrics the
    inference server as before."""
    targeting = ports_targeting(objects, wanted.port if is_new else known_port(wanted))
    pod = objects.writable_pod_spec
    child_list(pod, "containers").append(build_transformer(wanted, transformer))
    for one in targeting:
        if not is_for_metrics(objects, one):
            one.port["targetPort"] = TRANSFORMER_PORT_NAME


def _remove(objects: ServingObjects, wanted: SpecLike) -> None:
    removed = objects.transformer
    targeting = ports_targeting(objects, _port(removed))
    server = objects.container
    kept = [one for one in objects.containers if one is not removed]
    objects.writable_pod_spec["containers"] = kept
    objects.container_index = next(
        (index for index, one in enumerate(kept) if one is server), objects.container_index
    )
    if known_port(wanted) is not None:
        for one in targeting:
            one.port["targetPort"] = server_target(objects, wanted)


def _change(objects: ServingObjects, present: Transformer, wanted: Transformer) -> None:
    container = next(one for one in objects.containers if one.get("name") == TRANSFORMER_CONTAINER)
    if wanted.image != present.image:
        container["image"] = wanted.image
    changed = {
        name: getattr(wanted, name)
        for name in _AMOUNTS
        if getattr(wanted, name) != getattr(present, name)
    }
    if changed:
        _write_amounts(container, changed)
    if wanted.command != present.command:
        set_or_remove(container, "command", list(wanted.command))
    if wanted.env != present.env:
        write_env(container, wanted.env, own=(PREDICTOR_URL_ENV,))
    if wanted.port is None or wanted.port == present.port:
        return
    if present.port is None:
        declare_port(objects, container, wanted.port, TRANSFORMER_PORT_NAME)
    else:
        change_port(objects, container, present.port, wanted.port)


def default_port(spec: SpecLike) -> int:
    """Port of a new transformer without one in its spec."""
    return DEFAULT_TRANSFORMER_PORT + (spec.port == DEFAULT_TRANSFORMER_PORT)


def build_transformer(spec: SpecLike, transformer: Transformer) -> JsonObject:
    """The container of a new transformer."""
    container: JsonObject = {"name": TRANSFORMER_CONTAINER, "image": transformer.image}
    if transformer.command:
        container["command"] = list(transformer.command)
    container["ports"] = [
        {
            "name": TRANSFORMER_PORT_NAME,
            "containerPort": default_port(spec) if transformer.port is None else transformer.port,
            "protocol": "TCP",
        }
    ]
    address = EnvVar(name=PREDICTOR_URL_ENV, value=predictor_url(spec))
    container["env"] = [build_env_var(one) for one in (address, *transformer.env)]
    _write_amounts(container, {name: getattr(transformer, name) for name in _AMOUNTS})
    container["readinessProbe"] = {
        "tcpSocket": {"port": TRANSFORMER_PORT_NAME},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    return container


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
