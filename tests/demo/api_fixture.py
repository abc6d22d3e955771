"""An API server over a store and a kubelet that a test controls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from servedeck.demo.api import access
from servedeck.demo.api.kubelet_api import (
    CommandOutput,
    ExecutableNotFoundError,
    LogOptions,
    ProxyRequest,
    ProxyResponse,
)
from servedeck.demo.api.server import ApiServer
from servedeck.demo.resources import PODS
from servedeck.demo.store.store import ObjectStore

Json = dict[str, Any]


class FakeKubelet:
    """Records requests and responds with what the test has set."""

    def __init__(self) -> None:
        self.options: list[LogOptions] = []
        self.requests: list[tuple[str, int, ProxyRequest]] = []
        self.lines = [b"one\n", b"two\n"]
        self.answer: ProxyResponse | None = ProxyResponse(
            200, {"Content-Type": "text/plain", "X-More": "yes"}, b"hello"
        )

    async def logs(self, pod: Json, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.options.append(options)
        for line in self.lines:
            yield line

    async def proxy(self, pod: Json, port: int, request: ProxyRequest) -> ProxyResponse:
        self.requests.append((pod["metadata"]["name"], port, request))
        if self.answer is None:
            raise ConnectionRefusedError
        return self.answer

    async def connect(
        self, pod: Json, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.answer is None:
            raise ConnectionRefusedError
        return await connect_to_echo()

    async def run_command(self, pod: Json, container: str, command: Sequence[str]) -> CommandOutput:
        if command[0] == "vim":
            raise ExecutableNotFoundError("vim")
        return CommandOutput(f"{container}: {' '.join(command)}\n".encode(), b"oops\n", 3)


class Api:
    def __init__(self) -> None:
        self.store = ObjectStore()
        self.kubelet = FakeKubelet()
        self.user = access.admin()
        self.member = access.namespace_admin("a", "member")
        self.viewer = access.viewer()
        self.server = ApiServer(self.store, self.kubelet, [self.user, self.member, self.viewer])
        self.session: aiohttp.ClientSession

    async def send(
        self, method: str, path: str, body: bytes | None = None, *, token: str = "", **headers: str
    ) -> tuple[int, bytes]:
        sent = {"Authorization": f"Bearer {token or self.user.token}"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        url = self.server.url + path
        async with self.session.request(method, url, data=body, headers=sent) as answer:
            return answer.status, await answer.read()


async def connect_to_echo() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a process that sends back what it gets."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)

    async def echo() -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    task = asyncio.create_task(echo())
    _ECHOES.add(task)
    task.add_done_callback(_ECHOES.discard)
    return await asyncio.open_connection(sock=ours)


_ECHOES: set[asyncio.Task[None]] = set()
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def place_pod(api: Api, state: Json | None = None, last: Json | None = None) -> None:
    statuses = [{"name": "c", "state": state or RUNNING, "lastState": last or {}}]
    conditions = [{"type": "Ready", "status": "True"}]
    api.store.create(
        PODS,
        {
            "metadata": {"name": "p", "namespace": "a", "labels": {"app": "x"}},
            "spec": {
                "nodeName": "n",
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8000}]}],
            },
            "status": {
                "podIP": "10.0.0.1",
                "conditions": conditions,
                "containerStatuses": statuses,
            },
        },
    )
