"""The heads of requests and responses as they are stored, and which of their headers are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

Headers = Sequence[tuple[str, str]]
"""Names in lower case, values decoded as Latin-1: what the header had on the wire."""


class RequestHead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    method: str = "POST"
    path: str = "/"
    """With its query, percent-encoded as it was received."""
    headers: list[tuple[str, str]] = []
    """Those that the inference server gets, without credentials."""
    model: str = ""
    is_stream: bool = False
    attempt_seconds: float = 0.0
    """Time limit of one attempt."""
    callback: str = ""
    """URL that is notified of the end."""


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: int
    headers: list[tuple[str, str]] = []
    """Those that the caller gets."""
    is_event_stream: bool = False


CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "api-key"})
"""Reach the inference server, but are stored encrypted, apart from the task, until it ends."""

HOP_BY_HOP_HEADERS = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, section 7.6.1, and what proxies add to it."""

GATEWAY_HEADERS = frozenset(
    {
        "x-async",
        "x-async-timeout",
        "x-async-attempt-timeout",
        "x-async-max-attempts",
        "x-async-callback",
        "prefer",
        "idempotency-key",
        "priority",
        "expect",
        "host",
        "content-length",
    }
)
"""Meant for the gateway, or set for each request."""


def decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]


def find_header(headers: Headers, name: str) -> str | None:
    """The first value of a header, whose name is given in lower case."""
    return next((value for key, value in headers if key == name), None)


def end_to_end_headers(headers: Headers) -> list[tuple[str, str]]:
    """Without those that are meant for the next hop alone."""
    named = {
        one.strip().lower()
        for key, value in headers
        if key == "connection"
        for one in value.split(",")
    }
    dropped = HOP_BY_HOP_HEADERS | named
    return [(key, value) for key, value in headers if key not in dropped]
