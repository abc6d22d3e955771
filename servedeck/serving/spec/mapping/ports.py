"""The port of the inference server, and what leads to it: probes and Services."""

from __future__ import annotations

from typing import Any

from servedeck.serving.conventions import HTTP_PORT_NAME, TRANSFORMER_PORT_NAME
from servedeck.serving.spec.mapping import command_line
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    as_str,
    as_str_tuple,
    child_list,
    mappings,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.templates.arguments import command_words, flag_value
from servedeck.serving.spec.templates.base import SpecLike

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_PORT_NAMES = ("http", "http1", "inference")
"""Names that say which of several ports is the server's."""


def find_port(container: Any, names: tuple[str, ...]) -> JsonObject:
    """The container's port with the first of the names, else its first; {} for none."""
    declared: list[JsonObject] = [
        one
        for one in mappings(as_mapping(container).get("ports"))
        if (as_int(one.get("containerPort")) or 0) > 0
    ]
    for name in names:
        for one in declared:
            if one.get("name") == name:
                return one
    return declared[0] if declared else {}


def _read(objects: ServingObjects) -> int | None:
    """The port that the template's flag sets, else the declared one, else that of any --port."""
    parsed = command_line.parse_command_line(objects)
    if parsed.port is not None:
        return parsed.port
    declared = as_int(find_port(objects.container, _PORT_NAMES).get("containerPort"))
    if declared is not None:
        return declared
    main = objects.container
    words = command_words(
        (*as_str_tuple(main.get("command")), *as_str_tuple(main.get("args"))),
        {as_str(one.get("name")): as_str(one.get("value")) for one in mappings(main.get("env"))},
    )
    written = flag_value(tuple(words), "--port") or ""
    if written.isascii() and written.isdigit() and 0 < int(written[:6]) <= 65535:
        return int(written)
    return None


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """Every place that has the old port gets the new one; a named port keeps its name."""
    container = objects.writable_container
    if current is None:
        port = {"name": HTTP_PORT_NAME, "containerPort": wanted.port, "protocol": "TCP"}
        child_list(container, "ports").insert(0, port)
        return
    if wanted.template != "custom":
        command_line.write_command_line(objects, current, wanted)
    old = current.port
    declared = find_port(container, _PORT_NAMES)
    if as_int(declared.get("containerPort")) == old:
        declared["containerPort"] = wanted.port
    for probe in PROBES:
        for handler in ("httpGet", "tcpSocket", "grpc"):
            target = as_mapping(container, probe, handler)
            if target.get("port") == old:
                target["port"] = wanted.port  # type: ignore[index]
    for service in objects.services:
        for port in as_list(as_mapping(service, "spec").get("ports")):
            if isinstance(port, dict) and port.get("targetPort", port.get("port")) == old:
                port["targetPort"] = wanted.port


def target_port_name(objects: ServingObjects, wanted: SpecLike) -> str | int:
    """Port that probes of the inference server refer to: its name, or its number without one."""
    return as_str(find_port(objects.container, _PORT_NAMES).get("name")) or wanted.port


def retarget_services(objects: ServingObjects, wanted: SpecLike) -> None:
    """Services lead to the transformer if there is one, else to the inference server."""
    server = find_port(objects.container, _PORT_NAMES)
    of_server = {as_str(server.get("name")), wanted.port, HTTP_PORT_NAME} - {""}
    of_transformer = {TRANSFORMER_PORT_NAME}
    has_transformer = wanted.transformer is not None
    target = TRANSFORMER_PORT_NAME if has_transformer else target_port_name(objects, wanted)
    for service in objects.services:
        for port in mappings(as_mapping(service, "spec").get("ports")):
            old = port.get("targetPort", port.get("port"))
            if old in (of_server if has_transformer else of_transformer):
                port["targetPort"] = target


INFERENCE_PORT = FieldAccess(_read, _write)
