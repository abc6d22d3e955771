"""Helpers for applications on plain ASGI, where a framework would halve the throughput."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from servedeck.async_queue.tasks import Problem
from servedeck.gateway.http_protocol import CONTROL_EXTENSION, ExchangeControl

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]

T = TypeVar("T")

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"
EVENT_STREAM = b"text/event-stream"

BODY_SECONDS = 60.0
"""For how long a client may send nothing in the middle of a body."""

BODY_TOTAL_SECONDS = 300.0
"""For a whole body that is kept in memory meanwhile, or a second for each MiB that it may have: a
few that never end would take the place of all others."""
_BODY_RATE = 1 << 20

_DISCARD_BYTES = 64 << 20
_DISCARD_SECONDS = 2.0

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\Z")

_NO_STORE = (b"cache-control", b"no-store")


class ClientDisconnectedError(Exception):
    """The client has closed the connection: there is nobody to answer."""


class Response:
    """The `send` of a request, which knows whether its response has begun."""

    __slots__ = ("_control", "_send", "has_begun")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._control = _control_of(scope)
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)

    def send_whole(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send it at once; False if it has to be sent by messages."""
        if self._control is None or not self._control.respond(status, headers, body):
            return False
        self.has_begun = True
        return True


class HttpError(Exception):
    """Ends a request with a Problem."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        headers: RawHeaders = (),
        retry_after: int | None = None,
        task: str = "",
        state: str = "",
    ) -> None:
        super().__init__(title)
        self.problem = Problem(title=title, status=status, detail=detail, task=task, state=state)
        self.headers = list(headers)
        if retry_after is not None:
            self.headers.append((b"retry-after", b"%d" % retry_after))


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values of a header, whose name is given in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def query_parameters(scope: Scope) -> dict[str, str]:
    """The last value of each. Raises HttpError."""
    return dict(query_pairs(scope, 50))


def query_pairs(scope: Scope, most: int) -> list[tuple[str, str]]:
    """All parameters, in their order, which are at most so many. Raises HttpError."""
    try:
        return parse_qsl(
            scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=most
        )
    except ValueError:
        raise HttpError(400, "Bad query", "The query has too many parameters.") from None


def content_length(scope: Scope) -> int | None:
    """As the client declared it; None for a chunked body. The server has checked it."""
    values = header_values(scope, b"content-length")
    return int(values[0]) if values else None


async def read_body(
    scope: Scope, receive: Receive, limit: int, on_part: Callable[[int], None] | None = None
) -> bytes:
    """The whole body. `on_part` gets the size of each part as it is read, and may raise HttpError.
    Raises HttpError if it has more than `limit` bytes, or comes too slowly, and
    ClientDisconnectedError."""
    if (content_length(scope) or 0) > limit:
        raise _too_large(limit)
    if (whole := take_body(scope)) is not None:
        if len(whole) > limit:
            raise _too_large(limit)
        if on_part is not None:
            on_part(len(whole))
        return whole
    parts: list[bytes] = []
    size = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + max(BODY_TOTAL_SECONDS, limit / _BODY_RATE)
    while True:
        message = await receive_part(receive, min(BODY_SECONDS, end - loop.time()))
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if on_part is not None:
            on_part(len(part))
        if not message.get("more_body"):
            if not parts:
                return part
            parts.append(part)
            return b"".join(parts)
        parts.append(part)


def take_body(scope: Scope) -> bytes | None:
    """The body, if all of it has come; else None, and it is to be received."""
    control = _control_of(scope)
    return None if control is None else control.take_body()


async def receive_part(receive: Receive, seconds: float | None = None) -> Message:
    """The next part of a body. Raises HttpError if it does not come in so many seconds; by default,
    in BODY_SECONDS."""
    try:
        async with asyncio.timeout(BODY_SECONDS if seconds is None else seconds):
            return await receive()
    except TimeoutError:
        raise HttpError(
            408,
            "Request body too slow",
            "The rest of the body did not come in time.",
            headers=[(b"connection", b"close")],
        ) from None


async def send_bytes(
    send: Send, status: int, body: bytes, content_type: bytes, headers: RawHeaders = ()
) -> None:
    all_headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    await send_response(send, status, all_headers, body)


async def send_response(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """`headers` have the length of the body. By one write, where that is possible."""
    if isinstance(send, Response) and send.send_whole(status, headers, body):
        return
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, value: object, headers: RawHeaders = ()) -> None:
    await send_bytes(send, status, msgspec.json.encode(value), JSON, (_NO_STORE, *headers))


async def send_empty(send: Send, status: int, headers: RawHeaders = ()) -> None:
    """A response without a body: to HEAD, or 204, or 304."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


async def send_problem(send: Send, problem: Problem, headers: RawHeaders = ()) -> None:
    await send_bytes(
        send, problem.status, msgspec.json.encode(problem), PROBLEM_JSON, (_NO_STORE, *headers)
    )


async def send_error(receive: Receive, send: Send, error: HttpError) -> None:
    """Answer with the error. For one that ends the connection before the body was read, the rest
    of the body is read, within limits: else the kernel resets the connection, and the client may
    never see the answer."""
    if (b"connection", b"close") not in error.headers:
        await send_problem(send, error.problem, error.headers)
        return

    async def send_but_last(message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        await send({**message, "more_body": True} if is_body else message)

    await send_problem(send_but_last, error.problem, error.headers)
    with suppress(TimeoutError):
        await asyncio.wait_for(_discard(receive), _DISCARD_SECONDS)
    await send({"type": "http.response.body", "body": b""})


async def send_parts(
    scope: Scope, send: Send, status: int, headers: RawHeaders, parts: AsyncIterator[bytes]
) -> None:
    """A response in parts, which begins when the first one is there: what is raised before leaves
    it to the caller to answer. What is raised later closes the connection, so that the client sees
    that the body is not complete, and is raised."""
    first = await anext(parts, None)
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    try:
        if first is not None:
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    except Exception:
        close_connection(scope)
        raise
    await send({"type": "http.response.body", "body": b""})


def close_connection(scope: Scope) -> None:
    """Close it without ending the response, so that a client sees that it is not complete."""
    control = _control_of(scope)
    if control is not None:
        control.close()


def valid_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Stored headers as bytes; what cannot be a header (a line break in a value) is left out."""
    raw = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in headers
    ]
    return [one for one in raw if is_valid_header(*one)]


def is_valid_header(name: bytes, value: bytes) -> bool:
    return _NAME.match(name) is not None and _VALUE.match(value) is not None


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client closes the connection; then raises
    ClientDisconnectedError. To be called when the body has been read."""
    # `work` runs in this task, as each task more costs a twentieth of a short request.
    current = asyncio.current_task()
    assert current is not None
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        current.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if has_left and current.uncancel() == 0:
            raise ClientDisconnectedError from None
        raise
    finally:
        watching.cancel()


def _control_of(scope: Scope) -> ExchangeControl | None:
    """None for another server than that of the gateway."""
    control: ExchangeControl | None = scope.get("extensions", {}).get(CONTROL_EXTENSION)
    return control


async def _discard(receive: Receive) -> None:
    size = 0
    while size < _DISCARD_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        size += len(message.get("body", b""))


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "Request body too large",
        f"The body may have {limit} bytes at most.",
        headers=[(b"connection", b"close")],
    )
