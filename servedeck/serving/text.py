"""Untrusted text made harmless: no terminal escapes, and one code point is its own width in cells.

Applied once, where records are built and where log lines are read; widgets then only switch markup
off.
"""

from __future__ import annotations

import re
import unicodedata

# ECMA-48: control strings (OSC, DCS, SOS, PM, APC) with their payload, control sequences (CSI), and
# two-character escapes, each in its 7-bit and 8-bit form. A control string that never ends loses
# only its introducer, so nothing can hide the rest of a line. Possessive and bounded by C1 and ESC,
# so the search is linear in the text.
_TERMINAL_ESCAPE_PATTERN = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x80-\x9f\n]*+(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    r"|\x1b[ -/]*+[0-~]"
)

# Printable by Unicode, yet terminals disagree about their width or draw nothing: grapheme joiner,
# Hangul and Khmer fillers, Mongolian and general variation selectors, emoji skin tones.
_AMBIGUOUS_WIDTH_PATTERN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
)

# Real scripts stack at most a few marks on a letter; hundreds of them paint over other rows.
_COMBINING_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED_MARKS = re.compile(f"({_COMBINING_MARK}{{3}}){_COMBINING_MARK}+")

_JSON_CONTROL_ESCAPE_PATTERN = re.compile(rb"\\[bfrtu]")
_CARRIAGE_RETURN = re.compile(r"\r+(?=\n|$)")
_TAB = "    "
_REPLACEMENT = "\ufffd"


def sanitize(text: str) -> str:
    """`text` without anything that steers a terminal or breaks the arithmetic of its cells.

    Dropped: escape sequences, control characters save the newline, bidirectional controls,
    zero-width and other format characters, lone surrogates, characters whose width terminals
    disagree about. A tab becomes four spaces, a carriage return within a line one space (progress
    bars write them), any other kind of space a space, an unassigned character U+FFFD. Printable
    text comes back as it is.
    """
    if text.isprintable():
        if text.isascii():
            return text
    else:
        text = _CARRIAGE_RETURN.sub("", _TERMINAL_ESCAPE_PATTERN.sub("", text))
        if not text.isprintable():
            text = "".join(
                [char if char.isprintable() else _replace_unprintable(char) for char in text],
            )
        if text.isascii():
            return text
    return _STACKED_MARKS.sub(r"\1", _AMBIGUOUS_WIDTH_PATTERN.sub("", text))


def _replace_unprintable(char: str) -> str:
    """What stands for one character that is not printable."""
    if char == "\n":
        return char
    if char == "\t":
        return _TAB
    if char == "\r":
        return " "
    match unicodedata.category(char):
        case "Zs":
            return " "
        case "Zl" | "Zp":
            return "\n"
        case "Co":
            return char
        case "Cn":
            return _REPLACEMENT
        case _:
            return ""


def may_need_sanitizing(raw: bytes) -> bool:
    r"""Whether the JSON of an object may hold a string that `sanitise` would change.

    Cheap, and true too often rather than once too seldom: bytes outside ASCII, DEL, and the
    escapes that JSON has for control characters (`\b \f \r \t` and `\u`).
    """
    return (
        not raw.isascii() or b"\x7f" in raw or _JSON_CONTROL_ESCAPE_PATTERN.search(raw) is not None
    )


def one_line(text: str) -> str:
    """`text` with every run of blanks and newlines as one space, and none at its ends."""
    return " ".join(text.split())


def cell_width(text: str) -> int:
    """Width of sanitised text in terminal cells: 2 for wide East Asian characters and emoji, 0 for
    combining marks, 1 for all others."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` cells, ending in "…" where it was cut."""
    if width <= 0:
        return ""
    if cell_width(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + "…"
    room = width - 1
    kept = 0
    for index, char in enumerate(text):
        kept += _char_width(char)
        if kept > room:
            return text[:index] + "…"
    return text


def _char_width(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.east_asian_width(char) in "WF":
        return 2
    return 0 if unicodedata.category(char) in ("Mn", "Me") else 1


def format_count(number: int, noun: str, plural: str = "") -> str:
    """`number` with its noun in the right form: "1 restart", "1,200 lines"; `plural` where it is
    not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
