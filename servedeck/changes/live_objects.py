"""The objects of a serving as the cluster has them now."""

from __future__ import annotations

from typing import Any

from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError

_RELATED_KINDS = (
    ("v1", "Service"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.k8s.io/v1", "Ingress"),
)


async def fetch_live_objects(
    connection: Connection, namespace: str, name: str
) -> list[dict[str, Any]]:
    """Deployment, Service and route of a serving, as decoded JSON; [] where there is no Deployment.

    Parts that do not exist or may not be read are left out. Raises ClusterError where the
    Deployment cannot be asked for.
    """
    deployment = await _get_object(connection, ObjectRef("apps/v1", "Deployment", namespace, name))
    if deployment is None:
        return []
    found = [deployment]
    for api_version, kind in _RELATED_KINDS:
        try:
            part = await _get_object(connection, ObjectRef(api_version, kind, namespace, name))
        except ApiError as error:
            if error.code != 403:
                raise
            continue
        if part is not None:
            found.append(part)
    return found


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
