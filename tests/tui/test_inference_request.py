"""A test request from Connect, to a real server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from textual.pilot import Pilot

from servedeck.serving.endpoint import Endpoint
from servedeck.serving.inference_request import DEFAULT_PROMPT
from tests.cluster.fake_api_server import FakeApiServer, serve
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.waiting import wait_until, with_timeout
from tui.app import ServedeckApp
from tui.screens.connect import ConnectScreen
from tui.screens.inference_request import InferenceRequestScreen
from tui.screens.value import ValueScreen

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATH = "/v1/chat/completions"
TOKEN = "sk-secret"
PROXY = "/api/v1/namespaces/team-a/services/http:llama:80/proxy"


def chunk(text: str, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps({'model': 'llama', 'choices': [choice]})}\n\n".encode()


class Server:
    """Streams "Hello", waits for `go_on`, and goes on."""

    def __init__(self) -> None:
        self.fake = FakeApiServer()
        self.go_on = asyncio.Event()
        self.is_ended = asyncio.Event()
        self.bodies: list[dict[str, Any]] = []
        self.fake.add_route(PATH, self._stream)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(chunk("Hello\x1b[31m"))
            await self.go_on.wait()
            usage = {"choices": [], "usage": {"completion_tokens": 12}}
            await response.write(chunk(" operator", "stop"))
            await response.write(f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        finally:
            self.is_ended.set()
        return response

    def endpoint(self, **more: Any) -> Endpoint:
        return Endpoint(url=self.fake.url, model="llama", **more)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    async with serve(one.fake):
        yield one


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    sent: list[str] = []
    monkeypatch.setattr(ServedeckApp, "write_to_terminal", lambda self, text: sent.append(text))
    return sent


def app_with(endpoint: Endpoint, *, readonly: bool = False, **changes: Any) -> ServedeckApp:
    view = fakes.serving("llama", endpoint=endpoint, **changes)
    return make_app(fakes.FakeSource().add_views(view), readonly=readonly)


async def open_request(pilot: Pilot[Any], app: ServedeckApp) -> None:
    await pilot.press("c")
    await wait_for(pilot, lambda: isinstance(app.screen, ConnectScreen), "Connect")
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(app.screen, InferenceRequestScreen), "the request")


async def type_text(pilot: Pilot[Any], text: str) -> None:
    await pilot.press("ctrl+u", *text)


async def test_the_answer_comes_in_with_its_figures(server: Server, written: list[str]) -> None:
    app = app_with(server.endpoint())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await wait_for_text(pilot, "Test request to team-a/llama", "Through the endpoint")
        await wait_for_text(pilot, f"POST {server.fake.url}{PATH}", DEFAULT_PROMPT)
        await pilot.press("enter")
        await wait_for_text(pilot, "the answer is coming through the endpoint", "Hello")
        assert "answered" not in screen_text(app) and "esc cancel" in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "The request is sent; esc cancels it.")
        server.go_on.set()
        await wait_for_text(
            pilot,
            "✓ answered through the endpoint",
            "time to first token",
            "tokens/s after the first token",
            "12 tokens (usage)",
            "HTTP 200",
            "finish reason stop",
            "Hello operator",
        )
        [body] = server.bodies
        assert body["messages"] == [{"role": "user", "content": DEFAULT_PROMPT}]
        assert (body["max_tokens"], body["model"], body["stream"]) == (64, "llama", True)
        assert "Authorization" not in server.fake.requests[0].headers
        await pilot.press("ctrl+o")
        await wait_for(pilot, lambda: isinstance(app.screen, ValueScreen), "the raw answer")
        await wait_for_text(pilot, "HTTP 200 OK", "Content-Type: text/event-stream", "data: [DONE]")
        await pilot.press("escape", "ctrl+y")
        await wait_for(pilot, lambda: written, "the copy")
        raw = base64.b64decode(written[0].split(";")[2].rstrip("\x07")).decode()
        assert raw.startswith("HTTP 200 OK\n") and "data: [DONE]" in raw and "\x1b" not in raw


async def test_prompt_length_and_token_are_typed(server: Server) -> None:
    app = app_with(server.endpoint())
    server.go_on.set()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await type_text(pilot, "Why?")
        await pilot.press("tab")
        await type_text(pilot, "5")
        await pilot.press("tab")
        await type_text(pilot, TOKEN)
        await wait_for_text(pilot, "•" * len(TOKEN))
        assert TOKEN not in screen_text(app) and "•" * len(TOKEN) in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "✓ answered")
    [body] = server.bodies
    assert (body["messages"][0]["content"], body["max_tokens"]) == ("Why?", 5)
    assert server.fake.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_a_token_for_an_endpoint_without_tls_is_warned_of() -> None:
    app = app_with(Endpoint(url="http://serve.example/llama"))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await pilot.press("tab", "tab", "x")
        await wait_for_text(pilot, "The endpoint has no TLS: the API token is sent unencrypted.")


async def test_what_is_wrong_is_said_at_its_field(server: Server) -> None:
    app = app_with(server.endpoint())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await type_text(pilot, " ")
        await pilot.press("tab")
        await type_text(pilot, "0")
        await pilot.press("tab")
        await type_text(pilot, "a b")
        await pilot.press("enter")
        await wait_for_text(
            pilot,
            "Enter a prompt, such as",
            "Enter a number of tokens from 1 to 100,000.",
            "An API token has no spaces",
        )
        await type_text(pilot, "Hi")  # the first wrong field has the focus
        await wait_for(pilot, lambda: "Enter a prompt" not in screen_text(app), "no error")
    assert not server.bodies


async def test_escape_cancels_a_request_and_then_closes(server: Server) -> None:
    app = app_with(server.endpoint())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await pilot.press("enter")
        await wait_for_text(pilot, "Hello")
        [worker] = [one for one in app.workers if one.group == "inference"]
        await pilot.press("escape")
        assert worker.is_cancelled
        await wait_for_text(pilot, "– Canceled; the connection was closed.", "Hello", "HTTP 200")
        await with_timeout(server.is_ended.wait())
        server.go_on.set()
        await pilot.press("enter")
        await wait_for_text(pilot, "✓ answered", "Hello operator")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ConnectScreen), "Connect")


async def test_leaving_the_program_ends_the_request(server: Server) -> None:
    app = app_with(server.endpoint())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await pilot.press("enter")
        await wait_for_text(pilot, "Hello")
    await wait_until(server.is_ended.is_set)


async def test_one_key_takes_the_next_way(server: Server) -> None:
    app = app_with(server.endpoint(proxy_path=PROXY))
    async with app.run_test(size=(100, 30)) as pilot:
        await open_request(pilot, app)
        await wait_for_text(pilot, "Through the endpoint", "1 of 2, ctrl+t takes the next")
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "Through the API server", f"POST {PROXY}{PATH}")
        await pilot.press("tab", "tab", "x")
        await wait_for_text(pilot, "The API server does not pass the API token on; it is not sent.")
        await pilot.press("enter")
        await wait_for_text(pilot, "✗ Not connected to the API server yet; retrying.")
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "Through the endpoint")
        app.source.add_views(fakes.serving("llama", endpoint=Endpoint(proxy_path=PROXY)))
        await wait_for_text(pilot, "Through the API server")
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "There is no other way to it than the API server.")


async def test_readonly_sends_nothing_through_the_api_server() -> None:
    app = app_with(Endpoint(proxy_path=PROXY), readonly=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await open_request(pilot, app)
        await pilot.press("enter")
        await wait_for_text(pilot, "which --readonly rejects; send it to the endpoint")


async def test_a_server_without_a_known_request_is_asked_for_a_path(server: Server) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text="fine")

    server.fake.add_route("/health", answer)
    app = app_with(server.endpoint(), template="custom", model="")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        screen = await wait_for_text(pilot, f"GET {server.fake.url}/", "Path")
        assert "Prompt" not in screen
        await type_text(pilot, "/../x")
        await pilot.press("enter")
        await wait_for_text(pilot, "Enter a path without . and ..")
        await type_text(pilot, "/health")
        await wait_for_text(pilot, f"GET {server.fake.url}/health")
        await pilot.press("enter")
        await wait_for_text(pilot, "✓ answered", "fine")


async def test_an_embedding_has_no_number_of_tokens(server: Server) -> None:
    app = app_with(replace(server.endpoint(), model="bge"), model="BAAI/bge-m3")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        screen = await wait_for_text(pilot, f"POST {server.fake.url}/v1/embeddings", "Prompt")
        assert "Max tokens" not in screen


@pytest.mark.parametrize(
    ("desired", "sentence"),
    [
        (2, "No Pod is Ready: the request fails unless one becomes Ready."),
        (0, "It is scaled to 0: the request fails, unless requests scale it up."),
    ],
)
async def test_without_a_ready_pod_it_warns_and_sends(
    server: Server, desired: int, sentence: str
) -> None:
    app = app_with(server.endpoint(), ready=0, desired=desired)
    server.go_on.set()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await wait_for_text(pilot, sentence)
        await pilot.press("enter")
        await wait_for_text(pilot, "✓ answered")


async def test_an_error_keeps_the_raw_answer(server: Server) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "Unauthorized"}, status=401)

    server.fake.add_route(PATH, refuse)
    app = app_with(server.endpoint())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_request(pilot, app)
        await pilot.press("ctrl+o")
        await wait_for_text(pilot, "There is no answer yet.")
        await pilot.press("enter")
        await wait_for_text(
            pilot, "✗ The server requires an API token (401); enter it in API token"
        )
        await pilot.press("ctrl+o")
        await wait_for_text(pilot, "HTTP 401 Unauthorized", '{"error": "Unauthorized"}')


async def test_grpc_says_why_there_is_none() -> None:
    app = app_with(Endpoint(is_grpc=True, cluster_url="llama.team-a.svc:9000"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, ConnectScreen), "Connect")
        await pilot.press("enter")
        await wait_for_text(pilot, "accepts gRPC only; no test request is sent to it.")
        assert isinstance(app.screen, ConnectScreen)


async def test_the_figures_come_first_on_a_low_terminal(server: Server) -> None:
    app = app_with(server.endpoint())
    server.go_on.set()
    async with app.run_test(size=(20, 10)) as pilot:
        await open_request(pilot, app)
        await pilot.press("enter")
        screen = await wait_for_text(pilot, "✓ answered through", "esc close")
        assert screen.index("✓ answered") > screen.index("Token")
