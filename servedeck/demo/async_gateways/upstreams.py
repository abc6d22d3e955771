"""The Ready Pods of a simulated inference server, each on a port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from servedeck.demo.async_gateways.nodes import HOST, Connect, Connection
from servedeck.demo.resources import ENDPOINTSLICES, PODS, SERVICES
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from servedeck.gateway.upstreams.endpoint_slices import (
    EndpointSlice,
    ready_pods,
    service_port_name,
)
from servedeck.serving.objects.records import Service

_PART_BYTES = 32 << 10
_SERVICE_LABEL = "kubernetes.io/service-name"


class _Target(NamedTuple):
    pod: str
    uid: str
    port: int


class StoreUpstreams:
    """The Ready Pods of `service` (namespace/name:port), by the EndpointSlices of the demo's store.

    The addresses of Pods lead nowhere, so each Pod gets a port of 127.0.0.1, whose connections
    `connect` makes. A Pod that is not Ready any more keeps its connections until its process ends.
    """

    def __init__(self, store: ObjectStore, connect: Connect, service: str) -> None:
        self.ready: Mapping[str, str] = {}
        self._store = store
        self._connect = connect
        self._namespace, _, rest = service.partition("/")
        self._name, _, self._port = rest.rpartition(":")
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._is_known = asyncio.Event()
        self._servers: dict[_Target, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def problem(self) -> str:
        """See Upstreams."""
        if self.ready:
            return ""
        return f"No Pod of the Service {self._namespace}/{self._name} is Ready."

    def on_change(self, listener: Callable[[], None]) -> None:
        """See Upstreams."""
        self._listeners.append(listener)

    async def wait_until_known(self) -> None:
        """See Upstreams."""
        await self._is_known.wait()

    async def run(self) -> None:
        """See Upstreams."""
        for resource in (ENDPOINTSLICES, SERVICES):
            self._store.subscribe(self._on_store_change, resource)
        try:
            while True:
                self._changed.clear()
                await self._update()
                self._is_known.set()
                await self._changed.wait()
        finally:
            self._store.unsubscribe(self._on_store_change)
            for server in self._servers.values():
                server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _on_store_change(self, change: StoreChange) -> None:
        if change.object["metadata"]["namespace"] == self._namespace:
            self._changed.set()

    async def _update(self) -> None:
        targets = self._find_targets()
        for gone in self._servers.keys() - targets:
            self._servers.pop(gone).close()
        for target in targets:
            if target not in self._servers:
                self._servers[target] = await asyncio.start_server(self._accept(target), HOST, 0)
        ready = {one.pod: f"http://{HOST}:{self._number(one)}" for one in targets}
        if ready != self.ready:
            self.ready = ready
            for listener in tuple(self._listeners):
                listener()

    def _number(self, target: _Target) -> int:
        number: int = self._servers[target].sockets[0].getsockname()[1]
        return number

    def _find_targets(self) -> list[_Target]:
        name: str | None = self._port
        if self._port.isdigit():
            service = self._store.find(SERVICES, self._namespace, self._name)
            services = [] if service is None else [msgspec.convert(service, Service)]
            name = service_port_name(services, int(self._port))
        if name is None:
            return []
        slices = [
            msgspec.convert(one, EndpointSlice)
            for one in self._store.list(ENDPOINTSLICES, self._namespace)
            if one["metadata"]["labels"].get(_SERVICE_LABEL) == self._name
        ]
        found = []
        for pod, url in ready_pods(slices, name).items():
            stored = self._find_pod(pod)
            if stored is not None:
                found.append(_Target(pod, stored["metadata"]["uid"], int(url.rpartition(":")[2])))
        return found

    def _find_pod(self, name: str) -> Json | None:
        return self._store.find(PODS, self._namespace, name)

    def _accept(
        self, target: _Target
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(target, (reader, writer)))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        return accept

    async def _serve(self, target: _Target, client: Connection) -> None:
        try:
            pod = self._find_pod(target.pod)
            if pod is None or pod["metadata"]["uid"] != target.uid:
                return
            server = await self._connect(pod, target.port)
            try:
                await _relay(client, server)
            finally:
                server[1].transport.abort()
        except ConnectionError:
            pass  # the client has disconnected, or the process has ended
        finally:
            client[1].transport.abort()


async def _relay(client: Connection, server: Connection) -> None:
    """Forward until either side closes its connection; what the server has sent arrives."""
    upload = asyncio.create_task(_copy(client[0], server[1]))
    download = asyncio.create_task(_copy(server[0], client[1]))
    try:
        await asyncio.wait((upload, download), return_when=asyncio.FIRST_COMPLETED)
        if download.done() and download.exception() is None:
            client[1].close()
            await client[1].wait_closed()
    finally:
        for task in (upload, download):
            task.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PART_BYTES):
        writer.write(data)
        await writer.drain()
