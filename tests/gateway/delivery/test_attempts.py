"""What the inference server is asked, and what becomes of each of its answers."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import msgspec
import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import ResponseHead
from servedeck.gateway.stores.store import Content
from tests.gateway.delivery.gateway import MakeGateway, eventually
from tests.gateway.delivery.inference_server import (
    STREAM_HEAD,
    answers,
    chunk,
    hangs,
    sends,
    serve,
)
from tests.waiting import wait_until, with_timeout


async def test_the_request_arrives_as_it_was_stored(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        path = '/v1/a/../b//c%2Fd?x=%20+&y="ü'
        headers = [("content-type", "text/x; q=é"), ("x-two", "1"), ("x-two", "2")]
        headers = [(name, value.encode().decode("latin-1")) for name, value in headers]
        id = await gateway.submit(
            b"\x00body",
            path=path,
            headers=[*headers, ("host", "evil"), ("content-length", "1"), ("te", "x")],
            credentials=[("authorization", "Bearer key")],
            method="PUT",
        )
        async with gateway.running():
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        (request,) = server.requests
        assert request.line == b'PUT /v1/a/../b//c%2Fd?x=%20+&y="%FC HTTP/1.1'
        assert request.body == b"\x00body"
        sent = [(name.lower(), value) for name, value in request.headers]
        assert sorted(sent) == sorted(
            [
                *headers,
                ("authorization", "Bearer key"),
                ("host", server.url.partition("://")[2]),
                ("content-length", "5"),
            ]
        )


async def test_the_response_is_kept_as_it_was_sent(make_gateway: MakeGateway) -> None:
    body = gzip.compress(b"result")
    headers = ["Content-Encoding: gzip", "X-Two: 1", "X-Two: 2", "Connection: x-hop", "X-Hop: 1"]
    async with serve(answers(201, body, *headers)) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.status, task.reason) == (TaskState.COMPLETED, 201, "")
        head = msgspec.json.decode((await gateway.response(id)).head, type=ResponseHead)
        assert head.status == 201
        assert head.headers == [("content-encoding", "gzip"), ("x-two", "1"), ("x-two", "2")]
        assert await gateway.body(id) == body
        assert gateway.metric("attempts_total", code="201") == 1
        assert gateway.metric("ended_total", outcome="completed") == 1


@pytest.mark.parametrize("place", ["store", "objects"])
async def test_the_tokens_of_a_response_are_kept(
    make_gateway: MakeGateway, tmp_path: Path, place: str
) -> None:
    usage = b'{"text": "%s", "usage": {"prompt_tokens": 7, "completion_tokens": 9}}' % (b"x" * 500)
    parts = (b'{"usage": null}', b'{"usage": {"completion_tokens": 3}}', b"[DONE]")
    stream = b"".join(b"data: %s\n\n" % one for one in parts)
    where = {"objects": f"file:{tmp_path / 'objects'}", "inline_bytes": 100}
    scripts = [
        answers(200, usage),
        answers(200, stream, "Content-Type: text/event-stream"),
        answers(200, b"none"),
        answers(400, usage),
    ]
    async with serve(*scripts) as server:
        gateway = await make_gateway(server.url, **(where if place == "objects" else {}))
        found = []
        async with gateway.running():
            for _ in scripts:
                task = await gateway.wait_for(await gateway.submit())
                found.append((task.prompt_tokens, task.completion_tokens))
    # a failed task may be tried again
    assert found == [(7, 9), (None, 3), (None, None), (None, None)]


async def test_a_redirect_is_not_followed(make_gateway: MakeGateway) -> None:
    async with serve(answers(307, b"", "Location: http://169.254.169.254/")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            assert (await gateway.wait_for(id)).status == 307
        assert len(server.requests) == 1


async def test_cookies_of_one_caller_are_not_sent_for_another(make_gateway: MakeGateway) -> None:
    async with serve(answers(200, b"", "Set-Cookie: session=1; Path=/")) as server:
        gateway = await make_gateway(server.url)
        async with gateway.running():
            for _ in range(2):
                await gateway.wait_for(await gateway.submit())
        assert [one.header("cookie") for one in server.requests] == [None, None]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_refusal_fails_with_its_response(make_gateway: MakeGateway, status: int) -> None:
    async with serve(answers(status, b"no")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.REFUSED)
        assert (task.status, task.attempt) == (status, 1)
        assert await gateway.body(id) == b"no"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_temporary_error_is_tried_again(make_gateway: MakeGateway, status: int) -> None:
    async with serve(answers(status, b"no"), answers(200, b"yes")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.attempt) == (TaskState.COMPLETED, 2)
        assert await gateway.body(id) == b"yes"
        first, second = await gateway.store.read_attempts(id)
        assert (first.status, first.is_counted) == (status, True)
        assert str(status) in first.message
        assert (second.status, second.message) == (200, "")


async def test_the_last_response_of_a_dead_letter_is_kept(make_gateway: MakeGateway) -> None:
    async with serve(answers(500, b"first"), answers(503, b"last")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(max_attempts=2)
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.EXHAUSTED)
        assert task.status == 503
        assert await gateway.body(id) == b"last"


async def test_retry_after_is_waited_for(make_gateway: MakeGateway) -> None:
    async with serve(answers(503, b"", "Retry-After: 4000"), answers()) as server:
        gateway = await make_gateway(server.url, max_backoff=5000)
        id = await gateway.submit(lifetime=10_000)
        async with gateway.running():
            (attempt,) = await eventually(lambda: gateway.store.read_attempts(id))
        task = await gateway.find(id)
        assert (task.state, task.attempt) == (TaskState.PENDING, 1)
        assert task.next_attempt is not None
        waited = task.next_attempt - attempt.ended
        assert 3990 < waited < 4500


BROKEN = {
    "short": answers(200, b"par", length=10),
    "unfinished chunks": sends(STREAM_HEAD + chunk(b"data: 1\n\n")),
    "no response": sends(b""),
    "half a head": sends(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "not HTTP": sends(b"hello\r\n\r\n"),
    "another protocol": sends(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx"
    ),
    "no status of an answer": sends(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
    "no status of HTTP": sends(b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_response_that_is_not_whole_is_tried_again(
    make_gateway: MakeGateway, broken: str
) -> None:
    async with serve(BROKEN[broken], answers(200, b"whole")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.attempt) == (TaskState.COMPLETED, 2)
        assert await gateway.body(id) == b"whole"
        message = (await gateway.store.read_attempts(id))[0].message
        assert message.startswith("The inference server")


async def test_a_response_that_never_was_whole_is_not_kept(make_gateway: MakeGateway) -> None:
    async with serve(answers(200, b"par", length=10)) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(max_attempts=2)
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.reason, task.status) == (FailureReason.EXHAUSTED, None)
        assert await gateway.store.read_response(id) is None
        assert [one.status for one in await gateway.store.read_attempts(id)] == [200, 200]


async def test_a_response_that_no_caller_could_be_given_is_not_kept(
    make_gateway: MakeGateway,
) -> None:
    async with serve(BROKEN["no status of HTTP"]) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(max_attempts=1)
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.reason, task.status) == (FailureReason.EXHAUSTED, None)
        assert "the status 999" in task.message
        assert await gateway.store.read_response(id) is None


async def test_bytes_after_the_response_are_of_no_other_task(make_gateway: MakeGateway) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    too_long = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + smuggled)
    async with serve(too_long, answers(200, b"mine")) as server:
        gateway = await make_gateway(server.url, pod_concurrency=1)
        first, second = await gateway.submit(), await gateway.submit()
        async with gateway.running():
            await gateway.wait_for(first)
            await gateway.wait_for(second)
        assert b"evil" not in await gateway.body(first)
        assert await gateway.body(second) == b"mine"


async def test_an_unreachable_pod_uses_up_the_attempts(make_gateway: MakeGateway) -> None:
    async with serve() as server:
        url = server.url
    gateway = await make_gateway(url)
    id = await gateway.submit(max_attempts=2)
    async with gateway.running():
        task = await gateway.wait_for(id)
    assert (task.reason, task.attempt) == (FailureReason.EXHAUSTED, 2)
    assert "cannot be reached" in task.message


async def test_an_attempt_that_takes_too_long_is_cut_off(make_gateway: MakeGateway) -> None:
    async with serve(hangs(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(attempt_seconds=0.2, max_attempts=1)
        async with gateway.running():
            task = await gateway.wait_for(id)
            await wait_until(lambda: not server.open_connections)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.EXHAUSTED)
        assert "longer than 0.2 s" in task.message


async def test_the_deadline_ends_an_attempt(make_gateway: MakeGateway) -> None:
    async with serve(hangs()) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(lifetime=1.0)
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.EXPIRED)


async def test_credentials_of_another_secret_are_not_guessed(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        other = Identity(b"o" * 32)
        gateway.identity.encrypt = other.encrypt
        id = await gateway.submit(credentials=[("authorization", "Bearer key")])
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.LOST)
        assert not server.requests


async def test_a_path_cannot_name_another_host(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server, serve(answers()) as other:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(path="@" + other.url.partition("://")[2] + "/")
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.REFUSED)
        assert not server.requests
        assert not other.requests


async def test_a_header_cannot_add_another(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(headers=[("x-a", "1\r\nx-evil: 1")], max_attempts=1)
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert task.state is TaskState.FAILED
        assert not server.requests


# -- large bodies -------------------------------------------------------------------------------


def with_objects(tmp_path: Path) -> dict[str, object]:
    return {"objects": f"file:{tmp_path}/objects", "inline_bytes": 1000}


@pytest.mark.parametrize("size", [1000, 1001, 3_000_000])
async def test_a_large_result_goes_to_the_object_store(
    tmp_path: Path, make_gateway: MakeGateway, size: int
) -> None:
    body = os.urandom(size)
    async with serve(answers(200, body)) as server:
        gateway = await make_gateway(server.url, **with_objects(tmp_path))
        id = await gateway.submit()
        async with gateway.running():
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        content = (await gateway.response(id)).body
        assert bool(content.object) is (size > 1000)
        assert content.size == size
        assert await gateway.body(id) == body


async def test_a_large_request_is_read_from_the_object_store(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    body = os.urandom(3_000_000)
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, **with_objects(tmp_path))
        assert gateway.objects is not None
        await gateway.objects.put("task/request", body)
        id = await gateway.submit(Content(object="task/request", size=len(body)))
        async with gateway.running():
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        assert server.requests[0].body == body
        assert server.requests[0].header("content-length") == str(len(body))


@pytest.mark.parametrize("size", [5, 5000])
async def test_a_body_that_is_gone_loses_the_task(
    tmp_path: Path, make_gateway: MakeGateway, size: int
) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, **with_objects(tmp_path))
        assert gateway.objects is not None
        if size == 5000:
            await gateway.objects.put("task/request", b"shorter")
        id = await gateway.submit(Content(object="task/request", size=size))
        async with gateway.running():
            task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.LOST)


async def test_an_object_store_that_is_away_costs_no_attempt(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(Content(object="task/request", size=5), max_attempts=1)
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["retry"] > 2)
            attempts = await eventually(lambda: gateway.store.read_attempts(id))
        assert not any(one.is_counted for one in attempts)
        assert not server.requests


@pytest.mark.parametrize("with_length", [True, False])
async def test_a_result_over_the_limit_is_cut_off(
    make_gateway: MakeGateway, with_length: bool
) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
    if not with_length:
        start = STREAM_HEAD + chunk(b"x" * 2000)
    async with serve(hangs(start)) as server:
        gateway = await make_gateway(server.url, max_result_bytes=1999)
        id = await gateway.submit()
        async with gateway.running():
            task = await gateway.wait_for(id)
            await with_timeout(server.requests[0].was_aborted.wait())
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.RESULT_TOO_LARGE)
        assert task.attempt == 1


# -- event streams ------------------------------------------------------------------------------


async def test_a_stream_can_be_followed_and_is_kept_whole(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()
    pieces = [b"data: 1\n\nda", b"ta: 2\r\n\r\ndata: [DO", b"NE]\n\n"]

    async def script(request, reader, writer) -> None:
        writer.write(STREAM_HEAD + chunk(pieces[0]))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(pieces[1]) + chunk(pieces[2]) + b"0\r\n\r\n")
        await writer.drain()

    async with serve(script) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit(is_stream=True)
        async with gateway.running():
            assert await eventually(lambda: gateway.parts(id)) == [b"data: 1\n\n"]
            assert (await gateway.find(id)).state is TaskState.PROCESSING
            go_on.set()
            task = await gateway.wait_for(id)
        assert task.state is TaskState.COMPLETED
        whole = b"".join(pieces)
        assert await gateway.body(id) == whole
        stored = await gateway.parts(id)
        assert b"".join(stored) == whole
        assert all(one.endswith(b"\n\n") for one in stored)
        head = msgspec.json.decode((await gateway.response(id)).head, type=ResponseHead)
        assert head.is_event_stream


async def test_a_compressed_stream_is_kept_whole_only(make_gateway: MakeGateway) -> None:
    body = gzip.compress(b"data: 1\n\n")
    headers = ["Content-Type: text/event-stream", "Content-Encoding: gzip"]
    async with serve(answers(200, body, *headers)) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            await gateway.wait_for(id)
        assert not await gateway.parts(id)
        assert await gateway.body(id) == body


async def test_parts_that_the_store_has_are_not_stored_again(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()

    async def script(request, reader, writer) -> None:
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await writer.drain()
        await go_on.wait()
        writer.write(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async with serve(script) as server:
        gateway = await make_gateway(server.url)
        gateway.store.lost_answers.add("append_output")
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.failures["append_output"])
            await wait_until(lambda: gateway.store.calls["read_outputs"])
            go_on.set()
            await gateway.wait_for(id)
        assert await gateway.parts(id) == [b"data: 1\n\n", b"data: 2\n\n"]
