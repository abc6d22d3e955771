"""A real gateway behind the Service proxy of a scripted API server, and an inference server."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.process import Gateway, running_gateway
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.gateway.process.test_running_gateway import settings
from tests.waiting import with_timeout

SECRET = "/api/v1/namespaces/chat/secrets/llama-async"
VIEW_SECRET = f"{SECRET}-view"
SERVICES = "/api/v1/namespaces/chat/services"
ADMIN_PROXY = f"{SERVICES}/llama-async-admin:80/proxy"
PUBLIC_PROXY = f"{SERVICES}/llama-async:80/proxy"
KEYS = {"admin-key": "administrator", "view-key": "viewer"}

_NOT_FORWARDED = frozenset({"authorization", "host", "connection", "content-length"})
_NOT_RETURNED = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


class GatewayRig:
    """The gateway of the serving chat/llama."""

    def __init__(self, api: FakeApiServer, gateway: Gateway) -> None:
        self.api = api
        self.gateway = gateway
        self.cut: set[web.StreamResponse] = set()
        """Answers that are under way; `cut_streams` cuts them."""

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.public_port}"

    async def submit(
        self, count: int = 1, body: bytes = b'{"model": "llama"}', **headers: str
    ) -> list[str]:
        """Submit requests as callers do, one after the other; the ids of their tasks."""
        url = f"{self.public_url}/v1/chat/completions"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        ids = []
        async with aiohttp.ClientSession() as session:
            for _ in range(count):
                async with session.post(
                    url, headers={"X-Async": "true"} | named, data=body
                ) as response:
                    assert response.status == 202, await response.text()
                    ids.append((await response.json())["id"])
        return ids

    async def state(self, id: str) -> TaskState | None:
        """As the store says; None for a task that is not stored."""
        found = await self.gateway.context.store.find(id)
        return found.task.state if found is not None else None

    async def states(self, ids: list[str]) -> list[TaskState | None]:
        return [await self.state(one) for one in ids]

    def cut_streams(self) -> None:
        """Reset the connections of all answers that are under way."""
        for response in list(self.cut):
            transport = response._req.transport if response._req else None
            if transport is not None:
                transport.abort()

    def forbid(self, path: str) -> None:
        """Answer 403 for this path of the API server."""

        async def forbidden(_: web.Request) -> web.StreamResponse:
            status = make_status(403, "Forbidden", "it is not allowed")
            return web.json_response(status, status=403)

        self.api.add_route(path, forbidden)

    def set_secret(self, path: str, keys: dict[str, str]) -> None:
        async def secret(_: web.Request) -> web.StreamResponse:
            data = {name: base64.b64encode(key.encode()).decode() for name, key in keys.items()}
            return web.json_response({"metadata": {"name": path.rpartition("/")[2]}, "data": data})

        self.api.add_route(path, secret)


@asynccontextmanager
async def running_rig(
    api: FakeApiServer, folder: Path, upstream: str, **changes: Any
) -> AsyncIterator[GatewayRig]:
    """Once the gateway is open. `changes` are settings of it."""
    for name, key in KEYS.items():
        (folder / name).write_text(key)
    given: dict[str, Any] = {
        "upstreams": (upstream,),
        "pod_concurrency": 1,
        "admin_key_file": folder / "admin-key",
        "view_key_file": folder / "view-key",
    }
    made = settings(folder, **given | changes)
    async with aiohttp.ClientSession() as session, running_gateway(made) as gateway:
        await with_timeout(gateway.wait_until_open())
        rig = GatewayRig(api, gateway)

        async def forward(request: web.Request) -> web.StreamResponse:
            """As the API server does: without Authorization, and by parts as they come."""
            is_admin = request.path.startswith(ADMIN_PROXY)
            prefix = ADMIN_PROXY if is_admin else PUBLIC_PROXY
            port = gateway.admin_port if is_admin else gateway.public_port
            async with session.request(
                request.method,
                f"http://127.0.0.1:{port}{request.raw_path.removeprefix(prefix)}",
                headers=[
                    (name, value)
                    for name, value in request.headers.items()
                    if name.lower() not in _NOT_FORWARDED
                ],
                data=await request.read() or None,
            ) as answer:
                response = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in _NOT_RETURNED:
                        response.headers[name] = value
                await response.prepare(request)
                rig.cut.add(response)
                try:
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                finally:
                    rig.cut.discard(response)
                return response

        rig.set_secret(SECRET, KEYS)
        api.add_route(f"{ADMIN_PROXY}/*", forward)
        api.add_route(f"{PUBLIC_PROXY}/*", forward)
        yield rig
