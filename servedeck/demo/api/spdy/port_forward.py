"""The port-forwards of a SPDY connection: a stream of data and one of errors for each connection
to the Pod. Source: kubernetes
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/httpstream.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from servedeck.demo.api.spdy.connection import SpdyConnection, SpdyStream, Transport

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[int], Awaitable[Connection]]
"""Connects to a port of the Pod. Raises ConnectionRefusedError, whose text the client gets."""

PROTOCOL = "portforward.k8s.io"
_DATA, _ERROR = "data", "error"
_PAIR_SECONDS = 30.0
"""From the first stream of a connection to the second; see DefaultStreamCreationTimeout."""
_CHUNK_BYTES = 32 << 10


async def serve(transport: Transport, connect: Connect) -> None:
    """Forward until the client closes the connection. Raises ConnectionError."""
    forwards = _Forwards(connect)
    try:
        await SpdyConnection(transport, forwards.accept).run()
    finally:
        await forwards.close()


class _Pair:
    """The two streams of a connection to the Pod."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: dict[str, SpdyStream] = {}
        self.is_complete = asyncio.Event()


class _Forwards:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._pairs: dict[str, _Pair] = {}
        """Those without their second stream, by their requests."""
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, stream: SpdyStream) -> bool:
        kind, port = stream.headers.get("streamtype", ""), _parse_port(stream.headers)
        if kind not in (_DATA, _ERROR) or not port:
            return False
        # Clients before 1.2 send no id, but the stream of errors right before that of data.
        own = stream.number if kind == _ERROR else stream.number - 2
        request = stream.headers.get("requestid") or f"stream {own}"
        pair = self._pairs.get(request)
        if pair is None:
            pair = self._pairs[request] = _Pair(port)
            task = asyncio.create_task(self._forward(request, pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif kind in pair.streams or port != pair.port:
            return False
        pair.streams[kind] = stream
        if len(pair.streams) == 2:
            del self._pairs[request]
            pair.is_complete.set()
        return True

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, request: str, pair: _Pair) -> None:
        try:
            async with asyncio.timeout(_PAIR_SECONDS):
                await pair.is_complete.wait()
        except TimeoutError:
            self._pairs.pop(request, None)
            with contextlib.suppress(ConnectionError):
                for stream in pair.streams.values():
                    await stream.reset()
            return
        data, errors = pair.streams[_DATA], pair.streams[_ERROR]
        with contextlib.suppress(ConnectionError):  # the client has disconnected
            try:
                reader, writer = await self._connect(pair.port)
            except ConnectionRefusedError as error:
                await errors.write(str(error).encode())
            else:
                await _relay(data, reader, writer)
            await data.close()
            await errors.close()


async def _relay(
    stream: SpdyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Until the Pod closes the connection, or the client resets the stream: one that sends no more
    may still read."""

    async def upload() -> None:
        while data := await stream.read():
            writer.write(data)
            await writer.drain()
        if stream.is_reset:
            writer.transport.abort()
        elif writer.can_write_eof():
            writer.write_eof()

    async def download() -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await stream.write(data)

    sending, receiving = asyncio.create_task(upload()), asyncio.create_task(download())
    try:
        await asyncio.wait((receiving,))
    finally:
        writer.transport.abort()
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


def _parse_port(headers: Mapping[str, str]) -> int:
    """0 if there is none."""
    text = headers.get("port", "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    return number if number < 65536 else 0
