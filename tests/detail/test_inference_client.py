"""Requests to a server that misbehaves, by each of the ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection, ProxiedResponse
from servedeck.detail.inference_answer import InferenceAnswer
from servedeck.detail.inference_client import InferenceClient
from servedeck.detail.inference_ways import (
    COMMAND_WORDS,
    READONLY_REASON,
    Way,
    WayKind,
    find_ways,
    no_way_reason,
)
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.inference_request import InferenceRequest, make_inference_request
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import (
    FakeApiServer,
    FaultHandler,
    bind_port,
    make_status,
    open_connection,
    serve,
    write_kubeconfig,
)
from tests.waiting import TimeSkipper, wait_until, with_timeout

MODEL = "llama"
PATH = "/v1/chat/completions"
PROXY = "/api/v1/namespaces/chat/services/http:llama:80/proxy"
CHAT = make_inference_request("vllm", MODEL, "Hi", 7)
READ = make_inference_request("vllm", MODEL, "", 7, path="/health")
TOKEN = "sk-secret"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """The inference server at the endpoint."""
    one = FakeApiServer()
    async with serve(one):
        yield one


@pytest.fixture
async def client() -> AsyncIterator[InferenceClient]:
    one = InferenceClient(lambda: None, {})
    yield one
    await one.close()


@asynccontextmanager
async def api_client(
    api: FakeApiServer, folder: Path, *, readonly: bool = False
) -> AsyncIterator[InferenceClient]:
    file = write_kubeconfig(folder / "config", api.url, {"token": "mine"})
    connection: Connection = await open_connection(file, readonly=readonly)
    one = InferenceClient(lambda: connection, {})
    try:
        yield one
    finally:
        await one.close()
        await connection.close()


def endpoint(server: FakeApiServer) -> Way:
    return Way(WayKind.ENDPOINT, f"{server.url}/chat/llama/", "chat")


def through_api_server() -> Way:
    return Way(WayKind.API_SERVER, PROXY, "chat")


def chunk(text: str, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps({'model': MODEL, 'choices': [choice]})}\n\n".encode()


def stream(*chunks: bytes, then: asyncio.Event | None = None, abort: bool = False) -> FaultHandler:
    """Answers with a stream; waits for `then` at its end, or breaks the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for one in chunks:
            await response.write(one)
        if then is not None:
            await then.wait()
        if abort and request.transport is not None:
            request.transport.close()
        return response

    return handler


def say(status: int, body: object = b"", **headers: str) -> FaultHandler:
    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=named)
        return web.json_response(body, status=status, headers=named)

    return handler


WHOLE = (chunk(""), chunk("Hel"), chunk("lo", "stop"), b"data: [DONE]\n\n")


async def ask(
    client: InferenceClient,
    way: Way,
    request: InferenceRequest = CHAT,
    *,
    token: str = "",
    silence: float = 1000.0,
) -> InferenceAnswer:
    return await with_timeout(client.send(way, request, token=token, silence=silence))


async def ask_with(
    server: FakeApiServer, client: InferenceClient, handler: FaultHandler, token: str = ""
) -> InferenceAnswer:
    server.add_route(f"/chat/llama{PATH}", handler)
    return await ask(client, endpoint(server), token=token)


# -- what is sent ---------------------------------------------------------------------------------


async def test_a_request_to_the_endpoint(server: FakeApiServer, client: InferenceClient) -> None:
    bodies = []

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return await stream(*WHOLE)(request) or web.Response()

    answer = await ask_with(server, client, handler, TOKEN)
    assert (answer.text, answer.problem, answer.figures.status) == ("Hello", "", 200)
    sent = server.requests[0]
    assert (sent.method, sent.path) == ("POST", f"/chat/llama{PATH}")
    assert sent.headers["Authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Accept-Encoding"] == "identity"
    assert bodies == [json.loads(CHAT.body or b"")]


async def test_the_answer_is_given_as_it_comes(
    server: FakeApiServer, client: InferenceClient
) -> None:
    go_on, seen = asyncio.Event(), []
    server.add_route(f"/chat/llama{PATH}", stream(WHOLE[1], then=go_on))
    sending = asyncio.create_task(
        client.send(endpoint(server), CHAT, on_change=lambda one: seen.append(one.text))
    )
    await wait_until(lambda: "Hel" in seen)
    assert not sending.done()
    go_on.set()
    assert (await with_timeout(sending)).problem.startswith("The stream ended before")


async def test_a_connection_that_stays_open_after_the_end_is_not_waited_for(
    server: FakeApiServer, client: InferenceClient
) -> None:
    answer = await ask_with(server, client, stream(*WHOLE, then=asyncio.Event()))
    assert (answer.text, answer.problem) == ("Hello", "")


async def test_a_path_is_read(server: FakeApiServer, client: InferenceClient) -> None:
    server.add_route("/chat/llama/health", say(200, b"fine"))
    answer = await ask(client, endpoint(server), READ)
    assert (answer.text, answer.problem, server.requests[0].method) == ("fine", "", "GET")
    path = make_inference_request("vllm", MODEL, "", 7, path="/a%2Fb?q=1&x=%20é")
    await ask(client, endpoint(server), path)
    assert server.requests[1].raw_path == "/chat/llama/a%2Fb?q=1&x=%20%C3%A9"


async def test_a_request_through_the_api_server(server: FakeApiServer, tmp_path: Path) -> None:
    server.add_route(PROXY + PATH, stream(*WHOLE))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server(), token=TOKEN)
    assert (answer.text, answer.problem) == ("Hello", "")
    [sent] = server.requests
    assert sent.headers["Authorization"] == "Bearer mine", "never the token of the server"
    assert sent.headers["Content-Type"] == "application/json"


async def test_stream_options_are_left_out_for_a_server_that_does_not_know_them(
    server: FakeApiServer, client: InferenceClient
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "stream_options" in await request.json():
            return web.json_response({"detail": "extra field stream_options"}, status=422)
        return await stream(*WHOLE)(request) or web.Response()

    answer = await ask_with(server, client, handler)
    assert (answer.text, answer.problem) == ("Hello", "")
    assert answer.notes == ["The server does not know stream_options, so it gives no usage."]
    assert answer.figures.tokens_are_counted and len(server.requests) == 2


# -- how it ends ----------------------------------------------------------------------------------


async def pieces_of(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def test_a_flood_is_read_in_parts_between_which_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flood = b"\n" * (1 << 20) + WHOLE[1] + WHOLE[2] + WHOLE[3]

    class Flooded:
        @asynccontextmanager
        async def proxied(self, *_: object, **__: object) -> AsyncIterator[ProxiedResponse]:
            headers = {"Content-Type": "text/event-stream"}
            yield ProxiedResponse(200, headers, None, pieces_of(flood))

    turns, seen = 0, []
    feed = InferenceAnswer.feed

    def note(answer: InferenceAnswer, data: bytes, seconds: float) -> None:
        seen.append((turns, len(data)))
        feed(answer, data, seconds)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(InferenceAnswer, "feed", note)
    other = asyncio.create_task(take_turns())
    client = InferenceClient(lambda: cast(Connection, Flooded()), {})
    answer = await ask(client, through_api_server())
    other.cancel()
    assert (answer.text, answer.problem) == ("Hello", "")
    assert sum(size for _, size in seen) == len(flood)
    assert max(size for _, size in seen) <= 64 << 10
    assert len({turn for turn, _ in seen}) == len(seen), "others had a turn between two parts"


@pytest.mark.parametrize("through", list(WayKind))
async def test_a_canceled_request_closes_its_connection(
    server: FakeApiServer, tmp_path: Path, through: WayKind
) -> None:
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await stream(WHOLE[1], then=asyncio.Event())(request) or web.Response()
        finally:
            ended.set()

    is_api = through is WayKind.API_SERVER
    way = through_api_server() if is_api else Way(through, server.url)
    server.add_route((PROXY if is_api else "") + PATH, handler)
    seen: list[str] = []
    async with api_client(server, tmp_path) as client:
        sending = asyncio.create_task(
            client.send(way, CHAT, on_change=lambda one: seen.append(one.text))
        )
        await wait_until(lambda: "Hel" in seen)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await with_timeout(ended.wait())


@pytest.mark.parametrize("through", [WayKind.ENDPOINT, WayKind.API_SERVER])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_server_that_hangs(
    server: FakeApiServer, tmp_path: Path, through: WayKind, has_begun: bool
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    is_api = through is WayKind.API_SERVER
    way = through_api_server() if is_api else Way(through, server.url)
    handler = stream(WHOLE[1], then=asyncio.Event()) if has_begun else hang
    server.add_route((PROXY if is_api else "") + PATH, handler)
    skip = TimeSkipper(asyncio.get_running_loop())
    async with api_client(server, tmp_path) as client:
        seen: list[str] = []
        sending = asyncio.create_task(
            client.send(way, CHAT, silence=5000.0, on_change=lambda one: seen.append(one.text))
        )
        await wait_until(lambda: "Hel" in seen if has_begun else server.requests)
        while not sending.done():
            skip(10_000.0)
            await asyncio.sleep(0.01)
        answer = sending.result()
    name = "the API server" if is_api else "the endpoint"
    assert answer.problem.startswith(f"Nothing came through {name} for 5000 s; look at the log")
    assert answer.text == ("Hel" if has_begun else "")


async def test_an_answer_that_is_cut(server: FakeApiServer, client: InferenceClient) -> None:
    answer = await ask_with(server, client, stream(WHOLE[1], abort=True))
    assert answer.problem.endswith(
        "closed the connection in the middle of an answer; look at the log of the server, and at"
        " the timeouts of what is in between."
    )
    assert answer.text == "Hel" and "Hel" in answer.raw_text


@pytest.mark.parametrize("through", [WayKind.ENDPOINT, WayKind.API_SERVER])
@pytest.mark.parametrize("error", [OverflowError("too large"), ValueError("too large.")])
async def test_an_answer_that_cannot_be_read_ends_the_request(
    server: FakeApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    through: WayKind,
    error: Exception,
) -> None:
    def feed(*_: object) -> None:
        raise error

    monkeypatch.setattr(InferenceAnswer, "feed", feed)
    is_api = through is WayKind.API_SERVER
    server.add_route((PROXY if is_api else "") + PATH, stream(*WHOLE))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server() if is_api else Way(through, server.url))
    assert answer.problem == "The answer cannot be read (too large); look at it with curl -v."
    assert answer.figures.total_seconds is not None


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[Way]:
    """Answers each request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Way(WayKind.ENDPOINT, f"http://127.0.0.1:{port}")
    finally:
        server.close()


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"X-A: a\x00b", "sends a header that cannot be read; look at its answer with curl -v."),
        (b"X A: b", "sends a header that cannot be read; look at its answer with curl -v."),
        (b"X-A: " + b"a" * 20_000, "sends a header that cannot be read; look at its answer with"),
        (b"Content-Encoding: gzip", "sends a body that cannot be read; look at its answer with"),
        (b"Content-Length: 50", "closed the connection in the middle of an answer; look at the"),
    ],
)
async def test_an_answer_that_is_malformed(client: InferenceClient, head: bytes, what: str) -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nnone") as way:
        answer = await ask(client, way)
    assert answer.problem.startswith(f"The endpoint {way.base.removeprefix('http://')} {what}")


async def test_what_does_not_answer_in_http(client: InferenceClient) -> None:
    async with raw_server(b"SSH-2.0-OpenSSH\r\n\r\n") as way:
        answer = await ask(client, way)
    assert " does not answer in HTTP; check that the gateway" in answer.problem


async def test_what_to_do_is_in_the_words_of_the_command(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async def ask_both(token: str = "") -> tuple[str, str]:
        through = await client.send(through_api_server(), CHAT)
        return through.problem, (await client.send(endpoint(server), CHAT, token=token)).problem

    def answer_with(status: int, body: object) -> None:
        for path in (PROXY + PATH, f"/chat/llama{PATH}"):
            server.add_route(path, say(status, body))

    file = write_kubeconfig(tmp_path / "config", server.url, {"token": "mine"})
    connection = await open_connection(file)
    client = InferenceClient(lambda: connection, {}, words=COMMAND_WORDS)
    try:
        answer_with(401, {"error": "Unauthorized"})
        through, direct = await ask_both()
        assert through.endswith(
            "; use --through endpoint, or send it with curl through servedeck port-forward."
        )
        assert direct.endswith("; name a file with it by --token-file.")
        assert "--token-file." in (await ask_both(TOKEN))[1]
        answer_with(503, make_status(503, "ServiceUnavailable", "no endpoints available for it"))
        assert (await ask_both())[0].endswith("wait until one is Ready, see servedeck describe.")
        answer_with(403, make_status(403, "Forbidden", "no"))
        assert (await ask_both())[0].endswith("ask for it, or try another way with --through.")
    finally:
        await client.close()
        await connection.close()


async def test_a_redirect_is_not_followed(server: FakeApiServer, client: InferenceClient) -> None:
    other = FakeApiServer()
    async with serve(other):
        where = other.url.replace("http://", "http://me:pw@") + "/login"
        answer = await ask_with(server, client, say(302, Location=where), TOKEN)
    assert not other.requests
    host = other.url.removeprefix("http://")
    assert answer.problem.startswith(f"It redirects to {host} (302), which is not followed")
    assert "Location: " in answer.raw_text


@pytest.mark.parametrize("where", ["http://[", "/login", "x\x1b[31m", ""])
async def test_a_redirect_to_anywhere(
    server: FakeApiServer, client: InferenceClient, where: str
) -> None:
    answer = await ask_with(server, client, say(307, Location=where.replace("\x1b", "%1b")))
    assert answer.problem.startswith("It redirects (307), which is not followed")


async def test_an_address_that_is_none(client: InferenceClient) -> None:
    way = Way(WayKind.ENDPOINT, "http://[")
    assert way.is_unencrypted
    answer = await ask(client, way)
    assert answer.problem.startswith("The endpoint cannot be asked (Invalid IPv6 URL); ")


MISSING = {"error": {"message": "The model `llama` does not exist.", "code": 404}}


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, {"error": "Unauthorized"}, "The server requires an API token (401); enter it in"),
        (403, b"RBAC: access denied", "The request is forbidden (403: RBAC: access denied); check"),
        (404, MISSING, "The server does not know the model llama (404: The model `llama` does not"),
        (404, b"", f"There is no {PATH} there (404); check that the route leads to the serving"),
        (400, {"detail": "bad\x1b[31m"}, "The server does not accept the request (400: bad)."),
        (429, {}, "Too many requests (429); wait, or look at its waiting requests."),
        (503, b"no healthy upstream", "No Pod answers, or the server is not available (503: no"),
        (504, b"", "A gateway gave up waiting for the server (504); look at its waiting requests"),
        (500, b"<html>", "The server failed (500); look at its log."),
        (418, b"", "The server refused the request (418)."),
    ],
)
async def test_each_refusal_has_a_sentence_and_its_raw_answer(
    server: FakeApiServer, client: InferenceClient, status: int, body: object, sentence: str
) -> None:
    answer = await ask_with(server, client, say(status, body))
    assert answer.problem.startswith(sentence)
    assert answer.figures.status == status and answer.raw_text.startswith(f"HTTP {status}")


async def test_a_wrong_token(server: FakeApiServer, client: InferenceClient) -> None:
    answer = await ask_with(server, client, say(401, {"error": "Unauthorized"}), TOKEN)
    assert answer.problem == (
        "The server does not accept the API token (401: Unauthorized); enter another one."
    )
    assert TOKEN not in answer.raw_text


async def test_a_refused_connection(client: InferenceClient) -> None:
    with bind_port() as held:
        port = held.getsockname()[1]
        for kind, remedy in (
            (WayKind.ENDPOINT, "check that the gateway of the route runs"),
            (WayKind.PORT_FORWARD, "look whether it still runs"),
        ):
            answer = await ask(client, Way(kind, f"http://127.0.0.1:{port}"))
            place = f"The {kind} 127.0.0.1:{port} refused the connection; "
            assert answer.problem.startswith(place + remedy)
            assert answer.raw_text == ""


async def test_a_host_that_does_not_exist(
    client: InferenceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_args: object, **_options: object) -> object:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    answer = await ask(client, Way(WayKind.ENDPOINT, "https://me:pw@serve.example/x"))
    assert answer.problem.startswith(
        "The endpoint serve.example cannot be reached: there is no such host; check the DNS record"
    )


async def test_a_certificate_that_is_not_trusted_until_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = create_authority(tmp_path)
    issue_certificate(tmp_path, "server")
    server = FakeApiServer()
    server.add_route(PATH, stream(*WHOLE))
    async with serve(server, make_server_context(tmp_path, "server")):
        for is_named in (False, True):
            if is_named:
                monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            client = InferenceClient(lambda: None, {})
            answer = await ask(client, Way(WayKind.ENDPOINT, server.url), token=TOKEN)
            await client.close()
            if is_named:
                assert answer.problem == ""
            else:
                assert "has a certificate that is not trusted (" in answer.problem
                assert answer.problem.endswith("in SSL_CERT_FILE, or try another way.")
                assert not server.requests


async def test_the_proxy_of_the_environment_is_used(server: FakeApiServer) -> None:
    client = InferenceClient(lambda: None, {"HTTP_PROXY": server.url})
    server.add_route("/v1/chat/completions", stream(*WHOLE))
    answer = await ask(client, Way(WayKind.ENDPOINT, "http://serve.example"))
    await client.close()
    assert answer.problem == "" and server.requests[0].host == "serve.example"


# -- the API server in between --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            make_status(403, "Forbidden", 'services "llama" is forbidden'),
            "Through the API server it needs create on services/proxy in namespace chat; ask for"
            " it, or try another way.",
        ),
        (
            make_status(503, "ServiceUnavailable", 'no endpoints available for service "llama"'),
            "The Service leads to no Ready Pod (503); wait until one is Ready, see the Overview.",
        ),
        (
            make_status(404, "NotFound", 'services "llama" not found'),
            "There is no such Service in namespace chat; it was deleted meanwhile.",
        ),
        (
            make_status(503, "ServiceUnavailable", "error trying to reach service: dial tcp: no"),
            "The API server cannot reach the Pod (dial tcp: no); check that the server listens on"
            " the port of the Service, or try another way.",
        ),
        (make_status(500, "InternalError", "oh"), "The server failed (500): oh."),
    ],
)
async def test_what_the_api_server_refuses(
    server: FakeApiServer, tmp_path: Path, status: dict[str, object], sentence: str
) -> None:
    code = status["code"]
    assert isinstance(code, int)
    server.add_route(PROXY + PATH, say(code, status))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert answer.problem == sentence
    assert answer.figures.status == code and '"kind": "Status"' in answer.raw_text


async def test_the_verb_of_what_is_read(server: FakeApiServer, tmp_path: Path) -> None:
    server.add_route(f"{PROXY}/health", say(403, make_status(403, "Forbidden", "no")))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server(), READ)
    assert answer.problem.startswith("Through the API server it needs get on services/proxy in")


async def test_a_401_of_the_server_is_none_of_the_login(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.add_route(PROXY + PATH, say(401, {"error": "Unauthorized"}))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert answer.problem == (
        "The server requires an API token (401), which the API server does not pass on; send the"
        " request to the endpoint or through a port-forward."
    )
    assert len(server.requests) == 1


UNAUTHORIZED = make_status(401, "Unauthorized", "Unauthorized")


async def test_a_401_of_the_api_server(server: FakeApiServer, tmp_path: Path) -> None:
    for path in (PROXY + PATH, "/version"):
        server.add_route(path, say(401, UNAUTHORIZED))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert "does not accept the credentials of user 'me'" in answer.problem
    assert [one.path for one in server.requests] == [PROXY + PATH, "/version"]


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_status_of_401_is_the_servers_where_the_api_server_accepts_the_credential(
    server: FakeApiServer, tmp_path: Path, is_answered: bool
) -> None:
    server.add_route(PROXY + PATH, say(401, UNAUTHORIZED))
    if is_answered:
        server.add_route("/version", say(403, make_status(403, "Forbidden", "no")))
    else:
        server.add_route("/version", abort)
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert answer.problem.startswith("The server requires an API token (401), which the API server")
    assert answer.body == json.dumps(UNAUTHORIZED).encode()


async def abort(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("missing", ["apiVersion", "status", "code", "reason"])
async def test_a_status_that_is_not_whole_is_the_servers(
    server: FakeApiServer, tmp_path: Path, missing: str
) -> None:
    """Of which the API server is not asked."""
    status = {name: value for name, value in UNAUTHORIZED.items() if name != missing}
    server.add_route(PROXY + PATH, say(401, status))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert answer.problem.startswith("The server requires an API token (401), which the API server")
    assert len(server.requests) == 1


async def test_a_refusal_with_a_long_body(server: FakeApiServer, tmp_path: Path) -> None:
    server.add_route(PROXY + PATH, say(400, b"x" * (1 << 20)))
    async with api_client(server, tmp_path) as client:
        answer = await ask(client, through_api_server())
    assert answer.problem.startswith("The server does not accept the request (400: xxx")
    assert answer.raw_text.endswith("… cut: the first 128.0 KiB of 1.0 MiB are kept.")


async def test_readonly_sends_nothing_through_the_api_server_but_what_is_read(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.add_route(PROXY + "/health", say(200, b"fine"))
    server.add_route(PATH, stream(*WHOLE))
    async with api_client(server, tmp_path, readonly=True) as client:
        assert (await ask(client, through_api_server())).problem == READONLY_REASON
        assert not server.requests
        assert (await ask(client, through_api_server(), READ)).text == "fine"
        assert (await ask(client, Way(WayKind.ENDPOINT, server.url))).text == "Hello"


async def test_without_a_connection(client: InferenceClient) -> None:
    answer = await ask(client, through_api_server())
    assert answer.problem == "Not connected to the API server yet; retrying."


# -- the ways -------------------------------------------------------------------------------------


def test_the_ways_that_there_are() -> None:
    whole = Endpoint(url="https://serve.example/a/b", proxy_path=PROXY)
    ways = find_ways(whole, "a", ["http://127.0.0.1:5"])
    assert [one.kind for one in ways] == ["endpoint", "api-server", "port-forward"]
    assert [one.kind for one in find_ways(Endpoint(proxy_path=PROXY), "a")] == ["api-server"]
    assert find_ways(Endpoint(), "a") == []
    assert "neither an endpoint nor a Service" in no_way_reason(Endpoint())
    grpc = Endpoint(url="https://x", is_grpc=True)
    assert find_ways(grpc, "a", ["x"]) == [] and "gRPC only" in no_way_reason(grpc)


def test_where_a_request_goes_is_shown_without_what_is_secret() -> None:
    way = Way(WayKind.ENDPOINT, "https://me:pw@serve.example/a\x1b[31m/")
    assert way.shown("/v1") == "https://serve.example/a/v1"
    assert through_api_server().shown("/v1") == f"{PROXY}/v1"


@pytest.mark.parametrize(
    ("kind", "url", "is_unencrypted"),
    [
        (WayKind.ENDPOINT, "http://serve.example/a", True),
        (WayKind.ENDPOINT, "http://10.0.0.1/a", True),
        (WayKind.ENDPOINT, "https://serve.example/a", False),
        (WayKind.ENDPOINT, "http://127.0.0.1:80/a", False),
        (WayKind.ENDPOINT, "http://[::1]:80/a", False),
        (WayKind.ENDPOINT, "http://localhost/a", False),
        (WayKind.PORT_FORWARD, "http://127.0.0.1:80", False),
        (WayKind.API_SERVER, PROXY, False),
    ],
)
def test_what_others_may_read(kind: WayKind, url: str, is_unencrypted: bool) -> None:
    assert Way(kind, url).is_unencrypted is is_unencrypted
