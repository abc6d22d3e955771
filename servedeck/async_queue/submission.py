"""Which requests can be submitted through the API server's Service proxy, and which of their
headers."""

from __future__ import annotations

import re
from urllib.parse import unquote

from servedeck.async_queue.errors import RefusedError
from servedeck.async_queue.queue_api import TestRequest

METHODS = ("POST", "PUT", "PATCH")
"""Those that can be asynchronous."""

_LEFT_OUT = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "prefer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-async",
    }
)
"""Those of the connection, and those that say how the request is submitted."""
_OF_THE_SERVER = re.compile(r"(proxy-)?authorization|impersonate-.*|x-remote-.*|x-servedeck-key")
"""Those by which the API server, or the gateway, knows who asks."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"/[\x21-\x22\x24-\x7e]*")


def check_target(request: TestRequest) -> None:
    """Raises RefusedError if method or path cannot be sent."""
    if request.method not in METHODS:
        raise RefusedError(f"Asynchronous requests have the method {', '.join(METHODS)}.")
    if not _PATH.fullmatch(request.path):
        raise RefusedError(
            "The path must begin with / and be percent-encoded, such as /v1/chat/completions."
        )
    # It is below a path of the API server's: dots would lead to its other objects, with the rights
    # of whoever submits it.
    path = request.path.partition("?")[0]
    while (decoded := unquote(path)) != path:
        path = decoded
    if any(one in (".", "..") for one in re.split(r"[/\\]", path)):
        raise RefusedError("The path must not have . or .. between its slashes.")


def sent_headers(request: TestRequest) -> tuple[dict[str, str], str]:
    """The headers that are sent, and the content type. Raises RefusedError for one that cannot be
    sent."""
    found: dict[str, str] = {}
    content_type = "application/json"
    for given, value in request.headers:
        name = given.lower()
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise RefusedError(f"The header {given!r} has characters that no header can have.")
        if _OF_THE_SERVER.fullmatch(name):
            raise RefusedError(
                f"The header {given} cannot be sent through the API server, which takes it for its"
                " own."
            )
        if name == "content-type":
            content_type = value.strip()
        elif name not in _LEFT_OUT:
            found[name] = f"{found[name]}, {value}" if name in found else value
    # A compressed response could not be shown: the client of the API server asks for one by itself.
    return {**found, "Accept-Encoding": "identity", "X-Async": "true"}, content_type
