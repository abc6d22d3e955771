"""pods/portforward with SPDY, by a client that a test controls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from servedeck.demo.api.spdy import connection as spdy_connection
from servedeck.demo.api.spdy.frames import (
    CANCEL,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    DataPart,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Ping,
    ResetStream,
)
from servedeck.demo.resources import PODS
from tests.demo.api_fixture import Api, place_pod
from tests.waiting import TimeSkipper, with_timeout

POD = "/api/v1/namespaces/a/pods/p"
PATH = f"{POD}/portforward"
PROTOCOL = "portforward.k8s.io"


class Client:
    """A client of SPDY over HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.make = FrameWriter()
        self._read = FrameReader()
        self._frames: list[Frame] = []

    def open(self, number: int, kind: str, request: str = "0", port: str = "8000") -> None:
        headers = {"streamtype": kind, "port": port, "requestid": request}
        self.writer.write(self.make.open_stream(number, headers))

    def open_pair(self, number: int, port: str = "8000") -> None:
        """Streams `number` for errors and `number + 2` for data."""
        self.open(number, "error", str(number), port)
        self.writer.write(self.make.data(number, b"", is_last=True))
        self.open(number + 2, "data", str(number), port)

    async def next(self) -> Frame | None:
        """The next frame but SYN_REPLY; None at the end of the connection."""
        while not self._frames:
            try:
                data = await with_timeout(self.reader.read(1 << 16))
            except ConnectionResetError:  # the server had not read everything
                return None
            if not data:
                return None
            self._frames += self._read.feed(data)
        return self._frames.pop(0)

    async def read_to_end(self, number: int) -> bytes:
        """All data of one stream; frames of others are left out."""
        found = b""
        while True:
            frame = await self.next()
            assert frame is not None
            if isinstance(frame, DataPart) and frame.stream == number:
                found += frame.data
                if frame.is_last:
                    return found

    async def ping(self) -> None:
        """Wait until everything that was sent before is handled."""
        self.writer.write(self.make.ping(77))
        while await self.next() != Ping(77):
            pass


async def connect(api: Api, *more: str, token: str = "") -> tuple[Client, bytes]:
    """A client, and the head of the answer to its request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.server.url.split(":")[2]))
    lines = (
        f"POST {PATH} HTTP/1.1",
        "Host: demo",
        f"Authorization: Bearer {token or api.user.token}",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        "Content-Length: 0",
        *more,
    )
    writer.write("".join(f"{one}\r\n" for one in (*lines, "")).encode())
    return Client(reader, writer), await with_timeout(reader.readuntil(b"\r\n\r\n"))


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    place_pod(api)
    made, head = await connect(api, f"X-Stream-Protocol-Version: {PROTOCOL}")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert f"X-Stream-Protocol-Version: {PROTOCOL}\r\n".encode() in head
    yield made
    made.writer.close()


async def test_data_is_forwarded_both_ways(client: Client) -> None:
    client.open_pair(1)
    client.writer.write(client.make.data(3, b"hello"))
    assert await client.next() == DataPart(3, b"hello")
    client.writer.write(client.make.data(3, b"bye", is_last=True))
    assert await client.read_to_end(3) == b"bye"
    assert await client.next() == DataPart(1, b"", is_last=True)


async def test_several_connections_at_once_and_large_bodies(client: Client) -> None:
    bodies = {number: random.Random(number).randbytes(3 << 20) for number in (3, 7, 11)}
    for number in bodies:
        client.open_pair(number - 2)

    async def send() -> None:
        for at in range(0, 3 << 20, 50_000):
            for number, body in bodies.items():
                client.writer.write(client.make.data(number, body[at : at + 50_000]))
                await client.writer.drain()
        for number in bodies:
            client.writer.write(client.make.data(number, b"", is_last=True))

    sending = asyncio.create_task(send())
    found = dict.fromkeys(bodies, b"")
    ended: set[int] = set()
    while ended != bodies.keys():
        frame = await client.next()
        assert isinstance(frame, DataPart)
        if frame.stream in bodies:
            found[frame.stream] += frame.data
            ended |= {frame.stream} if frame.is_last else set()
    await sending
    assert found == bodies


async def test_a_port_where_nothing_listens_is_told_on_the_stream_of_errors(
    api: Api, client: Client
) -> None:
    api.kubelet.answer = None
    client.open_pair(1, "9999")
    assert (await client.read_to_end(1)).endswith(b"9999: connect: connection refused")


async def test_a_pod_that_is_gone_is_told_on_the_stream_of_errors(api: Api, client: Client) -> None:
    api.store.delete(PODS, "a", "p", grace=0)
    client.open_pair(1)
    assert (await client.read_to_end(1)).endswith(b'failed to find sandbox "p" in store: not found')
    place_pod(api)  # another one of the same name
    client.open_pair(5)
    assert b"not found" in await client.read_to_end(5)


async def test_a_reset_ends_the_connection_to_the_pod(client: Client) -> None:
    client.open_pair(1)
    client.writer.write(client.make.data(3, b"hello"))
    assert await client.next() == DataPart(3, b"hello")
    client.writer.write(client.make.reset(3, CANCEL))
    assert await client.next() == DataPart(1, b"", is_last=True)
    client.open_pair(5)
    client.writer.write(client.make.data(7, b"again", is_last=True))
    assert await client.read_to_end(7) == b"again"


async def test_a_client_before_1_2_sends_no_id(client: Client) -> None:
    for number, kind in ((1, "error"), (3, "data")):
        headers = {"streamtype": kind, "port": "8000"}
        client.writer.write(client.make.open_stream(number, headers))
    client.writer.write(client.make.data(3, b"hello"))
    assert await client.next() == DataPart(3, b"hello")


@pytest.mark.parametrize(
    ("kind", "port"),
    [("other", "80"), ("", "80"), ("data", ""), ("data", "0"), ("data", "65536"), ("data", "x")],
)
async def test_streams_with_wrong_headers_are_rejected(
    client: Client, kind: str, port: str
) -> None:
    client.open(1, kind, port=port)
    assert await client.next() == ResetStream(1, PROTOCOL_ERROR)
    client.open_pair(3)
    client.writer.write(client.make.data(5, b"hello"))
    assert await client.next() == DataPart(5, b"hello")


async def test_a_second_stream_of_a_kind_is_rejected(client: Client) -> None:
    client.open(1, "data")
    client.open(3, "data")
    assert await client.next() == ResetStream(3, PROTOCOL_ERROR)
    client.open(5, "error", port="8001")
    assert await client.next() == ResetStream(5, PROTOCOL_ERROR)


async def test_a_stream_that_stays_alone_is_reset(client: Client) -> None:
    client.open(1, "data")
    await client.ping()
    TimeSkipper(asyncio.get_running_loop())(31)
    client.writer.write(client.make.ping(9))  # wakes the loop
    assert {await client.next(), await client.next()} == {ResetStream(1, CANCEL), Ping(9)}


async def test_too_many_streams_are_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spdy_connection, "MAX_STREAMS", 2)
    client.open_pair(1)
    client.open(5, "data", "5")
    assert await client.next() == ResetStream(5, REFUSED_STREAM)
    client.writer.write(client.make.data(3, b"", is_last=True))
    assert await client.read_to_end(3) == b""
    assert await client.next() == DataPart(1, b"", is_last=True)
    client.open(7, "data", "7")
    client.writer.write(client.make.ping(11))
    assert await client.next() == Ping(11), "it is not refused"


async def test_streams_that_were_reset_here_leave_room_for_others(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spdy_connection, "MAX_STREAMS", 2)
    for number in (1, 3):
        client.open(number, "data", str(number))
    await client.ping()
    TimeSkipper(asyncio.get_running_loop())(31)
    client.writer.write(client.make.ping(9))  # wakes the loop
    found = {await client.next() for _ in range(3)}
    assert found == {ResetStream(1, CANCEL), ResetStream(3, CANCEL), Ping(9)}
    client.open_pair(5)
    client.writer.write(client.make.ping(11))
    assert await client.next() == Ping(11), "no stream is refused"


async def test_no_stream_is_opened_after_goaway(client: Client) -> None:
    client.writer.write(client.make.go_away(0, 0))
    client.open(1, "data")
    assert await client.next() == ResetStream(1, REFUSED_STREAM)


@pytest.mark.parametrize("number", [2, 3])
async def test_a_stream_of_a_wrong_number_ends_the_connection(client: Client, number: int) -> None:
    client.open(3, "data")
    client.open(number, "error")
    assert await client.next() == GoAway()
    assert await client.next() is None


async def test_odd_bytes_end_one_connection_and_not_the_demo(api: Api) -> None:
    place_pod(api)
    rng = random.Random(11)
    for _ in range(60):
        client, head = await connect(api)
        assert head.startswith(b"HTTP/1.1 101 ")
        client.open_pair(1)
        client.writer.write(client.make.data(3, b"hello"))
        odd = bytearray(client.make.open_stream(5, {"a": "b"}) + client.make.reset(3, 1))
        for _ in range(rng.randrange(1, 5)):
            odd[rng.randrange(len(odd))] = rng.randrange(256)
        client.writer.write(bytes(odd) + rng.randbytes(rng.randrange(100)))
        client.writer.write_eof()
        while await client.next() is not None:
            pass
        client.writer.close()
    assert (await api.send("GET", POD))[0] == 200


async def test_a_client_that_goes_leaves_nothing_behind(api: Api, client: Client) -> None:
    before = asyncio.all_tasks()
    other, _ = await connect(api)
    other.open_pair(1)
    other.writer.write(other.make.data(3, b"hello"))
    assert await other.next() == DataPart(3, b"hello")
    assert asyncio.all_tasks() > before
    other.writer.transport.abort()
    while left := asyncio.all_tasks() - before:
        await with_timeout(asyncio.gather(*left, return_exceptions=True))


async def test_the_upgrade_is_rejected_as_other_requests_are(api: Api) -> None:
    _, head = await connect(api)
    assert head.startswith(b"HTTP/1.1 404 ")
    place_pod(api)
    _, head = await connect(api, token=api.viewer.token)
    assert head.startswith(b"HTTP/1.1 403 ")
    _, head = await connect(api, "X-Stream-Protocol-Version: v9.example")
    assert head.startswith(b"HTTP/1.1 400 ")


async def test_spdy_in_a_websocket(api: Api) -> None:
    place_pod(api)
    headers = {"Authorization": f"Bearer {api.user.token}"}
    protocols = (f"SPDY/3.1+{PROTOCOL}",)
    async with api.session.ws_connect(
        api.server.url + PATH, protocols=protocols, headers=headers
    ) as websocket:
        assert websocket.protocol == protocols[0]
        make, reader = FrameWriter(), FrameReader()
        for number, kind in ((1, "error"), (3, "data")):
            opened = {"streamtype": kind, "port": "8000", "requestid": "0"}
            await websocket.send_bytes(make.open_stream(number, opened))
        # Messages are cut anywhere.
        data = make.data(3, b"hello")
        for at in range(len(data)):
            await websocket.send_bytes(data[at : at + 1])
        found = b""
        while found != b"hello":
            message = await with_timeout(websocket.receive())
            assert message.type is aiohttp.WSMsgType.BINARY
            parts = [one for one in reader.feed(message.data) if isinstance(one, DataPart)]
            found += b"".join(one.data for one in parts)
        await websocket.send_str("text ends it")
        end = await with_timeout(websocket.receive())
        while end.type is aiohttp.WSMsgType.BINARY:
            end = await with_timeout(websocket.receive())
        assert end.type is aiohttp.WSMsgType.CLOSE


class ManyParts:
    """A transport with more data for stream 1 than a stream holds, one part at a time."""

    def __init__(self) -> None:
        make = FrameWriter()
        opened = make.open_stream(1, {"a": "b"})
        parts = [make.data(1, b"x") for _ in range(100)]
        self.waiting = [opened, *parts, make.data(1, b"", is_last=True)]

    async def receive(self) -> bytes:
        return self.waiting.pop(0) if self.waiting else b""

    async def send(self, data: bytes) -> None:
        assert data


async def test_a_stream_that_is_not_read_holds_back_the_connection() -> None:
    transport, opened = ManyParts(), list[spdy_connection.SpdyStream]()
    running = asyncio.create_task(
        spdy_connection.SpdyConnection(transport, lambda one: not opened.append(one)).run()
    )
    left = -1
    while left != len(transport.waiting):  # until it reads no more
        left = len(transport.waiting)
        for _ in range(20):
            await asyncio.sleep(0)
    assert 80 < left < 101 and not running.done()
    found = b""
    while part := await with_timeout(opened[0].read()):
        found += part
    assert found == b"x" * 100
    await with_timeout(running)
