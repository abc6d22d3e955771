"""The frames of SPDY/3.1, without input and output.

A data frame is handed on in the parts in which it arrives, so that none is held in memory as a
whole; a control frame is, and so its size is limited. Frames that a server of port-forwards has no
use for are read and left out. There is no flow control: spdystream, which is at both ends in
Kubernetes, sends no WINDOW_UPDATE and heeds none; TCP holds a sender back.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from servedeck.demo.api.spdy.dictionary import HEADER_DICTIONARY

VERSION = 3
MAX_CONTROL_BYTES = 16 << 10
"""Length of a control frame; those of kubectl have less than 100 bytes."""
MAX_HEADER_BYTES = 64 << 10
"""Length of the headers of a frame when they are decompressed."""
MAX_DATA_BYTES = (1 << 24) - 1
"""Length of a data frame, which has three bytes."""

FLAG_FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5
"""Statuses of RST_STREAM."""

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
_CONTROL = 1 << 31
_PREFIX_BYTES = 8
"""Of each frame: type or stream, flags and length."""


class SpdyError(Exception):
    """What was received is not SPDY/3.1, or more than is allowed."""


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """SYN_STREAM: the peer has opened a stream, and sends no more on it if `is_last`."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class DataPart:
    """A part of a DATA frame; nothing comes on the stream after it if `is_last`."""

    stream: int
    data: bytes
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class ResetStream:
    """RST_STREAM: the peer neither sends nor reads on the stream any more."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """PING, which its receiver sends back."""

    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """GOAWAY: the peer opens no more streams."""


Frame = OpenedStream | DataPart | ResetStream | Ping | GoAway


class FrameReader:
    """Frames from the bytes of a connection, which may be cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream = 0
        self._is_last = False
        self._missing = 0
        """Bytes of the current DATA frame that have not come yet."""
        self._decompressor = zlib.decompressobj(zdict=HEADER_DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames, and parts of frames, that are complete with these bytes. Raises SpdyError,
        after which the connection cannot be read on."""
        self._buffer += data
        while True:
            if self._missing:
                if not self._buffer:
                    return
                yield self._take_part()
            elif len(self._buffer) < _PREFIX_BYTES:
                return
            elif self._buffer[0] & 0x80:
                length = int.from_bytes(self._buffer[5:8], "big")
                if length > MAX_CONTROL_BYTES:
                    raise SpdyError(f"a control frame of {length} bytes")
                if len(self._buffer) < _PREFIX_BYTES + length:
                    return
                if (frame := self._take_control(length)) is not None:
                    yield frame
            else:
                yield from self._begin_data()

    def _begin_data(self) -> Iterator[Frame]:
        stream, rest = self._number(0), self._number(4)
        del self._buffer[:_PREFIX_BYTES]
        if not stream:
            raise SpdyError("data of stream 0")
        self._stream, self._is_last = stream, bool(rest >> 24 & FLAG_FIN)
        self._missing = rest & MAX_DATA_BYTES
        if not self._missing and self._is_last:
            yield DataPart(stream, b"", is_last=True)

    def _take_part(self) -> DataPart:
        part = bytes(self._buffer[: self._missing])
        del self._buffer[: len(part)]
        self._missing -= len(part)
        return DataPart(self._stream, part, self._is_last and not self._missing)

    def _take_control(self, length: int) -> Frame | None:
        """The control frame at the beginning; None for one that is left out."""
        version, kind = self._number(0) >> 16 & 0x7FFF, self._number(0) & 0xFFFF
        flags, body = self._buffer[4], bytes(self._buffer[_PREFIX_BYTES : _PREFIX_BYTES + length])
        del self._buffer[: _PREFIX_BYTES + length]
        if version != VERSION:
            raise SpdyError(f"version {version}")
        if kind == _SYN_STREAM:
            headers = self._read_headers(body, 10)
            return OpenedStream(_stream_of(body), headers, bool(flags & FLAG_FIN))
        if kind in (_SYN_REPLY, _HEADERS):
            self._read_headers(body, 4)  # what is compressed later refers to these
            return None
        if kind == _RST_STREAM:
            if len(body) != 8:
                raise SpdyError("RST_STREAM of another length")
            return ResetStream(_stream_of(body), int.from_bytes(body[4:], "big"))
        if kind == _PING:
            if len(body) != 4:
                raise SpdyError("PING of another length")
            return Ping(int.from_bytes(body, "big"))
        return GoAway() if kind == _GOAWAY else None

    def _number(self, at: int) -> int:
        return int.from_bytes(self._buffer[at : at + 4], "big")

    def _read_headers(self, body: bytes, at: int) -> dict[str, str]:
        if len(body) < at:
            raise SpdyError("a frame that is too short")
        try:
            block = self._decompressor.decompress(body[at:], MAX_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError(f"headers that cannot be decompressed: {error}") from error
        if self._decompressor.unconsumed_tail or self._decompressor.eof:
            raise SpdyError("headers that are too long, or end the compression")
        return _parse_headers(block)


class FrameWriter:
    """Frames as bytes. Their order is that in which they are made."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=HEADER_DICTIONARY)

    def open_stream(
        self, stream: int, headers: Mapping[str, str], *, is_last: bool = False
    ) -> bytes:
        """SYN_STREAM, of the highest priority."""
        body = stream.to_bytes(4, "big") + bytes(6) + self._compress(headers)
        return _control(_SYN_STREAM, body, FLAG_FIN if is_last else 0)

    def reply(self, stream: int) -> bytes:
        """SYN_REPLY without headers."""
        return _control(_SYN_REPLY, stream.to_bytes(4, "big") + self._compress({}))

    def data(self, stream: int, data: bytes, *, is_last: bool = False) -> bytes:
        """DATA with at most MAX_DATA_BYTES."""
        flags = (FLAG_FIN if is_last else 0) << 24
        return stream.to_bytes(4, "big") + (flags | len(data)).to_bytes(4, "big") + data

    def reset(self, stream: int, status: int) -> bytes:
        """RST_STREAM."""
        return _control(_RST_STREAM, stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def ping(self, number: int) -> bytes:
        """PING."""
        return _control(_PING, number.to_bytes(4, "big"))

    def go_away(self, last_stream: int, status: int) -> bytes:
        """GOAWAY; `last_stream` is the last one of the peer that was accepted."""
        return _control(_GOAWAY, last_stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        block = [len(headers).to_bytes(4, "big")]
        for text in (text for item in headers.items() for text in item):
            encoded = text.encode("latin-1")
            block += [len(encoded).to_bytes(4, "big"), encoded]
        packed = self._compressor.compress(b"".join(block))
        return packed + self._compressor.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    first = _CONTROL | VERSION << 16 | kind
    return first.to_bytes(4, "big") + (flags << 24 | len(body)).to_bytes(4, "big") + body


def _stream_of(body: bytes) -> int:
    """The stream of a control frame. Raises SpdyError for 0."""
    number = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
    if not number:
        raise SpdyError("stream 0")
    return number


def _parse_headers(block: bytes) -> dict[str, str]:
    """Names, in small letters, and values. Raises SpdyError."""
    texts, at = [], 4
    count = int.from_bytes(block[:4], "big")
    if len(block) < 4 or count * 8 > len(block):
        raise SpdyError("headers that end too early")
    for _ in range(2 * count):
        begin = at + 4
        at = begin + int.from_bytes(block[at:begin], "big")
        if begin > len(block) or at > len(block):
            raise SpdyError("headers that end too early")
        texts.append(block[begin:at].decode("latin-1"))
    if at != len(block):
        raise SpdyError("more than the headers")
    names = [one.lower() for one in texts[::2]]
    if len(set(names)) < len(names):
        raise SpdyError("a header that is given twice")
    return dict(zip(names, texts[1::2], strict=True))
