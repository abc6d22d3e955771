"""Stored bodies as they are, or a range of them (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from servedeck.gateway.admin_api.answers import Call, start
from servedeck.gateway.asgi import HttpError, close_connection
from servedeck.gateway.objects import ObjectStore, ObjectStoreError
from servedeck.gateway.stores.store import Content

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")


async def send_body(call: Call, content: Content, objects: ObjectStore | None) -> None:
    """Raises HttpError before it has begun to answer."""
    found = _read_range(call, content.size)
    first, last = found or (0, content.size)
    status = 200 if found is None else 206
    headers = [
        # Whatever it says of itself: what callers sent is never shown as a page of this host.
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b"attachment"),
        (b"accept-ranges", b"bytes"),
        (b"content-length", b"%d" % (last - first)),
    ]
    if found is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last - 1, content.size)))
    if call.is_head or first == last:
        await start(call.send, status, headers)
        await call.send({"type": "http.response.body"})
        return
    if not content.object:
        await start(call.send, status, headers)
        await call.send({"type": "http.response.body", "body": content.data[first:last]})
        return
    if objects is None:
        raise _unreadable("The settings name no object store.")
    parts = objects.read(content.object, first, last)
    try:
        # The first part before the head: a missing object is reported by the status.
        part: bytes | None = await anext(parts, None)
    except ObjectStoreError as error:
        raise _unreadable(str(error)) from None
    await start(call.send, status, headers)
    await _send_parts(call, part, parts)


async def _send_parts(call: Call, part: bytes | None, rest: AsyncIterator[bytes]) -> None:
    try:
        while part is not None:
            await call.send({"type": "http.response.body", "body": part, "more_body": True})
            part = await anext(rest, None)
    except ObjectStoreError:
        close_connection(call.scope)
        raise
    await call.send({"type": "http.response.body"})


def _read_range(call: Call, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for all. A request for several ranges, or with a
    condition that cannot be checked, gets all, as is allowed."""
    text = call.header(b"range").replace(" ", "")
    match = _RANGE.match(text)
    if not match or match[0] == "bytes=-" or call.header(b"if-range"):
        return None
    if not match[1]:
        first, end = max(size - int(match[2]), 0), size
    else:
        first = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < first:
            return None
    if first >= end:
        raise HttpError(
            416,
            "No such range",
            f"The body has {size} bytes.",
            headers=[(b"content-range", b"bytes */%d" % size)],
        )
    return first, end


def _unreadable(detail: str) -> HttpError:
    return HttpError(502, "The body cannot be read", detail)
