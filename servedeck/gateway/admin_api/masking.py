"""What operators see of the heads of requests: values that look like credentials are hidden.

The headers in CREDENTIAL_HEADERS are not in a stored head at all. But a caller may send a token in
a header of another name, in the query, or in the URL of its callback.
"""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import unquote_plus

from msgspec.structs import replace

from servedeck.async_queue.tasks import Task
from servedeck.gateway.messages import CREDENTIAL_HEADERS, Headers, RequestHead, ResponseHead

HIDDEN = "[hidden]"

_SENSITIVE = re.compile(
    r"auth|cookie|token|secret|passw|credential|session|signature|jwt|assertion|api-?_?key"
    r"|(^|[-_])(key|sig|code|pwd)$",
    re.IGNORECASE,
)
_MAYBE_SENSITIVE = (
    *("%", "auth", "cookie", "token", "secret", "passw", "credential", "session", "jwt"),
    *("assertion", "key", "sig", "code", "pwd"),
)
"""In a query without any of them no name is sensitive."""
_MAX_PARAMETERS = 64
_MAX_NAME = 128
"""A query with more of them, and the value of a longer name, is hidden without a look: a page of
tasks must not keep the gateway from its callers, whatever their paths are."""

TaskT = TypeVar("TaskT", bound=Task)


def mask_task(task: TaskT) -> TaskT:
    path = mask_path(task.path)
    return task if path == task.path else replace(task, path=path)


def mask_request(head: RequestHead) -> RequestHead:
    return replace(
        head,
        path=mask_path(head.path),
        headers=_mask_headers(head.headers),
        callback=mask_url(head.callback),
    )


def mask_response(head: ResponseHead) -> ResponseHead:
    return replace(head, headers=_mask_headers(head.headers))


def mask_path(path: str) -> str:
    """With the values of the query hidden whose names say that they are secret."""
    before, mark, query = path.partition("?")
    lower = query.lower()
    if not any(one in lower for one in _MAYBE_SENSITIVE):
        return path
    parameters = query.split("&", _MAX_PARAMETERS)
    if len(parameters) > _MAX_PARAMETERS:
        return f"{before}?{HIDDEN}"
    return before + mark + "&".join(map(_mask_parameter, parameters))


def mask_url(url: str) -> str:
    """Scheme and host alone: the path of a webhook is often what protects it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return HIDDEN if url else ""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = f"/{HIDDEN}" if len(rest) > len(host) + 1 else rest[len(host) :]
    return f"{scheme}://{host.rpartition('@')[2]}{path}"


def _mask_parameter(pair: str) -> str:
    name, mark, _ = pair.partition("=")
    is_hidden = mark and (len(name) > _MAX_NAME or _SENSITIVE.search(unquote_plus(name)))
    return f"{name}={HIDDEN}" if is_hidden else pair


def _mask_headers(headers: Headers) -> list[tuple[str, str]]:
    return [
        (name, HIDDEN if name in CREDENTIAL_HEADERS or _SENSITIVE.search(name) else value)
        for name, value in headers
    ]
