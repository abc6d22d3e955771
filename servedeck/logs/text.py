"""The text of log lines as it is shown and searched: decoded, without terminal escapes, and of a
progress bar only its last state."""

from __future__ import annotations

import re

from servedeck.serving.text import TERMINAL_ESCAPE, sanitize

_TAB = "    "
_BELL = "\x07"

# Control characters that mean nothing within a line. Tab, newline, bell (the end of a control
# string), carriage return and escape are looked at; the others are dropped before decoding, which
# is much faster than one by one.
_DROPPED = bytes(code for code in range(32) if code not in b"\t\n\x07\r\x1b") + b"\x7f"

# In a line this long that is not text, neither characters nor escapes are looked at one by one:
# that would take 30 ms a megabyte.
_LONGEST_BINARY = 1 << 16
_MOST_ESCAPES = 1000
_NOT_ASCII_AS_MARK = bytes(range(128)) + b"?" * 128
_CONTROL = bytes(code for code in range(32) if code != 9) + b"\x7f"

_ASCII = bytes(range(128))
_PRINTABLE_ASCII = bytes(range(32, 127)) + b"\n"

# Most escapes in a log are colours, and a pattern that begins with fixed text is faster.
_COLOR = re.compile(r"\x1b\[[0-9;]*+m")


def plain_text(raw: bytes) -> str:
    """The visible text of one line: no control character, escape, bidirectional control or
    character of zero width is in it; invalid UTF-8 is shown as U+FFFD.

    Of a line with carriage returns (progress bars write them), the last part that is not blank, as
    a terminal would show it.

    In a line of more than 64 KiB escapes are not parsed if it is not UTF-8, where what is not ASCII
    is shown as "?", or if it has more than 1000 of them besides colours: of these ESC alone is left
    out.
    """
    if raw.isascii():
        text = raw.decode("ascii")
        if text.isprintable():
            return text
    elif len(raw) > _LONGEST_BINARY and not _is_utf8(raw):
        text = raw.translate(_NOT_ASCII_AS_MARK, _CONTROL).decode("ascii")
        return text.replace("\t", _TAB)
    text = decode_line(raw)
    if not text.isprintable():
        text = _COLOR.sub("", text)
        if _has_too_many_escapes(text):
            text = text.replace("\x1b", "")
        text = _without_other_escapes(text)
        start, end = shown_part(text)
        text = text[start:end].replace("\t", _TAB).replace(_BELL, "")
        if len(text) > _LONGEST_BINARY and not text.isprintable():
            text = text.encode("ascii", "replace").translate(None, b"\x1b\r").decode("ascii")
    return sanitize(text).replace("\n", " ")


def plain_block(data: bytes) -> str:
    """The visible text of lines that are joined with newlines: as many lines, in the same order,
    each as `plain_text` has it. What is printable, by far the most common case, is decoded in one
    step, and so are lines in ASCII with colours and tabs."""
    if data.isascii():
        if not data.translate(None, _PRINTABLE_ASCII):
            return data.decode("ascii")
        text = data.translate(None, _DROPPED).decode("ascii").replace("\r\n", "\n")
        if "\r" not in text:
            text = _COLOR.sub("", text)
            if not _has_too_many_escapes(text):
                text = _without_other_escapes(text)
                # What is left of an escape without an end is rare, and left to `plain_text`.
                if "\x1b" not in text:
                    return text.replace("\t", _TAB).replace(_BELL, "")
    elif (printable := _printable_block(data)) is not None:
        return printable
    return "\n".join([plain_text(line) for line in data.split(b"\n")])


def _printable_block(data: bytes) -> str | None:
    """`data` decoded, if nothing in it has to be replaced; None if that is not sure."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    # Without the ASCII between them, accents only stand closer together.
    others = data.translate(None, _ASCII).decode("utf-8")
    if sanitize(others) != others or not text.replace("\n", "").isprintable():
        return None
    return text


def _without_other_escapes(text: str) -> str:
    if text.isascii() and "\x1b" not in text:
        return text
    return TERMINAL_ESCAPE.sub("", text)


def _has_too_many_escapes(text: str) -> bool:
    """Whether a line without its colours, or a block that may have such a line, has more escapes
    than are parsed."""
    return len(text) > _LONGEST_BINARY and text.count("\x1b") > _MOST_ESCAPES


def decode_line(raw: bytes) -> str:
    """The characters of a line, its terminal escapes, tabs and carriage returns included."""
    return raw.translate(None, _DROPPED).decode("utf-8", "replace")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown_part(text: str) -> tuple[int, int]:
    """Start and end of what a terminal shows of a line without escapes: all of it, or what follows
    its last carriage return. Carriage returns at the end, and blank parts, are passed over."""
    end = len(text.rstrip("\r"))
    if text.find("\r", 0, end) < 0:
        return 0, end
    end = len(text.rstrip())
    return text.rfind("\r", 0, end) + 1, end
