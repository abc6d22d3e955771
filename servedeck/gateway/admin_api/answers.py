"""What the handlers of the admin API get and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from servedeck.gateway.asgi import (
    HttpError,
    RawHeaders,
    Receive,
    Scope,
    Send,
    header_values,
    query_pairs,
    query_parameters,
    read_body,
)

JSON = b"application/json"

MAX_BODY = 64 * 1024
"""Bytes of a request to the admin API."""

_MAX_PARAMETERS = 2000

_SECURITY_HEADERS = (
    # Answers have the data of tasks: no cache keeps them, and no browser takes them for a page.
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


def bad_parameter(name: str, detail: str) -> HttpError:
    return HttpError(400, f"Wrong {name}", detail)


class Reply(NamedTuple):
    """An answer that is in memory."""

    body: bytes
    content_type: bytes = JSON
    status: int = 200
    headers: RawHeaders = ()


def json_reply(value: object, headers: RawHeaders = ()) -> Reply:
    return Reply(msgspec.json.encode(value), headers=headers)


class Call(NamedTuple):
    """A request to a route."""

    scope: Scope
    receive: Receive
    send: Send
    path: tuple[str, ...] = ()
    """What stands for the parameters of the route's path."""

    @property
    def is_head(self) -> bool:
        return bool(self.scope["method"] == "HEAD")

    def header(self, name: bytes) -> str:
        """The first value of a header, whose name is given in lower case; "" without it."""
        values = header_values(self.scope, name)
        return values[0].decode("latin-1") if values else ""

    def parameters(self) -> Mapping[str, str]:
        """Of the query; of one that is given twice, the last. Raises HttpError."""
        return query_parameters(self.scope)

    def values(self, name: str, most: int) -> list[str]:
        """Of a parameter of the query that may be given several times, at most so many. Raises
        HttpError."""
        found = [value for key, value in query_pairs(self.scope, _MAX_PARAMETERS) if key == name]
        if len(found) > most:
            raise bad_parameter(name, f"{name} may be given {most} times.")
        return found

    async def body(self) -> bytes:
        """Raises HttpError if it is too large, and ClientDisconnectedError."""
        return await read_body(self.scope, self.receive, MAX_BODY)


async def start(send: Send, status: int, headers: RawHeaders) -> None:
    """Send the head of an answer, with what every answer of the admin port has."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, *_SECURITY_HEADERS],
        }
    )


async def send_reply(call: Call, reply: Reply) -> None:
    head = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await start(call.send, reply.status, head)
    await call.send({"type": "http.response.body", "body": b"" if call.is_head else reply.body})


def read_number(text: str, name: str, default: int, highest: int) -> int:
    """A parameter that is a number from 1 on; the highest is taken for what is higher. Raises
    HttpError."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise bad_parameter(name, f"{name} must be a whole number from 1 on.")
    return min(int(text), highest)
