"""JSON as indented lines that can be folded, also of a text that is cut off.

The lines are made of the text itself, not of what it is decoded to: numbers and repeated keys are
shown as they were sent, and no depth is too deep. Of the escapes only those of letters that are not
ASCII are decoded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from servedeck.serving.text import sanitize

MAX_LINES = 100_000
"""Lines that are made of a text at most."""
MAX_INDENT = 40
"""Blanks before a line at most, however deep it is nested."""
PACKED_LENGTH = 60
"""Characters from which on the next number of a list begins a line."""
FOLDED_LINES = 8
"""A list of numbers that takes more lines is folded at first."""
FOLDED_LENGTH = 2000
"""A value of more characters without a blank in its beginning is folded at first: it is data."""
_BEGINNING = 200
"""Characters that are searched for a blank."""
_SHOWN_LENGTH = 60
"""Characters that are shown of a folded value."""

_TOKEN = re.compile(
    r'[ \t\r\n]*+(?:([{}\[\],:])|("(?:[^"\\]++|\\.)*+"?)|([^ \t\r\n{}\[\],:"]++))', re.DOTALL
)
_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u([0-9a-fA-F]{4})|\\."
)
_NUMBER = re.compile(r"-?[0-9]")
_MORE_NUMBERS = re.compile(r'(?:[ \t\r\n]*+,[ \t\r\n]*+-?[0-9][^ \t\r\n{}\[\],:"]*+)++')
"""After a number of a list: those that follow, as an embedding has thousands of them."""
_KEY = re.compile(r'( *+)("(?:[^"\\]++|\\.)*+": )?+', re.DOTALL)


class JsonText:
    """The lines of a JSON text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.last = array("l")
        """For each line the last one of what begins on it: its own index if that is all."""
        self.counts: dict[int, int] = {}
        """Entries of the lists and objects that begin on a line."""
        self.long_values: set[int] = set()
        """Lines with a long value that is data."""
        self.packed: set[int] = set()
        """Lines where a long list of numbers begins."""
        self.omits_lines = False
        """Whether there are more lines than are made of a text."""

    @property
    def folded_at_first(self) -> frozenset[int]:
        """Lines that are folded when the text is shown."""
        return frozenset(self.long_values | self.packed)

    def can_fold(self, index: int) -> bool:
        return self.last[index] > index or index in self.long_values

    def parent(self, index: int) -> int | None:
        """The line where the list or object begins that the line is in."""
        for at in range(index - 1, -1, -1):
            if self.last[at] >= index:
                return at
        return None

    def visible(self, folded: Collection[int]) -> Iterator[int]:
        """Indexes of the lines that are shown while others are folded."""
        index = 0
        while index < len(self.lines):
            yield index
            index = (self.last[index] if index in folded else index) + 1

    def folded_line(self, index: int) -> str:
        """What is shown of a line that is folded."""
        line = self.lines[index]
        if index in self.long_values:
            start = value_start(line)
            return f"{line[: start + _SHOWN_LENGTH]}… ({len(line) - start:,} characters)"
        end = self.lines[self.last[index]].strip()
        if end[:1] not in ("]", "}"):
            end = "]" if line.endswith("[") else "}"  # it is cut off
        count = self.counts.get(index, 0)
        noun = "entry" if count == 1 else "entries"
        return f"{line} … {count:,} {noun} {end}"


def value_start(line: str) -> int:
    """Where the value of a line begins: after its blanks and its key."""
    match = _KEY.match(line)
    return match.end() if match is not None else 0


class LineToken(NamedTuple):
    """A part of a line, and what it is: "key", "string", "number", "constant" or ""."""

    end: int
    kind: str


def line_tokens(line: str) -> list[LineToken]:
    """The parts of a line; the last one ends with it."""
    start = value_start(line)
    tokens = [LineToken(start, "key")]
    first = line[start : start + 1]
    if first == '"':
        tokens.append(LineToken(len(line), "string"))
    elif first == "-" or first.isdigit():
        tokens.append(LineToken(len(line), "number"))
    elif first.isalpha():
        tokens.append(LineToken(len(line), "constant"))
    else:
        tokens.append(LineToken(len(line), ""))
    return tokens


class _Frame(NamedTuple):
    """A list or an object that is not complete."""

    line: int
    is_list: bool


def format_json(text: str) -> JsonText:
    """The lines of a JSON text, which may be cut off anywhere; what is not JSON in it is shown as
    it is."""
    return _Formatter().run(text)


def _unescape(match: re.Match[str]) -> str:
    """The letter that an escape stands for, if it can be shown as such."""
    high, low, single = match.groups()
    if high:
        code = 0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF)
    elif single:
        code = int(single, 16)
    else:
        return match[0]
    letter = chr(code)
    is_shown = code > 0x7F and letter.isprintable() and sanitize(letter) == letter
    return letter if is_shown else match[0]


class _Formatter:
    """Makes the lines of one text."""

    def __init__(self) -> None:
        self._json = JsonText()
        self._frames: list[_Frame] = []
        self._prefix = ""
        """The key whose value is not read yet, with its colon."""
        self._string: str | None = None
        """A string that may be a key."""
        self._packs_into: int | None = None
        """The list whose numbers the last line has."""

    def run(self, text: str) -> JsonText:
        json, at = self._json, 0
        while (match := _TOKEN.match(text, at)) is not None:
            if len(json.lines) >= MAX_LINES:
                json.omits_lines = True
                break
            at = match.end()
            mark, string, other = match.groups()
            if mark:
                self._read_mark(mark)
            elif string:
                self._flush()
                self._string = _ESCAPE.sub(_unescape, string) if "\\u" in string else string
            else:
                self._flush()
                self._add_value(other)
                if self._packs_into is not None and (more := _MORE_NUMBERS.match(text, at)):
                    at = more.end()
                    self._add_numbers(more[0].split(",")[1:])
        self._flush()
        if self._prefix:
            self._add_value("")
        while self._frames:
            frame = self._frames.pop()
            json.last[frame.line] = len(json.lines) - 1
        return json

    def _read_mark(self, mark: str) -> None:
        if mark == ":" and self._string is not None and not self._prefix:
            self._prefix, self._string = f"{self._string}: ", None
            return
        self._flush()
        if mark in "{[":
            self._count()
            self._add(f"{self._prefix}{mark}")
            self._frames.append(_Frame(len(self._json.lines) - 1, mark == "["))
            self._prefix = ""
        elif mark in "}]":
            self._close(mark)
        elif self._can_append():
            self._json.lines[-1] += mark
        else:
            self._add(mark)

    def _can_append(self) -> bool:
        """Whether a comma or a colon stays on the last line. JSON has one after a value; a million
        of them would each be a copy of a longer line."""
        lines = self._json.lines
        return bool(lines) and (len(lines[-1]) < PACKED_LENGTH or lines[-1][-1] not in ",:")

    def _close(self, mark: str) -> None:
        if self._prefix:
            self._add_value("")
        if not self._frames or self._frames[-1].is_list != (mark == "]"):
            self._add(mark)
            return
        json, frame = self._json, self._frames.pop()
        if len(json.lines) - 1 == frame.line:
            json.lines[-1] += mark
            json.counts.pop(frame.line, None)
            return
        if self._packs_into == frame.line and len(json.lines) - 1 - frame.line > FOLDED_LINES:
            json.packed.add(frame.line)
        self._add(mark)
        json.last[frame.line] = len(json.lines) - 1

    def _flush(self) -> None:
        """A string turned out to be no key."""
        if self._string is not None:
            string, self._string = self._string, None
            self._add_value(string)

    def _add_value(self, text: str) -> None:
        self._count()
        frame = self._frames[-1] if self._frames else None
        lines = self._json.lines
        if frame is not None and frame.is_list and _NUMBER.match(text):
            if self._packs_into == frame.line and len(lines[-1]) < PACKED_LENGTH:
                lines[-1] += f" {text}"
                return
            self._add(text)
            self._packs_into = frame.line
            return
        self._add(f"{self._prefix}{text}")
        self._prefix = ""
        if len(text) > FOLDED_LENGTH and " " not in text[:_BEGINNING]:
            self._json.long_values.add(len(lines) - 1)

    def _add_numbers(self, numbers: Sequence[str]) -> None:
        """To the list whose numbers the last line has."""
        lines, into = self._json.lines, self._packs_into
        line = lines[-1]
        for at, number in enumerate(numbers):
            if len(line) + 1 < PACKED_LENGTH:
                line += f", {number.strip()}"
                continue
            lines[-1] = f"{line},"
            if len(lines) >= MAX_LINES:
                self._count(at)
                self._json.omits_lines = True
                return
            self._add(number.strip())
            self._packs_into, line = into, lines[-1]
        lines[-1] = line
        self._count(len(numbers))

    def _count(self, number: int = 1) -> None:
        if self._frames:
            counts, line = self._json.counts, self._frames[-1].line
            counts[line] = counts.get(line, 0) + number

    def _add(self, text: str) -> None:
        indent = min(2 * len(self._frames), MAX_INDENT)
        self._json.last.append(len(self._json.lines))
        self._json.lines.append(" " * indent + text)
        self._packs_into = None
