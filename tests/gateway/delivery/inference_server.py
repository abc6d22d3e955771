"""A server whose behaviour a test scripts, and that remembers what it was asked.

Scripts that need no HTTP library get the bytes of the connection, so that they can answer what no
library would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

RawScript = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    line: bytes
    headers: list[tuple[str, str]]
    body: bytes
    was_aborted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed the connection before it was answered."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class InferenceServer:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self.scripts: list[RawScript] = []
        """One for each request; the last one serves all further ones."""
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                await script(request, reader, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = raw.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
    request = Request(lines[0].encode("latin-1"), headers, b"")  # type: ignore[arg-type]
    if (request.header("transfer-encoding") or "").lower() == "chunked":
        while size := int(await reader.readline(), 16):
            request.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        request.body = await reader.readexactly(int(request.header("content-length") or 0))
    return request


@asynccontextmanager
async def serve(*scripts: RawScript) -> AsyncIterator[InferenceServer]:
    server = InferenceServer()
    server.scripts = list(scripts)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, limit=1 << 20)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def answers(
    status: int = 200, body: bytes = b"{}", *headers: str, length: int | None = None
) -> RawScript:
    """`length`: a Content-Length that is wrong; the connection is closed after the body then."""

    async def script(
        _request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = [
            f"HTTP/1.1 {status} Something",
            f"Content-Length: {len(body) if length is None else length}",
            *headers,
        ]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        if length is not None:
            writer.close()

    return script


def sends(raw: bytes) -> RawScript:
    """These bytes, then the end of the connection."""

    async def script(
        _request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return script


def hangs(start: bytes = b"") -> RawScript:
    """Sends `start`, then nothing until the client closes the connection."""

    async def script(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(start)
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        request.was_aborted.set()
        writer.close()

    return script


def waits_for(event: asyncio.Event, then: RawScript) -> RawScript:
    async def script(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await event.wait()
        await then(request, reader, writer)

    return script


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
