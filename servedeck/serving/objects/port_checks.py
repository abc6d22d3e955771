"""What a change of ports, or of the transformer, leaves dangling or cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from servedeck.serving.conventions import TRANSFORMER_CONTAINER, TRANSFORMER_PORT_NAME
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mapping.container_ports import (
    PROBES,
    ServicePort,
    declared_ports,
    is_for_metrics,
    ports_targeting,
    read_port_flag,
    resolve_target,
    service_ports,
)
from servedeck.serving.spec.mapping.json_values import as_int, as_mapping, as_str, mappings
from servedeck.serving.spec.mapping.port_references import find_annotations, find_references
from servedeck.serving.spec.mapping.ports import known_port
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.spec import ServingSpec

_FLAG_FIELDS = ("settings", "command", "template", "env")
"""Fields that can change a flag of the command line."""


@dataclass(frozen=True, slots=True)
class WrittenChange:
    """A change of a serving, written to its objects."""

    live: ServingObjects
    changed: ServingObjects
    before: ServingSpec
    wanted: ServingSpec
    fields: tuple[str, ...]
    """Names of the fields that differ."""
    read: ServingSpec
    """What is read from the changed objects."""


class _PortChange(NamedTuple):
    field: str
    old: int | None
    """None if it is unknown, or if there was no such container."""
    new: int | None
    """None if the container is removed."""
    live: Any
    container: Any
    """The container that listens, before and after the change."""
    is_configured: bool
    """Whether the change may have set the port in the container itself."""

    @property
    def is_new(self) -> bool:
        return not self.live


def check_ports(written: WrittenChange) -> Iterator[Issue]:
    """Errors and warnings of a changed port, and of a transformer that is added or removed."""
    yield from _check_unknown(written)
    yield from _check_names(written)
    if swapped := list(_check_swapped(written)):
        yield from swapped
        return  # what follows would take one container's port for the other's
    yield from _check_flag(written)
    changes = [
        one for one in (_server_change(written), _transformer_change(written)) if one is not None
    ]
    for one in changes:
        if one.new is not None:
            yield from _check_taken(written, one)
            yield from _check_listens(written, one, one.new)
        if one.old is not None:
            yield from _check_references(written, one, one.old)
            yield from _check_headless(written, one.field, one.old, one.new, "")
        if one.is_new and one.new is not None:
            yield from _check_reached(written, one.new)
    if changed := [one for one in changes if not one.is_new]:
        yield from _check_dangling(written, changed)


def _server_change(written: WrittenChange) -> _PortChange | None:
    old, new = known_port(written.before), written.wanted.port
    is_written = "inference_port" in written.fields and written.read.port == new
    if not is_written or old == new:
        return None
    is_configured = written.wanted.template_definition.sets_port or any(
        name in written.fields for name in ("template", "command", "settings", "env")
    )
    live, changed = written.live.container, written.changed.container
    return _PortChange("inference_port", old, new, live, changed, is_configured)


def _transformer_change(written: WrittenChange) -> _PortChange | None:
    before, wanted = written.before.transformer, written.wanted.transformer
    live, changed = written.live.transformer, written.changed.transformer
    if before is not None and wanted is not None:
        read = written.read.transformer
        if before.port == wanted.port or read is None or read.port != wanted.port:
            return None
        is_configured = (before.command, before.env) != (wanted.command, wanted.env)
        return _PortChange(
            "transformer.port", before.port, wanted.port, live, changed, is_configured
        )
    if before is not None:
        return _PortChange("transformer", before.port, None, live, {}, True)
    if wanted is not None:
        added = written.changed.containers[-1]
        return _PortChange("transformer", None, wanted.port, {}, added, True)
    return None


# -- what cannot be done ------------------------------------------------------------------------


def _check_unknown(written: WrittenChange) -> Iterator[Issue]:
    """Fields that need the inference port, which no object says."""
    if known_port(written.wanted) is not None:
        return
    found = []
    before, wanted = written.before.transformer, written.wanted.transformer
    if (before is None and wanted is not None) or (
        before is not None and wanted is None and ports_targeting(written.live, before.port)
    ):
        found.append("transformer")
    startup = "startup_path" if "startup_path" in written.fields else "startup_seconds"
    fields = (startup, "readiness_path", "liveness_path")
    for probe, field in zip(PROBES, fields, strict=True):
        live, changed = written.live.container, written.changed.container
        if as_mapping(changed, probe, "httpGet") and not as_mapping(live, probe, "httpGet"):
            found.append(field)
    for field in found:
        yield error(field, "The port of this server is unknown; enter the Inference Port first.")


def _check_swapped(written: WrittenChange) -> Iterator[Issue]:
    """A port that the transformer gives up for the server: by its number alone, what targeted the
    one and what should target the other are the same."""
    before, wanted = written.before.transformer, written.wanted.transformer
    if "inference_port" not in written.fields or before is None or wanted is None:
        return
    if before.port == written.wanted.port != wanted.port:
        yield error(
            "inference_port",
            f"Port {before.port} is still the transformer's; change the transformer's port first, "
            "in a change of its own.",
        )


def _check_taken(written: WrittenChange, change: _PortChange) -> Iterator[Issue]:
    """The new port, declared for something else already: the containers share one network."""
    field = "transformer.port" if change.field == "transformer" else change.field
    if {change.old, change.new} <= _numbers(change.live):
        yield error(field, f"The container already has a port {change.new}; choose another.")
    transformer = written.wanted.transformer
    if transformer is not None and transformer.port == known_port(written.wanted):
        return  # the rules of the spec say so
    for other in written.changed.long_running_containers:
        if other is not change.container and change.new in _numbers(other):
            yield error(
                field,
                f"The container {_name(other)} already has a port {change.new}; choose another.",
            )


def _check_flag(written: WrittenChange) -> Iterator[Issue]:
    """A flag --port of the server that servedeck does not write, and that says something else."""
    old, new = known_port(written.before), known_port(written.wanted)
    live, flag = (read_port_flag(one.container) for one in (written.live, written.changed))
    if flag is None or new is None or flag == new:
        return
    if flag != live and written.read.port == new:
        for field in [one for one in _FLAG_FIELDS if one in written.fields][:1]:
            yield warning(
                field,
                f"The command line now has --port {flag}, but the Inference Port is {new}; change "
                "one of them.",
            )
    is_decisive = flag == live == old and written.read.port != new
    if is_decisive and "inference_port" in written.fields:
        yield error(
            "inference_port",
            f"The command line still has --port {flag}; change it there at the same time.",
        )


def _check_names(written: WrittenChange) -> Iterator[Issue]:
    """A transformer's names that the Pods have already."""
    if written.before.transformer is not None or written.wanted.transformer is None:
        return
    init = mappings(written.live.pod_spec.get("initContainers"))
    if any(_name(one) == TRANSFORMER_CONTAINER for one in (*written.live.containers, *init)):
        yield error(
            "transformer",
            f"The Pods already have a container {TRANSFORMER_CONTAINER}; rename it in the "
            "Deployment.",
        )
    for one in written.live.long_running_containers:
        if any(port.get("name") == TRANSFORMER_PORT_NAME for port in declared_ports(one)):
            yield error(
                "transformer",
                f"The container {_name(one)} already has a port with the name "
                f"{TRANSFORMER_PORT_NAME}; rename it in the Deployment.",
            )


# -- what is left behind ------------------------------------------------------------------------


def _check_listens(written: WrittenChange, change: _PortChange, new: int) -> Iterator[Issue]:
    """A container that is to listen on another port, and may not know."""
    old, container = change.old, change.container
    found = find_references(written.changed, container, old) if old is not None else []
    for one in found:
        yield warning(change.field, f"The {one}; change it there too.")
    is_configured = change.is_configured or read_port_flag(container) == new
    if not found and not is_configured:
        yield warning(
            change.field,
            f"servedeck cannot set the port of the program in {_name(change.container)}; make sure "
            f"that it listens on {new}, with its arguments or a variable.",
        )


def _check_references(written: WrittenChange, change: _PortChange, old: int) -> Iterator[Issue]:
    """Other containers, and annotations, that still have the old port."""
    if (
        any(old in _numbers(one) for one in written.changed.long_running_containers)
        or old == written.wanted.port
    ):
        return  # another container listens there
    for other in written.changed.long_running_containers:
        found = (
            find_references(written.changed, other, old) if other is not change.container else []
        )
        for one in found:
            yield warning(
                change.field, f"In the container {_name(other)}, the {one}; change it there too."
            )
    for annotation in find_annotations(written.changed, old):
        yield warning(change.field, f"The {annotation}; change it there too.")


def _check_headless(
    written: WrittenChange, field: str, old: int, new: int | None, result: str
) -> Iterator[Issue]:
    """Services whose clients connect to the Pods themselves, at the old port."""
    new = known_port(written.wanted) if new is None else new
    for one in ports_targeting(written.live, old):
        if new is not None and one.is_headless and not is_for_metrics(written.live, one):
            yield warning(
                field,
                f"Service {one.service_name} is headless, so its clients connect to port {old} of "
                f"the Pods themselves{result}; let them use port {new}.",
            )


def _check_reached(written: WrittenChange, new: int) -> Iterator[Issue]:
    """Requests that do not reach a new transformer."""
    server = known_port(written.wanted)
    if server is None:
        return
    found = service_ports(written.changed)
    if found and not ports_targeting(written.changed, new):
        found = [one for one in found if not is_for_metrics(written.changed, one)]
        yield warning("transformer", _not_reached_message(written, found, server))
    yield from _check_headless(written, "transformer", server, new, " and bypass the transformer")


def _not_reached_message(written: WrittenChange, found: list[ServicePort], server: int) -> str:
    """`found` are the ports of Services that are not for metrics."""
    if not found:
        return (
            "All Services of the serving are for metrics, so there is none for requests, and none "
            "targets the transformer; create one that does."
        )
    for one in found:
        number = resolve_target(written.changed, one.target)
        for other in written.changed.long_running_containers:
            if number in _numbers(other) and other is not written.changed.container:
                return (
                    f"Service {one.service_name} targets the container {_name(other)}, so no "
                    "Service targets the transformer; let that container send the requests for "
                    f"port {server} to the transformer's port."
                )
    return (
        f"No Service targets the inference server's port {server}, so none targets the "
        f"transformer; set the targetPort of Service {found[0].service_name} to "
        f"{TRANSFORMER_PORT_NAME}."
    )


def _check_dangling(written: WrittenChange, changes: list[_PortChange]) -> Iterator[Issue]:
    """Ports of Services that targeted a container, and target none."""
    is_unknown = any(one.old is None for one in changes)
    known = {
        (one.service_name, str(one.port.get("port")))
        for one in _dangling(written.live, written.before)
        # to an undeclared port, maybe the unknown one
        if not is_unknown or isinstance(one.target, str)
    }
    for one in _dangling(written.changed, written.wanted):
        port = str(one.port.get("port"))
        if (one.service_name, port) not in known:
            yield warning(
                changes[-1].field,
                f"Port {port} of Service {one.service_name} targets port {one.target}, which no "
                "container of the Pods has; change its targetPort.",
            )


def _dangling(objects: ServingObjects, spec: ServingSpec) -> list[ServicePort]:
    numbers = {known_port(spec), spec.transformer.port if spec.transformer is not None else None}
    numbers |= {number for one in objects.long_running_containers for number in _numbers(one)}
    return [
        one
        for one in service_ports(objects)
        if (number := resolve_target(objects, one.target)) is None or number not in numbers
    ]


def _numbers(container: Any) -> set[int | None]:
    return {as_int(one["containerPort"]) for one in declared_ports(container)}


def _name(container: Any) -> str:
    return as_str(container.get("name"))
