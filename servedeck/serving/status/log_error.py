"""What a known error in a container's log is recognized by, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class LogError(NamedTuple):
    """One row of the table of known errors.

    In `text` and `advice`, {name} is a named group of `pattern`; a part in square brackets is left
    out if a group in it matched nothing.
    """

    id: str
    """Stable name, "cuda-out-of-memory"."""
    pattern: str
    """Regular expression that is searched in one sanitized line."""
    title: str
    """Short reason, "CUDA out of memory"."""
    text: str
    """The predicate that follows the container's name."""
    advice: str
    """What to change, in one or two sentences: fields of a serving, options of its server."""
    source: str
    """A public report of the line, or the file and version that writes it."""
    words: tuple[str, ...]
    """Texts of which each match contains one, so that other lines need no regular expression."""


class LogErrorMatch(NamedTuple):
    """A known error that was found in a log."""

    error: LogError
    line: int
    """Index of the line that says it."""
    text: str
    """The predicate after the container's name, sanitized and of bounded length."""
    advice: str
    """What to change, one or two sentences."""

    @property
    def sentence(self) -> str:
        """The predicate and the advice, without the container's name."""
        return f"{self.text}. {self.advice}"
