"""Repeated lines, told apart by everything but their numbers, and shown once with a count."""

from __future__ import annotations

import re

from servedeck.logs.records import is_progress

# Beyond this, lines are repeated only if they are equal.
_LONGEST_HEAD = 2048

_NUMBER = "#"

# What differs from line to line. The first character is a set by itself, by which the pattern is
# found twice as fast.
_VARYING = re.compile(
    r"""
    [\da-fA-F](?:
     (?<=\b.)(?:
      [\da-fA-F]{7}-(?:[\da-fA-F]{4}-){3}[\da-fA-F]{12}\b            # a UUID
      |(?<=0)[xX][\da-fA-F]++                                       # an address in memory
      |(?:(?<=\d)|(?=[a-fA-F]*+\d))[\da-fA-F]{6,}+\b                # an id: a commit, a request
      |(?:(?<=\d)|(?=[a-fA-F:]{0,39}\d))[\da-fA-F]{0,3}:            # an IPv6 address
       (?:[\da-fA-F]{0,4}:){2,6}[\da-fA-F]{1,4}\b
     )
    |(?<=\d)\d*+(?:[.,:/T_-]\d++)*+Z?(?:e[+-]?\d++)?               # a number, date, time, IP
     (?:\ ?(?:[KMGTP]i?B?|k?B|ns|[uµm]?s|ms|min|h)(?:/s)?\b)?        # its unit
    )
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
