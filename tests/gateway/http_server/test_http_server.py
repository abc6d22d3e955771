"""What clients that are not trusted may send."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from servedeck.gateway import http_protocol
from servedeck.gateway.asgi import (
    Receive,
    Response,
    Scope,
    Send,
    close_connection,
    send_bytes,
)
from servedeck.gateway.http_server import bind, serve
from tests.gateway.http_server.application import CLOSE, HEAD, App, exchange
from tests.waiting import wait_until, with_timeout


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: -3\r\n\r\nabc",
        HEAD + b"Content-Length: 3x\r\n\r\nabc",
        HEAD + b"Content-Length : 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=\n\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n",
        HEAD + b"X: a\r\n b: c\r\n\r\n",
        HEAD + b"X: a\rY: b\r\n\r\n",
        HEAD + b"X: a\nY: b\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"X Y: a\r\n\r\n",
        HEAD + b": a\r\n\r\n",
        b"POST /x HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /x HTTP/2.0\r\nHost: a\r\n\r\n",
        b"POST /x\r\n\r\n",
        b"POST /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PO ST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_is_refused(request_bytes: bytes) -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, request_bytes)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        # Of a chunked request whose body is wrong the head was right.
        assert not [one for one in app.requests if one[3]]


async def test_an_ordinary_request(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    caplog.set_level(logging.DEBUG)
    async with serve(app, bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, HEAD + CLOSE + b"Content-Length: 6\r\n\r\nsecret")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b'{"ok":true}')
        head = answer.lower()
        assert b"server:" not in head
        assert b"date:" not in head
    assert app.requests[0][3] == b"secret"
    assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]
    assert "secret" not in caplog.text
    assert "/x" not in caplog.text


async def test_trailers_do_not_become_headers() -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        await exchange(
            port,
            HEAD + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
            b"0\r\nX-Async: true\r\nAuthorization: other\r\n\r\n",
        )
        [(_, _, headers, body)] = app.requests
        assert body == b"a"
        assert not {b"x-async", b"authorization"} & {name for name, _ in headers}


@pytest.mark.parametrize(
    "begin",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST /",
        b"X: 1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
    ],
)
async def test_heads_trailers_and_extensions_have_a_limit(begin: bytes) -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        sent = 0

        async def send_until_refused() -> None:
            nonlocal sent
            while True:
                writer.write(b"a" * 1000)
                sent += 1000
                await writer.drain()
                await asyncio.sleep(0)

        sending = asyncio.create_task(send_until_refused())
        with suppress(ConnectionError):
            await with_timeout(reader.read())
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
        assert not app.requests


async def test_a_long_head_is_told_why() -> None:
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, HEAD + b"X: " + b"a" * 200_000)
        assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("line", "is_kept"), [(b"", True), (b"Connection: close\r\n", False)], ids=["kept", "closed"]
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_whole_response(method: bytes, line: bytes, is_kept: bool) -> None:
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        one = b"%s /1 HTTP/1.1\r\nHost: a\r\n%s\r\n" % (method, line)
        last = b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" if is_kept else b""
        answer = await exchange(port, one + last)
    first, *others = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    head, _, body = first.partition(b"\r\n\r\n")
    assert b"content-length: 11" in head
    assert body == (b"" if method == b"HEAD" else b'{"ok":true}')
    assert (b"connection: close" in head) is not is_kept
    assert len(others) == is_kept


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x\r\nb", b"c"), (b"x", b"a\nb")])
async def test_a_header_cannot_add_another(
    header: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send_bytes(Response(scope, send), 200, b"{}", b"text/plain", [header])

    async with serve(app, bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"200" not in answer
    assert b"b: c" not in answer


async def test_more_connections_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 2)
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert (await exchange(port)).startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        one = b"GET /%d HTTP/1.1\r\nHost: a\r\n"
        answer = await exchange(port, one % 1 + b"\r\n" + one % 2 + CLOSE + b"\r\n")
        assert answer.count(b"HTTP/1.1 200") == 2
        assert [path for _, path, _, _ in app.requests] == ["/1", "/2"]


async def test_what_follows_a_running_request_is_not_answered_in_its_place() -> None:
    app = App()
    app.may_answer.clear()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, HEAD + b"\r\n", b"nonsense\r\n\r\n")
        assert answer == b""
        await wait_until(lambda: app.disconnected == app.waiting, "the disconnect")


async def test_a_request_that_is_running_is_told_of_a_lost_connection() -> None:
    app = App()
    app.may_answer.clear()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await wait_until(lambda: app.waiting == 1, "the request")
        writer.close()
        await wait_until(lambda: app.disconnected == 1, "the disconnect")


async def test_running_requests_end_before_the_server_does() -> None:
    app = App()
    app.may_answer.clear()
    async with serve(app, bind("127.0.0.1", 0), grace=600) as port:
        asking = asyncio.create_task(exchange(port, HEAD + b"\r\n"))
        await wait_until(lambda: app.waiting == 1, "the request")
        asyncio.get_running_loop().call_later(0.01, app.may_answer.set)
    answer = await with_timeout(asking)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_requests_that_do_not_end_are_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.may_answer.clear()
    async with serve(app, bind("127.0.0.1", 0), grace=0.01) as port:
        asking = asyncio.create_task(exchange(port, HEAD + b"\r\n"))
        await wait_until(lambda: app.waiting == 1, "the request")
    assert await with_timeout(asking) == b""
    assert app.disconnected == 1
    assert "Traceback" not in caplog.text


async def test_a_response_that_cannot_be_ended_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise AssertionError(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        part: dict[str, Any] = {"type": "http.response.body", "body": b"half", "more_body": True}
        await send(part)
        close_connection(scope)

    async with serve(app, bind("127.0.0.1", 0)) as port:
        answer = await exchange(port, HEAD + b"\r\n")
        assert answer.endswith(b"4\r\nhalf\r\n")
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALL_SECONDS", 0.05)
    has_ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise AssertionError(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            part = {"type": "http.response.body", "body": b"x" * (64 << 20), "more_body": True}
            await send(part)
        has_ended.set()

    async with serve(app, bind("127.0.0.1", 0)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(HEAD + b"\r\n")
        await with_timeout(has_ended.wait())
        writer.close()


async def test_a_free_port_is_chosen_and_may_be_taken_again() -> None:
    sock = bind("127.0.0.1", 0)
    async with serve(App(), sock) as port:
        assert port > 0
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port)
    again = bind("127.0.0.1", port)
    again.close()
