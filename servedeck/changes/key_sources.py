"""The Secrets and ConfigMaps of a namespace and the names of their keys, to choose from; no value
of a Secret is kept, shown or logged.

A list is asked for as a Table (kubernetes.io/docs/reference/using-api/api-concepts, "Receiving
resources as Tables") without the objects: its rows have name, type and number of keys, and no
values, which every other form of the list has. The names of the keys are read of one object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import CONFIG_MAP, SECRET, Resource
from servedeck.serving.spec.mapping.json_values import as_mapping, mappings
from servedeck.serving.text import one_line, sanitize

SOURCE_RESOURCES: Mapping[str, Resource] = {"secret": SECRET, "config_map": CONFIG_MAP}
"""By the source of a variable."""

MAX_SOURCES = 5_000
"""Maximum number of objects that are listed."""

_ACCEPT = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
_PAGE_SIZE = 500

_MACHINE_TYPES = (
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
)
"""Types of Secrets that no one means in a variable; they are listed last."""


class KeySource(NamedTuple):
    """A Secret or a ConfigMap."""

    name: str
    type: str
    """Type of a Secret, "Opaque"; "" for a ConfigMap."""
    key_count: int


async def list_key_sources(connection: Connection, source: str, namespace: str) -> list[KeySource]:
    """The objects of a namespace ("secret" or "config_map"), those that people make first, sorted
    by name; at most MAX_SOURCES. Raises ClusterError, with what is missing if they may not be
    listed."""
    resource = SOURCE_RESOURCES[source]
    path = resource.collection_path(namespace)
    found: list[KeySource] = []
    params = [("limit", str(_PAGE_SIZE)), ("includeObject", "None")]
    token = ""
    while len(found) < MAX_SOURCES:
        page = [*params, ("continue", token)] if token else params
        try:
            response = await connection.request(
                "GET", path, params=page, headers=_ACCEPT, waits_for_rate=True
            )
        except ApiError as error:
            if error.code != 403:
                raise
            raise ClusterError(
                f"{resource.kind}s of namespace {namespace} may not be listed: needs list on "
                f"{resource.plural}. Type the name."
            ) from error
        table = response.json()
        found += _read_table(table, resource)
        token = str(as_mapping(table, "metadata").get("continue") or "")
        if not token:
            break
    return sorted(found[:MAX_SOURCES], key=lambda one: (one.type in _MACHINE_TYPES, one.name))


async def list_keys(connection: Connection, source: str, namespace: str, name: str) -> list[str]:
    """Names of the keys of one object, sorted. Raises ClusterError, with what is missing if it may
    not be read."""
    resource = SOURCE_RESOURCES[source]
    try:
        found = await connection.get_json(resource.object_path(namespace, name))
    except ApiError as error:
        if error.code == 403:
            raise ClusterError(
                f"The keys of {resource.kind} {name} may not be read: needs get on "
                f"{resource.plural} in namespace {namespace}. Type the key."
            ) from error
        if error.code == 404:
            raise ClusterError(f"Namespace {namespace} has no {resource.kind} {name}.") from error
        raise
    keys = [*as_mapping(found, "data"), *as_mapping(found, "binaryData")]
    return sorted(one_line(sanitize(str(key))) for key in keys)


def _read_table(table: Mapping[str, Any], resource: Resource) -> list[KeySource]:
    """The rows of a Table, whose columns are those that `kubectl get` prints."""
    if table.get("kind") != "Table":
        raise InvalidResponseError(
            f"The server does not list {resource.plural} without their values. Type the name."
        )
    names = [str(one.get("name")).lower() for one in mappings(table.get("columnDefinitions"))]
    found = []
    for row in mappings(table.get("rows")):
        cells = dict(zip(names, row.get("cells") or (), strict=False))
        name = one_line(sanitize(str(cells.get("name") or "")))
        count = cells.get("data")
        if name:
            found.append(
                KeySource(
                    name,
                    one_line(sanitize(str(cells.get("type") or ""))),
                    count if isinstance(count, int) else 0,
                )
            )
    return found
