"""Proxies between servedeck and the API server that inject network and API errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web


class TcpProxy:
    """Forwards TCP, so TLS passes through unchanged. `set_stalled` stops forwarding and keeps the
    connections open, as a router that lost its table does; `reset_connections` resets them."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._sent: dict[asyncio.StreamWriter, int] = {}
        """Bytes sent to each client."""
        self._server: asyncio.Server | None = None
        self.connections = 0
        """Connections accepted so far."""

    @property
    def url(self) -> str:
        assert self._server
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[TcpProxy]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self._flowing.set()
            self.reset_connections()

    def set_stalled(self, stalled: bool = True) -> None:
        if stalled:
            self._flowing.clear()
        else:
            self._flowing.set()

    def reset_connections(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def reset_busiest(self) -> bool:
        """Reset the connection of the client that has received most since it connected; false if
        there is none."""
        if not self._sent:
            return False
        max(self._sent, key=self._sent.__getitem__).transport.abort()
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            onward_reader, onward_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(onward_writer)
        self._sent[writer] = 0
        try:
            await asyncio.gather(
                self._pump(reader, onward_writer), self._pump(onward_reader, writer)
            )
        finally:
            del self._sent[writer]
            for each in (writer, onward_writer):
                self._writers.discard(each)
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                if writer in self._sent:
                    self._sent[writer] += len(data)
                await writer.drain()
        writer.close()


class TcpProxyThread:
    """A TcpProxy with an event loop on a thread of its own; use as a context manager."""

    def __init__(self, target: str) -> None:
        self._proxy = TcpProxy(target)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._proxy.serve():
            self._started.set()
            await self._stopped.wait()

    def _call(self, function: Callable[[], object]) -> None:
        assert self._loop
        self._loop.call_soon_threadsafe(function)

    @property
    def url(self) -> str:
        return self._proxy.url

    def __enter__(self) -> TcpProxyThread:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stopped.set)
        self._thread.join()

    def reset_busiest(self) -> None:
        """As of `TcpProxy`, soon."""
        self._call(self._proxy.reset_busiest)


FaultRule = Callable[[web.Request], "web.Response | None"]
"""Returns a response to a request, or None to forward it."""


class FaultProxy:
    """Serves HTTP on loopback and forwards requests to the API server, streams included; `rule`
    decides which get an error response instead."""

    def __init__(self, target: str, token: str, tls: ssl.SSLContext) -> None:
        self._target = target
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls = tls
        self.rule: FaultRule = lambda request: None
        self.fault_count = 0
        """Number of requests handled by `rule` so far."""
        self.url = ""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[FaultProxy]:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle_request)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        )
        try:
            yield self
        finally:
            await self._session.close()
            await runner.cleanup()

    async def _handle_request(self, request: web.Request) -> web.StreamResponse:
        fault = self.rule(request)
        if fault is not None:
            self.fault_count += 1
            return fault
        skipped = {"host", "authorization", "content-length"}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in skipped}
        async with self._session.request(
            request.method,
            self._target + request.raw_path,
            headers=headers | self._headers,
            data=await request.read(),
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name in ("Content-Type", "Content-Encoding", "Retry-After"):
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def status_response(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """An error response with a Status object of the API. Header names are given with
    underscores."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.Response(
        status=code,
        text=json.dumps(body),
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
