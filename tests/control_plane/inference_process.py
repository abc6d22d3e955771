"""An inference server in a process of its own, which a test configures.

python -m tests.control_plane.inference_process ADDRESS

It prints its port, answers chat completions and /health, and takes its settings at /settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.waiting import with_timeout

SETTINGS = "/settings"
BROKEN_MODEL = "broken"
"""Requests for this model are answered with `broken_status`."""
ANSWER = "Paris is the capital of France."


class _Server:
    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._broken_status = 200

    async def configure(self, request: web.Request) -> web.Response:
        settings = await request.json()
        self._broken_status = settings.get("broken_status", self._broken_status)
        if "is_open" in settings:
            (self._open.set if settings["is_open"] else self._open.clear)()
        return web.json_response({})

    async def answer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = json.loads(await request.read())
        await self._open.wait()
        model = body.get("model", "")
        if model == BROKEN_MODEL and self._broken_status != 200:
            error = {"error": {"message": "The model is not loaded."}}
            return web.json_response(error, status=self._broken_status)
        return web.json_response(
            {
                "object": "chat.completion",
                "model": model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}}],
                "usage": {"prompt_tokens": 12, "completion_tokens": 7},
            }
        )

    async def health(self, request: web.Request) -> web.Response:
        await self._open.wait()
        return web.Response(text="the body of a probe")

    async def moved(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/health")

    async def not_found(self, request: web.Request) -> web.Response:
        return web.json_response({"detail": "Not Found"}, status=404)


async def _serve(address: str) -> None:
    server = _Server()
    app = web.Application()
    app.router.add_post(SETTINGS, server.configure)
    app.router.add_post("/{path:.*}", server.answer)
    app.router.add_get("/health", server.health)
    app.router.add_get("/moved", server.moved)
    app.router.add_get("/{path:.*}", server.not_found)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, address, 0).start()
    print(runner.addresses[0][1], flush=True)
    # Until whoever started it is gone.
    await asyncio.to_thread(sys.stdin.read)


class InferenceProcess:
    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def configure(self, **settings: Any) -> None:
        """`is_open`: whether it answers, or holds what comes. `broken_status`: of the answers to
        requests for BROKEN_MODEL."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}{SETTINGS}", json=settings) as response,
        ):
            assert response.status == 200


@asynccontextmanager
async def running_inference_process(address: str) -> AsyncIterator[InferenceProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    try:
        port = int(await with_timeout(process.stdout.readline()))
        yield InferenceProcess(f"http://{address}:{port}")
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
