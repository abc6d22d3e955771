"""The objects of a serving as the cluster has them now."""

from __future__ import annotations

from typing import Any

from servedeck.cluster import resources
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import Resource

_RELATED_RESOURCES = (
    resources.SERVICE,
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.INGRESS,
)


class ServingNotFoundError(ClusterError):
    """There is no Deployment of that name."""


async def fetch_live_objects(
    connection: Connection, namespace: str, name: str
) -> list[dict[str, Any]]:
    """Deployment, Service and route of a serving, as decoded JSON; [] without a Deployment. Objects
    that do not exist or may not be read are omitted. Raises ClusterError if the Deployment cannot
    be read.
    """
    deployment = await _get_object(connection, _ref(resources.DEPLOYMENT, namespace, name))
    if deployment is None:
        return []
    found = [deployment]
    for resource in _RELATED_RESOURCES:
        try:
            part = await _get_object(connection, _ref(resource, namespace, name))
        except ApiError as error:
            if error.code != 403:
                raise
            continue
        if part is not None:
            found.append(part)
    return found


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
            f"The server answered with something that is no {ref.kind}; is it a Kubernetes API?"
        )
    return found
