"""What a search or a filter looks for in a line: text, or a regular expression.

A query without capital letters ignores case. A match never extends over the end of a line. Nothing
here can take the screen's time for long:

- Text, and texts in order (`refused.*port`), are found by `str.find`, in lines of any length. What
  stands before `.*` in other regular expressions is found on its own as well, if it has one length.
- Of any other regular expression the time is bounded by the length of what is searched: the first
  `MAX_CHARS` characters of each line, fewer the more repeats it has that depend on one another
  (`LineQuery.searched_chars`). It is refused where it can take exponential time, as `(a+)+b` does,
  and with more than four such repeats.
- `LineQuery.steps` stops within a block.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from servedeck.logs.block import LogBlock
from servedeck.logs.regex_shape import has_alternatives, read_shape

MAX_CHARS = (1 << 20, 8 << 10, 1 << 10, 256, 96)
"""Characters of each line in which a regular expression is searched, by the number of its repeats
that can each take any length (`RegexShape.degree`); more are refused. The worst of lines takes
about a second."""
MAX_QUERY_CHARS = 2_000
_MAX_SPANS = 1_000
_STEP_SECONDS = 0.001

_NESTED_REPEATS = (
    "The regular expression repeats what is repeated in it, as (a+)+ does, which can take forever;"
    " (a++)+ does not."
)
_TOO_MANY_REPEATS = (
    "The regular expression has too many repeats that depend on one another, which can take"
    " forever; several filters do not."
)
_NOT_LETTERS = re.compile(r"\\.|\(\?P?[<=>]\w*|\(\?[a-zA-Z-]+", re.S)
"""Parts of a regular expression whose letters are no text."""
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")
_ESCAPED = re.compile(r"\\([^\w\s])", re.A)
_ANYTHING = re.compile(r"(?<!\\)\.(?:(\+)|\*)\??(?![+*?{])")
_FIXED_LENGTH = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^\w\s]|\\[dwsDWS]|\.)*")

Steps = Generator[None, None, list[int]]
"""Yields about each millisecond of work, and returns indices of lines."""


class QueryError(ValueError):
    """Why a query is refused, as a sentence for the operator."""


class LineMatcher(Protocol):
    """What a filter asks of a query."""

    @property
    def inverse(self) -> bool:
        """Whether a filter hides the lines that match."""

    def steps(self, block: LogBlock) -> Steps:
        """The indices of the lines of a block that match, ascending, regardless of `inverse`."""


class _Matcher(Protocol):
    searched_chars: int

    def matches(self, line: str) -> bool: ...
    def spans(self, line: str) -> list[tuple[int, int]]: ...
    def steps(self, block: LogBlock) -> Steps: ...


@dataclass(frozen=True)
class LineQuery:
    """Text or a regular expression. Raises QueryError, as `parse` does."""

    text: str
    inverse: bool = False
    """Whether a filter hides the lines that match. The methods here say what matches, regardless of
    this."""
    _matcher: _Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matcher", _make_matcher(self.text))

    @classmethod
    def parse(cls, text: str, *, inverse: bool = False) -> LineQuery:
        """The query that an operator has typed. Raises QueryError for an empty one, an invalid
        regular expression, and one that can take exponential time."""
        return cls(text, inverse)

    @property
    def searched_chars(self) -> int:
        """Characters at the start of each line that are searched; 0: all."""
        return self._matcher.searched_chars

    def matches(self, line: str) -> bool:
        """Whether a line matches, given as its visible text."""
        return self._matcher.matches(line)

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Start and end of each match in a line, none of them empty; the first thousand."""
        return self._matcher.spans(line)

    def find_lines(self, block: LogBlock) -> list[int]:
        """The indices of the lines of a block that match, ascending."""
        steps = self.steps(block)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: list[int] = end.value
                return found

    def steps(self, block: LogBlock) -> Steps:
        """`find_lines` in steps."""
        return self._matcher.steps(block)


def _make_matcher(text: str) -> _Matcher:
    if not text:
        raise QueryError("Type the text or regular expression to look for.")
    if len(text) > MAX_QUERY_CHARS:
        raise QueryError(f"The text to look for is longer than {MAX_QUERY_CHARS:,} characters.")
    ignore_case = not any(map(str.isupper, _NOT_LETTERS.sub("", text)))
    if (pieces := _literals_in_order(text)) is not None:
        return _TextMatcher(pieces, ignore_case)
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set" is not for the operator
            pattern = re.compile(text, flags)
            shape = read_shape(text, pattern.flags)
            *fronts, rest = _split_front(text)
            if fronts and not has_alternatives(rest):
                pattern = re.compile(rest, flags)
                degree = read_shape(rest, flags).degree
            else:
                fronts, degree = [], shape.degree
    except re.error as error:
        where = "" if error.pos is None else f", at position {error.pos + 1}"
        message = error.msg.partition(", unterminated")[0]
        raise QueryError(f"The regular expression is not valid: {message}{where}.") from error
    except (OverflowError, RecursionError) as error:
        raise QueryError("The regular expression is too large.") from error
    if shape.is_exponential:
        raise QueryError(_NESTED_REPEATS)
    if degree >= len(MAX_CHARS):
        raise QueryError(_TOO_MANY_REPEATS)
    patterns = [*(re.compile(front, flags) for front in fronts), pattern]
    return _RegexMatcher(patterns, shape.literals, MAX_CHARS[degree])


def _literals_in_order(pattern: str) -> list[str] | None:
    """The texts of which a regular expression consists, with anything between them; None if it is
    more than that."""
    pieces = _ANYTHING.split(pattern)
    literals = [literal for piece in pieces[::2] if (literal := _literal(piece)) is not None]
    if any(pieces[1::2]) or len(literals) < len(pieces[::2]):
        return None
    return [literal for literal in literals if literal]


def _split_front(pattern: str) -> list[str]:
    """A regular expression in parts between which is `.*`: it matches where they do, each after
    the first match of the one before. All but the last match text of one length, so that their
    first match is the one that ends first."""
    parts: list[str] = []
    at = 0
    for match in _ANYTHING.finditer(pattern):
        if not _FIXED_LENGTH.fullmatch(pattern, at, match.start()):
            break
        part = pattern[at : match.start()] + ("." if match[1] else "")
        parts += [part] if part else []
        at = match.end()
    return [*parts, pattern[at:]]


def _literal(pattern: str) -> str | None:
    """The text that a regular expression stands for; None if it is more than text."""
    if _SPECIAL.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)


def _fold(text: str) -> str:
    """Text in lower case, each character in its place."""
    if text.isascii():
        return text.lower()
    return text.replace("İ", "i").lower()  # the only one that would become two


class _TextMatcher:
    """Texts that follow one another in a line."""

    searched_chars = 0

    def __init__(self, pieces: Sequence[str], ignore_case: bool) -> None:
        self._pieces = [_fold(piece) for piece in pieces] if ignore_case else list(pieces)
        self._ignore_case = ignore_case

    def matches(self, line: str) -> bool:
        return self._find(self._prepare(line), 0) is not None

    def spans(self, line: str) -> list[tuple[int, int]]:
        line, at = self._prepare(line), 0
        found: list[tuple[int, int]] = []
        while self._pieces and len(found) < _MAX_SPANS:
            span = self._find(line, at)
            if span is None:
                break
            found.append(span)
            at = span[1]
        return found

    def steps(self, block: LogBlock) -> Steps:
        if not self._pieces:
            return list(range(block.count))
        text = self._prepare(block.text())
        if not all(piece in text for piece in self._pieces):
            return []
        first = self._pieces[0]
        lines = text.split("\n")
        found = [index for index, line in enumerate(lines) if first in line]
        if len(self._pieces) > 1:
            found = [index for index in found if self._find(lines[index], 0) is not None]
        yield from ()  # a block takes less than one step
        return found

    def _prepare(self, text: str) -> str:
        return _fold(text) if self._ignore_case else text

    def _find(self, line: str, at: int) -> tuple[int, int] | None:
        start = -1
        for piece in self._pieces:
            found = line.find(piece, at)
            if found < 0:
                return None
            start = found if start < 0 else start
            at = found + len(piece)
        return max(start, 0), at


class _RegexMatcher:
    """Regular expressions that follow one another in a line; lines without any of `literals` cannot
    match."""

    def __init__(
        self, patterns: Sequence[re.Pattern[str]], literals: tuple[str, ...], limit: int
    ) -> None:
        self.searched_chars = limit
        *self._fronts, self._pattern = patterns
        self._ignore_case = bool(self._pattern.flags & re.IGNORECASE)
        if self._ignore_case:
            # a character beyond ASCII may match one within it, as the Kelvin sign does
            literals = tuple(map(str.lower, literals)) if "".join(literals).isascii() else ()
        self._literals = literals

    def matches(self, line: str) -> bool:
        return self._find(line, 0) is not None

    def spans(self, line: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        at = 0
        while at <= len(line) and len(found) < _MAX_SPANS:
            span = self._find(line, at)
            if span is None:
                break
            start, at = span
            if at > start:
                found.append(span)
            else:
                at += 1
        return found

    def steps(self, block: LogBlock) -> Steps:
        lines = block.text().split("\n")
        found: list[int] = []
        find, clock = self._find, time.perf_counter
        pause_at = clock() + _STEP_SECONDS
        for index in self._candidates(block.text(), lines):
            if find(lines[index], 0) is not None:
                found.append(index)
            if clock() > pause_at:
                yield
                pause_at = clock() + _STEP_SECONDS
        return found

    def _find(self, line: str, at: int) -> tuple[int, int] | None:
        limit = self.searched_chars
        start = -1
        for front in self._fronts:
            match = front.search(line, at, limit)
            if match is None:
                return None
            start = match.start() if start < 0 else start
            at = match.end()
        match = self._pattern.search(line, at, limit)
        if match is None:
            return None
        return (match.start() if start < 0 else start), match.end()

    def _candidates(self, text: str, lines: list[str]) -> Sequence[int]:
        literals = self._literals
        if not literals:
            return range(len(lines))
        if self._ignore_case:
            if not text.isascii():
                return [
                    index
                    for index, line in enumerate(lines)
                    if not line.isascii() or any(map(line.lower().__contains__, literals))
                ]
            text = text.lower()
        literals = tuple(literal for literal in literals if literal in text)
        if not literals:
            return []
        if self._ignore_case:
            lines = text.split("\n")
        if len(literals) == 1:
            literal = literals[0]
            return [index for index, line in enumerate(lines) if literal in line]
        return [index for index, line in enumerate(lines) if any(map(line.__contains__, literals))]
