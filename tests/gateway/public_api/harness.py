"""A gateway's public port on a real socket, with a store, and a client of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from servedeck.async_queue.tasks import Attempt, FailureReason, TaskState
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.worker import Worker
from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.http_server import bind, serve
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import ResponseHead
from servedeck.gateway.metrics import GatewayMetrics
from servedeck.gateway.objects import ObjectStore
from servedeck.gateway.public_api.app import PublicApp
from servedeck.gateway.settings import GatewaySettings, make_settings
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Claimed, Content, End, TaskStore
from servedeck.gateway.upstreams.upstreams import FixedUpstreams, Upstreams
from tests.waiting import with_timeout

SECRET = b"0123456789abcdef0123456789abcdef"
JSON = {"content-type": "application/json"}
LONG = 3600.0
EVENT_STREAM = [("content-type", "text/event-stream")]

ServerHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Gateway:
    """One that is running, and a worker's part of a task's life, made by hand."""

    port: int
    app: PublicApp
    context: GatewayContext
    store: TaskStore
    session: aiohttp.ClientSession
    upstream_pods: list[str] = field(default_factory=lambda: ["pod-0"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        request = self.session.request(
            method, URL(self.url + path, encoded=True), allow_redirects=False, **options
        )
        async with await with_timeout(request) as response:
            return Answer(response.status, response.headers, await with_timeout(response.read()))

    async def submit(
        self, body: object = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Answer:
        """POST with X-Async; the body is one of a chat completion unless it is given."""
        if body is None:
            body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.ask(
            "POST",
            options.pop("path", "/v1/chat/completions"),
            data=data,
            headers={**JSON, "X-Async": "true", **(headers or {})},
            **options,
        )

    async def claim(self) -> Claimed:
        [claimed] = await self.store.claim(
            "worker",
            self.upstream_pods,
            limit=1,
            concurrency=0,
            pod_concurrency=100,
            lease=LONG,
        )
        return claimed

    async def end(
        self,
        claimed: Claimed,
        body: bytes = b"{}",
        *,
        state: TaskState = TaskState.COMPLETED,
        reason: str = "",
        message: str = "",
        status: int | None = 200,
        headers: list[tuple[str, str]] | None = None,
        content: Content | None = None,
        is_event_stream: bool = False,
    ) -> None:
        head = b""
        if status is not None:
            head = msgspec.json.encode(
                ResponseHead(
                    status=status,
                    headers=headers or [("content-type", "application/json")],
                    is_event_stream=is_event_stream,
                )
            )
        end = End(
            id=claimed.id,
            attempt=claimed.attempt,
            state=state,
            reason=reason,
            message=message,
            status=status,
            head=head,
            body=content or Content(data=body, size=len(body)),
            record=record(claimed),
            keep=LONG,
        )
        assert await self.store.finish(end)

    async def fail(self, claimed: Claimed, reason: FailureReason, message: str) -> None:
        """End it without a response."""
        await self.end(
            claimed,
            b"",
            state=TaskState.FAILED,
            reason=reason,
            message=message,
            status=None,
        )


def record(claimed: Claimed) -> Attempt:
    now = time.time()
    return Attempt(attempt=claimed.attempt, pod=claimed.pod, worker="worker", began=now, ended=now)


def settings_of(**values: Any) -> GatewaySettings:
    defaults: dict[str, Any] = {"serving": "ns/name", "upstreams": ("http://127.0.0.1:9",)}
    return make_settings({**defaults, **values})


@asynccontextmanager
async def running_gateway(
    directory: Path,
    *,
    objects: ObjectStore | None = None,
    upstreams: Upstreams | None = None,
    wrap_store: Callable[[TaskStore], TaskStore] = lambda store: store,
    secret: bytes = SECRET,
    **values: Any,
) -> AsyncIterator[Gateway]:
    settings = settings_of(**values)
    async with AsyncExitStack() as stack:
        real = SqliteStore(directory / "gateway.db")
        await real.open()
        stack.push_async_callback(real.close)
        store = wrap_store(real)
        hub = FeedHub(store)
        context = GatewayContext(
            settings=settings,
            store=store,
            identity=Identity(secret),
            objects=objects,
            hub=hub,
            upstreams=upstreams or FixedUpstreams(settings.upstreams),
            metrics=GatewayMetrics(),
        )
        following = asyncio.create_task(hub.run())
        stack.push_async_callback(_cancel, following)
        app = PublicApp(context)
        port = await stack.enter_async_context(serve(app, bind("127.0.0.1", 0)))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(force_close=True),
            )
        )
        yield Gateway(port, app, context, real, session)


@asynccontextmanager
async def running_worker(gateway: Gateway) -> AsyncIterator[None]:
    working = asyncio.create_task(Worker(gateway.context).run())
    try:
        yield
    finally:
        await _cancel(working)


@asynccontextmanager
async def running_server(handler: ServerHandler) -> AsyncIterator[str]:
    """An inference server, by its URL."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def exchange_raw(port: int, data: bytes) -> bytes:
    """What the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with suppress(ConnectionResetError):
            await writer.drain()
        return await with_timeout(reader.read())
    finally:
        writer.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
