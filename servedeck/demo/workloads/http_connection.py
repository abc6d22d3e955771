"""HTTP on one connection to a Pod: what a process reads and writes on its port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from servedeck.demo.api.kubelet_api import ProxyRequest, ProxyResponse

_REPLACED_HEADERS = ("content-length", "transfer-encoding", "connection")
"""Headers that aiohttp writes itself."""


async def connect(
    respond: Callable[[ProxyRequest], Awaitable[ProxyResponse]],
    wait_for_end: Callable[[], Awaitable[None]],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The client's end of a connection whose requests `respond` answers, one after the other. It is
    reset once `wait_for_end` returns, as when a process ends."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await _respond(request, respond)

    server = web.Server(handle, handler_cancellation=True, access_log=None)
    loop = asyncio.get_running_loop()
    theirs, ours = socket.socketpair()
    for one in (theirs, ours):
        one.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(server, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    reset_at_end(transport, wait_for_end)
    return reader, writer


def reset_at_end(
    transport: asyncio.WriteTransport, wait_for_end: Callable[[], Awaitable[None]]
) -> None:
    """Reset the connection once `wait_for_end` returns."""
    watch = asyncio.create_task(_end_with(wait_for_end, transport))
    _WATCHES.add(watch)
    watch.add_done_callback(_WATCHES.discard)


_WATCHES: set[asyncio.Task[None]] = set()
"""Tasks that are not forgotten while they run."""


async def _end_with(
    wait_for_end: Callable[[], Awaitable[None]], transport: asyncio.WriteTransport
) -> None:
    """Reset the connection when the process ends; it may be closed before that."""
    end = asyncio.ensure_future(wait_for_end())
    try:
        while not transport.is_closing() and not end.done():
            await asyncio.wait((end,), timeout=1.0)
    finally:
        end.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await end
        transport.abort()


async def _respond(
    request: web.BaseRequest, respond: Callable[[ProxyRequest], Awaitable[ProxyResponse]]
) -> web.StreamResponse:
    asked = ProxyRequest(
        request.method, request.raw_path, dict(request.headers), await request.read()
    )
    try:
        answer = await respond(asked)
    except ConnectionRefusedError as error:
        if request.transport is not None:  # the process has ended meanwhile
            request.transport.abort()
        raise ConnectionResetError from error
    headers = {k: v for k, v in answer.headers.items() if k.lower() not in _REPLACED_HEADERS}
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for chunk in answer.body:
        await response.write(chunk)
    return response
