"""The frames of SPDY: what is written is read, wherever it is cut, and nothing else passes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable

import pytest

from servedeck.demo.api.spdy import frames
from servedeck.demo.api.spdy.dictionary import HEADER_DICTIONARY
from servedeck.demo.api.spdy.frames import (
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

HEADERS = {"streamtype": "data", "port": "8000", "requestid": "0"}


RECORDED = (
    "800300010000003e0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e0"
    "1c60616060c0c0c0c0590489c64c50f2663400000000ffff00000001010000008003000100000018000000030000"
    "00000000c2aa19540e2512d60b000000ffff"
)


def read(data: bytes) -> list[Frame]:
    return list(FrameReader().feed(data))


def merged(found: Iterable[Frame]) -> list[Frame]:
    """The frames with the parts of the same data joined."""
    result: list[Frame] = []
    for one in found:
        last = result[-1] if result else None
        if isinstance(one, DataPart) and isinstance(last, DataPart) and last.stream == one.stream:
            result[-1] = DataPart(one.stream, last.data + one.data, one.is_last)
        else:
            result.append(one)
    return result


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    # The bytes of kubectl below begin with this checksum (RFC 1950, DICTID).
    assert (len(HEADER_DICTIONARY), zlib.adler32(HEADER_DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_frame_of_kubectl_is_read() -> None:
    """Recorded from kubectl 1.36."""
    assert merged(read(bytes.fromhex(RECORDED))) == [
        OpenedStream(1, {"streamtype": "error", "port": "8000", "requestid": "0"}),
        DataPart(1, b"", is_last=True),
        OpenedStream(3, {"streamtype": "data", "port": "8000", "requestid": "0"}),
    ]


def sample() -> tuple[bytes, list[Frame]]:
    writer = FrameWriter()
    data = b"".join(
        (
            writer.open_stream(1, HEADERS),
            writer.reply(2),
            writer.data(1, b"hello " * 50),
            writer.ping(7),
            writer.open_stream(3, {"a": ""}, is_last=True),
            writer.data(3, b""),
            writer.data(1, b"", is_last=True),
            writer.reset(3, frames.CANCEL),
            writer.go_away(3, 0),
        )
    )
    expected: list[Frame] = [
        OpenedStream(1, HEADERS),
        DataPart(1, b"hello " * 50),
        Ping(7),
        OpenedStream(3, {"a": ""}, is_last=True),
        DataPart(1, b"", is_last=True),
        ResetStream(3, frames.CANCEL),
        GoAway(),
    ]
    return data, expected


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 100, 10_000])
def test_frames_are_read_wherever_they_are_cut(size: int) -> None:
    data, expected = sample()
    reader, found = FrameReader(), []
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
    assert merged(found) == expected


def test_data_is_handed_on_before_its_frame_is_complete() -> None:
    whole = FrameWriter().data(5, b"x" * 1000, is_last=True)
    reader = FrameReader()
    assert list(reader.feed(whole[:508])) == [DataPart(5, b"x" * 500)]
    assert list(reader.feed(whole[508:])) == [DataPart(5, b"x" * 500, is_last=True)]


def control(kind: int, body: bytes, version: int = 3) -> bytes:
    first = 1 << 31 | version << 16 | kind
    return first.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def block(data: bytes, *, finish: bool = False) -> bytes:
    """A SYN_STREAM whose decompressed headers are `data`."""
    packer = zlib.compressobj(zdict=HEADER_DICTIONARY)
    packed = packer.compress(data) + packer.flush(zlib.Z_FINISH if finish else zlib.Z_SYNC_FLUSH)
    return control(1, (1).to_bytes(4, "big") + bytes(6) + packed)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


WRONG = {
    "a version that is not 3": control(6, number(1), version=2),
    "a control frame that is too long": bytes.fromhex("80030001 00ffffff"),
    "data of stream 0": number(0) + number(1) + b"x",
    "stream 0": control(3, number(0) + number(1)),
    "a reset of another length": control(3, number(1)),
    "a ping of another length": control(6, number(1) + b"x"),
    "a stream without headers": control(1, number(1)),
    "headers that are not compressed": control(1, number(1) + bytes(6) + b"abc" * 9),
    "headers without the dictionary": control(1, number(1) + bytes(6) + zlib.compress(number(0))),
    "headers that end the compression": block(number(0), finish=True),
    "no number of headers": block(b"\0"),
    "more headers than there are": block(number(3) + number(0) * 2),
    "very many headers": block(number(0xFFFFFFFF) + bytes(100)),
    "a header that ends too early": block(number(1) + number(90) + b"port" + number(0)),
    "more than the headers": block(number(0) + b"x"),
    "a header twice": block(number(2) + (number(1) + b"a" + number(0)) * 2),
    "headers that are very long": block(number(1) + bytes(frames.MAX_HEADER_BYTES)),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_an_error(data: bytes) -> None:
    with pytest.raises(SpdyError):
        read(data)


def test_frames_without_a_use_are_left_out() -> None:
    """SETTINGS, WINDOW_UPDATE, and types that do not exist."""
    assert read(control(4, number(0)) + control(9, bytes(8)) + control(99, b"any")) == []


def test_odd_bytes_end_in_frames_or_an_error() -> None:
    rng = random.Random(5)
    good, _ = sample()
    ends = set()
    for _ in range(3000):
        data = bytearray(good[: rng.randrange(len(good))])
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        data += rng.randbytes(rng.randrange(40))
        reader = FrameReader()
        try:
            for at in range(0, len(data), 16):
                list(reader.feed(bytes(data[at : at + 16])))
            ends.add("frames")
        except SpdyError:
            ends.add("error")
    assert ends == {"frames", "error"}
