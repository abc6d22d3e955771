"""Envelope types of list and watch responses."""

from __future__ import annotations

import msgspec

from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.cluster.watch.decode import parse_json


class ListMeta(msgspec.Struct, rename="camel"):
    """Metadata of a list or a bookmark."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
    annotations: dict[str, str] | None = None


class ListPage(msgspec.Struct):
    """One page of a list; its items are not decoded yet."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    """One event of a watch."""

    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: ListMeta


_decode_list_page = msgspec.json.Decoder(ListPage).decode
_decode_watch_event = msgspec.json.Decoder(WatchEvent).decode
_decode_bookmark = msgspec.json.Decoder(_Bookmark).decode


def parse_list_page(body: bytes) -> ListPage:
    """Parse a page. Raises InvalidResponseError if the body is not a list."""
    try:
        return _decode_list_page(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        hint = "is there a login page in between?" if body[:1] == b"<" else f"{error}."
        raise InvalidResponseError(f"The server sent a list that cannot be read: {hint}") from error


def parse_watch_event(line: bytes) -> WatchEvent:
    """Parse an event. Raises InvalidResponseError if the line is not one."""
    try:
        return _decode_watch_event(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidResponseError(
            f"The server sent an event that cannot be read ({error})."
        ) from error


def parse_bookmark(raw: msgspec.Raw) -> ListMeta:
    """Metadata of a bookmark. Not decoded as a record: the bookmark of a Pod has `containers:
    null`, which the strict decoder rejects."""
    try:
        return _decode_bookmark(raw).metadata
    except (msgspec.DecodeError, ValueError, RecursionError):
        value = parse_json(bytes(raw))
        meta = value.get("metadata") if isinstance(value, dict) else None
        version = meta.get("resourceVersion") if isinstance(meta, dict) else None
        return ListMeta(str(version or ""))
