"""The objects of a serving as the cluster has them now."""

from __future__ import annotations

from typing import Any

from servedeck.cluster.apply import Place
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import AnswerError, ApiError

_PARTS = (
    ("v1", "Service"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.k8s.io/v1", "Ingress"),
)


async def stored(connection: Connection, namespace: str, name: str) -> list[dict[str, Any]]:
    """Deployment, Service and route of a serving, as decoded JSON; [] where there is no Deployment.

    Parts that do not exist or may not be read are left out. Raises ClusterError where the
    Deployment cannot be asked for.
    """
    deployment = await _get(connection, Place("apps/v1", "Deployment", namespace, name))
    if deployment is None:
        return []
    found = [deployment]
    for api_version, kind in _PARTS:
        try:
            part = await _get(connection, Place(api_version, kind, namespace, name))
        except ApiError as error:
            if error.code != 403:
                raise
            continue
        if part is not None:
            found.append(part)
    return found


async def _get(connection: Connection, place: Place) -> dict[str, Any] | None:
    try:
        found = await connection.get_json(place.path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    if found.get("kind") != place.kind:
        raise AnswerError(
            f"The server answered with something that is no {place.kind}; is it a Kubernetes API?"
        )
    return found
