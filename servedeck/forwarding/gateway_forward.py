"""A local port whose connections go to a Pod of a serving's async gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.port_forward import connect_to_pod
from servedeck.cluster.resources import POD
from servedeck.fleet.views import NamespacedName
from servedeck.forwarding.ports import ForwardPorts, open_sockets
from servedeck.forwarding.relay import ClientConnection, Traffic
from servedeck.serving.conventions import ASYNC_LABEL
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings


class GatewayForward:
    """Forwards a local port to the async gateway of the serving `key` until it is closed. A gateway
    is no serving, which the session would watch: its Pods are listed for each connection.
    `on_error` is called with the reason of each connection that failed."""

    def __init__(
        self,
        connection: Connection,
        key: NamespacedName,
        remote_port: int,
        *,
        on_error: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._connection = connection
        self._key = key
        self._remote_port = remote_port
        self._on_error = on_error
        self._traffic = Traffic()
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self, address: str, local_port: int | None) -> str:
        """Listen; returns where, "127.0.0.1:8080". `local_port` as in `ForwardPorts`. Raises
        ClusterError, also if there is no gateway."""
        await self._find_pods()
        ports = ForwardPorts(local_port, self._remote_port)
        sockets = await asyncio.to_thread(open_sockets, address, ports)
        number = sockets[0].getsockname()[1]
        self._servers = [await asyncio.start_server(self._accept, sock=one) for one in sockets]
        return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"

    async def close(self) -> None:
        """Stop to listen, and end all connections."""
        for server in self._servers:
            server.close()
        handlers = list(self._handlers)
        for one in handlers:
            one.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._handle(ClientConnection(reader, writer, self._traffic)))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _handle(self, client: ClientConnection) -> None:
        try:
            await self._forward(client)
            await client.finish()
        except ClusterError as error:
            client.reset()
            self._on_error(str(error))
        except BaseException:
            client.reset()
            raise

    async def _forward(self, client: ClientConnection) -> None:
        pods = [one for one in await self._find_pods() if _is_ready(one)]
        if not pods:
            raise ClusterError(f"No Pod of the async gateway of {self._key} is Ready.")
        for number, pod in enumerate(pods, 1):
            name = as_str(as_mapping(pod, "metadata").get("name"))
            is_open = False
            try:
                async with connect_to_pod(
                    self._connection, self._key.namespace, name, self._remote_port
                ) as opened:
                    is_open = True
                    await client.relay(opened)
                return
            except ClusterError as error:
                if number == len(pods) or not (is_open and client.can_retry(error)):
                    raise

    async def _find_pods(self) -> list[JsonObject]:
        path = POD.collection_path(self._key.namespace)
        params = [("labelSelector", f"{ASYNC_LABEL}={self._key.name}")]
        pods = list(mappings((await self._connection.get_json(path, params)).get("items")))
        if not pods:
            raise ClusterError(f"{self._key} has no async gateway with Pods.")
        return pods


def _is_ready(pod: JsonObject) -> bool:
    if as_mapping(pod, "metadata").get("deletionTimestamp"):
        return False
    conditions = mappings(as_mapping(pod, "status").get("conditions"))
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
