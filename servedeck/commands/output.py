"""Lines on standard output and standard error."""

from __future__ import annotations

import sys
from typing import TextIO


def write_lines(stream: TextIO, *lines: str) -> None:
    """Write lines without control characters: parts of them may be untrusted."""
    from servedeck.serving.text import one_line, sanitize

    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        stream.write(f"{indent}{one_line(sanitize(line))}\n")
    stream.flush()


def write_line(line: str) -> None:
    """Write a line to the standard output, as `write_lines` does."""
    write_lines(sys.stdout, line)


def write_error_line(line: str) -> None:
    """Write a line to the standard error, as `write_lines` does."""
    write_lines(sys.stderr, line)
