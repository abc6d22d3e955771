"""A SOCKS5 proxy (RFC 1928, RFC 1929) that connects to one address whatever is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_ADDRESS_LENGTHS = {1: 4, 4: 16}


class SocksProxy:
    """Runs while `serve` does. `user`: name and password that it requires; None for no login."""

    def __init__(self, target_port: int, user: tuple[str, str] | None = None) -> None:
        self.target_port = target_port
        self.user = user
        self.reply = 0
        """What it says of a connection; 0 for success (RFC 1928, section 6)."""
        self.asked: list[str] = []
        """Hosts with their ports that it was asked to connect to, as they were written."""
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[SocksProxy]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a stream of asyncio reports a task that was canceled as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 0 if self.user is None else 2
        if method not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, method]))
        if self.user is not None and not await self._log_in(reader, writer):
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        else:
            address = await reader.readexactly(_ADDRESS_LENGTHS[kind])
            host = ".".join(map(str, address))
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{host}:{port}")
        writer.write(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if self.reply:
            return
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, other_writer))
                group.create_task(_pass_on(other_reader, writer))
        finally:
            other_writer.close()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, length = await reader.readexactly(2)
        name = (await reader.readexactly(length)).decode()
        (length,) = await reader.readexactly(1)
        is_right = (name, (await reader.readexactly(length)).decode()) == self.user
        writer.write(bytes([1, not is_right]))
        return is_right


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
