"""What a container in decoded JSON says about its inference server."""

from __future__ import annotations

from typing import Any

from servedeck.serving.servers.kinds import UNKNOWN_SERVER
from servedeck.serving.servers.recognition import ContainerFacts, Port, recognize
from servedeck.serving.servers.settings import find_port
from servedeck.serving.spec.mapping.container_ports import declared_ports
from servedeck.serving.spec.mapping.json_values import (
    as_int,
    as_mapping,
    as_str,
    as_str_tuple,
    mappings,
)


def container_facts(container: Any) -> ContainerFacts:
    """The same facts as `objects.detection.container_facts` gets from a record."""
    container = as_mapping(container)
    probes = ("readinessProbe", "livenessProbe", "startupProbe")
    actions = [one for probe in probes if (one := as_mapping(container, probe, "httpGet"))]
    env = [
        (as_str(one.get("name")), as_str(one.get("value")))
        for one in mappings(container.get("env"))
    ]
    ports = [
        Port(as_str(one.get("name")), as_int(one["containerPort"]) or 0)
        for one in declared_ports(container)
    ]
    targets = [as_str(one.get("port")) or str(as_int(one.get("port")) or "") for one in actions]
    return ContainerFacts(
        as_str(container.get("image")),
        as_str_tuple(container.get("command")),
        as_str_tuple(container.get("args")),
        tuple((name, value) for name, value in env if value),
        tuple(port for port in ports if port.number < 65536),
        tuple(one for one in targets if one),
        any(one.get("scheme") == "HTTPS" for one in actions),
        as_str_tuple(as_mapping(container, "lifecycle", "postStart", "exec").get("command")),
    )


def read_server_port(container: Any) -> int | None:
    """The port that the container's server receives requests on; None if only its default is
    known."""
    facts = container_facts(container)
    port = find_port(facts, recognize(facts).kind or UNKNOWN_SERVER)
    return None if port.is_default else port.number
