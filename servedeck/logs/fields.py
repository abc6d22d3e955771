"""Fields of a line: JSON objects and key=value pairs, shown as fields and filtered by."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import msgspec

from servedeck.logs.block import LogBlock
from servedeck.logs.levels import LEVEL_KEYS, PROCESS_TAG, Level, level_named, level_of
from servedeck.logs.query import LineQuery, QueryError
from servedeck.serving.text import sanitize

MOST_FIELDS = 64
"""Fields of a line that are read; what follows is left out."""

LONGEST_LINE = 1 << 16
"""A line of more characters has no fields: it would hold the screen up."""

MESSAGE_KEYS = ("message", "msg", "event", "fields.message")
"""Keys under which a line has its message, the first that is there: those of Python and Google, of
pino, logrus and slog, of structlog, and of Rust tracing."""

_MOST_DEPTH = 16
_LINE_BREAK = "↵"

_PAIR = re.compile(
    r"""(?<![\w.@"'=/?&-])([A-Za-z_@][\w.@-]*+)=
    ("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s,;"'(){}\[\]]*+(?=[\s,;)\]}]|$))""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": _LINE_BREAK, "r": "", "t": " "}
_BARE_VALUE = re.compile(r'[^\s"=]+')

_QUERY = re.compile(r"\s*([\w.@-]+)\s*(>=|<=|!=|!~|=~|==|=|>|<)\s*(.*?)\s*\Z", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_STEP_SECONDS = 0.001


class FieldQueryError(QueryError):
    """Why a filter by field is refused, as a sentence for the operator."""


def parse_fields(text: str) -> dict[str, str] | None:
    """The fields of a line in their order, of at most `MOST_FIELDS`: of a JSON object, keys of
    objects within it joined with dots (arrays are JSON); else of at least two key=value pairs,
    anywhere in the line. None if it has none. Values are fit to be shown: what JSON had escaped is
    sanitized again, a line break is "↵"."""
    if len(text) > LONGEST_LINE:
        return None
    start = tag.end() if text[:1] in ("(", "[") and (tag := PROCESS_TAG.match(text)) else 0
    if text.startswith("{", start):
        return _json_fields(text[start:])
    if text.count("=", start) < 2:
        return None
    fields: dict[str, str] = {}
    for pair in _PAIR.finditer(text, start):
        if len(fields) == MOST_FIELDS:
            break
        fields.setdefault(pair[1], _unquoted(pair[2]))
    return fields if len(fields) > 1 else None


def format_fields(text: str) -> str:
    """The line with its fields written as fields: its message first, then `level=error key=value`,
    a value with spaces in quotes. A line that is neither JSON nor key=value from its start is
    returned as it is."""
    tag = PROCESS_TAG.match(text) if text[:1] in ("(", "[") else None
    start = tag.end() if tag else 0
    if not text.startswith("{", start) and not _PAIR.match(text, start):
        return text
    fields = parse_fields(text)
    if not fields:
        return text
    message = next((fields.pop(key) for key in MESSAGE_KEYS if key in fields), "")
    level = next(
        (f"{key}={fields.pop(key)}" for key in list(fields) if key.lower() in LEVEL_KEYS), ""
    )
    pairs = [f"{key}={_quoted(value)}" for key, value in fields.items()]
    return " ".join([part for part in (text[:start].strip(), message, level, *pairs) if part])


@dataclass(frozen=True)
class FieldQuery:
    """A filter by one field, which has the methods of a `LineQuery`. Its operators: `=` and `!=`
    (numbers are equal by value), `=~` and `!~` (text or a regular expression as in a `LineQuery`,
    found anywhere in the value), and `<`, `<=`, `>`, `>=` of numbers.

    The field `level`, under whatever name a line has it, is compared as a level (`level>=warning`),
    and lines without fields have that of their format. A line without the field does not match,
    whatever the operator.
    """

    key: str
    operation: str
    value: str
    inverse: bool = False
    """Whether a filter hides the lines that match. The methods here say what matches."""

    @classmethod
    def parse(cls, text: str, *, inverse: bool = False) -> FieldQuery:
        """Raises QueryError if `text` is not a key, an operator and a value: FieldQueryError, or
        that of the regular expression."""
        query = _QUERY.match(text)
        if query is None:
            raise FieldQueryError(
                "A filter by field is a key, an operator and a value: status>=500."
            )
        key, operation, value = query[1], query[2].replace("==", "="), _unquoted(query[3])
        if operation in ("=~", "!~"):
            LineQuery.parse(value)
        elif operation in _ORDER and _number(value) is None:
            if key.lower() not in LEVEL_KEYS:
                raise FieldQueryError(f"“{operation}” compares numbers, and “{value}” is none.")
            if level_named(value) == Level.UNKNOWN:
                raise FieldQueryError(
                    f"“{value}” is no level: debug, info, warning, error, critical."
                )
        return cls(key, operation, value, inverse)

    def matches(self, text: str) -> bool:
        """Whether the line, given as its visible text, has the field with such a value."""
        wanted = self._wanted_level()
        if wanted != Level.UNKNOWN:
            level = level_of(text)
            return level != Level.UNKNOWN and self._compares(level, wanted)
        # Parsing is slow; most lines do not even have the last part of the key.
        if self.key.rpartition(".")[2] not in text:
            return False
        value = (parse_fields(text) or {}).get(self.key)
        return value is not None and self._holds(value)

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Where the line shows the matching value as it is, to highlight it."""
        if not self.matches(line):
            return []
        value = (parse_fields(line) or {}).get(self.key, "")
        start = line.find(value, line.find(self.key) + len(self.key)) if value else -1
        return [] if start < 0 else [(start, start + len(value))]

    def find_lines(self, block: LogBlock) -> list[int]:
        """The indices of the lines of a block that match, ascending."""
        return [index for index, line in enumerate(block.texts()) if self.matches(line)]

    def steps(self, block: LogBlock) -> Generator[None, None, list[int]]:
        """`find_lines` in steps: yields about each millisecond of work."""
        found: list[int] = []
        until = perf_counter() + _STEP_SECONDS
        for index, line in enumerate(block.texts()):
            if self.matches(line):
                found.append(index)
            if perf_counter() >= until:
                yield
                until = perf_counter() + _STEP_SECONDS
        return found

    @cached_property
    def _pattern(self) -> LineQuery:
        return LineQuery.parse(self.value)

    def _wanted_level(self) -> Level:
        if self.key.lower() not in LEVEL_KEYS or self.operation in ("=~", "!~"):
            return Level.UNKNOWN
        return level_named(self.value)

    def _compares(self, number: float, wanted: float) -> bool:
        if self.operation in _ORDER:
            return _ORDER[self.operation](number, wanted)
        return (number == wanted) is (self.operation == "=")

    def _holds(self, value: str) -> bool:
        if self.operation in ("=~", "!~"):
            return self._pattern.matches(value) is (self.operation == "=~")
        number, wanted = _number(value), _number(self.value)
        if number is not None and wanted is not None:
            return self._compares(number, wanted)
        return self.operation not in _ORDER and (value == self.value) is (self.operation == "=")


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == number else None  # NaN is equal to nothing


def _json_fields(text: str) -> dict[str, str] | None:
    try:
        members: dict[str, Any] = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    fields: dict[str, str] = {}
    _flatten(members, "", fields, 0)
    return fields or None


def _flatten(members: dict[str, Any], prefix: str, fields: dict[str, str], depth: int) -> None:
    for key, value in members.items():
        if len(fields) >= MOST_FIELDS:
            return
        name = prefix + _shown(key)
        if isinstance(value, dict) and value and depth < _MOST_DEPTH:
            _flatten(value, f"{name}.", fields, depth + 1)
        elif isinstance(value, str):
            fields[name] = _shown(value)
        else:
            fields[name] = _shown(msgspec.json.encode(value).decode())


def _shown(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    return sanitize(value.strip("\r\n")).replace("\n", _LINE_BREAK)


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] not in "\"'" or value[-1] != value[0]:
        return value
    return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value[1:-1])


def _quoted(value: str) -> str:
    if _BARE_VALUE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
