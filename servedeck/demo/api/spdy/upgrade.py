"""From a request to the bytes of SPDY: over HTTP, or as the messages of a WebSocket.

Sources: kubernetes staging/src/k8s.io/apimachinery/pkg/util/httpstream/spdy/upgrade.go,
staging/src/k8s.io/apiserver/pkg/util/proxy/streamtunnel.go.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

SPDY = "SPDY/3.1"
_READ_BYTES = 64 << 10


class WebSocketTransport:
    """Bytes as the binary messages of a WebSocket."""

    def __init__(self, websocket: web.WebSocketResponse) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes:
        """See Transport. A message that is not binary ends the connection."""
        while True:
            message = await self._websocket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def send(self, data: bytes) -> None:
        """See Transport."""
        await self._websocket.send_bytes(data)


class _TakenProtocol(asyncio.StreamReaderProtocol):
    """Reads a connection that was an HTTP server's, which still hears of its end."""

    def __init__(self, reader: asyncio.StreamReader, previous: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._previous = previous

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._previous.connection_lost(exc)


class TakenConnection:
    """The connection of a request, after the answer that it speaks SPDY from now on."""

    def __init__(self, transport: asyncio.Transport, protocol: str) -> None:
        """`protocol` is what is spoken on it. The client sends nothing before the answer."""
        self._reader = asyncio.StreamReader(limit=_READ_BYTES)
        taken = _TakenProtocol(self._reader, transport.get_protocol())
        taken.connection_made(transport)
        transport.set_protocol(taken)
        loop = asyncio.get_running_loop()
        self._writer = asyncio.StreamWriter(transport, taken, self._reader, loop)
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            f"Upgrade: {SPDY}",
            "Connection: Upgrade",
            f"X-Stream-Protocol-Version: {protocol}",
        )
        self._writer.write("".join(f"{one}\r\n" for one in (*lines, "")).encode())

    async def receive(self) -> bytes:
        """See Transport."""
        return await self._reader.read(_READ_BYTES)

    async def send(self, data: bytes) -> None:
        """See Transport."""
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()
