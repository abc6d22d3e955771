"""Serving an ASGI application by HTTP on a socket that is bound already."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from servedeck.gateway.asgi import App
from servedeck.gateway.http_protocol import LimitedProtocol, quiet_uvicorn

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep idle connections (nginx and most load balancers: 60 s), so that it is
the proxy that closes them; else it may send a request on one that is just being closed."""
GRACE_SECONDS = 5.0

_ABORT_SECONDS = 5.0

_log = logging.getLogger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket, for `serve`; port 0 chooses a free one. Raises OSError."""
    addresses = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = addresses[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def bound_port(sock: socket.socket) -> int:
    name: Any = sock.getsockname()
    port: int = name[1]
    return port


@asynccontextmanager
async def serve(
    app: App, sock: socket.socket, *, grace: float = GRACE_SECONDS
) -> AsyncIterator[int]:
    """Serve on a bound socket, which is closed at the end; gives its port. Connections are accepted
    when it enters. At its end no new ones are, running requests have `grace` seconds to end, then
    their connections are closed. The application gets the lifespan events of ASGI if it knows
    them."""
    quiet_uvicorn()
    port = bound_port(sock)
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="auto",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # what a client says of its address is not believed
        server_header=False,
        date_header=False,  # a response that is passed through has one
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    server = uvicorn.Server(config)
    # `Server.serve` would take over the signals of the process, and run a timer for headers that
    # are not sent.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[sock])
    try:
        yield port
    finally:
        await _shut_down(server, sock, grace)


async def _shut_down(server: uvicorn.Server, sock: socket.socket, grace: float) -> None:
    shutdown = asyncio.create_task(server.shutdown(sockets=[sock]))
    try:
        await asyncio.wait({shutdown}, timeout=grace)
        if shutdown.done():
            return
        _log.info("Requests that have not ended are closed.")
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()
        await asyncio.wait({shutdown}, timeout=_ABORT_SECONDS)
    finally:
        if not shutdown.done():
            server.force_exit = True
            for task in tuple(server.server_state.tasks):
                task.cancel()
        await shutdown
