"""Requests without X-Async reach the inference server as they are, and no other host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from servedeck.gateway.http_server import bind, bound_port
from servedeck.gateway.upstreams.upstreams import FixedUpstreams
from tests.gateway.public_api.harness import exchange_raw, running_gateway, running_server
from tests.waiting import wait_until, with_timeout


class RawServer:
    """Keeps each request as it came, and answers with fixed bytes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = b""
            lines = head.lower().split(b"\r\n")
            length = [int(one.split(b":")[1]) for one in lines if one.startswith(b"content-length")]
            if length:
                body = await reader.readexactly(length[0])
            elif b"transfer-encoding: chunked" in lines:
                body = await reader.readuntil(b"0\r\n\r\n")
            self.requests.append(head + body)
            is_head = head.startswith(b"HEAD ")
            writer.write(
                self.answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_head else self.answer
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def head_of(request: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *rest = head.split(b"\r\n")
    headers = [one.split(b": ", 1) for one in rest]
    return line, [(name.lower(), value) for name, value in headers], body


async def test_a_request_arrives_as_it_was_sent(tmp_path: Path) -> None:
    server = RawServer(OK)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        answer = await exchange_raw(
            gateway.port,
            b"POST /v1/a%2Fb/../c//d;p?q=%20x&y=+%ff&z HTTP/1.1\r\n"
            b"Host: public.example\r\n"
            b"authorization: Bearer t\r\n"
            b"X-Twice: 1\r\n"
            b"X-Twice: 2\r\n"
            b"X-Utf: caf\xc3\xa9\r\n"
            b"Priority: u=1\r\n"
            b"Prefer: wait=5\r\n"
            b"Idempotency-Key: k\r\n"
            b"Accept-Encoding: gzip\r\n"
            b"TE: trailers\r\n"
            b"Keep-Alive: 1\r\n"
            b"Proxy-Authorization: Basic x\r\n"
            b"Upgrade: h2c\r\n"
            b"Connection: close, X-Hop\r\n"
            b"X-Hop: 1\r\n"
            b"Content-Length: 5\r\n\r\n12345",
        )
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")
        [request] = server.requests
        line, headers, body = head_of(request)
        assert line == b"POST /v1/a%2Fb/../c//d;p?q=%20x&y=+%ff&z HTTP/1.1"
        assert body == b"12345"
        assert sorted(headers) == sorted(
            [
                (b"host", b"127.0.0.1:%d" % server.port),
                (b"authorization", b"Bearer t"),
                (b"x-twice", b"1"),
                (b"x-twice", b"2"),
                (b"x-utf", b"caf\xc3\xa9"),
                (b"priority", b"u=1"),
                (b"prefer", b"wait=5"),
                (b"idempotency-key", b"k"),
                (b"accept-encoding", b"gzip"),
                (b"content-length", b"5"),
            ]
        )


@pytest.mark.parametrize(
    "response",
    [
        OK,  # whole: by one write
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 299 Other\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
    ids=["whole", "empty", "chunked"],
)
async def test_requests_one_after_the_other(tmp_path: Path, response: bytes) -> None:
    server = RawServer(response)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        one = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d"
        last = b"GET /9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await exchange_raw(gateway.port, one % (1, 1) + one % (2, 2) + last)
    status = b"HTTP/1.1 " + response[9:12]
    answers = answer.split(status)[1:]
    assert len(answers) == 3
    for each in answers:
        head, _, body = each.partition(b"\r\n\r\n")
        expected = {b"content-length: 2": b"ok", b"content-length: 0": b""}
        framing = next((one for one in expected if one in head), b"")
        assert body == expected.get(framing, b"2\r\nok\r\n0\r\n\r\n")
    assert [head_of(one)[0].split()[1] for one in server.requests] == [b"/1", b"/2", b"/9"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "HEAD", "POST"])
async def test_requests_without_a_body(tmp_path: Path, method: str) -> None:
    server = RawServer(OK)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        answer = await gateway.ask(method, "/v1/models")
        assert answer.status == 200
        assert answer.headers["Content-Length"] == "2"
        assert answer.body == (b"" if method == "HEAD" else b"ok")
        line, headers, body = head_of(server.requests[0])
        assert line == f"{method} /v1/models HTTP/1.1".encode()
        assert body == b""
        assert b"transfer-encoding" not in dict(headers)


async def test_a_chunked_body_is_chunked_anew(tmp_path: Path) -> None:
    server = RawServer(OK)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(
            b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n"
        )
        await writer.drain()
        writer.write(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert (await with_timeout(reader.read())).endswith(b"\r\n\r\nok")
        writer.close()
        _, headers, body = head_of(server.requests[0])
        assert b"ext" not in body
        assert b"Trailer" not in body
        names = dict(headers)
        assert b"x-trailer" not in names
        if b"content-length" in names:
            assert (names[b"content-length"], body) == (b"5", b"abcde")
        else:
            assert names[b"transfer-encoding"] == b"chunked"
            assert body.replace(b"\r\n", b"").endswith(b"0")


async def test_large_bodies_are_streamed_both_ways(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Length": str(request.content_length)})
        await response.prepare(request)
        async for part in request.content.iter_any():
            await response.write(part)
        await response.write_eof()
        return response

    body = bytes(range(256)) * 20_000
    async with (
        running_server(echo) as url,
        # The limit is for what is stored.
        running_gateway(tmp_path, upstreams=FixedUpstreams([url]), max_body_bytes=1000) as gateway,
    ):
        answer = await gateway.ask("POST", "/x", data=body)
        assert answer.body == body
        assert answer.headers["X-Length"] == str(len(body))

        async def parts() -> AsyncIterator[bytes]:
            for begin in range(0, len(body), 100_000):
                yield body[begin : begin + 100_000]

        answer = await gateway.ask("POST", "/x", data=parts())
        assert answer.body == body
        assert answer.headers["X-Length"] == "None"


async def test_a_stream_comes_part_by_part(tmp_path: Path) -> None:
    may_go_on = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await may_go_on.wait()
        await response.write(b"data: 2\n\n")
        await response.write_eof()
        return response

    async with (
        running_server(stream) as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
        gateway.session.post(gateway.url + "/x") as response,
    ):
        assert await with_timeout(response.content.readany()) == b"data: 1\n\n"
        may_go_on.set()
        assert await with_timeout(response.content.read()) == b"data: 2\n\n"


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_client_that_goes_away_ends_the_servers_work(
    tmp_path: Path, has_begun: bool
) -> None:
    began, aborted = asyncio.Event(), asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse()
        try:
            if has_begun:
                await response.prepare(request)
                await response.write(b"1")
            began.set()
            transport = request.transport
            while transport is not None and not transport.is_closing():
                await asyncio.sleep(0.005)
            return response
        finally:
            aborted.set()

    async with (
        running_server(never) as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        asking = asyncio.create_task(gateway.ask("POST", "/x", data=b"1"))
        await with_timeout(began.wait())
        asking.cancel()
        await with_timeout(aborted.wait())


async def test_a_client_that_goes_away_in_mid_body(tmp_path: Path) -> None:
    began, broken = asyncio.Event(), asyncio.Event()

    async def reading(request: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await request.read()
        except BaseException:
            broken.set()
            raise
        return web.Response()

    async with (
        running_server(reading) as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345")
        await writer.drain()
        await with_timeout(began.wait())
        writer.transport.abort()
        await with_timeout(broken.wait())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n", 201),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
    ],
)
async def test_answers_of_the_server(tmp_path: Path, answer: bytes, status: int) -> None:
    server = RawServer(answer)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        found = await gateway.ask("POST", "/x", data=b"1")
        assert found.status == status
        # A request that may have been acted on is not made again.
        assert len(server.requests) == 1
        if status == 502:
            assert found.headers["Content-Type"] == "application/problem+json"
        if status == 302:
            assert found.headers["Location"] == "http://evil.example/"


async def test_hop_by_hop_headers_of_an_answer_stay_behind(tmp_path: Path) -> None:
    server = RawServer(
        b"HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nDate: today\r\n"
        b"Server: vllm\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTrailer: X-T\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
    )
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        found = await gateway.ask("GET", "/x")
        assert found.body == b"ok"
        assert found.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert found.headers.getall("Date") == ["today"]
        assert found.headers.getall("Server") == ["vllm"]
        for name in ("X-Hop", "Keep-Alive", "Trailer", "X-T"):
            assert name not in found.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    ],
)
async def test_an_answer_that_is_cut_off_is_cut_off_for_the_client(
    tmp_path: Path, answer: bytes
) -> None:
    server = RawServer(answer)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await gateway.ask("POST", "/x", data=b"1")


async def test_a_server_that_does_not_answer_in_time(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    async with (
        running_server(silent) as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url]), attempt_timeout=0.05) as gateway,
    ):
        answer = await gateway.ask("POST", "/x", data=b"1")
        ended.set()
        assert (answer.status, answer.json()["status"]) == (504, 504)


class ChangingUpstreams:
    problem = ""

    def __init__(self, ready: Mapping[str, str]) -> None:
        self.ready = ready
        self.is_known = asyncio.Event()
        self.is_known.set()

    def on_change(self, listener: object) -> None: ...

    async def wait_until_known(self) -> None:
        await self.is_known.wait()

    async def run(self) -> None: ...


async def test_no_ready_pod(tmp_path: Path) -> None:
    upstreams = ChangingUpstreams({})
    upstreams.problem = "The Service has no Ready Pod."
    async with running_gateway(tmp_path, upstreams=upstreams) as gateway:
        answer = await gateway.ask("POST", "/x", data=b"1")
        assert answer.status == 503
        assert answer.json()["detail"] == "The Service has no Ready Pod."
        assert "Retry-After" in answer.headers
        # Asynchronous requests are accepted all the same.
        assert (await gateway.submit()).status == 202


async def test_a_request_waits_until_it_is_known_which_pods_are_ready(tmp_path: Path) -> None:
    async with RawServer(OK).running() as url:
        upstreams = ChangingUpstreams({})
        upstreams.is_known.clear()
        async with running_gateway(tmp_path, upstreams=upstreams) as gateway:
            asking = asyncio.create_task(gateway.ask("POST", "/x", data=b"1"))
            await wait_until(lambda: bool(upstreams.is_known._waiters))  # type: ignore[attr-defined]
            upstreams.ready = {"a": url}
            upstreams.is_known.set()
            assert (await with_timeout(asking)).status == 200


async def test_a_pod_that_refuses_connections_is_passed_over(tmp_path: Path) -> None:
    server = RawServer(OK)
    # A port that is bound, and on which nothing listens.
    with closing(bind("127.0.0.1", 0)) as sock:
        dead = f"http://127.0.0.1:{bound_port(sock)}"
        async with server.running() as url:
            await _check_passed_over(tmp_path, dead, url)


async def _check_passed_over(tmp_path: Path, dead: str, url: str) -> None:
    upstreams = ChangingUpstreams({"dead": dead, "alive": url})
    async with running_gateway(tmp_path, upstreams=upstreams) as gateway:
        for _ in range(4):
            assert (await gateway.ask("POST", "/x", data=b"1")).status == 200
        upstreams.ready = {"dead": dead}
        answer = await gateway.ask("POST", "/x", data=b"1")
        assert (answer.status, answer.json()["detail"]) == (502, "It refused the connection.")


async def test_requests_go_to_the_pod_with_the_fewest(tmp_path: Path) -> None:
    may_end = asyncio.Event()
    running = [0, 0, 0]

    async with AsyncExitStack() as stack:
        ready = {}
        for number in range(3):

            async def work(request: web.Request, number: int = number) -> web.StreamResponse:
                running[number] += 1
                if request.path != "/short":
                    await may_end.wait()
                running[number] -= 1
                return web.Response()

            ready[str(number)] = await stack.enter_async_context(running_server(work))
        gateway = await stack.enter_async_context(
            running_gateway(tmp_path, upstreams=ChangingUpstreams(ready))
        )
        asking = []
        for total in range(1, 7):
            asking.append(asyncio.create_task(gateway.ask("POST", "/long")))
            await wait_until(lambda total=total: sum(running) == total, "the request to arrive")
        assert running == [2, 2, 2]
        may_end.set()
        assert {(await with_timeout(one)).status for one in asking} == {200}
        await gateway.ask("POST", "/short")


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://evil.example/v1 HTTP/1.1",
        b"GET //evil.example/v1 HTTP/1.1",
        b"GET /@evil.example/ HTTP/1.1",
        b"GET /\\evil.example HTTP/1.1",
        b"GET /..%2f..//evil.example:80/ HTTP/1.1",
        b"GET @evil.example HTTP/1.1",
        b"GET evil.example:80 HTTP/1.1",
        b"GET http:evil.example HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
    ],
)
async def test_no_target_reaches_another_host(tmp_path: Path, line: bytes) -> None:
    """The server of the settings is the only one there is a connection to, so a request that does
    not arrive there must be answered by the gateway."""
    server = RawServer(OK)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        answer = await exchange_raw(
            gateway.port, line + b"\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        )
        if server.requests:
            assert answer.startswith(b"HTTP/1.1 200 ")
            received, headers, _ = head_of(server.requests[0])
            assert received.split(b" ")[1].startswith(b"/")
            assert dict(headers)[b"host"] == b"127.0.0.1:%d" % server.port
        else:
            assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_connection_is_not_switched_to_another_protocol(tmp_path: Path) -> None:
    server = RawServer(OK)
    async with (
        server.running() as url,
        running_gateway(tmp_path, upstreams=FixedUpstreams([url])) as gateway,
    ):
        answer = await exchange_raw(
            gateway.port,
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
            b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1
        [request] = server.requests
        assert b"pgrade" not in request
