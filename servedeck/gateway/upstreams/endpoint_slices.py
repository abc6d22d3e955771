"""The Ready Pods of the inference server's Service, by its EndpointSlices."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.resources import Resource
from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from servedeck.serving.objects.records import ObjectMeta, Record, Service

_RECONNECT_SECONDS = 10.0

_REFUSED = (ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING)
"""Phases in which a reflector forgets what it knew."""

_log = logging.getLogger(__name__)


class TargetRef(Record, frozen=True):
    kind: str = ""
    name: str = ""


class EndpointConditions(Record, frozen=True):
    """None: not known, which counts as the better of both (discovery/v1, EndpointConditions)."""

    ready: bool | None = None
    terminating: bool | None = None


class Endpoint(Record, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions | None = None
    target_ref: TargetRef | None = None


class EndpointPort(Record, frozen=True):
    name: str | None = None
    """That of the Service's port."""
    port: int | None = None
    """That of the Pod."""
    protocol: str | None = None


class EndpointSlice(Record, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


ENDPOINT_SLICE = Resource("EndpointSlice", "endpointslices", "discovery.k8s.io", "v1")
_SLICES = ResourceKind(ENDPOINT_SLICE, EndpointSlice)


class WatchedUpstreams:
    """The Pods of `service` (namespace/name:port), each once, whatever its addresses.

    A port that is a name needs list and watch on endpointslices.discovery.k8s.io in the Service's
    namespace; one that is a number is that of the Service, whose target only the Service tells, so
    that list and watch on services are needed besides. While the API server is away, the Pods that
    were Ready last stay; where it refuses to tell, there are none. Raises ValueError for a setting
    that is not namespace/name:port.
    """

    def __init__(
        self,
        service: str,
        *,
        open_connection: Callable[[], Awaitable[Connection]] | None = None,
        config: ReflectorConfig | None = None,
    ) -> None:
        namespace, _, rest = service.partition("/")
        name, _, port = rest.rpartition(":")
        if not (namespace and name and port) or "/" in rest:
            raise ValueError(f"service: {service!r} is not namespace/name:port")
        self.ready: Mapping[str, str] = {}
        self._service, self._namespace, self._name = f"{namespace}/{name}", namespace, name
        self._port = port
        self._connection = open_connection
        self._config = config
        self._listeners: list[Callable[[], None]] = []
        self._reflectors: list[Reflector] = []
        self._connection_problem = "The API server was not asked yet which Pods are Ready."
        self._port_problem = ""
        self._is_known = asyncio.Event()

    @property
    def problem(self) -> str:
        """See Upstreams."""
        if not self._reflectors:
            return self._connection_problem
        for one in self._reflectors:
            if one.error:
                return one.error
        if not all(one.synced for one in self._reflectors):
            return f"The EndpointSlices of the Service {self._service} are not read yet."
        if self.ready:
            return ""
        return self._port_problem or f"No Pod of the Service {self._service} is Ready."

    def on_change(self, listener: Callable[[], None]) -> None:
        """See Upstreams."""
        self._listeners.append(listener)

    async def wait_until_known(self) -> None:
        """See Upstreams."""
        await self._is_known.wait()

    async def run(self) -> None:
        """See Upstreams."""
        while True:
            try:
                connection = await self._open()
            except ClusterError as error:
                self._connection_problem = str(error)
                self._is_known.set()
                _log.warning("The Pods of the inference server cannot be watched: %s", error)
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            try:
                await self._watch(connection)
            finally:
                await connection.close()

    async def _open(self) -> Connection:
        if self._connection is not None:
            return await self._connection()
        return await Connection.open(ConnectionOptions(namespace=self._namespace, readonly=True))

    async def _watch(self, connection: Connection) -> None:
        watched = [_SLICES.with_label_selector(f"kubernetes.io/service-name={self._name}")]
        if self._port.isdigit():
            watched.append(replace(kinds.SERVICES, field_selector=f"metadata.name={self._name}"))
        self._reflectors = [self._reflector(connection, kind) for kind in watched]
        async with asyncio.TaskGroup() as group:
            for one in self._reflectors:
                group.create_task(one.run())

    def _reflector(self, connection: Connection, kind: ResourceKind) -> Reflector:
        return Reflector(
            connection,
            kind,
            self._namespace,
            self._on_record,
            self._on_state,
            config=self._config,
        )

    def _on_record(self, change: RecordChange) -> None:
        # A list replaces all records before its changes come one by one: each sees the whole.
        if all(one.synced for one in self._reflectors):
            self._update()
        elif any(one.phase in _REFUSED for one in self._reflectors):
            self._publish({})

    def _on_state(self, reflector: Reflector) -> None:
        if reflector.error:
            _log.warning("The Pods of the inference server are not watched: %s", reflector.error)
        if reflector.error or all(one.synced for one in self._reflectors):
            self._is_known.set()

    def _update(self) -> None:
        slices: list[EndpointSlice] = list(self._reflectors[0].records.values())
        # The slice of a Service without Pods has no ports either.
        filled = [one for one in slices if one.endpoints]
        name: str | None = self._port
        if len(self._reflectors) > 1:
            name = service_port_name(self._reflectors[1].records.values(), int(self._port))
        self._port_problem = ""
        if name is None:
            self._port_problem = f"The Service {self._service} has no port {self._port}."
        elif filled and not any(_find_port(one, name) for one in filled):
            self._port_problem = (
                f"The EndpointSlices of the Service {self._service} have no port {self._port}."
            )
        self._publish({} if name is None else ready_pods(slices, name))

    def _publish(self, ready: Mapping[str, str]) -> None:
        if ready == self.ready:
            return
        self.ready = ready
        for listener in tuple(self._listeners):
            listener()


def service_port_name(services: Iterable[Service], number: int) -> str | None:
    """Name of the port `number` of the one Service, "" for one without; None if there is none."""
    for service in services:
        for port in service.spec.ports:
            if port.port == number and port.protocol in ("", "TCP"):
                return port.name
    return None


def ready_pods(slices: Iterable[EndpointSlice], port_name: str) -> dict[str, str]:
    """URLs by the names of the Pods (or addresses, of endpoints that are none) that are Ready and
    not terminating. A Pod of both address families has its IPv4 address."""
    found: dict[str, tuple[int, str]] = {}
    for one in slices:
        port = _find_port(one, port_name)
        if port is None:
            continue
        for name, version, address in _ready_endpoints(one):
            host = f"[{address}]" if version == 6 else address
            candidate = (version, f"http://{host}:{port}")
            found[name] = min(found.get(name, candidate), candidate)
    return {name: found[name][1] for name in sorted(found)}


def _find_port(one: EndpointSlice, name: str) -> int | None:
    for port in one.ports or ():
        if (port.name or "") == name and port.protocol in (None, "", "TCP"):
            return port.port
    return None


def _ready_endpoints(one: EndpointSlice) -> Iterator[tuple[str, int, str]]:
    for endpoint in one.endpoints or ():
        conditions = endpoint.conditions or EndpointConditions()
        if conditions.ready is False or conditions.terminating or not endpoint.addresses:
            continue
        try:  # names (addressType FQDN) are not asked for: Pods have none
            address = ipaddress.ip_address(endpoint.addresses[0])
        except ValueError:
            continue
        target = endpoint.target_ref
        is_pod = target is not None and target.kind == "Pod" and target.name
        yield (target.name if target and is_pod else str(address)), address.version, str(address)
