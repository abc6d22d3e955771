"""Repeated lines, told apart by everything but their numbers, and shown once with a count."""

from __future__ import annotations

import re
from collections.abc import Sequence

from servedeck.logs.records import is_progress

# Beyond this, lines are repeated only if they are equal.
_LONGEST_HEAD = 2048

_NUMBER = "#"

# A number that differs from line to line: a time, an address, an id, a count, a size or a duration
# with its unit. Each alternative begins at the start of a word or at a digit.
_VARYING = re.compile(
    r"""
    \b[\da-fA-F]{8}-(?:[\da-fA-F]{4}-){3}[\da-fA-F]{12}\b           # a UUID
    |\b0[xX][\da-fA-F]++                                           # an address in memory
    |\b(?=[a-fA-F]*\d)[\da-fA-F]{7,}+\b                            # an id: a commit, a request
    |\b(?=[a-fA-F:]*\d)(?:[\da-fA-F]{0,4}:){3,7}[\da-fA-F]{1,4}\b   # an IPv6 address
    |\d++(?:[.,:/T_-]\d++)*+Z?(?:e[+-]?\d++)?                      # a number, a date, a time, an IP
     (?:\ ?(?:[KMGTP]i?B?|k?B|ns|[uµm]?s|ms|min|h)(?:/s)?\b)?      # its unit
    """,
    re.VERBOSE,
)
_MANY = re.compile(r"#(?:[,. ]*#)+")


def fold_key(text: str) -> str:
    """What is the same in all repetitions of a line: the text with "#" in place of each time,
    number, size, duration, UUID, hexadecimal id and IP address. Of a progress bar, what it counts.
    """
    if is_progress(text):
        text = text[: text.index("%")].rstrip("0123456789. ")
    head = _VARYING.sub(_NUMBER, text[:_LONGEST_HEAD])
    return _MANY.sub(_NUMBER, head) + text[_LONGEST_HEAD:]


def fold_runs(lines: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """Runs of consecutive lines (source, text) of one source that are the same but for their
    numbers, as (index of the first, count); together, all lines."""
    runs: list[tuple[int, int]] = []
    start = 0
    previous_source, previous_text, previous_key = -1, "", ""
    for index, (source, text) in enumerate(lines):
        same = index > 0 and source == previous_source
        # Equal lines need no key, and lines that begin with other letters have other keys.
        if not same or text != previous_text:
            key = fold_key(text)
            same = same and key == previous_key
            previous_source, previous_text, previous_key = source, text, key
        if not same and index > 0:
            runs.append((start, index - start))
            start = index
    if lines:
        runs.append((start, len(lines) - start))
    return runs
