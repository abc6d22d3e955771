"""One connection to a port of a Pod: channels, errors, the end, and sides that do not read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ConnectionLostError,
    InvalidResponseError,
    ReadTimeoutError,
)
from servedeck.cluster.http.websocket import PING_SECONDS, SILENCE_SECONDS
from servedeck.cluster.port_forward import PodConnection, PodConnectionError, connect_to_pod
from tests.cluster.channel_server import PROTOCOL, echo_port, websocket_handler
from tests.cluster.fake_api_server import (
    FakeApiServer,
    FaultHandler,
    open_connection,
    respond_with_status,
    write_kubeconfig,
)
from tests.waiting import TimeSkipper, wait_until, with_timeout

PATH = "/api/v1/namespaces/default/pods/llama/portforward"
NUMBER = (8000).to_bytes(2, "little")


async def read_exactly(pod: PodConnection, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = await with_timeout(pod.read())
        assert chunk, f"the end after {len(data)} bytes"
        data += chunk
    return bytes(data)


async def test_bytes_go_both_ways(api: FakeApiServer, connection: Connection) -> None:
    api.add_route(PATH, websocket_handler(echo_port))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        await pod.write(b"hello")
        assert await with_timeout(pod.read()) == b"hello"
        await pod.write(b"quit")
        assert await with_timeout(pod.read()) == b""
    (request,) = api.requests
    assert request.headers["Sec-WebSocket-Protocol"] == PROTOCOL
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.query_string == "ports=8000"


async def test_a_large_transfer_is_complete_and_in_order(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(PATH, websocket_handler(echo_port))
    data = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:

        async def send() -> None:
            for at in range(0, len(data), 32 << 10):
                await pod.write(data[at : at + (32 << 10)])

        sending = asyncio.create_task(send())
        assert await read_exactly(pod, len(data)) == data
        await sending


async def test_a_reader_that_waits_holds_the_server_up(
    api: FakeApiServer, connection: Connection
) -> None:
    sent = 0
    total = 4096

    async def flood(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        nonlocal sent
        await websocket.send_bytes(b"\x00" + NUMBER)
        for _ in range(total):
            await websocket.send_bytes(b"\x00" + bytes(32 << 10))
            sent += 1

    api.add_route(PATH, websocket_handler(flood))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        seen = -1
        while seen != sent:
            seen = sent
            await asyncio.sleep(0.2)
        assert sent < total
        await read_exactly(pod, total * (32 << 10))
        assert await with_timeout(pod.read()) == b""


async def test_an_error_of_the_kubelet_is_a_sentence(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(PATH, websocket_handler(echo_port))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        await pod.write(b"fail")
        with pytest.raises(PodConnectionError) as raised:
            await with_timeout(pod.read())
    assert str(raised.value) == (
        "The connection to port 8000 of the Pod was lost: connection reset by peer."
    )
    assert raised.value.was_connected


@pytest.mark.parametrize(
    "text",
    [
        "dial tcp4 127.0.0.1:8000: connect: connection refused",
        'failed to find sandbox "3bdb" in store: not found',
        'network namespace for sandbox "3bdb" is closed',
        "container is not running",
        "socat E connect(5, AF=2 127.0.0.1:8000, 16): Connection refused",
    ],
)
def test_what_the_runtime_says_without_a_connection(text: str) -> None:
    assert not PodConnectionError(8000, f"error forwarding port 8000: {text}").was_connected


@pytest.mark.parametrize(
    "text", ["read: connection reset by peer", "write: broken pipe", "context deadline exceeded"]
)
def test_any_other_error_may_have_come_after_a_request(text: str) -> None:
    assert PodConnectionError(8000, f"error forwarding port 8000: {text}").was_connected


async def test_empty_messages_and_other_channels_are_ignored(
    api: FakeApiServer, connection: Connection
) -> None:
    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        for message in (b"", b"\x00", b"\x01" + NUMBER, b"\x07x", b"\x00" + NUMBER, b"\x00data"):
            await websocket.send_bytes(message)

    api.add_route(PATH, websocket_handler(serve))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        assert await with_timeout(pod.read()) == b"data"
        assert await with_timeout(pod.read()) == b""


async def test_another_port_than_the_requested_one_is_an_error(
    api: FakeApiServer, connection: Connection
) -> None:
    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.send_bytes(b"\x00\x01\x02")

    api.add_route(PATH, websocket_handler(serve))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        with pytest.raises(InvalidResponseError, match="another port"):
            await with_timeout(pod.read())


# -- the WebSocket --------------------------------------------------------------------------------


async def test_a_rejected_handshake_has_the_servers_reason(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(PATH, respond_with_status(403, "Forbidden", 'cannot create "pods/portforward"'))
    with pytest.raises(ApiError, match=r'cannot create "pods/portforward"') as raised:
        async with connect_to_pod(connection, "default", "llama", 8000):
            pass
    assert raised.value.code == 403


async def test_a_proxy_that_removes_the_upgrade_is_said(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route(PATH, respond_with_status(400, "BadRequest", "Upgrade request required"))
    with pytest.raises(ApiError, match="proxy in between that does not support WebSockets"):
        async with connect_to_pod(connection, "default", "llama", 8000):
            pass


async def test_another_protocol_is_an_error(api: FakeApiServer, connection: Connection) -> None:
    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.receive()

    api.add_route(PATH, websocket_handler(serve, protocol="chat"))
    with pytest.raises(InvalidResponseError, match="none of the protocols"):
        async with connect_to_pod(connection, "default", "llama", 8000):
            pass


async def test_a_connection_that_breaks_is_lost_not_at_its_end(
    api: FakeApiServer, connection: Connection
) -> None:
    async def serve(request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.send_bytes(b"\x00" + NUMBER)
        assert request.transport is not None
        request.transport.abort()

    api.add_route(PATH, websocket_handler(serve))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        with pytest.raises(ConnectionLostError):
            await with_timeout(pod.read())


def ping_handler(pings: list[bytes], *, answers: bool) -> FaultHandler:
    """A server that collects pings, and answers them or not; it echoes messages."""

    async def handler(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(protocols=(PROTOCOL,), autoping=False)
        await websocket.prepare(request)
        await websocket.send_bytes(b"\x00" + NUMBER)
        async for message in websocket:
            if message.type is web.WSMsgType.PING:
                pings.append(message.data)
                if answers:
                    await websocket.pong(message.data)
            else:
                await websocket.send_bytes(message.data)
        return websocket

    return handler


async def test_an_idle_connection_is_kept_open_by_pings(
    api: FakeApiServer, connection: Connection
) -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    pings: list[bytes] = []
    api.add_route(PATH, ping_handler(pings, answers=True))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        reading = asyncio.create_task(pod.read())
        for count in range(1, int(SILENCE_SECONDS * 3 / PING_SECONDS)):
            skip(PING_SECONDS)
            await wait_until(lambda count=count: len(pings) >= count, "the ping")
        assert not reading.done()
        await pod.write(b"still open")
        assert await with_timeout(reading) == b"still open"


async def test_a_server_that_answers_no_ping_is_given_up(
    api: FakeApiServer, connection: Connection
) -> None:
    skip = TimeSkipper(asyncio.get_running_loop())
    api.add_route(PATH, ping_handler([], answers=False))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        reading = asyncio.create_task(pod.read())

        def skip_until_done() -> bool:
            skip(PING_SECONDS)
            return reading.done()

        await wait_until(skip_until_done, "the end", interval=0.05)
        with pytest.raises(ReadTimeoutError, match="sent nothing for 60 s"):
            await reading


async def test_a_token_that_has_expired_is_renewed(api: FakeApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    file = write_kubeconfig(tmp_path / "config", api.url, {"tokenFile": "token"})
    open_echo = websocket_handler(echo_port)

    async def check(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer old":
            token.write_text("new")
            return await respond_with_status(401, "Unauthorized")(request)
        answer = await open_echo(request)
        assert answer is not None
        return answer

    api.add_route(PATH, check)
    connection = await open_connection(file)
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        await pod.write(b"hello")
        assert await with_timeout(pod.read()) == b"hello"
    await connection.close()


@pytest.mark.parametrize(("code", "is_regular"), [(1000, True), (1001, True), (1011, False)])
async def test_the_close_code_says_whether_the_end_is_regular(
    api: FakeApiServer, connection: Connection, code: int, is_regular: bool
) -> None:
    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.close(code=code)

    api.add_route(PATH, websocket_handler(serve))
    async with connect_to_pod(connection, "default", "llama", 8000) as pod:
        if is_regular:
            assert await with_timeout(pod.read()) == b""
        else:
            with pytest.raises(ConnectionLostError):
                await with_timeout(pod.read())
