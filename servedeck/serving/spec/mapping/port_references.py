"""Where containers and annotations mention a port in a form that servedeck does not change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.mapping.container_ports import HANDLERS, handlers
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, as_str_tuple, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.templates.arguments import command_words
from servedeck.serving.text import one_line, sanitize, truncate

_CAMEL_CASE_PATTERN = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PORT_NAME_PATTERN = re.compile(r"(?<![a-z])ports?(?![a-z])")
_MAX_LENGTH = 60
_LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


class PortReference(NamedTuple):
    place: str
    """Where it is: "command line", "variable PORT"."""
    text: str
    """How it is written."""

    def __str__(self) -> str:
        return f"{self.place} still has {self.text}"


def find_reference(container: Any, port: int) -> PortReference | None:
    """The first argument, variable, probe or hook of a container that has the port."""
    argv = (*as_str_tuple(container.get("command")), *as_str_tuple(container.get("args")))
    if words := _find_in_words(argv, port):
        return PortReference("command line", words)
    for one in mappings(container.get("env")):
        name, value = as_str(one.get("name")), as_str(one.get("value")).strip()
        if (_is_port_name(name) and value == str(port)) or _contains_address(value, port):
            return PortReference(f"variable {name}", f"port {port}")
    for name, user in handlers(container):
        command = as_str_tuple(as_mapping(user, "exec").get("command"))
        numbers = [as_mapping(user, handler).get("port") for handler in HANDLERS]
        if port in numbers or _find_in_words(command, port):
            return PortReference(name, f"port {port}")
    return None


def find_annotations(objects: ServingObjects, port: int) -> Iterator[PortReference]:
    """The annotations of the Pods and the Services that have the port."""
    metadata = as_mapping(objects.deployment, "spec", "template", "metadata")
    owners = [("the Pods", metadata)]
    for service in objects.services:
        metadata = as_mapping(service, "metadata")
        owners.append((f"Service {as_str(metadata.get('name'))}", metadata))
    for owner, metadata in owners:
        for key, value in as_mapping(metadata, "annotations").items():
            if key != _LAST_APPLIED_ANNOTATION and _is_mentioned(as_str(value), port):
                yield PortReference(f"annotation {key} of {owner}", str(port))


def _is_mentioned(value: str, port: int) -> bool:
    """Whether it is the port, also one of several, or an address with it."""
    words = [word.strip() for word in value.split(",")]
    return str(port) in words or _contains_address(value, port)


def _find_in_words(argv: tuple[str, ...], port: int) -> str:
    """The words that set the port: `--http-port=8000`, `-p 8000`, `http://localhost:8000`."""
    written = str(port)
    for before, word in pairwise(["", *command_words(argv, {})]):
        name, equals, value = word.partition("=")
        if word == written and (not before.startswith("-") or _is_port_name(before)):
            return _shown(f"{before} {word}" if before.startswith("-") else word)
        if equals and value == written and _is_port_name(name):
            return _shown(word)
        if word == f"-p{written}" or _contains_address(word, port):
            return _shown(word)
    return ""


def _is_port_name(name: str) -> bool:
    """--port, -p, --http_port, --serverPort, PORT; not --export or --max-model-len."""
    words = _CAMEL_CASE_PATTERN.sub("-", name).lower()
    return words == "-p" or _PORT_NAME_PATTERN.search(words) is not None


def _contains_address(text: str, port: int) -> bool:
    return re.search(rf":{port}(?!\d)", text) is not None


def _shown(text: str) -> str:
    if contains_secret(text):
        text = text.partition("=")[0]
    return truncate(one_line(sanitize(text)), _MAX_LENGTH)
