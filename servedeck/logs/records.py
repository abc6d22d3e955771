"""Records of several lines, such as tracebacks."""

from __future__ import annotations


def is_continuation(text: str) -> bool:
    """Whether a line, given as its visible text, belongs to the record that the previous line of
    its source began: it is indented."""
    return text[:1] in (" ", "\t")
