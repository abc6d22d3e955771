"""The API server's side of a WebSocket with channels, for the tests of its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from tests.cluster.fake_api_server import FaultHandler

PROTOCOL = "v4.channel.k8s.io"
Serve = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


def websocket_handler(serve: Serve, *, protocol: str = PROTOCOL) -> FaultHandler:
    """A route that opens a WebSocket, and closes it when `serve` returns."""

    async def handler(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(protocols=(protocol,), compress=False)
        await websocket.prepare(request)
        try:
            await serve(request, websocket)
            await websocket.close()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has disconnected
        return websocket

    return handler


async def echo_port(request: web.Request, websocket: web.WebSocketResponse) -> None:
    """A port whose process sends back what it gets, until it gets "quit"; "fail" is an error of the
    kubelet."""
    number = int(request.query["ports"]).to_bytes(2, "little")
    await websocket.send_bytes(b"\x00" + number)
    await websocket.send_bytes(b"\x01" + number)
    async for message in websocket:
        if message.type is not WSMsgType.BINARY or message.data[1:] == b"quit":
            return
        if message.data[1:] == b"fail":
            await websocket.send_bytes(b"\x01error forwarding port: read: connection reset by peer")
            return
        await websocket.send_bytes(message.data)
