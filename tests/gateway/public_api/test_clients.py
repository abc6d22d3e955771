"""curl and the OpenAI client, unchanged."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from servedeck.gateway.upstreams.upstreams import FixedUpstreams
from tests.gateway.public_api.harness import (
    record,
    running_gateway,
    running_server,
    running_worker,
)
from tests.waiting import with_timeout

CURL = r"""curl -X POST 'https://<deployment-endpoint>/v1/chat/completions' \
-H 'Content-Type: application/json' \
-H 'Authorization: Bearer <token>' \
-H 'X-Async: true' \
-d '{"model": "model-name", "messages": [{"role": "user", "content": "Hello"}]}'"""
"""As it is documented for users."""

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
WORDS = ["One ", "two ", "three."]


async def chat(request: web.Request) -> web.StreamResponse:
    """A server with the chat completions of OpenAI's API."""
    if request.headers.get("Authorization") not in ("Bearer token", "Bearer <token>"):
        error = {"error": {"message": "Incorrect API key.", "type": "invalid_request_error"}}
        return web.json_response(error, status=401)
    body = await request.json()
    common = {"id": "c", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({**common, "object": "chat.completion", "choices": [choice]})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in WORDS:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        chunk = {**common, "object": "chat.completion.chunk", "choices": [choice]}
        await response.write(b"data: %s\n\n" % json.dumps(chunk).encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def client_of(url: str, key: str = "token") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_documented_curl_line(tmp_path: Path) -> None:
    async with (
        running_server(chat) as server,
        running_gateway(tmp_path, upstreams=FixedUpstreams([server])) as gateway,
    ):
        line = CURL.replace("https://<deployment-endpoint>", gateway.url)
        status, head, body = await _run(line + " -sS -i")
        assert status == 202
        accepted = json.loads(body)
        assert accepted["status"] == "pending"
        location = re.search(rb"(?im)^location: (\S+)\r$", head)
        assert location is not None
        assert location[1].decode() == accepted["status_url"]
        async with running_worker(gateway):
            result = f"{gateway.url}{accepted['result_url']}"
            status, _, body = await _run(
                f"curl -sS -i -H 'Authorization: Bearer <token>' -H 'Prefer: wait=60' {result}"
            )
            assert status == 200
            answer = json.loads(body)
            assert answer["model"] == "model-name"
            assert answer["choices"][0]["message"]["content"] == "".join(WORDS)
        status, _, _ = await _run(f"curl -sS -i {result}")
        assert status == 404


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_with_a_body_that_is_too_large(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 3_000_000)
    async with running_gateway(tmp_path, max_body_bytes=1000) as gateway:
        for options in ("", "-H 'Expect:'", "-H 'Transfer-Encoding: chunked'"):
            status, _, answer = await _run(
                f"curl -sS -i -H 'X-Async: true' {options} --data-binary @{body} {gateway.url}/x"
            )
            assert status == 413
            assert json.loads(answer)["title"] == "Request body too large"


async def test_the_openai_client_on_the_path(tmp_path: Path) -> None:
    async with (
        running_server(chat) as server,
        running_gateway(tmp_path, upstreams=FixedUpstreams([server])) as gateway,
        client_of(gateway.url) as client,
    ):
        completion = await with_timeout(
            client.chat.completions.create(model="m", messages=MESSAGES)
        )
        assert completion.choices[0].message.content == "".join(WORDS)
        stream = await with_timeout(
            client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        )
        assert [chunk.choices[0].delta.content async for chunk in stream] == WORDS
        async with client_of(gateway.url, "wrong") as other:
            with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
                await with_timeout(other.chat.completions.create(model="m", messages=MESSAGES))


async def test_the_openai_client_with_the_async_header(tmp_path: Path) -> None:
    async with (
        running_server(chat) as server,
        running_gateway(tmp_path, upstreams=FixedUpstreams([server])) as gateway,
        client_of(gateway.url) as client,
    ):
        accepted = await with_timeout(
            client.chat.completions.with_raw_response.create(
                model="m", messages=MESSAGES, extra_headers={"X-Async": "true"}
            )
        )
        assert accepted.status_code == 202
        async with running_worker(gateway):
            path = json.loads(accepted.text)["result_url"]
            completion = await with_timeout(
                client.get(f"{gateway.url}{path}?wait=60", cast_to=openai.types.chat.ChatCompletion)
            )
            assert completion.choices[0].message.content == "".join(WORDS)
            # In one call, for a client that waits.
            waited = await with_timeout(
                client.chat.completions.create(
                    model="m",
                    messages=MESSAGES,
                    extra_headers={"X-Async": "true", "Prefer": "wait=60"},
                )
            )
            assert waited.choices[0].message.content == "".join(WORDS)


async def test_the_openai_client_follows_a_stream(tmp_path: Path) -> None:
    async with (
        running_server(chat) as server,
        running_gateway(tmp_path, upstreams=FixedUpstreams([server])) as gateway,
        client_of(gateway.url) as client,
    ):
        accepted = await with_timeout(
            client.chat.completions.with_raw_response.create(
                model="m", messages=MESSAGES, stream=True, extra_headers={"X-Async": "true"}
            )
        )
        path = accepted.headers["Location"]
        for _ in range(2):  # while it runs, and after
            stream = await with_timeout(
                client.get(
                    f"{gateway.url}{path}/stream",
                    cast_to=openai.types.chat.ChatCompletionChunk,
                    stream=True,
                    stream_cls=openai.AsyncStream[openai.types.chat.ChatCompletionChunk],
                )
            )
            async with running_worker(gateway):
                words = [chunk.choices[0].delta.content async for chunk in stream]
            assert words == WORDS


async def test_the_openai_client_sees_that_an_attempt_was_void(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway, client_of(gateway.url) as client:
        accepted = await with_timeout(
            client.chat.completions.with_raw_response.create(
                model="m", messages=MESSAGES, stream=True, extra_headers={"X-Async": "true"}
            )
        )
        path = accepted.headers["Location"]
        stream = await with_timeout(
            client.get(
                f"{gateway.url}{path}/stream",
                cast_to=openai.types.chat.ChatCompletionChunk,
                stream=True,
                stream_cls=openai.AsyncStream[openai.types.chat.ChatCompletionChunk],
            )
        )
        chunk = b'data: {"id":"c","created":1,"model":"m","choices":[]}\n\n'
        claimed = await gateway.claim()
        assert await gateway.store.append_output(claimed.id, claimed.attempt, chunk)
        events = stream.__aiter__()
        await with_timeout(events.__anext__())
        assert await gateway.store.retry(claimed.id, claimed.attempt, 0, record(claimed))
        claimed = await gateway.claim()
        assert await gateway.store.append_output(claimed.id, claimed.attempt, chunk)
        with pytest.raises(openai.APIError, match="void"):
            await with_timeout(events.__anext__())


async def _run(command: str) -> tuple[int, bytes, bytes]:
    """Status, head and body of the last response that curl shows with -i."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await with_timeout(process.communicate())
    assert process.returncode == 0, errors
    while output.startswith(b"HTTP/1.1 100"):
        output = output.partition(b"\r\n\r\n")[2]
    head, _, body = output.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head + b"\r\n", body
