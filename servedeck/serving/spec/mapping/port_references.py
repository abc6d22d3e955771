"""Where containers and annotations mention a port in a form that servedeck does not change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from servedeck.serving.spec.env_file import contains_secret
from servedeck.serving.spec.mapping.container_ports import HANDLERS, handlers, service_ports
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, as_str_tuple, mappings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from servedeck.serving.spec.templates.arguments import command_words
from servedeck.serving.text import one_line, sanitize, truncate

_CAMEL_CASE_PATTERN = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PORT_NAME_PATTERN = re.compile(r"(?<![a-z])ports?(?![a-z])")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0", "[::]", "[::1]")  # noqa: S104 - only compared
_MAX_LENGTH = 60
_LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


class PortReference(NamedTuple):
    place: str
    """Where it is: "command line", "variable PORT"."""
    text: str
    """How it is written."""

    def __str__(self) -> str:
        return f"{self.place} still has {self.text}"


def find_references(objects: ServingObjects, container: Any, port: int) -> list[PortReference]:
    """The arguments, variables, probes and hooks of a container that have the port."""
    return list(dict.fromkeys(_find_references(container, port, _pod_hosts(objects))))


def _find_references(container: Any, port: int, hosts: Collection[str]) -> Iterator[PortReference]:
    argv = (*as_str_tuple(container.get("command")), *as_str_tuple(container.get("args")))
    for words in _find_in_words(argv, port, hosts):
        yield PortReference("command line", words)
    for one in mappings(container.get("env")):
        name, value = as_str(one.get("name")), as_str(one.get("value")).strip()
        is_port = _is_port_name(name) and value == str(port)
        if is_port or _contains_address(value, port, hosts):
            yield PortReference(f"variable {name}", f"port {port}")
    for name, user in handlers(container):
        command = as_str_tuple(as_mapping(user, "exec").get("command"))
        numbers = [as_mapping(user, handler).get("port") for handler in HANDLERS]
        if port in numbers or any(_find_in_words(command, port, hosts)):
            yield PortReference(name, f"port {port}")


def find_annotations(objects: ServingObjects, port: int) -> Iterator[PortReference]:
    """The annotations of the Pods and the Services that have the port."""
    hosts = _pod_hosts(objects)
    metadata = as_mapping(objects.deployment, "spec", "template", "metadata")
    owners = [("the Pods", metadata)]
    for service in objects.services:
        metadata = as_mapping(service, "metadata")
        owners.append((f"Service {as_str(metadata.get('name'))}", metadata))
    for owner, metadata in owners:
        for key, value in as_mapping(metadata, "annotations").items():
            if key == _LAST_APPLIED_ANNOTATION:
                continue
            text = as_str(value)
            numbers = [one.strip() for one in text.split(",")] if _is_port_name(key) else ()
            if str(port) in numbers or _contains_address(text, port, hosts):
                yield PortReference(f"annotation {key} of {owner}", str(port))


def _pod_hosts(objects: ServingObjects) -> frozenset[str]:
    """Names by which clients connect to a port of the Pods: from inside, and those of headless
    Services. Another Service has ports of its own, which stay."""
    names = set(_LOCAL_HOSTS)
    for one in service_ports(objects):
        if one.is_headless:
            namespace = as_str(as_mapping(one.service, "metadata").get("namespace"))
            in_namespace = f"{one.service_name}.{namespace}"
            names |= {one.service_name, in_namespace, f"{in_namespace}.svc"}
            names.add(f"{in_namespace}.svc.cluster.local")
    return frozenset(names)


def _find_in_words(argv: tuple[str, ...], port: int, hosts: Collection[str]) -> Iterator[str]:
    """The words that set the port: `--http-port=8000`, `-p 8000`, `http://localhost:8000`,
    `localhost 8000`. Any other number is not known to be a port."""
    written = str(port)
    for before, word in pairwise(["", *command_words(argv, {})]):
        name, equals, value = word.partition("=")
        is_flag = before.startswith("-") and _is_port_name(before)
        if word == written and (is_flag or before.lower() in hosts):
            yield _shown(f"{before} {word}")
        elif (
            (equals and value == written and _is_port_name(name))
            or word == f"-p{written}"
            or _contains_address(word, port, hosts)
        ):
            yield _shown(word)


def _is_port_name(name: str) -> bool:
    """--port, -p, --http_port, --serverPort, PORT; not --export or --max-model-len."""
    words = _CAMEL_CASE_PATTERN.sub("-", name).lower()
    return words == "-p" or _PORT_NAME_PATTERN.search(words) is not None


def _contains_address(text: str, port: int, hosts: Collection[str]) -> bool:
    """Whether the text has `host:port` with one of the hosts, or `:port` without any."""
    found = re.finditer(rf"(?<![\w.:\])}}-])(\[[^\[\]]*\]|[\w.-]*):{port}(?!\w)", text)
    return any(one[1] == "" or one[1].lower() in hosts for one in found)


def _shown(text: str) -> str:
    text = re.sub(r"//[^/\s]*@", "//", text)  # user and password of a URL
    if contains_secret(text):
        text = text.partition("=")[0]
    return truncate(one_line(sanitize(text)), _MAX_LENGTH)
