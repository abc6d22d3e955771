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

TaskT = TypeVar("TaskT", bound=Task)


def mask_task(task: TaskT) -> TaskT:
    path = mask_path(task.path)
    return task if path is task.path else replace(task, path=path)


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
    if not mark:
        return path
    return before + mark + "&".join(map(_mask_parameter, query.split("&")))


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
    return f"{name}={HIDDEN}" if mark and _SENSITIVE.search(unquote_plus(name)) else pair


def _mask_headers(headers: Headers) -> list[tuple[str, str]]:
    return [
        (name, HIDDEN if name in CREDENTIAL_HEADERS or _SENSITIVE.search(name) else value)
        for name, value in headers
    ]
