"""Sanitize untrusted text: no terminal escapes, and the width in cells of each code point is
independent of the others.

Applied once, when records are built and log lines are read; widgets then only disable markup.
"""

from __future__ import annotations

import re
import unicodedata

# ECMA-48: control strings (OSC, DCS, SOS, PM, APC) with their payload, control sequences (CSI), and
# two-character escapes, each in its 7-bit and 8-bit form. Of an unterminated control string only
# the introducer is removed, so it cannot hide the rest of a line. Possessive and bounded by C1 and
# ESC, so the search is linear in the text.
TERMINAL_ESCAPE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x80-\x9f\n]*+(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    r"|\x1b[ -/]*+[0-~]"
)
"""One terminal escape, never longer than its line."""

# Printable according to Unicode, but terminals differ in their width or draw nothing: grapheme
# joiner, Hangul and Khmer fillers, Mongolian and general variation selectors, emoji skin tones.
_AMBIGUOUS_WIDTH_PATTERN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
)

# Real scripts have at most a few marks on a letter; hundreds of them would overlap other rows.
_MAX_MARKS = 3
_MARKS = ("Mn", "Me")
"""Categories of the characters that have no width of their own."""
# Where more than those may be: characters that are not letters, digits or ASCII. Blocks that have
# no marks but what logs are full of, as lines and progress bars, are left out. One and then three
# more are found in half the time that four take.
_NO_LETTER = r"[^\w\x00-\x7f\u2010-\u20cf\u2100-\u2cee\u3000-\u3029]"
_NO_LETTERS = re.compile(f"{_NO_LETTER}{_NO_LETTER}{{{_MAX_MARKS},}}")

_JSON_CONTROL_ESCAPE_PATTERN = re.compile(rb"\\[bfrtu]")
_CARRIAGE_RETURN = re.compile(r"\r+(?=\n|$)")
_TAB = "    "
_REPLACEMENT = "\ufffd"

MASK = "••••••••"
"""Shown in place of a value that looks secret."""


def sanitize(text: str) -> str:
    """`text` without anything that controls a terminal or breaks the computation of its width.

    Dropped: escape sequences, control characters except newline, bidirectional controls, zero-width
    and other format characters, lone surrogates, characters whose width differs between terminals.
    A tab becomes four spaces, a carriage return within a line one space (progress bars write them),
    any other kind of space a space, an unassigned character U+FFFD. Printable text is returned
    unchanged.
    """
    if text.isprintable():
        if text.isascii():
            return text
    else:
        text = _CARRIAGE_RETURN.sub("", TERMINAL_ESCAPE.sub("", text))
        if not text.isprintable():
            text = "".join(
                [char if char.isprintable() else _replace_unprintable(char) for char in text],
            )
        if text.isascii():
            return text
    return _NO_LETTERS.sub(_limit_marks, _AMBIGUOUS_WIDTH_PATTERN.sub("", text))


def _limit_marks(found: re.Match[str]) -> str:
    """The characters without those marks that are too many on a letter."""
    kept: list[str] = []
    marks = 0
    for char in found[0]:
        marks = marks + 1 if unicodedata.category(char) in _MARKS else 0
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def _replace_unprintable(char: str) -> str:
    """Replacement for one unprintable character."""
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
    r"""Whether the JSON of an object may contain a string that `sanitize` would change.

    Cheap; may return a false positive but no false negative: bytes outside ASCII, DEL, and the
    escapes that JSON has for control characters (`\b \f \r \t` and `\u`).
    """
    return (
        not raw.isascii() or b"\x7f" in raw or _JSON_CONTROL_ESCAPE_PATTERN.search(raw) is not None
    )


def one_line(text: str) -> str:
    """`text` with every run of whitespace as one space, and none at its ends."""
    return " ".join(text.split())


def cell_width(text: str) -> int:
    """Width of sanitized text in terminal cells: 2 for wide East Asian characters and emoji, 0 for
    combining marks, 1 for all others."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` cells, ending in "…" if truncated."""
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
    return 0 if unicodedata.category(char) in _MARKS else 1


def format_count(number: int, noun: str, plural: str = "") -> str:
    """`number` with its noun in singular or plural: "1 restart", "1,200 lines"; `plural` if it is
    not the noun plus "s"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_size(size: int) -> str:
    """ "812 B", "14.2 KiB", "3.0 MiB"."""
    if size < 1 << 10:
        return f"{size} B"
    if size < 1 << 20:
        return f"{size / (1 << 10):.1f} KiB"
    if size < 1 << 30:
        return f"{size / (1 << 20):.1f} MiB"
    return f"{size / (1 << 30):.1f} GiB"
