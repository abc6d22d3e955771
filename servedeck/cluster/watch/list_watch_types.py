"""The outermost layer of what the API server sends: pages of a list, events of a watch."""

from __future__ import annotations

import msgspec

from servedeck.cluster.http.errors import AnswerError
from servedeck.cluster.watch.decode import parse


class Head(msgspec.Struct, rename="camel"):
    """Metadata of a list or a bookmark."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
    annotations: dict[str, str] | None = None


class Page(msgspec.Struct):
    """One page of a list; its objects are not looked into yet."""

    metadata: Head
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: Head


_page = msgspec.json.Decoder(Page).decode
_event = msgspec.json.Decoder(Event).decode
_bookmark = msgspec.json.Decoder(_Bookmark).decode


def read_page(body: bytes) -> Page:
    """AnswerError where it is no list."""
    try:
        return _page(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        hint = "is there a login page in between?" if body[:1] == b"<" else f"{error}."
        raise AnswerError(f"The server sent a list that cannot be read: {hint}") from error


def read_event(line: bytes) -> Event:
    """AnswerError where it is no event."""
    try:
        return _event(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise AnswerError(f"The server sent an event that cannot be read ({error}).") from error


def read_head(raw: msgspec.Raw) -> Head:
    """Metadata alone: a Pod's bookmark has `containers: null`, which a record would refuse."""
    try:
        return _bookmark(raw).metadata
    except (msgspec.DecodeError, ValueError, RecursionError):
        value = parse(bytes(raw))
        meta = value.get("metadata") if isinstance(value, dict) else None
        version = meta.get("resourceVersion") if isinstance(meta, dict) else None
        return Head(str(version or ""))
