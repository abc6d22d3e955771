"""The objects of a serving as the cluster has them now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.cluster import resources
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import Resource
from servedeck.serving.spec.mapping.json_values import as_mapping, mappings

_ROUTE_RESOURCES = (
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.INGRESS,
)


class ServingNotFoundError(ClusterError):
    """There is no Deployment of that name."""


async def fetch_live_objects(
    connection: Connection, namespace: str, name: str
) -> list[dict[str, Any]]:
    """Deployment, Services and route of a serving, as decoded JSON; [] without a Deployment.
    Services are those that select its Pods, that of its name first. Objects that do not exist or
    may not be read are omitted. Raises ClusterError if the Deployment cannot
    be read.
    """
    deployment = await _get_object(connection, _ref(resources.DEPLOYMENT, namespace, name))
    if deployment is None:
        return []
    found = [deployment, *await _fetch_services(connection, deployment, namespace)]
    for resource in _ROUTE_RESOURCES:
        try:
            part = await _get_object(connection, _ref(resource, namespace, name))
        except ApiError as error:
            if error.code != 403:
                raise
            continue
        if part is not None:
            found.append(part)
    return found


async def _fetch_services(
    connection: Connection, deployment: Mapping[str, Any], namespace: str
) -> list[dict[str, Any]]:
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    try:
        found = await connection.get_json(resources.SERVICE.collection_path(namespace))
    except ApiError as error:
        if error.code == 403:
            return []
        raise
    name = as_mapping(deployment, "metadata").get("name")
    services = [
        {"apiVersion": "v1", "kind": "Service", **one}
        for one in mappings(found.get("items"))
        if (selector := as_mapping(one, "spec", "selector"))
        and all(labels.get(key) == value for key, value in selector.items())
    ]
    return sorted(services, key=lambda one: as_mapping(one, "metadata").get("name") != name)


def _ref(resource: Resource, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(resource.api_version, resource.kind, namespace, name)


async def _get_object(connection: Connection, ref: ObjectRef) -> dict[str, Any] | None:
    try:
        found = await connection.get_json(ref.path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    if found.get("kind") != ref.kind:
        raise InvalidResponseError(
            f"The server answered with an object that is not a {ref.kind}; is it a Kubernetes API?"
        )
    return found
