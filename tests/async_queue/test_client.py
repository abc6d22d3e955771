"""The client of a gateway's admin API, on a real gateway behind an API server's Service proxy."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from servedeck.async_queue.client import AccessKey, AsyncQueueClient
from servedeck.async_queue.errors import NotPermittedError, TooOldError, UnreachableError
from servedeck.async_queue.tasks import Changed, TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.gateway.process import Gateway, running_gateway
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.gateway.process.rig import InferenceServer
from tests.gateway.process.test_running_gateway import settings
from tests.waiting import wait_until, with_timeout

SECRET = "/api/v1/namespaces/chat/secrets/llama-async"
PROXY = "/api/v1/namespaces/chat/services/llama-async-admin:80/proxy"
KEYS = {"admin-key": "administrator", "view-key": "viewer"}


def secret_of(keys: dict[str, str]) -> web.Response:
    data = {name: base64.b64encode(key.encode()).decode() for name, key in keys.items()}
    return web.json_response({"metadata": {"name": "llama-async"}, "data": data})


@pytest.fixture
async def server() -> AsyncIterator[InferenceServer]:
    async with InferenceServer().serving() as server:
        server.open.clear()
        yield server


@pytest.fixture
async def gateway(
    api: FakeApiServer, server: InferenceServer, tmp_path: Path
) -> AsyncIterator[Gateway]:
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key)
    made = settings(
        tmp_path,
        upstreams=(server.url,),
        pod_concurrency=1,
        admin_key_file=tmp_path / "admin-key",
        view_key_file=tmp_path / "view-key",
    )
    async with running_gateway(made) as gateway, aiohttp.ClientSession() as session:
        await with_timeout(gateway.wait_until_open())

        async def forward(request: web.Request) -> web.StreamResponse:
            url = f"http://127.0.0.1:{gateway.admin_port}{request.path_qs.removeprefix(PROXY)}"
            headers = {"X-Servedeck-Key": request.headers.get("X-Servedeck-Key", "")}
            async with session.request(request.method, url, headers=headers) as answer:
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type=answer.content_type,
                )

        async def secret(_: web.Request) -> web.StreamResponse:
            return secret_of(KEYS)

        api.add_route(SECRET, secret)
        for path in ("", "/purge", "/close", "/open", "/forget", "/none"):
            api.add_route(f"{PROXY}/-/async/queue{path}", forward)
        yield gateway


async def submit(gateway: Gateway, count: int) -> None:
    url = f"http://127.0.0.1:{gateway.public_port}/v1/chat/completions"
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.post(url, headers={"X-Async": "true"}, data=b"{}") as response:
                assert response.status == 202


async def test_the_status_and_the_tasks_that_are_cancelled(
    gateway: Gateway, server: InferenceServer, connection: Connection
) -> None:
    await submit(gateway, 3)
    await wait_until(lambda: server.arrived)
    client = AsyncQueueClient(connection, "chat", "llama")
    status = await client.queue_status()
    assert (status.serving, status.counts.pending, status.counts.processing) == ("chat/llama", 2, 1)
    assert await client.cancel_tasks(TaskState.PENDING) == 2
    assert await client.cancel_tasks(TaskState.PROCESSING) == 1
    assert await client.cancel_tasks(TaskState.PENDING) == 0
    assert (await client.queue_status()).counts.cancelled == 3


async def test_close_and_open(gateway: Gateway, connection: Connection) -> None:
    client = AsyncQueueClient(connection, "chat", "llama")
    await client.close_queue()
    assert (await client.queue_status()).closed
    await client.open_queue()
    assert not (await client.queue_status()).closed


async def test_ended_tasks_are_deleted(
    gateway: Gateway, server: InferenceServer, connection: Connection
) -> None:
    await submit(gateway, 3)
    await wait_until(lambda: server.arrived)
    client = AsyncQueueClient(connection, "chat", "llama")
    assert await client.forget_tasks() == 0
    await client.cancel_tasks(TaskState.PENDING)
    assert await client.forget_tasks() == 2
    counts = (await client.queue_status()).counts
    assert (counts.processing, counts.cancelled) == (1, 0)


async def test_a_gateway_that_does_not_know_a_route(
    gateway: Gateway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AsyncQueueClient(connection, "chat", "llama")
    with pytest.raises(TooOldError):
        await client._ask("POST", "/queue/none", AccessKey.ADMIN, Changed)


async def test_a_key_that_is_not_accepted(
    api: FakeApiServer, gateway: Gateway, connection: Connection
) -> None:
    async def wrong(_: web.Request) -> web.StreamResponse:
        return secret_of(dict.fromkeys(KEYS, "another"))

    api.add_route(SECRET, wrong)
    with pytest.raises(NotPermittedError, match="does not accept the key in Secret"):
        await AsyncQueueClient(connection, "chat", "llama").queue_status()


async def test_no_pod_of_the_gateway(
    api: FakeApiServer, gateway: Gateway, connection: Connection
) -> None:
    async def no_endpoints(_: web.Request) -> web.StreamResponse:
        message = 'no endpoints available for service "llama-async-admin:80"'
        status = make_status(503, "ServiceUnavailable", message)
        return web.json_response(status, status=503)

    api.add_route(PROXY + "/-/async/queue", no_endpoints)
    client = AsyncQueueClient(connection, "chat", "llama")
    with pytest.raises(UnreachableError, match="leads to no Pod"):
        await client.queue_status()
