"""The real command in a process of its own, and an inference server that waits to be told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.waiting import wait_until, with_timeout

ANSWER = {"id": "chatcmpl-1", "object": "chat.completion"}


class InferenceServer:
    """Answers while `open` is set; holds requests else."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.arrived: list[bytes] = []
        self.cut = 0
        """Requests whose connection was closed before they were answered."""
        self.status = 200
        self.url = ""

    async def _handle(self, request: web.Request) -> web.Response:
        self.arrived.append(await request.read())
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        return web.json_response(ANSWER, status=self.status)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[InferenceServer]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


class GatewayProcess:
    """`servedeck gateway` with a settings file in `folder`; its working directory is that, too."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.log = ""
        self._settings = {
            "serving": "chat/llama",
            "host": "127.0.0.1",
            "admin_host": "127.0.0.1",
            "port": 0,
            "admin_port": 0,
            "backoff": 0.01,
        } | settings
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, *, until: str = "is ready") -> None:
        """Start it, and wait for a line of its log."""
        config = self.folder / "gateway.yaml"
        config.write_text(yaml.safe_dump(self._settings))
        self.log = ""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "servedeck", "gateway", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        )
        self._reader = asyncio.create_task(self._read())
        await self.until(until)

    async def until(self, text: str) -> None:
        """Wait until the log has this text."""
        await wait_until(
            lambda: text in self.log or self.has_ended, text, describe_state=lambda: self.log
        )
        assert text in self.log, self.log

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self._port('Callers')}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self._port('Operators')}"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send the signal; the exit code."""
        assert self._process is not None and self._reader is not None
        if number is not None:
            self.send(number)
        code = await with_timeout(self._process.wait())
        await with_timeout(self._reader)
        return code

    async def close(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self.log += line.decode()

    def _port(self, who: str) -> str:
        found = re.search(rf"{who} are answered on \S+ port (\d+)", self.log)
        assert found, self.log
        return found[1]


async def curl(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer to the real curl."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-s", "-i", "--max-time", "120", *arguments), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await with_timeout(process.communicate())
    assert process.returncode == 0
    head, _, body = output.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    return int(first.split()[1]), headers, body


async def submit(gateway: GatewayProcess, *arguments: str) -> str:
    """Submit a request with curl; the id."""
    status, _, body = await curl(
        *("-X", "POST", f"{gateway.public_url}/v1/chat/completions", "-H", "X-Async: true"),
        *("-H", "Content-Type: application/json", "-d", '{"model": "llama"}', *arguments),
    )
    assert status == 202, body
    return str(json.loads(body)["id"])


async def get_json(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await with_timeout(response.json(content_type=None))


async def wait_for_state(gateway: GatewayProcess, id: str, state: str) -> Any:
    """The task, when it has the state."""
    while True:
        _, task = await get_json(f"{gateway.admin_url}/-/async/tasks/{id}")
        if task["state"] == state:
            return task
        await asyncio.sleep(0.02)
