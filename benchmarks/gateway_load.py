"""A load of asynchronous requests on a gateway.

Requests are due at a fixed rate, whatever the answers: the time of an answer counts from the moment
when its request was due, so that a gateway that stops to answer is seen as it is by its callers.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import msgspec

from servedeck.async_queue.tasks import Accepted

BODY_BYTES = 1000
_LENGTH = b"\r\ncontent-length:"
_DRAIN_SECONDS = 30.0
"""For which the last answers are waited for."""


def make_body(size: int = BODY_BYTES) -> bytes:
    """The request of a chat, of so many bytes."""
    frame = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}'
    return frame % (b"x" * max(size - len(frame) + 2, 0))


def make_request(
    body: bytes, *, path: str = "/v1/chat/completions", is_async: bool = True
) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        "Content-Type: application/json",
        "Authorization: Bearer load",
        f"Content-Length: {len(body)}",
    ]
    if is_async:
        lines.append("X-Async: true")
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def send(self, due: float, request: bytes) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.lower().find(_LENGTH, 0, end)
        length = int(buffer[at + len(_LENGTH) : buffer.index(b"\r", at + 1)]) if at >= 0 else 0
        end += 4
        if len(buffer) < end + length:
            return
        self._buffer = buffer[end + length :]
        due, self.due = self.due, None
        if due is not None:
            self._load.answered(self, due, int(buffer[9:12]), buffer[end : end + length])

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self)


class Load:
    """Sends a request whenever one is due, on at most so many connections, which are opened again
    when they are lost."""

    def __init__(
        self,
        port: int,
        request: bytes,
        *,
        connections: int = 128,
        on_accept: Callable[[str], None] | None = None,
    ) -> None:
        """`on_accept` is called with the id of each request that was accepted."""
        self.seconds: list[float] = []
        """From when an answered request was due to its answer."""
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        """Requests whose connection was lost before the answer."""
        self.port = port
        """Of new connections: a gateway that is started again may have another one."""
        self._request = request
        self._limit, self._on_accept = connections, on_accept
        self._waiting: deque[float] = deque()
        self._free: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def run(self, rate: float, seconds: float) -> float:
        """At so many requests a second for so long; returns how long it took until all were
        answered."""
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            while sent < passed * rate:
                self._waiting.append(began + sent / rate)
                sent += 1
            await self._send()
            await asyncio.sleep(0.001)
        await self._drain()
        return time.perf_counter() - began

    async def run_closed(self, seconds: float) -> float:
        """Each connection sends again as soon as it was answered; returns requests a second."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            missing = self._limit - len(self._waiting)
            self._waiting.extend([time.perf_counter()] * missing)
            await self._send()
            await asyncio.sleep(0.001)
        self._waiting.clear()
        await self._drain()
        return sum(self.statuses.values()) / (time.perf_counter() - began)

    def close(self) -> None:
        for one in tuple(self._open):
            one.transport.abort()

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3 if ordered else 0.0

    def answered(self, connection: _Connection, due: float, status: int, body: bytes) -> None:
        self.seconds.append(time.perf_counter() - due)
        self.statuses[status] += 1
        if status == 202 and self._on_accept is not None:
            self._on_accept(msgspec.json.decode(body, type=Accepted).id)
        if self._waiting:
            connection.send(self._waiting.popleft(), self._request)
        else:
            self._free.append(connection)

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection.due is not None:
            self.broken += 1
        if connection in self._free:
            self._free.remove(connection)

    async def _send(self) -> None:
        while self._waiting and self._free:
            self._free.pop().send(self._waiting.popleft(), self._request)
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._open) < self._limit:
            try:
                transport, made = await loop.create_connection(
                    lambda: _Connection(self), "127.0.0.1", self.port
                )
                made.transport = transport  # uvloop calls connection_made a moment later
            except OSError:
                return  # it is being started again
            self._open.add(made)
            if self._waiting:
                made.send(self._waiting.popleft(), self._request)
            else:
                self._free.append(made)

    async def _drain(self) -> None:
        end = time.perf_counter() + _DRAIN_SECONDS
        while time.perf_counter() < end:
            await self._send()
            if not self._waiting and all(one.due is None for one in self._open):
                return
            await asyncio.sleep(0.005)
