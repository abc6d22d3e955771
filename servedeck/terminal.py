"""Whether the terminal can show the screen, checked before the screen is loaded."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Mapping
from typing import TextIO

PARENT_PID = os.getppid()
"""The parent process; the screen exits with it."""


def unsupported_reason(environ: Mapping[str, str] | None = None) -> str:
    """Why the screen cannot be shown here, as the beginning of a sentence; "" if it can."""
    if not (_is_terminal(sys.__stdin__) and _is_terminal(sys.__stdout__)):
        return "The screen needs a terminal"
    name = (os.environ if environ is None else environ).get("TERM", "")
    if not supports_cursor_addressing(name):
        return f"A terminal of type {name!r} (TERM) cannot draw the screen"
    return ""


def shows_unicode(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal shows more than ASCII; the console of Linux has few characters, and none
    that graphs are drawn with."""
    name = (os.environ if environ is None else environ).get("TERM", "")
    encoding = sys.__stdout__.encoding if sys.__stdout__ is not None else ""
    return name != "linux" and codecs.lookup(encoding or "ascii").name == "utf-8"


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def supports_cursor_addressing(term: str) -> bool:
    """Whether terminals of this type (TERM) use the ANSI escape sequences for the cursor, the only
    ones that are sent. An unknown type is assumed to."""
    if term.lower() == "dumb":
        return False
    if term.lower() in ("", "unknown"):
        return True
    try:
        import curses
    except ImportError:
        return True
    try:
        curses.setupterm(term, 1)
    except (curses.error, ValueError):  # no such entry, or no database
        return True
    sequence = curses.tigetstr("cup")
    return sequence is not None and sequence.startswith((b"\x1b[", b"\x9b"))
