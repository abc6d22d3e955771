"""Pods that a port-forward connects to, in memory, and a client of its local port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from servedeck.cluster.port_forward import PodConnection, PodConnectionError
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.forwarding.port_forward import PortForward
from tests.fleet.factories import pod_view, serving_view
from tests.waiting import with_timeout

KEY = NamespacedName("team-a", "llama")
PORT = 8000


class FakePod:
    """A process in a Pod: it collects what it gets, and sends what the test gives to `answer`."""

    def __init__(self) -> None:
        self.refuses = False
        self.open_error: Exception | None = None
        self.received: list[bytes] = []
        self.connections: list[FakeConnection] = []

    @property
    def request(self) -> bytes:
        return b"".join(self.received)


class FakeConnection:
    """In place of a `PodConnection`."""

    def __init__(self, pod: FakePod) -> None:
        self.pod = pod
        self.answers: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.is_closed = False
        self.reads = 0

    async def read(self) -> bytes:
        if self.pod.refuses:
            raise PodConnectionError(PORT, "dial tcp4 127.0.0.1:8000: connect: connection refused")
        self.reads += 1
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def write(self, data: bytes) -> None:
        await self.can_write.wait()
        self.pod.received.append(data)


class Cluster:
    """A serving whose Pods the test changes, and its port-forward."""

    def __init__(self, *names: str) -> None:
        self.pods = {name: FakePod() for name in names}
        self.view: ServingView | None = self.make_view(*names)
        self.errors: list[str] = []
        self.targets: list[str] = []
        self.forward = PortForward(
            KEY,
            PORT,
            self.connect,
            lambda: self.view,
            on_change=self._note_target,
            on_error=self.errors.append,
        )

    def _note_target(self) -> None:
        pod = self.forward.pod
        self.targets.append(pod.name if pod is not None else "")

    @staticmethod
    def make_view(*names: str, **fields: Any) -> ServingView:
        return serving_view(pods=tuple(pod_view(name) for name in names), **fields)

    def set_pods(self, *names: str) -> None:
        """These Pods are Ready now, and no other."""
        for name in names:
            self.pods.setdefault(name, FakePod())
        self.view = self.make_view(*names)
        self.forward.update()

    @asynccontextmanager
    async def connect(self, namespace: str, pod: str, port: int) -> AsyncIterator[PodConnection]:
        assert (namespace, port) == ("team-a", PORT)
        found = self.pods[pod]
        if found.open_error is not None:
            raise found.open_error
        connection = FakeConnection(found)
        found.connections.append(connection)
        try:
            yield cast(PodConnection, connection)
        finally:
            connection.is_closed = True

    async def open_client(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.forward.local_port)
        return Client(reader, writer)


class Client:
    """A program that uses the local port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self, size: int) -> bytes:
        return await with_timeout(self.reader.readexactly(size))

    async def read_all(self) -> bytes:
        return await with_timeout(self.reader.read())


@asynccontextmanager
async def forwarding(*names: str) -> AsyncIterator[Cluster]:
    """A port-forward to a serving with these Ready Pods."""
    cluster = Cluster(*names)
    await cluster.forward.start("127.0.0.1", 0)
    try:
        yield cluster
    finally:
        await cluster.forward.close()
