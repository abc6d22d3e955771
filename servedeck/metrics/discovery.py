"""Finds a Prometheus among the Services of the cluster, so that a kubeconfig is enough."""

from __future__ import annotations

import asyncio

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.prometheus_services import (
    PrometheusLookupError,
    list_prometheus_services,
)
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.metrics.transports import ServiceTransport

PROBE_TIMEOUT = 5.0
"""Seconds for the answer of one Service."""
MAX_PROBED = 6
"""Services that are asked, at most."""


async def find_prometheus(connection: Connection) -> PrometheusClient:
    """A Prometheus that answers. Raises MetricsError if there is none."""
    places = (await _list_places(connection))[:MAX_PROBED]
    if not places:
        raise MetricsError("No Prometheus was found among the Services of the cluster.")
    clients = [PrometheusClient(ServiceTransport(connection, one)) for one in places]
    errors = await asyncio.gather(*map(_probe, clients))
    for client, error in zip(clients, errors, strict=True):
        if error is None:
            return client
    raise MetricsError("; ".join(dict.fromkeys(str(one).rstrip(".") for one in errors)) + ".")


async def _probe(client: PrometheusClient) -> MetricsError | None:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            await client.query("vector(1)")
    except TimeoutError:
        return MetricsError(f"{client.display_name} does not answer within {PROBE_TIMEOUT:.0f} s.")
    except MetricsError as error:
        return error
    return None


async def _list_places(connection: Connection) -> list[str]:
    try:
        return await list_prometheus_services(connection)
    except PrometheusLookupError as error:
        raise MetricsError(str(error)) from error
