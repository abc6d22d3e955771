"""One connection to a port of a Pod, through the API server and the kubelet.

Protocol: `v4.channel.k8s.io` over a WebSocket. Each message begins with the number of its channel:
0 has the data of the port, 1 an error of the kubelet as text. The first message of each channel is
the number of the port, two bytes, little endian. Source: kubernetes
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go.

The protocol has no message for the end of the data in one direction. For one that only the client
ends, container runtimes close the connection one second later anyway (containerd,
internal/cri/server/sandbox_portforward_linux.go).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError, InvalidResponseError, clean_message
from servedeck.cluster.resources import POD

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection
    from servedeck.cluster.http.websocket import WebSocket

_PROTOCOLS = ("v4.channel.k8s.io",)
"""Later ones tunnel SPDY; all servers know this one."""
_DATA, _ERROR = 0, 1
_DATA_PREFIX = bytes((_DATA,))
_NOT_CONNECTED_TEXTS = (
    *("connection refused", "dial tcp", "failed to find sandbox", "network namespace for sandbox"),
    *("not running", "no such container"),
)
"""What container runtimes say if they have not reached the port (containerd, the files
sandbox_portforward*.go; CRI-O, internal/oci; socat)."""


class PodConnectionError(ClusterError):
    """The kubelet could not connect to the port, or lost the connection to it."""

    def __init__(self, port: int, text: str) -> None:
        plain = text.casefold()
        self.was_connected = not any(one in plain for one in _NOT_CONNECTED_TEXTS)
        """False if no process can have got any of the bytes."""
        if "connection refused" in plain:
            message = f"Nothing listens on port {port} of the Pod (connection refused)."
        else:
            message = f"The connection to port {port} of the Pod was lost: {_reason(text)}."
        super().__init__(message)


class PodConnection:
    """The bytes of one connection to a port."""

    def __init__(self, websocket: WebSocket, port: int) -> None:
        self._websocket = websocket
        self._port = port
        self._is_announced = {_DATA: False, _ERROR: False}
        """Whether the first message of the channel has arrived."""

    async def read(self) -> bytes:
        """Bytes as they arrive; b"" at the end. Raises PodConnectionError, and other ClusterErrors
        if the connection to the API server is lost."""
        while (message := await self._websocket.receive()) is not None:
            channel, payload = (message[0], message[1:]) if message else (_DATA, b"")
            if channel not in self._is_announced or not payload:
                continue
            if not self._is_announced[channel]:
                payload = self._check_port(channel, payload)
            if channel == _ERROR and payload:
                raise PodConnectionError(self._port, payload.decode("utf-8", "replace"))
            if payload:
                return payload
        return b""

    def _check_port(self, channel: int, payload: bytes) -> bytes:
        """What follows the number of the port."""
        self._is_announced[channel] = True
        if payload[:2] != self._port.to_bytes(2, "little"):
            raise InvalidResponseError("The server's port-forward is one of another port.")
        return payload[2:]

    async def write(self, data: bytes) -> None:
        """Send bytes; returns once there is room for more. Raises ClusterError."""
        await self._websocket.send(_DATA_PREFIX + data)


@contextlib.asynccontextmanager
async def connect_to_pod(
    connection: Connection, namespace: str, pod: str, port: int
) -> AsyncIterator[PodConnection]:
    """A connection to a port of a Pod, closed at the end. Raises ClusterError if the API server or
    the kubelet refuses it; that nothing listens on the port is known only when it is read."""
    path = f"{POD.object_path(namespace, pod)}/portforward"
    async with connection.websocket(path, [("ports", str(port))], _PROTOCOLS) as websocket:
        yield PodConnection(websocket, port)


def _reason(text: str) -> str:
    """The last part of the kubelet's message, which begins with "error forwarding port 8000 to pod
    3bdbf28f96…, uid : failed to execute portforward in network namespace …"."""
    return clean_message(text).rpartition(": ")[2].rstrip(".") or "no reason given"
