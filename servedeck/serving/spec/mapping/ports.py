"""The port of the inference server."""

from __future__ import annotations

from typing import Any

from servedeck.serving.conventions import HTTP_PORT_NAME
from servedeck.serving.servers.settings import METRICS_PORT_NAMES
from servedeck.serving.spec.mapping import command_line
from servedeck.serving.spec.mapping.container_ports import (
    change_port,
    declare_port,
    port_names,
    resolve_target,
)
from servedeck.serving.spec.mapping.json_values import child_list
from servedeck.serving.spec.mapping.server_container import read_server_port
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.base import SpecLike


def _read(objects: ServingObjects) -> int | None:
    """The port that the template's flag sets, else the one that receives requests."""
    port = command_line.parse_command_line(objects).port
    return read_server_port(objects.container) if port is None else port


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    container = objects.writable_container
    if current is None:
        port = {"name": HTTP_PORT_NAME, "containerPort": wanted.port, "protocol": "TCP"}
        child_list(container, "ports").insert(0, port)
        return
    if wanted.template_definition.sets_port:
        command_line.write_command_line(objects, current, wanted)
    if (old := known_port(current)) is not None:
        change_port(objects, container, old, wanted.port)
    if current.inference_port is None and _read(objects) != wanted.port:
        declare_port(objects, container, wanted.port, HTTP_PORT_NAME)


def known_port(spec: SpecLike) -> int | None:
    """The port of an existing server: without a flag, the default of its template's server; None if
    it is unknown."""
    is_known = spec.inference_port is not None or spec.template_definition.sets_port
    return spec.port if is_known else None


def server_target(objects: ServingObjects, spec: SpecLike) -> str | int:
    """Target for the inference server: the name of its port if it has one, else its number."""
    return port_target(objects, objects.container, spec.port)


def port_target(objects: ServingObjects, container: Any, number: int) -> str | int:
    """Target for a port of a container: its name if it has one that Kubernetes resolves to this
    number, else the number."""
    names = sorted(port_names(container, number), key=lambda name: name in METRICS_PORT_NAMES)
    resolved = (name for name in names if resolve_target(objects, name) == number)
    return next(resolved, number)


INFERENCE_PORT = FieldAccess(_read, _write)
