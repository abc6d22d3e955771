"""A worker on a store, with upstreams that a test sets."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.worker import Worker
from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.metrics import GatewayMetrics
from servedeck.gateway.object_stores import open_objects
from servedeck.gateway.settings import make_settings
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Claimed, Content, NewTask, Response
from tests.gateway.delivery.scripted_store import ScriptedStore
from tests.waiting import with_timeout

T = TypeVar("T")

SECRET = b"s" * 32


class SetUpstreams:
    def __init__(self, ready: Mapping[str, str]) -> None:
        self.ready: Mapping[str, str] = ready
        self.problem = ""
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def wait_until_known(self) -> None: ...

    def set(self, ready: Mapping[str, str]) -> None:
        self.ready = ready
        for listener in self._listeners:
            listener()

    async def run(self) -> None: ...


class Gateway:
    """Make it in a running loop, and open its store."""

    def __init__(self, tmp_path: Path, url: str, **settings: Any) -> None:
        values = {
            "serving": "team/llama",
            "upstreams": ("http://unused",),
            "store": f"sqlite:{tmp_path}/tasks.db",
            "backoff": 0.001,
            "max_backoff": 0.001,
            **settings,
        }
        self.settings = make_settings(values)
        self.store = ScriptedStore(tmp_path / "tasks.db")
        self.upstreams = SetUpstreams({"pod-0": url} if url else {})
        self.identity = Identity(SECRET)
        self.objects = open_objects(self.settings.objects)
        self.context = GatewayContext(
            settings=self.settings,
            store=self.store,
            identity=self.identity,
            objects=self.objects,
            hub=FeedHub(self.store),
            upstreams=self.upstreams,
            metrics=GatewayMetrics(),
        )
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        return Worker(self.context, rng=random.Random(1))

    @asynccontextmanager
    async def running(self, *, with_hub: bool = True) -> AsyncIterator[None]:
        """With the worker, until the end of the block, where it is cancelled. Without the hub it
        hears of no event."""
        tasks = [asyncio.create_task(self.worker.run())]
        if with_hub:
            tasks.append(asyncio.create_task(self.context.hub.run()))
        try:
            yield
            assert not tasks[0].done() or tasks[0].exception() is None
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def submit(
        self,
        body: bytes | Content = b'{"model": "m"}',
        *,
        headers: list[tuple[str, str]] | None = None,
        credentials: list[tuple[str, str]] | None = None,
        lifetime: float = 3600.0,
        max_attempts: int = 3,
        **head: Any,
    ) -> str:
        id = self.identity.new_id("")
        request = RequestHead(headers=headers or [], **head)
        content = body if isinstance(body, Content) else Content(body, size=len(body))
        await self.store.submit(
            NewTask(
                id=id,
                owner="",
                lifetime=lifetime,
                max_attempts=max_attempts,
                head=msgspec.json.encode(request),
                body=content,
                credentials=self.identity.encrypt(id, credentials or []),
                has_callback=bool(request.callback),
            ),
            1000,
        )
        return id

    async def find(self, id: str) -> Task:
        found = await self.store.find(id)
        assert found is not None
        return found.task

    async def wait_for(self, id: str, *states: TaskState) -> Task:
        """The task, once it is in one of the states; by default: once it is over."""
        wanted = states or tuple(one for one in TaskState if one.is_final)

        async def reached() -> Task | None:
            task = await self.find(id)
            return task if task.state in wanted else None

        return await eventually(reached)

    async def parts(self, id: str) -> list[bytes]:
        """Of its last attempt."""
        return [one.data for one in (await self.store.read_outputs(id, 0, 0, 0)).parts]

    async def take_away(self, id: str) -> None:
        """The lease of the task ends, and another worker claims it."""
        self.upstreams.set({})

        async def claim() -> list[Claimed]:
            self.store.shift += self.settings.lease + 1
            await self.store.sweep(60)
            return await SqliteStore.claim(
                self.store, "other", ["pod-9"], limit=1, concurrency=0, pod_concurrency=1, lease=1e6
            )

        (claimed,) = await eventually(claim)
        assert claimed.id == id

    async def response(self, id: str) -> Response:
        found = await self.store.read_response(id)
        assert found is not None
        return found

    async def body(self, id: str) -> bytes:
        content = (await self.response(id)).body
        if not content.object:
            return content.data
        assert self.objects is not None
        return b"".join([part async for part in self.objects.read(content.object)])

    def metric(self, name: str, **labels: str) -> float:
        value = self.context.metrics.registry.get_sample_value(
            f"servedeck_async_{name}", labels or None
        )
        return value or 0.0


async def eventually(condition: Callable[[], Awaitable[T | None]]) -> T:
    """The first truthy value of `condition`."""

    async def poll() -> T:
        while not (value := await condition()):
            await asyncio.sleep(0.005)
        return value

    return await with_timeout(poll())


class MakeGateway(Protocol):
    async def __call__(self, url: str, **settings: Any) -> Gateway:
        """With one Pod at the URL, none for ""; `settings` as in GatewaySettings."""
