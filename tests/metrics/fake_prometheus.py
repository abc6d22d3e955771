"""An HTTP server on loopback with the API of Prometheus, whose answers a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakePrometheus:
    """`values` are the results of instant queries by a part of the expression: the labels and value
    of each series."""

    def __init__(self) -> None:
        self.url = ""
        self.values: dict[str, list[tuple[dict[str, str], str]]] = {}
        self.requests: list[web.Request] = []
        self.handler: Handler | None = None
        """Answers in place of the values."""

    @property
    def queries(self) -> list[str]:
        return [one.query.get("query", "") for one in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.handler is not None:
            return await self.handler(request)
        if request.path != "/api/v1/query":
            return web.Response(status=404, text="404 page not found\n")
        expression = request.query["query"]
        found = [series for part, series in self.values.items() if part in expression]
        result = [
            {"metric": labels, "value": [1700000000.5, value]}
            for labels, value in (found[0] if found else ())
        ]
        data = {"resultType": "vector", "result": result}
        return web.json_response({"status": "success", "data": data})


def answer_with(status: int, body: Any = None, *, text: str = "", **headers: str) -> Handler:
    """A handler that always answers so."""

    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            return web.json_response(body, status=status, headers=named)
        return web.Response(text=text, status=status, headers=named)

    return handler


def error_body(kind: str, message: str) -> dict[str, str]:
    return {"status": "error", "errorType": kind, "error": message}


@asynccontextmanager
async def serve_prometheus(ssl_context: Any = None) -> AsyncIterator[FakePrometheus]:
    fake = FakePrometheus()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
