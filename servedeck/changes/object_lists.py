"""The objects around a Deployment, read once: its ReplicaSets, and the autoscalers of its
namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from servedeck.changes.platform_settings import discover_api_groups
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import (
    HORIZONTAL_POD_AUTOSCALER,
    REPLICA_SET,
    SCALED_OBJECT,
    Resource,
)
from servedeck.serving.label_selector import format_label_selector
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings

_AUTOSCALERS = (HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT)


async def list_replicasets(
    connection: Connection, deployment: JsonObject, *, from_cache: bool = False
) -> list[JsonObject]:
    """The ReplicaSets that the Deployment selects; `from_cache` as for `fetch_live_objects`. Raises
    ClusterError."""
    namespace = as_mapping(deployment, "metadata").get("namespace")
    selector = format_label_selector(as_mapping(deployment, "spec").get("selector") or {})
    path = REPLICA_SET.collection_path(str(namespace))
    params = [("labelSelector", selector)]
    if from_cache:
        params.append(("resourceVersion", "0"))
    response = await connection.get_json(path, params=params)
    return mappings(response.get("items"))


async def list_autoscalers(
    connection: Connection, namespace: str
) -> tuple[list[JsonObject], list[Resource]]:
    """The HorizontalPodAutoscalers and ScaledObjects of a namespace, and which of the two may not
    be listed. Raises ClusterError if the server cannot be reached."""
    listed = await asyncio.gather(
        *(_list_objects(connection, one, namespace) for one in _AUTOSCALERS)
    )
    found = [obj for objects in listed for obj in objects or ()]
    unlisted = [one for one, objects in zip(_AUTOSCALERS, listed, strict=True) if objects is None]
    if SCALED_OBJECT in unlisted and SCALED_OBJECT.group not in await discover_api_groups(
        connection
    ):
        unlisted.remove(SCALED_OBJECT)  # the API server also forbids what does not exist
    return found, unlisted


def unlisted_text(what: str, consequence: str) -> str:
    """The sentence about objects that may not be listed, "deployments.apps"."""
    return f"Without permission to list {what}, {consequence}."


def unknown_owner_texts(unlisted: Iterable[Resource]) -> list[str]:
    """The same about the autoscalers of a Deployment that may not be listed."""
    return [
        unlisted_text(one.resource_name, "it is not known whether one sets the replicas")
        for one in unlisted
    ]


async def _list_objects(
    connection: Connection, resource: Resource, namespace: str
) -> Sequence[JsonObject] | None:
    """The objects of a kind; None if they may not be listed, [] if the cluster does not have the
    kind."""
    try:
        response = await connection.get_json(resource.collection_path(namespace))
    except ApiError as error:
        if error.code == 404:
            return []
        if error.code == 403:
            return None
        raise
    # The entries of a list have no kind.
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [{**kind, **one} for one in mappings(response.get("items"))]
