"""Leases of coordination.k8s.io/v1, by which replicas of a controller agree on one that acts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.resources import Resource
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.config import PLATFORM_NAMESPACE
from servedeck.serving.objects.records import ObjectMeta, Record, Time

CONTROLLER_LEASE = "servedeck-controller"
"""Name of the Lease of `servedeck controller`; it is in PLATFORM_NAMESPACE."""
LEASE = Resource("Lease", "leases", "coordination.k8s.io", "v1")


class LeaseSpec(Record, frozen=True):
    holder_identity: str = ""
    """ "" if it was released."""
    lease_duration_seconds: int = 0
    lease_transitions: int = 0
    renew_time: Time | None = None


class Lease(Record, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class ControllerLease(NamedTuple):
    """Who acts as the controller, as far as its Lease says."""

    holder: str = ""
    """Not sanitized further than any record; "" if nobody does."""
    renewed: datetime | None = None
    """None if there is no Lease: no controller has run here."""
    duration: int = 0
    """Seconds for which a renewal counts."""

    def is_alive(self, now: datetime) -> bool:
        """Whether somebody holds the Lease at `now`, by the clock of the API server."""
        if not self.holder or self.renewed is None:
            return False
        return (now - self.renewed).total_seconds() <= self.duration


def controller_lease_name(of: str = "") -> str:
    """Name of the Lease of the controller of all namespaces, or of one namespace alone: they do not
    act for each other."""
    return f"{CONTROLLER_LEASE}-{of}" if of else CONTROLLER_LEASE


async def controller_lease(
    connection: Connection, namespace: str = PLATFORM_NAMESPACE, *, of: str = ""
) -> ControllerLease:
    """Read the Lease of the controller of all namespaces, or of the namespace `of` alone; needs
    `get` on leases in its namespace. `is_alive` is to be asked with `server_time`. Raises
    ClusterError, but not for a Lease that does not exist."""
    lease = await read_lease(connection, namespace, controller_lease_name(of))
    if lease is None:
        return ControllerLease()
    spec = lease.spec
    return ControllerLease(spec.holder_identity, spec.renew_time, spec.lease_duration_seconds)


async def read_lease(connection: Connection, namespace: str, name: str) -> Lease | None:
    """The Lease; None if there is none. Raises ClusterError."""
    try:
        body = await connection.get(LEASE.object_path(namespace, name))
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return decode_lease(body)


def decode_lease(body: bytes) -> Lease:
    """Raises InvalidResponseError."""
    lease: Lease = _decoder.decode(body).record
    return lease


_decoder = RecordDecoder(Lease)


def server_time(connection: Connection) -> datetime:
    """The present by the clock of the API server, as far as its responses have shown it."""
    return datetime.now(UTC) + connection.clock.offset
