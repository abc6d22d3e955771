"""Servers between a store and Valkey, or in its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

StreamPair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CuttingProxy:
    """Passes all on to a server. While `cut_after` is not empty, a request with these bytes reaches
    the server, but its answer is dropped with the connection."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.cut_after = b""
        self.cuts = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        back = asyncio.create_task(_copy(up_reader, writer))
        try:
            while data := await reader.read(1 << 20):
                if self.cut_after and self.cut_after in data:
                    self.cut_after = b""
                    self.cuts += 1
                    back.cancel()
                    await asyncio.wait([back])
                    up_writer.write(data)
                    await up_writer.drain()
                    await up_reader.read(1)  # it has been done
                    return
                up_writer.write(data)
                await up_writer.drain()
        except OSError:
            return
        finally:
            back.cancel()
            up_writer.close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 20):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def cutting_proxy(target: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


class Address:
    """Leads each new connection to `target`, as the Service of a primary does; those that are open
    stay where they are."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        back = asyncio.create_task(_copy(up_reader, writer))
        try:
            await _copy(reader, up_writer)
        finally:
            back.cancel()
            up_writer.close()
            writer.close()


@contextlib.asynccontextmanager
async def address_of(target: int) -> AsyncIterator[Address]:
    address = Address(target)
    server = await asyncio.start_server(address._serve, "127.0.0.1", 0)
    address.port = server.sockets[0].getsockname()[1]
    try:
        yield address
    finally:
        server.close()


@contextlib.asynccontextmanager
async def answering(
    reply: bytes | bytearray, version: str = "7.2.4", wait: int = 0, more: str = ""
) -> AsyncIterator[int]:
    """The port of a server of a version that gives this one answer to each function, and `wait` to
    WAIT. `more`: further lines of INFO."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:])
                command = []
                for _ in range(count):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    command.append((await reader.readexactly(size + 2))[:-2].upper())
                if command[0] == b"INFO":
                    info = f"redis_version:{version}\r\n{more}".encode()
                    writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
                elif command[0] == b"WAIT":
                    writer.write(b":%d\r\n" % wait)
                else:
                    writer.write(reply if command[0] == b"FCALL" else b"+OK\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
