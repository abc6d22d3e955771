"""The autoscalers of a namespace, as far as they may be read."""

from __future__ import annotations

from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT
from servedeck.serving.spec.mapping.json_values import JsonObject, mappings


class Autoscalers(NamedTuple):
    objects: tuple[JsonObject, ...]
    unchecked: tuple[str, ...]
    """Which may not be listed, and what that means, in sentences."""


async def fetch_autoscalers(connection: Connection, namespace: str) -> Autoscalers:
    """HorizontalPodAutoscalers and ScaledObjects. Raises ClusterError if the server cannot be
    reached."""
    objects: list[JsonObject] = []
    unchecked: list[str] = []
    for resource in (SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER):
        try:
            found = await connection.get_json(resource.collection_path(namespace))
        except ApiError as failure:
            if failure.code == 403:
                unchecked.append(
                    f"{resource.kind}s may not be listed, so it is not known whether one sets the "
                    "replicas."
                )
            elif failure.code != 404:  # the cluster does not have the kind
                raise
        else:
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            objects += [{**kind, **one} for one in mappings(found.get("items"))]
    return Autoscalers(tuple(objects), tuple(unchecked))
