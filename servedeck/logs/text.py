"""The text of log lines as it is shown and searched: decoded, without terminal escapes."""

from __future__ import annotations

from servedeck.serving.text import sanitize


def plain_text(raw: bytes) -> str:
    """The visible text of one line."""
    text = raw.decode("utf-8", "replace")
    if text.isprintable() and text.isascii():
        return text
    text = sanitize(text)
    return text.replace("\n", " ") if "\n" in text else text


def plain_block(data: bytes) -> str:
    """The visible text of lines that are joined with newlines: as many lines, in the same order.
    Printable ASCII, by far the most common case, is decoded in one step."""
    if data.isascii():
        text = data.decode("ascii")
        if text.replace("\n", "").isprintable():
            return text
    return "\n".join([plain_text(line) for line in data.split(b"\n")])
