"""The ports of containers, and what targets them: probes, hooks and Services.

The containers of a Pod share one network, so a number says who listens, whatever its names are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from servedeck.serving.port_number import parse_port_number
from servedeck.serving.servers.settings import METRICS_PORT_NAMES
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    as_str_tuple,
    child_list,
    mappings,
)
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.templates.arguments import command_words, flag_value

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
HOOKS = ("postStart", "preStop")
HANDLERS = ("httpGet", "tcpSocket", "grpc")


# -- ports of a container -----------------------------------------------------------------------


def declared_ports(container: Any) -> list[JsonObject]:
    """TCP ports of a container with a number."""
    return [
        one
        for one in mappings(as_mapping(container).get("ports"))
        if (as_int(one.get("containerPort")) or 0) > 0 and one.get("protocol") in (None, "", "TCP")
    ]


def port_names(container: Any, number: int) -> list[str]:
    """The names of a port: several entries may have the same number."""
    return [
        as_str(one.get("name"))
        for one in declared_ports(container)
        if as_int(one["containerPort"]) == number and one.get("name")
    ]


def find_port(container: Any, number: int | None, names: Collection[str] = ()) -> JsonObject:
    """The container's port with this number, else with the first of the names; {} for none."""
    declared = declared_ports(container)
    for one in declared:
        if as_int(one["containerPort"]) == number:
            return one
    return next((one for name in names for one in declared if one.get("name") == name), {})


def read_serving_port(container: Any, names: Collection[str]) -> int | None:
    """The port that receives requests: of the declared ones that with one of the names, that of the
    flag --port, that of a probe, or the first that is not for metrics; without any, the flag. None
    if it is unknown."""
    container = as_mapping(container)
    declared = declared_ports(container)
    flag = read_port_flag(container)
    candidates = [find_port(container, None, names)]
    if flag is not None:
        candidates.append(find_port(container, flag))
    for probe in PROBES:
        target = as_mapping(container, probe, "httpGet").get("port")
        candidates.append(find_port(container, as_int(target), (as_str(target),)))
    candidates += [one for one in declared if one.get("name") not in METRICS_PORT_NAMES]
    found = next((one for one in (*candidates, *declared) if one), None)
    return flag if found is None else as_int(found["containerPort"])


def read_port_flag(container: Any) -> int | None:
    """Value of a flag --port anywhere in the command line, also in a shell script."""
    words = command_words(
        (*as_str_tuple(container.get("command")), *as_str_tuple(container.get("args"))),
        {
            as_str(one.get("name")): as_str(one.get("value"))
            for one in mappings(container.get("env"))
        },
    )
    written = flag_value(tuple(words), "--port") or ""
    return parse_port_number(written) or None


def declare_port(objects: ServingObjects, container: JsonObject, number: int, name: str) -> None:
    """Add a port to a container; without the name if another port of the Pods has it."""
    taken = {
        one.get("name") for each in objects.long_running_containers for one in declared_ports(each)
    }
    port = {"containerPort": number, "protocol": "TCP"}
    child_list(container, "ports").append(port if name in taken else {"name": name, **port})


def handlers(container: Any) -> Iterator[tuple[str, Any]]:
    """Name and content of each probe and hook of a container."""
    for probe in PROBES:
        yield probe, as_mapping(container, probe)
    for hook in HOOKS:
        yield hook, as_mapping(container, "lifecycle", hook)


def change_port(objects: ServingObjects, container: JsonObject, old: int, new: int) -> None:
    """Every place that has the old port of a container gets the new one: its declared ports, which
    keep their names, its probes and hooks, and the Services that target the number."""
    for one in ports_targeting(objects, old):
        if not isinstance(one.target, str):
            one.port["targetPort"] = new
    for declared in declared_ports(container):
        if as_int(declared["containerPort"]) == old:
            declared["containerPort"] = new
            # On the node's network both are the same port.
            if objects.pod_spec.get("hostNetwork") and declared.get("hostPort") == old:
                declared["hostPort"] = new
    for _, user in handlers(container):
        for handler in HANDLERS:
            found = as_mapping(user, handler)
            if found.get("port") == old:
                found["port"] = new  # type: ignore[index]


# -- Services -----------------------------------------------------------------------------------


class ServicePort(NamedTuple):
    """A TCP port of a Service."""

    service: JsonObject
    port: JsonObject

    @property
    def service_name(self) -> str:
        return as_str(as_mapping(self.service, "metadata").get("name"))

    @property
    def target(self) -> str | int | None:
        """Name or number of the Pods' port; None for one of another type."""
        target = self.port.get("targetPort") or self.port.get("port")
        return as_str(target) or as_int(target)

    @property
    def is_headless(self) -> bool:
        """Whether its clients connect to the Pods themselves, at a port of their choice."""
        return as_mapping(self.service, "spec").get("clusterIP") == "None"


def service_ports(objects: ServingObjects) -> list[ServicePort]:
    return [one for service in objects.services for one in tcp_ports(service)]


def tcp_ports(service: JsonObject) -> list[ServicePort]:
    return [
        ServicePort(service, port)
        for port in mappings(as_mapping(service, "spec").get("ports"))
        if port.get("protocol") in (None, "", "TCP")
    ]


def resolve_target(objects: ServingObjects, target: str | int | None) -> int | None:
    """Number of the Pods' port that a Service targets; None if no container has the name. Of
    several containers with it, the first one counts, as in Kubernetes."""
    if not isinstance(target, str):
        return target
    for container in objects.long_running_containers:
        if found := find_port(container, None, (target,)):
            return as_int(found["containerPort"])
    return None


def ports_targeting(objects: ServingObjects, number: int | None) -> list[ServicePort]:
    """The ports of Services that target this port of the Pods, by name or number."""
    if number is None:
        return []
    return [one for one in service_ports(objects) if resolve_target(objects, one.target) == number]


def is_for_metrics(objects: ServingObjects, one: ServicePort) -> bool:
    """Whether the clients of a Service's port read metrics, and send no requests to the model."""
    names = [as_str(one.port.get("name")), one.target if isinstance(one.target, str) else ""]
    if one.service_name != as_str(objects.metadata.get("name")):
        names.append(one.service_name.rpartition("-")[2])
    return any(part in METRICS_PORT_NAMES for name in names for part in name.split("-"))
