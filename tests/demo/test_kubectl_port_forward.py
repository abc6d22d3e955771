"""kubectl port-forward of the real kubectl, with each protocol that it speaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.demo.resources import PODS
from tests.control_plane.processes import find_binary
from tests.demo.api_fixture import Api, place_pod
from tests.waiting import wait_until, with_timeout

KUBECTL = find_binary("kubectl") or ""
pytestmark = [
    pytest.mark.skipif(not KUBECTL, reason="kubectl is not installed"),
    pytest.mark.parametrize("websockets", ["true", "false"], ids=["WebSocket", "HTTP"]),
]


class Forward:
    """A running kubectl port-forward, and its local port."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def end(self) -> tuple[int, str]:
        """Exit status and standard error of a kubectl that ends by itself."""
        _, error = await with_timeout(self.process.communicate())
        assert self.process.returncode is not None
        return self.process.returncode, error.decode()


@pytest.fixture
async def forward(api: Api, tmp_path: Path, websockets: str) -> AsyncIterator[Forward]:
    """To port 8000 of a Pod that sends back what it gets."""
    place_pod(api)
    api.store.mutate(PODS, "a", "p", lambda pod: pod["status"].update(phase="Running"), "status")
    config = tmp_path / "config"
    config.write_text(json.dumps(api.server.kubeconfig()))
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        *("--kubeconfig", str(config), "port-forward", "-n", "a", "pod/p", ":8000"),
        *("--address", "127.0.0.1"),
        env=os.environ | {"HOME": str(tmp_path), "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await with_timeout(process.stdout.readline())).decode()
        found = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8000\n", line)
        assert found, line
        yield Forward(process, int(found[1]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await with_timeout(process.wait())


async def exchange(forward: Forward, body: bytes) -> bytes:
    """As many bytes as are sent."""
    reader, writer = await forward.connect()

    async def send() -> None:
        writer.write(body)
        await writer.drain()

    sending = asyncio.create_task(send())
    try:
        return await with_timeout(reader.readexactly(len(body)))
    finally:
        sending.cancel()  # done unless the peer has stopped reading
        writer.close()


async def test_several_connections_at_once_and_large_bodies(forward: Forward) -> None:
    bodies = [random.Random(number).randbytes(2 << 20) for number in range(4)]
    found = await asyncio.gather(*(exchange(forward, one) for one in bodies))
    assert found == bodies


async def test_a_client_that_stops_sending_gets_the_rest(forward: Forward) -> None:
    reader, writer = await forward.connect()
    body = b"x" * 300_000
    writer.write(body)
    writer.write_eof()
    assert await with_timeout(reader.read(-1)) == body
    writer.close()


async def test_a_client_that_goes_does_not_end_the_port_forward(forward: Forward) -> None:
    for _ in range(5):
        _, writer = await forward.connect()
        writer.write(b"x" * 100_000)
        await writer.drain()
        writer.transport.abort()
    assert await exchange(forward, b"hello") == b"hello"
    assert forward.process.returncode is None


async def test_a_port_where_nothing_listens(api: Api, forward: Forward) -> None:
    api.kubelet.answer = None
    reader, writer = await forward.connect()
    assert await with_timeout(reader.read()) == b""
    writer.close()
    code, error = await forward.end()
    assert code == 1
    assert "error forwarding port 8000 to pod p, uid : failed to execute portforward" in error
    assert error.endswith("error: lost connection to pod\n")


async def test_a_pod_that_is_deleted_meanwhile(api: Api, forward: Forward) -> None:
    assert await exchange(forward, b"hello") == b"hello"
    api.store.delete(PODS, "a", "p", grace=0)
    reader, writer = await forward.connect()
    assert await with_timeout(reader.read()) == b""
    writer.close()
    code, error = await forward.end()
    assert code == 1 and "failed to find sandbox" in error


async def test_a_server_that_ends_ends_kubectl(api: Api, forward: Forward) -> None:
    await api.server.stop()
    code, error = await forward.end()
    assert (code, error) == (1, "error: lost connection to pod\n")


async def test_a_kubectl_that_ends_leaves_no_connection_to_the_pod(
    api: Api, forward: Forward
) -> None:
    reader, writer = await forward.connect()
    writer.write(b"hello")
    assert await with_timeout(reader.readexactly(5)) == b"hello"

    def tasks() -> list[str]:
        return [str(one.get_coro()) for one in asyncio.all_tasks() if not one.done()]

    assert any("_Forwards._forward" in one for one in tasks())
    forward.process.terminate()
    await with_timeout(forward.process.wait())
    await wait_until(lambda: not any("_Forwards._forward" in one for one in tasks()), "its end")
    writer.close()
