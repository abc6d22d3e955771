"""An admin port on a real server and store, and tasks in every state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from servedeck.async_queue.tasks import Attempt, TaskState
from servedeck.gateway.admin_api.app import AdminApp
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.http_server import bind, serve
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.metrics import GatewayMetrics
from servedeck.gateway.object_stores import open_objects
from servedeck.gateway.settings import make_settings
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Claimed, Content, End, NewTask, TaskStore
from servedeck.gateway.upstreams.upstreams import FixedUpstreams
from tests.waiting import with_timeout

POD = "vllm-0"
OWNER = "someone"


@dataclass
class Rig:
    context: GatewayContext
    app: AdminApp
    url: str
    session: aiohttp.ClientSession

    async def submit(self, **changes: Any) -> str:
        """A pending task; its id."""
        head = RequestHead(
            path=changes.pop("path", "/v1/chat/completions"),
            headers=changes.pop("headers", [("content-type", "application/json")]),
            model=changes.pop("model", "llama"),
            callback=changes.pop("callback", ""),
        )
        body = changes.pop("body", b'{"model": "llama"}')
        owner = changes.pop("owner", OWNER)
        id = self.context.identity.new_id(owner)
        if changes.pop("has_credentials", False):
            value = [("authorization", "Bearer caller")]
            changes["credentials"] = self.context.identity.encrypt(id, value)
        task = NewTask(
            id=id,
            owner=owner,
            lifetime=changes.pop("lifetime", 3600.0),
            max_attempts=3,
            head=msgspec.json.encode(head),
            body=body if isinstance(body, Content) else Content(data=body, size=len(body)),
            has_callback=bool(head.callback),
            **changes,
        )
        await self.context.store.submit(task, 1_000_000)
        return task.id

    async def claim(self) -> Claimed:
        """The next pending task, as Processing."""
        [claimed] = await self.context.store.claim(
            "worker", [POD], limit=1, concurrency=0, pod_concurrency=1000, lease=3600.0
        )
        return claimed

    async def end(
        self,
        claimed: Claimed,
        state: TaskState = TaskState.COMPLETED,
        *,
        reason: str = "",
        message: str = "",
        body: bytes | Content = b'{"ok": true}',
        status: int = 200,
    ) -> None:
        head = ResponseHead(
            status=status, headers=[("content-type", "text/html"), ("set-cookie", "session=1")]
        )
        content = body if isinstance(body, Content) else Content(data=body, size=len(body))
        record = Attempt(
            attempt=claimed.attempt, pod=POD, worker="worker", began=1.0, ended=2.0, status=status
        )
        end = End(
            id=claimed.id,
            attempt=claimed.attempt,
            state=state,
            reason=reason,
            message=message,
            status=status,
            head=msgspec.json.encode(head),
            body=content,
            record=record,
            keep=3600.0,
        )
        assert await self.context.store.finish(end)

    async def complete(self, **changes: Any) -> str:
        """A completed task; its id."""
        id = await self.submit()
        await self.end(await self.claim(), **changes)
        return id

    async def fail(self, reason: str = "exhausted", **changes: Any) -> str:
        """A failed task; its id."""
        id = await self.submit(**changes)
        await self.end(
            await self.claim(), TaskState.FAILED, reason=reason, message="It failed.", status=500
        )
        return id

    async def get(self, path: str, **more: Any) -> Any:
        """The JSON of an answer with status 200."""
        status, body = await self.ask("GET", path, **more)
        assert status == 200, body
        return body

    async def post(self, path: str, **more: Any) -> Any:
        status, body = await self.ask("POST", path, **more)
        assert status == 200, body
        return body

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.session.request(method, self.url + path, **more) as response:
            text = await with_timeout(response.text())
            return response.status, json.loads(text) if text else None


@asynccontextmanager
async def running_rig(
    folder: Path, store: TaskStore | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    values: dict[str, Any] = {"serving": "chat/llama", "upstreams": ("http://127.0.0.1:1",)}
    chosen = make_settings(values | settings)
    if store is None:
        store = SqliteStore(folder / "tasks.db")
    await store.open()
    context = GatewayContext(
        settings=chosen,
        store=store,
        identity=Identity(b"s" * 32),
        objects=open_objects(chosen.objects),
        hub=FeedHub(store),
        upstreams=FixedUpstreams(chosen.upstreams),
        metrics=GatewayMetrics(),
    )
    app = AdminApp(context)
    hub = asyncio.create_task(context.hub.run())
    try:
        async with (
            serve(app, bind("127.0.0.1", 0)) as port,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            yield Rig(context, app, f"http://127.0.0.1:{port}", session)
            app.close()
    finally:
        hub.cancel()
        await asyncio.gather(hub, return_exceptions=True)
        await store.close()
