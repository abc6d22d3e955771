"""For how long a client may take, and a connection is kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from servedeck.gateway import http_protocol, http_server
from servedeck.gateway.asgi import Receive, Response, Scope, Send, send_json
from servedeck.gateway.http_server import bind, serve
from tests.gateway.http_server.application import HEAD, App, exchange
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout


async def test_a_head_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        assert (await exchange(port, b"POST /x HTTP/1.1\r\n")).startswith(b"HTTP/1.1 408 ")
        assert (await exchange(port, b"")).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("begin", "is_at_once"),
    [(b"G", True), (b"G", False), (b"\r\n", False)],
    ids=["begin at once", "begin later", "empty line later"],
)
async def test_a_later_head_that_does_not_end(
    begin: bytes, is_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _get(reader, writer)  # else the connection itself would have little time
        monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
        await _get(reader, writer, begin * is_at_once)
        writer.write(begin * (not is_at_once))
        assert (await with_timeout(reader.read())).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_an_idle_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(App(), bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _get(reader, writer)  # else the connection itself would have no time
        monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.01)
        for _ in range(3):
            await _get(reader, writer)
            await asyncio.sleep(0.05)
        writer.close()


@pytest.mark.parametrize("rest", [b"0123456789", b"01234"], ids=["whole", "in part"])
async def test_a_body_that_comes_after_the_answer_leaves_the_connection_idle(
    rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send_json(Response(scope, send), 404, {"ok": False})

    async with serve(app, bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 10\r\n\r\n")
        await with_timeout(reader.readuntil(b'{"ok":false}'))
        with suppress(ConnectionError):  # where it is closed already
            writer.write(rest)
            assert await with_timeout(reader.read()) == b""
        writer.close()


async def test_a_later_head_that_does_not_end_while_the_first_request_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _get(reader, writer)
        monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
        app.may_answer.clear()
        writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nG")
        await wait_until(lambda: app.waiting == 2)
        await asyncio.sleep(0.1)
        app.may_answer.set()
        answer = await with_timeout(reader.read())
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


async def test_the_time_of_a_head_begins_anew_with_the_answer_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = App()
    async with serve(app, bind("127.0.0.1", 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _get(reader, writer)
        monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
        app.may_answer.clear()
        writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nG")
        await wait_until(lambda: app.waiting == 2)
        # what is left of the time would be no more than that
        monkeypatch.setattr(http_protocol, "HEAD_SECONDS", WAIT_SECONDS)
        app.may_answer.set()
        await with_timeout(reader.readuntil(b'{"ok":true}'))
        await asyncio.sleep(0.3)
        writer.write(b"ET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 200 ")
        writer.close()


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: bytes = b""
) -> None:
    writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + more)
    head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
    assert head.startswith(b"HTTP/1.1 200 ")
    await with_timeout(reader.readexactly(len(b'{"ok":true}')))
