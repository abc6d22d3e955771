"""The real command: what it was given ends, whatever becomes of the process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.process.rig import (
    ANSWER,
    GatewayProcess,
    InferenceServer,
    curl,
    get_json,
    submit,
    wait_for_state,
)
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import wait_until, with_timeout

Start = Callable[..., Awaitable[GatewayProcess]]


@pytest.fixture
async def server() -> AsyncIterator[InferenceServer]:
    async with InferenceServer().serving() as server:
        yield server


@pytest.fixture
async def start(server: InferenceServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the command."""
    gateways = []

    async def start(*, until: str = "is ready", **settings: Any) -> GatewayProcess:
        values = {"upstreams": [server.url]} | settings
        gateway = GatewayProcess(tmp_path, **values)
        gateways.append(gateway)
        await gateway.start(until=until)
        return gateway

    yield start
    server.open.set()
    for one in gateways:
        await one.close()


async def result_of(gateway: GatewayProcess, id: str) -> Any:
    url = f"{gateway.public_url}/-/async/tasks/{id}/result"
    status, _, body = await curl(url, "-H", "Prefer: wait=60")
    assert status == 200, body
    return json.loads(body)


async def test_a_request_is_accepted_delivered_and_fetched(
    start: Start, server: InferenceServer
) -> None:
    gateway = await start()
    id = await submit(gateway)
    assert await result_of(gateway, id) == ANSWER
    assert server.arrived == [b'{"model": "llama"}']
    assert await gateway.end() == 0


async def test_a_request_that_sigterm_meets_ends_after_the_next_start(
    start: Start, server: InferenceServer
) -> None:
    gateway = await start()
    server.open.clear()
    id = await submit(gateway)
    await wait_until(lambda: server.arrived)
    assert await gateway.end() == 0
    await wait_until(lambda: server.cut == 1, "the request of the gateway that ended is cut")
    server.open.set()
    await gateway.start()
    assert await result_of(gateway, id) == ANSWER
    _, attempts = await get_json(f"{gateway.admin_url}/-/async/tasks/{id}/attempts")
    # handed back at once, and not counted
    assert [one["is_counted"] for one in attempts["items"]] == [False, True]
    assert len(server.arrived) == 2
    assert await changes(gateway, id) == [
        *("pending", "processing", "pending", "processing", "completed")
    ]


async def test_a_request_that_sigkill_meets_ends_after_the_next_start(
    start: Start, server: InferenceServer
) -> None:
    gateway = await start(lease=1.0)
    server.open.clear()
    id = await submit(gateway)
    await wait_until(lambda: server.arrived)
    await gateway.end(signal.SIGKILL)
    server.open.set()
    await gateway.start()
    assert await result_of(gateway, id) == ANSWER
    assert (await changes(gateway, id)).count("completed") == 1


async def changes(gateway: GatewayProcess, id: str) -> list[str]:
    """The states that the feed has told of a task until now, in order."""
    _, page = await get_json(f"{gateway.admin_url}/-/async/tasks")
    found: list[str] = []
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.admin_url}/-/async/feed?after=0") as response,
    ):
        while True:
            line = (await with_timeout(response.content.readline())).decode()
            assert line
            if line.startswith("data: "):
                events = json.loads(line.removeprefix("data: "))
                found += [one["state"] for one in events if one["id"] == id]
                if page["feed"] in [one["cursor"] for one in events]:
                    return found


async def test_running_requests_may_end_in_the_drain_time(
    start: Start, server: InferenceServer
) -> None:
    gateway = await start(drain=3600)
    server.open.clear()
    id = await submit(gateway)
    await wait_until(lambda: server.arrived)
    gateway.send(signal.SIGTERM)
    while (ready := await get_json(f"{gateway.admin_url}/readyz"))[0] == 200:
        await asyncio.sleep(0.02)
    assert (ready[0], ready[1]["message"]) == (503, "The gateway shuts down.")
    # its ports still answer
    await submit(gateway)
    server.open.set()
    assert await gateway.end(None) == 0
    await gateway.start()
    await wait_for_state(gateway, id, "completed")
    _, attempts = await get_json(f"{gateway.admin_url}/-/async/tasks/{id}/attempts")
    assert len(attempts["items"]) == 1


async def test_a_second_signal_ends_it_at_once(start: Start, server: InferenceServer) -> None:
    gateway = await start(drain=3600, lease=1.0)
    server.open.clear()
    id = await submit(gateway)
    await wait_until(lambda: server.arrived)
    gateway.send(signal.SIGINT)
    await gateway.until("shuts down")
    assert await gateway.end(signal.SIGTERM) == 128 + signal.SIGTERM
    server.open.set()
    await gateway.start()
    assert await result_of(gateway, id) == ANSWER


async def test_a_second_process_on_the_file_waits_for_the_first(start: Start) -> None:
    first = await start()
    second = await start(until="cannot be used yet")
    status, said = await get_json(f"{second.admin_url}/readyz")
    assert status == 503 and said["message"] not in ("", "The gateway starts.")
    status, headers, _ = await curl(
        *("-X", "POST", f"{second.public_url}/v1/x", "-H", "X-Async: true", "-d", "{}")
    )
    assert status == 503 and int(headers["retry-after"]) > 0
    assert await first.end() == 0
    await second.until("is ready")
    assert (await get_json(f"{second.admin_url}/readyz"))[0] == 200


async def test_a_store_that_is_away_is_waited_for(
    start: Start, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32)
    valkey_server.kill()
    values = {"store": valkey_server.url, "secret_file": str(tmp_path / "secret")}
    gateway = await start(until="cannot be used yet", **values)
    status, said = await get_json(f"{gateway.admin_url}/readyz")
    assert status == 503 and said["message"]
    assert (await get_json(f"{gateway.admin_url}/-/async/queue"))[0] == 503
    assert (await get_json(f"{gateway.public_url}/-/async/queue"))[0] == 503
    assert (await curl(f"{gateway.admin_url}/healthz"))[0] == 200
    valkey_server.restart()
    await gateway.until("is ready")
    assert await result_of(gateway, await submit(gateway)) == ANSWER
    assert await gateway.end() == 0


async def test_two_processes_on_one_valkey(
    start: Start, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32)
    values = {"store": valkey_server.url, "secret_file": str(tmp_path / "secret")}
    accept = await start(role="accept", **values)
    deliver = await start(role="deliver", **values)
    assert "Callers" not in deliver.log
    assert await result_of(accept, await submit(accept)) == ANSWER
    assert (await curl(f"{deliver.admin_url}/-/async/queue"))[0] == 404
    assert (await curl(f"{deliver.admin_url}/readyz"))[0] == 200
    assert [await accept.end(), await deliver.end()] == [0, 0]


async def test_what_a_caller_sends_is_not_logged(start: Start, server: InferenceServer) -> None:
    gateway = await start()
    id = await submit(gateway, "-H", "Authorization: Bearer s3cret")
    await wait_for_state(gateway, id, "completed")
    await curl(f"{gateway.public_url}/v1/models?api_key=s3cret", "-H", "Cookie: s3cret")
    server.open.clear()
    await submit(gateway, "-H", "Cookie: s3cret")
    await wait_until(lambda: len(server.arrived) == 3)
    await gateway.end()
    assert "s3cret" not in gateway.log and 'llama"' not in gateway.log


async def test_a_port_that_is_taken_is_told(start: Start, server: InferenceServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = await start(port=port, until="Cannot listen")
        assert await gateway.end(None) == 1
    [line] = [one for one in gateway.log.splitlines() if one.startswith("servedeck: ")]
    assert line == f"servedeck: Cannot listen on 127.0.0.1 port {port}: Address already in use."
    assert "Traceback" not in gateway.log
