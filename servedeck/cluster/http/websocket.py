"""A WebSocket to the API server, kept alive and watched for silence."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import ClusterError, ConnectionLostError, ReadTimeoutError
from servedeck.cluster.http.transport_errors import to_cluster_error

if TYPE_CHECKING:
    import aiohttp

PING_SECONDS = 20.0
"""Interval of pings: load balancers close a connection that is idle for 50 s (HAProxy's example) to
350 s (AWS NLB), and a forwarded connection may wait minutes for an answer."""
SILENCE_SECONDS = 60.0
"""Silence after which the connection counts as lost, as in client-go
(tools/remotecommand/websocket.go, pingReadDeadline)."""
_CLOSE_SECONDS = 2.0
_REGULAR_CLOSE_CODES = (0, 1000, 1001)
"""A close frame without a code, normal closure, and going away (RFC 6455, 7.4.1)."""


class WebSocket:
    """Messages in both directions. Both wait while the other side does not read, so that no more
    than some hundred kilobytes are in memory. Every failure is a ClusterError."""

    def __init__(
        self, response: aiohttp.ClientWebSocketResponse, server: str, context: str
    ) -> None:
        self._response = response
        self._server = server
        self._context = context
        self._last_activity = 0.0
        """When something was received, or a reader began to wait for it."""
        self._is_waiting = False
        self._is_silent = False
        self._pings = asyncio.create_task(self._ping(), name="servedeck websocket pings")

    async def receive(self) -> bytes | None:
        """The next message; None after the server has closed the connection regularly. Raises
        ConnectionLostError and ReadTimeoutError."""
        from aiohttp import WSMsgType

        while True:
            self._note_activity()
            self._is_waiting = True
            try:
                message = await self._response.receive()
            finally:
                self._is_waiting = False
            match message.type:
                case WSMsgType.BINARY:
                    return bytes(message.data)
                case WSMsgType.TEXT:
                    return str(message.data).encode()
                case WSMsgType.PING:
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    pass
                case WSMsgType.ERROR:
                    raise self._to_error(message.data) from message.data
                case WSMsgType.CLOSE if message.data in _REGULAR_CLOSE_CODES:
                    return None
                case _:
                    raise self._lost()

    def _lost(self) -> ClusterError:
        if self._is_silent:
            return ReadTimeoutError(f"{self._server} sent nothing for {SILENCE_SECONDS:.0f} s.")
        return ConnectionLostError(f"The connection to {self._server} was lost.")

    async def send(self, message: bytes) -> None:
        """Send one message; returns once there is room for the next one."""
        try:
            await self._response.send_bytes(message)
        except Exception as error:
            raise self._to_error(error) from error

    async def close(self) -> None:
        """Close the connection; what was not received is lost."""
        self._pings.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._response.close()

    async def _pong(self, data: bytes) -> None:
        try:
            await self._response.pong(data)
        except Exception as error:
            raise self._to_error(error) from error

    async def _ping(self) -> None:
        """Send pings, and close a connection on which nothing arrives. A reader that does not wait
        for the server leaves what arrives unread: that is no silence."""
        import aiohttp

        while not self._response.closed:
            await asyncio.sleep(PING_SECONDS)
            silent = asyncio.get_running_loop().time() - self._last_activity
            if self._is_waiting and silent > SILENCE_SECONDS:
                self._is_silent = True
                await self._response.close()
                return
            with contextlib.suppress(aiohttp.ClientError, OSError):  # the reader reports it
                await self._response.ping()

    def _note_activity(self) -> None:
        self._last_activity = asyncio.get_running_loop().time()

    def _to_error(self, error: Exception) -> ClusterError:
        return to_cluster_error(error, self._server, self._context)
