"""The port of the inference server, and what leads to it: probes and Services."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from servedeck.serving.conventions import HTTP_PORT_NAME
from servedeck.serving.spec.mapping import command_line
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
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
HANDLERS = ("httpGet", "tcpSocket", "grpc")
_PORT_NAMES = ("http", "http1", "inference")
"""Names that say which of several ports is the server's."""
_OTHER_PORT_NAMES = ("metrics", "prometheus", "monitoring")


def declared_ports(container: Any) -> list[JsonObject]:
    """Ports of a container with a number."""
    return [
        one
        for one in mappings(as_mapping(container).get("ports"))
        if (as_int(one.get("containerPort")) or 0) > 0
    ]


def find_port(container: Any, number: int | None, names: tuple[str, ...] = ()) -> JsonObject:
    """The container's port with this number, else with the first of the names; {} for none."""
    declared = declared_ports(container)
    for one in declared:
        if as_int(one.get("containerPort")) == number:
            return one
    return next((one for name in names for one in declared if one.get("name") == name), {})


def _read(objects: ServingObjects) -> int | None:
    """The port that the template's flag sets; else of the declared ones the one with a usual name,
    that of any --port, that of a probe, or the first that is not for metrics; else that of any
    --port."""
    parsed = command_line.parse_command_line(objects)
    if parsed.port is not None:
        return parsed.port
    main = objects.container
    declared = declared_ports(main)
    flag = _port_flag(objects)
    named = find_port(main, None, _PORT_NAMES)
    candidates = [named, find_port(main, flag)] if flag is not None else [named]
    for probe in PROBES:
        target = as_mapping(main, probe, "httpGet").get("port")
        candidates.append(find_port(main, as_int(target), (as_str(target),)))
    candidates += [one for one in declared if one.get("name") not in _OTHER_PORT_NAMES]
    for one in (*candidates, *declared):
        if one:
            return as_int(one.get("containerPort"))
    return flag


def _port_flag(objects: ServingObjects) -> int | None:
    """Value of a flag --port anywhere in the command line, also in a shell script."""
    main = objects.container
    words = command_words(
        (*as_str_tuple(main.get("command")), *as_str_tuple(main.get("args"))),
        {as_str(one.get("name")): as_str(one.get("value")) for one in mappings(main.get("env"))},
    )
    written = flag_value(tuple(words), "--port") or ""
    is_port = written.isascii() and written.isdigit() and 0 < int(written[:6]) <= 65535
    return int(written) if is_port else None


def keeps_old_port(objects: ServingObjects, current: SpecLike, wanted: SpecLike) -> bool:
    """Whether the command line still has the port that was changed elsewhere."""
    return wanted.port != current.port and _port_flag(objects) == current.port


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
    if declared := find_port(container, old):
        declared["containerPort"] = wanted.port
    users = [as_mapping(container, probe) for probe in PROBES]
    users += [as_mapping(container, "lifecycle", hook) for hook in ("postStart", "preStop")]
    for user in users:
        for handler in HANDLERS:
            target = as_mapping(user, handler)
            if target.get("port") == old:
                target["port"] = wanted.port  # type: ignore[index]
    retarget_services(objects, [old], wanted.port)


def server_targets(objects: ServingObjects, spec: SpecLike) -> list[str | int]:
    """What leads to the inference server: the name of its port if it has one, and its number."""
    name = as_str(find_port(objects.container, spec.port).get("name"))
    return [name, spec.port] if name else [spec.port]


def retarget_services(objects: ServingObjects, old: Collection[str | int], new: str | int) -> None:
    """Services that lead to one of the old ports lead to the new one."""
    for service in objects.services:
        for port in mappings(as_mapping(service, "spec").get("ports")):
            if port.get("targetPort", port.get("port")) in old:
                port["targetPort"] = new


INFERENCE_PORT = FieldAccess(_read, _write)
