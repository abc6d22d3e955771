"""An application for the server, and what a client sends to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from servedeck.gateway.asgi import Receive, Response, Scope, Send, read_body, send_json
from tests.waiting import with_timeout

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n"


class App:
    """Keeps the requests that it gets."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, list[tuple[bytes, bytes]], bytes]] = []
        self.lifespan: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.waiting = 0
        self.disconnected = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for name in ("startup", "shutdown"):
                self.lifespan.append((await receive())["type"])
                await send({"type": f"lifespan.{name}.complete"})
            return
        body = await read_body(scope, receive, 1 << 20)
        self.requests.append((scope["method"], scope["path"], list(scope["headers"]), body))
        self.waiting += 1
        if not self.may_answer.is_set():
            answering = asyncio.create_task(self.may_answer.wait())
            leaving = asyncio.ensure_future(receive())
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                answering.cancel()
                self.disconnected += 1
                return
            leaving.cancel()
        await send_json(Response(scope, send), 200, {"ok": True})


async def exchange(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        while data := await with_timeout(reader.read(1 << 16)):
            received += data
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received
