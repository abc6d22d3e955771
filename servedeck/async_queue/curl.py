"""The curl line that sends the request of a task again, as an asynchronous one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote as percent_encode

from servedeck.async_queue.tasks import RequestView
from servedeck.serving.client_examples import shell_quote

MAX_INLINE_BYTES = 16 << 10
"""A larger body is not in the line, but in a file that it names."""
HIDDEN = "[hidden]"
"""What the gateway says in place of a value that looks secret."""

_SET_BY_CURL = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "accept-encoding"),
        *("user-agent", "expect", "x-async", "authorization"),
        *("via", "forwarded", "x-request-id", "traceparent"),
    }
)
"""Headers that curl sets itself, that were added on the way, or that the line has anyway."""
_ADDED_ON_THE_WAY = ("x-forwarded-", "x-envoy-", "x-b3-")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Name of a header (RFC 9110, 5.6.2)."""
_GLOB = re.compile(r"[\[\]{}]")
"""What curl expands in a URL."""


class CurlLine(NamedTuple):
    """The line, and what else it needs."""

    text: str
    file: str
    """Name of the file that it reads the body from; "" if the body is in the line."""


def task_curl(
    url: str,
    request: RequestView,
    body: bytes | None,
    *,
    has_credentials: bool,
    file: str,
) -> CurlLine:
    """`url` is the endpoint of the serving, `body` None if not all of it is known; it is then read
    from `file`, as one that is large, or that a terminal or a shell could not paste."""
    path = request.path if request.path.startswith("/") else f"/{request.path}"
    target = "".join(
        char if char.isprintable() else percent_encode(char) for char in url.rstrip("/") + path
    )
    globs = "-g " if _GLOB.search(target) else ""
    method = shell_quote(request.method, always=False)
    lines = [f"curl {globs}-X {method} {shell_quote(target, is_exact=True)}"]
    lines += [
        f"-H {shell_quote(_header(name, value), is_exact=True)}"
        for name, value in _kept(request.headers)
    ]
    if has_credentials:
        lines.append("-H 'Authorization: Bearer <token>'")
    lines.append("-H 'X-Async: true'")
    text = _inline_text(body)
    if text is None:
        lines.append(f"--data-binary {shell_quote(f'@{file}', always=False)}")
    elif text:
        option = "--data-raw" if text.startswith("@") else "-d"  # which would read a file
        lines.append(f"{option} {shell_quote(text, is_exact=True)}")
    return CurlLine(" \\\n  ".join(lines), file if text is None else "")


def _kept(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in headers
        if value != HIDDEN
        and (name.lower(), value) != ("accept", "*/*")
        and name.lower() not in _SET_BY_CURL
        and not name.lower().startswith(_ADDED_ON_THE_WAY)
        and _TOKEN.fullmatch(name)
        and value.isprintable()
    ]


def _header(name: str, value: str) -> str:
    """A header as curl takes it; it would not send one that ends with its colon."""
    shown = "-".join(part[:1].upper() + part[1:] for part in name.split("-"))
    return f"{shown}: {value}" if value.strip() else f"{shown};"


def _inline_text(body: bytes | None) -> str | None:
    """The body as it can stand in the line; None if it cannot."""
    if body is None or len(body) > MAX_INLINE_BYTES:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # Others could be taken for a key while they are pasted.
    return text if all(char.isprintable() or char == "\n" for char in text) else None
