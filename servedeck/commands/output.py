"""Lines on standard output and standard error."""

from __future__ import annotations

from typing import TextIO


def write_lines(stream: TextIO | None, *lines: str) -> None:
    """Write lines without control characters: parts of them may be untrusted."""
    from servedeck.serving.text import one_line, sanitize

    if stream is None:
        return  # it was closed before the start
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        stream.write(f"{indent}{one_line(sanitize(line))}\n")
    stream.flush()
