"""Finds the end of an escape sequence, and how long to wait for the rest of it.

A terminal sends the same character, ESC, for the escape key and at the beginning of every key that
is not a character, and a slow connection splits the input anywhere. So the rest of what can only be
a sequence is awaited, and what may be typed keys is read as keys after a short time.

The forms are those of ECMA-48, 5.4 (control sequences) and 5.6 (strings), of xterm's control
sequences (mouse reports, SS3 keys), and of the Linux console and rxvt (`ESC [ [ A`, `ESC [ 7 $`).
"""

from __future__ import annotations

import re

from textual.constants import ESCAPE_DELAY

from tui.internals.textual_private import ANSI_SEQUENCES_KEYS

ESC = "\x1b"

AMBIGUOUS_WAIT_SECONDS = 0.5
"""Seconds until ESC and a character that may begin a sequence are read as two keys."""

SEQUENCE_WAIT_SECONDS = 3.0
"""Seconds until the beginning of what can only be a sequence is dropped: longer than the
retransmission of a lost packet takes."""

MAX_SEQUENCE_CHARS = 4096
"""Characters after which the end of a sequence is no longer awaited."""

_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*")
_STRING_START = re.compile(r"\x1b(?:\]\d|P[\d>!=]|_G)")
_STRING_SEQUENCE = re.compile(r"\x1b[\]P_][^\x00-\x1f]*")

_FINAL_CHARS = frozenset(map(chr, range(0x40, 0x7F)))


def find_sequence_end(text: str, start: int) -> int:
    """Index after the sequence, or the escape key, that begins with the ESC at `start`; -1 while
    more input is needed to decide. An interrupted sequence ends at the interruption."""
    second = text[start + 1 : start + 2]
    if not second:
        return -1
    if second == "[":
        return _find_control_end(text, start)
    if second in "]P_":
        return _find_string_end(text, start)
    if second == "O":
        return _find_known_end(text, start, 3)
    # Terminals send the same for alt+d and for escape followed by d. No binding uses alt, except
    # those that a shell has too: alt+f and alt+b move by words, alt+backspace deletes one.
    return start + (2 if second != ESC and is_key_sequence(text[start : start + 2]) else 1)


def is_key_sequence(sequence: str) -> bool:
    """Whether terminals send it for a key that is not a character."""
    return isinstance(ANSI_SEQUENCES_KEYS.get(sequence), tuple)


def sequence_timeout(text: str) -> float:
    """Seconds to wait for the rest of `text`, for which `find_sequence_end` returns -1."""
    if len(text) == 1:
        return ESCAPE_DELAY
    return AMBIGUOUS_WAIT_SECONDS if len(text) == 2 else SEQUENCE_WAIT_SECONDS


def _find_known_end(text: str, start: int, length: int) -> int:
    if len(text) < start + length:
        return -1
    return start + (length if text[start : start + length] in ANSI_SEQUENCES_KEYS else 1)


def _find_control_end(text: str, start: int) -> int:
    third = text[start + 2 : start + 3]
    if third == "[":
        return _find_known_end(text, start, 4)
    if third == "M":  # a mouse report: three characters for button and position
        where = text[start + 3 : start + 6]
        if any(character < " " for character in where):
            return start + 3
        return start + 6 if len(where) == 3 else -1
    match = _CONTROL_SEQUENCE.match(text, start)
    assert match is not None
    if match[0] in ANSI_SEQUENCES_KEYS:
        return match.end()
    if match.end() == len(text):
        return -1 if len(match[0]) < MAX_SEQUENCE_CHARS else match.end()
    if text[match.end()] in _FINAL_CHARS:
        return match.end() + 1
    return match.end() if len(match[0]) > 2 else start + 1


def _find_string_end(text: str, start: int) -> int:
    if len(text) < start + 3:
        return -1
    if not _STRING_START.match(text, start):
        return start + 1
    match = _STRING_SEQUENCE.match(text, start)
    assert match is not None
    end = match.end()
    if end == len(text) or text[end:] == ESC:
        return -1 if end - start < MAX_SEQUENCE_CHARS else end
    if text[end] == "\x07":
        return end + 1
    return end + 2 if text.startswith("\x1b\\", end) else end
