"""What is between the program and the sources of its metrics, each in a process of its own.

    python -m benchmarks.metrics_servers proxy FILE URL      # before Prometheus
    python -m benchmarks.metrics_servers pods FILE HOST      # the /metrics of Pods

prints its port. Each answer is a line of the file, as JSON: a `Passed`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import aiohttp
from aiohttp import web

from benchmarks.promql import INTERVAL, make_pages

PAGES = 200
"""Of 1,000 seconds; then they begin again, as after a restart."""


class Passed(NamedTuple):
    """An answer that was passed on. Times are on the monotonic clock, which all processes share."""

    path: str
    query: str
    """PromQL; "" for none."""
    start: float
    """When the request was sent on."""
    answered: float
    """When the answer was complete."""
    end: float
    """When its last byte was passed on."""
    size: int


def read_passed(file: Path) -> list[Passed]:
    """All answers so far."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Passed(*json.loads(line)) for line in lines if line.endswith("]")]


def covered_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """The seconds in which at least one of the spans lasts."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


class Proxy:
    """Passes requests on to Prometheus."""

    def __init__(self, url: str, log: TextIO) -> None:
        self._url = url
        self._log = log
        self._client: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self._client is None:
            connector = aiohttp.TCPConnector(limit=32)
            self._client = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        start = time.monotonic()
        kept = {
            name: request.headers[name]
            for name in ("Accept", "Accept-Encoding")
            if name in request.headers
        }
        async with self._client.get(self._url + request.raw_path, headers=kept) as answer:
            body = await answer.read()
            answered = time.monotonic()
            headers = {
                name: answer.headers[name]
                for name in ("Content-Type", "Content-Encoding")
                if name in answer.headers
            }
            response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        query = request.query.get("query", "")
        _note(self._log, Passed(request.path, query, start, answered, time.monotonic(), len(body)))
        return response


class Pods:
    """Answers /metrics for each Pod that asks, as the clock goes on."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._pages = make_pages(PAGES)
        self._began = time.monotonic()

    async def handle(self, request: web.Request) -> web.Response:
        start = time.monotonic()
        number = int((start - self._began) / INTERVAL) % len(self._pages)
        page = self._pages[number]
        response = web.Response(body=page, content_type="text/plain")
        await response.prepare(request)
        await response.write_eof()
        end = time.monotonic()
        _note(self._log, Passed(request.path, "", start, start, end, len(page)))
        return response


def _note(log: TextIO, passed: Passed) -> None:
    log.write(json.dumps(passed) + "\n")


async def _serve(kind: str, file: Path, target: str) -> None:
    with file.open("a", buffering=1) as log:
        server = Proxy(target, log) if kind == "proxy" else Pods(log)
        app = web.Application()
        app.router.add_get("/{path:.*}", server.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, target if kind == "pods" else "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
