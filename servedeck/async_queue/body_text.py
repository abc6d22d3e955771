"""What a body is, and its text: of JSON, of a stream of events, of plain text, or of bytes."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from servedeck.async_queue.chat import Chat, request_chat, response_chat
from servedeck.async_queue.event_stream import read_stream
from servedeck.async_queue.json_text import MAX_LINES, JsonText, format_json
from servedeck.async_queue.queue_api import Side
from servedeck.serving.text import format_count, format_size, sanitize

PART_BYTES = 256 << 10
"""Bytes of a body that are read and shown at first."""
MAX_SHOWN_BYTES = 4 << 20
"""Bytes of a body that are shown at most; all of it can be saved to a file."""
HEX_BYTES = 256
"""Bytes of a binary body that are shown."""
_HEX_COLUMNS = 16
_BINARY_TYPES = ("image/", "audio/", "video/", "font/")
_BINARY_TYPES_MORE = ("application/zip", "application/gzip", "application/pdf")
_SANITIZED_LENGTH = 64 << 10
"""Characters that are sanitized together: other threads run in between."""
_MAX_BAD_SHARE = 0.1
"""Share of bytes that are no text from which on a body is taken for binary."""


class BodyKind(StrEnum):
    """What a body is shown as."""

    EMPTY = "empty"
    BINARY = "binary"
    EVENT_STREAM = "event stream"
    JSON = "JSON"
    TEXT = "text"


class BodyText(NamedTuple):
    """A body, or its beginning, as it is shown."""

    kind: BodyKind
    text: str = ""
    """Sanitized; the bytes in hexadecimal of a binary one."""
    notes: Sequence[str] = ()
    """What is special about it, a sentence each."""
    json: JsonText | None = None
    chat: Chat | None = None


class BodyBytes(NamedTuple):
    """The bytes of a body, or its beginning."""

    data: bytes
    size: int
    """Of the whole body."""

    @property
    def is_cut(self) -> bool:
        return len(self.data) < self.size


def header_value(headers: Sequence[tuple[str, str]], name: str) -> str:
    """Value of the first header of that name, which is in lower case; "" without one."""
    return next((value for one, value in headers if one.lower() == name), "")


def read_body_text(
    body: BodyBytes,
    side: Side,
    *,
    content_type: str = "",
    encoding: str = "",
    is_event_stream: bool = False,
) -> BodyText:
    """How a body is shown. It takes about a second for MAX_SHOWN_BYTES: run it in a thread."""
    if not body.size:
        return BodyText(BodyKind.EMPTY)
    notes = []
    data, is_cut = body.data, body.is_cut
    if encoding and encoding.lower() != "identity":
        decoded = _decompress(data, encoding)
        if decoded is None:
            notes.append(f"It is encoded ({encoding}), and shown as it was sent.")
        else:
            data, is_cut = decoded.data, is_cut or decoded.is_cut
            notes.append(f"It was sent encoded ({encoding}).")
    media_type = content_type.partition(";")[0].strip().lower()
    if _is_binary(data, media_type):
        return BodyText(BodyKind.BINARY, hex_text(data), notes)
    text, bad = _decode(data, is_cut=is_cut)
    if bad:
        where = "has" if bad == 1 else "have"
        notes.append(
            f"{format_count(bad, 'place')} {where} bytes that are not valid UTF-8, shown as �."
        )
    shown = sanitize_long(text)
    if is_event_stream or media_type == "text/event-stream":
        return _read_event_stream(data, shown, notes, is_cut=is_cut)
    is_json = media_type.endswith("json")
    if not is_json and text.lstrip()[:1] not in ("{", "["):
        return BodyText(BodyKind.TEXT, shown, notes)
    fits = body.size <= MAX_SHOWN_BYTES
    return _read_json(text, shown, side, notes, is_json=is_json, is_cut=is_cut, fits=fits)


def _read_json(
    text: str, shown: str, side: Side, notes: list[str], *, is_json: bool, is_cut: bool, fits: bool
) -> BodyText:
    """`fits`: all of it could be shown."""
    chat: Chat | None = None
    if not is_cut:
        try:
            value = msgspec.json.decode(text.encode("utf-8", "replace"))
        except RecursionError:
            notes.append("It is nested too deeply to be read as a chat.")
        except (msgspec.DecodeError, ValueError) as error:
            if is_json:
                reason = sanitize(str(error)).removeprefix("JSON is malformed: ")
                notes.append(f"It is not valid JSON: {reason}.")
            return BodyText(BodyKind.TEXT, shown, notes)
        else:
            chat = request_chat(value) if side is Side.REQUEST else response_chat(value)
    elif fits:
        notes.append("It is shown as a conversation, if it is one, once all of it is read.")
    json = format_json(shown)
    if json.omits_lines:
        notes.append(f"Only the first {MAX_LINES:,} lines are shown.")
    return BodyText(BodyKind.JSON, shown, notes, json, chat)


def _read_event_stream(data: bytes, shown: str, notes: list[str], *, is_cut: bool) -> BodyText:
    stream = read_stream(data, is_cut=is_cut)
    notes.append(f"{format_count(stream.event_count, 'event')}, joined.")
    if not is_cut and not stream.is_done and stream.event_count:
        notes.append("The stream has no [DONE] at its end.")
    messages = stream.messages()
    return BodyText(BodyKind.EVENT_STREAM, shown, notes, None, Chat(messages) if messages else None)


def hex_text(data: bytes) -> str:
    """The first bytes as `hexdump -C` prints them."""
    lines = []
    for first in range(0, min(len(data), HEX_BYTES), _HEX_COLUMNS):
        row = data[first : first + _HEX_COLUMNS]
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{first:08x}  {row.hex(' '):<{3 * _HEX_COLUMNS}} {letters}")
    return "\n".join(lines)


def size_text(body: BodyBytes) -> str:
    """ "12.0 KiB", "256.0 KiB of 100.0 MiB"."""
    if not body.is_cut:
        return format_size(body.size)
    return f"{format_size(len(body.data))} of {format_size(body.size)}"


def _is_binary(data: bytes, media_type: str) -> bool:
    # Clients send JSON as application/octet-stream, too: that says nothing.
    if media_type.startswith(_BINARY_TYPES) or media_type in _BINARY_TYPES_MORE:
        return True
    beginning = data[:PART_BYTES]
    if media_type.startswith("text/") or media_type.endswith("json"):
        return False
    if b"\0" in beginning:
        return True
    _, bad = _decode(beginning, is_cut=True)
    return bad > len(beginning) * _MAX_BAD_SHARE


def _decode(data: bytes, *, is_cut: bool) -> tuple[str, int]:
    """The text, and the places that are not UTF-8. The last character of a text that is cut off may
    be incomplete."""
    text = codecs.getincrementaldecoder("utf-8-sig")("replace").decode(data, not is_cut)
    bad = text.count("�")
    return text, bad and max(bad - data.count("�".encode()), 0)


def sanitize_long(text: str) -> str:
    """`sanitize` for a text of any length, in a thread."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sanitize(text[at : at + _SANITIZED_LENGTH]) for at in range(0, len(text), _SANITIZED_LENGTH)
    )


def _decompress(data: bytes, encoding: str) -> BodyBytes | None:
    """The decoded beginning of a body; None if it cannot be decoded."""
    window = {"gzip": 31, "x-gzip": 31, "deflate": 15}.get(encoding.lower())
    if window is None:
        return None
    decoder = zlib.decompressobj(window)
    try:
        decoded = decoder.decompress(data, MAX_SHOWN_BYTES)
    except zlib.error:
        return None
    return BodyBytes(decoded, len(decoded) + (not decoder.eof))
