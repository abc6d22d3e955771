"""A SPDY connection whose peer opens streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from servedeck.demo.api.spdy.frames import (
    CANCEL,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    DataPart,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    OpenedStream,
    Ping,
    ResetStream,
    SpdyError,
)

MAX_STREAMS = 512
"""Open at the same time; further ones are refused. A connection to the Pod needs two."""
_MAX_PARTS = 16
"""Parts of a stream that wait to be read. Then nothing is read from the connection, so that at most
so many parts of its reads are held."""
_GO_AWAY_PROTOCOL_ERROR = 1


class Transport(Protocol):
    """Bytes in both directions."""

    async def receive(self) -> bytes:
        """What has come, as much as there is; b"" at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError."""
        ...


class SpdyStream:
    """A stream that the peer has opened."""

    def __init__(self, connection: SpdyConnection, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.is_reset = False
        """Whether the peer has reset it, or is gone."""
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self._has_arrived, self._has_room = asyncio.Event(), asyncio.Event()
        self._is_ended = False
        self._is_closed = False

    async def read(self) -> bytes:
        """The next bytes; b"" once the peer sends no more."""
        while not self._parts and not self._is_ended:
            self._has_arrived.clear()
            await self._has_arrived.wait()
        self._has_room.set()
        return self._parts.popleft() if self._parts else b""

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError where the peer does not read it."""
        if self.is_reset or self._is_closed:
            raise ConnectionResetError
        await self._connection.send(lambda writer: writer.data(self.number, data))

    async def close(self) -> None:
        """Send and read no more; what was written arrives. Raises ConnectionError."""
        if not self._is_closed:
            self._is_closed = True
            self._discard()
            if not self.is_reset:
                await self._connection.send(
                    lambda writer: writer.data(self.number, b"", is_last=True)
                )

    async def reset(self) -> None:
        """Tell the peer that nothing is sent and read any more. Raises ConnectionError."""
        if not self._is_closed:
            self._is_closed = True
            self._discard()
            if not self.is_reset:
                self.is_reset = True  # the peer need not answer, nor end what it sends
                await self._connection.send(lambda writer: writer.reset(self.number, CANCEL))

    @property
    def is_done(self) -> bool:
        """Whether neither side sends any more."""
        return self.is_reset or (self._is_ended and self._is_closed)

    async def deliver(self, data: bytes) -> None:
        """For the connection: hand on what has come, when there is room."""
        while len(self._parts) >= _MAX_PARTS and not self._is_closed:
            self._has_room.clear()
            await self._has_room.wait()
        if data and not self._is_closed:
            self._parts.append(data)
            self._has_arrived.set()

    def end(self, *, is_reset: bool = False) -> None:
        """For the connection: nothing more comes."""
        self._is_ended = True
        self.is_reset = self.is_reset or is_reset
        self._has_arrived.set()

    def _discard(self) -> None:
        self._parts.clear()
        self._has_room.set()


class SpdyConnection:
    """Reads the frames of a peer, and answers them.

    `accept` is called with each stream that is opened, and says whether it wants it; it must not
    wait.
    """

    def __init__(self, transport: Transport, accept: Callable[[SpdyStream], bool]) -> None:
        self._transport = transport
        self._accept = accept
        self._streams: dict[int, SpdyStream] = {}
        self._last_stream = 0
        self._is_going_away = False
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Until the peer closes the connection, or breaks the protocol. Raises ConnectionError."""
        try:
            while data := await self._transport.receive():
                for frame in self._reader.feed(data):
                    await self._handle(frame)
        except SpdyError:
            await self.send(lambda one: one.go_away(self._last_stream, _GO_AWAY_PROTOCOL_ERROR))
        finally:
            for stream in self._streams.values():
                stream.end(is_reset=True)
            self._streams.clear()

    async def send(self, make: Callable[[FrameWriter], bytes]) -> None:
        """Send a frame, made in the order in which frames are sent. Raises ConnectionError."""
        async with self._lock:
            await self._transport.send(make(self._writer))

    async def _handle(self, frame: Frame) -> None:
        match frame:
            case OpenedStream():
                await self._open(frame)
            case DataPart(stream=number):
                if (stream := self._streams.get(number)) is not None:
                    await stream.deliver(frame.data)
                    if frame.is_last:
                        stream.end()
                        self._forget_done()
            case ResetStream(stream=number):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.end(is_reset=True)
            case Ping(number=number):
                if number % 2:  # the peer's own
                    await self.send(lambda one: one.ping(number))
            case GoAway():
                self._is_going_away = True

    async def _open(self, frame: OpenedStream) -> None:
        number = frame.stream
        if number % 2 == 0 or number <= self._last_stream:
            raise SpdyError(f"stream {number} after stream {self._last_stream}")
        self._last_stream = number
        self._forget_done()
        if self._is_going_away or len(self._streams) >= MAX_STREAMS:
            await self.send(lambda one: one.reset(number, REFUSED_STREAM))
            return
        stream = SpdyStream(self, number, frame.headers)
        if frame.is_last:
            stream.end()
        if not self._accept(stream):
            await self.send(lambda one: one.reset(number, PROTOCOL_ERROR))
            return
        self._streams[number] = stream
        # SYN_REPLY precedes the stream's data: what writes them has not run since `accept`.
        await self.send(lambda one: one.reply(number))

    def _forget_done(self) -> None:
        for number in [one for one, stream in self._streams.items() if stream.is_done]:
            del self._streams[number]
