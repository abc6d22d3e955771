"""The YAML of an object, line by line: what `kubectl get -o yaml` shows, for a screen or a file.

Written here and not by PyYAML, which needs 6 s for 100,000 lines (2 s with libyaml, which does not
let other threads run) and tells neither which field a line belongs to nor what is a key in it.

A reader of YAML 1.1 (kubectl, PyYAML) or 1.2 gets the same object back: strings that either of them
would take for another type are quoted, and in double quotes every character is escaped that a
terminal could act on or whose width in cells depends on the terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import Any

import msgspec

from servedeck.serving.text import sanitize

FIRST_KEYS = ("apiVersion", "kind", "metadata", "spec", "status")
"""Keys that come first in an object, in this order."""

MAX_KEY_LENGTH = 1000
"""Maximum length of a key before its colon; a reader gives up after 1,024 characters (YAML 1.1,
7.3.3)."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation of `kubectl apply` with the whole object as it was applied."""

_SEPARATOR = "\0"
"""Between the parts of a path; no part contains it."""

_KEY_MARK = "\1"
"""Ends the path of the line of a long key, whose value is on the next line."""

_MAX_PATH_PART = 64
"""Characters of a longer part of a path are replaced by their hash."""

MANAGED_FIELDS_PATH = _SEPARATOR.join(("", "metadata", "managedFields"))
LAST_APPLIED_PATH = _SEPARATOR.join(("", "metadata", "annotations", LAST_APPLIED))
FOLDED_PATHS = frozenset({MANAGED_FIELDS_PATH, LAST_APPLIED_PATH})
"""Paths of what is folded."""

_IDENTIFYING_KEYS = ("name", "type", "manager", "key", "uid", "containerPort", "port", "mountPath")
"""Keys whose value distinguishes the entries of a list."""

_RESERVED = frozenset(
    {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<", "---", "..."}
)
"""Plain scalars that are not strings, in lower case: YAML 1.1 (https://yaml.org/type/) and 1.2, and
the marks between documents."""

_SIMPLE = re.compile(
    r"[A-Za-z/][A-Za-z0-9_./@=+-]*(?: [A-Za-z0-9_./@=+(-][A-Za-z0-9_./@=+(),;-]*)*"
)
"""Strings that need no quotes unless they are reserved; most strings of an object."""

_INDICATORS = "-?:,[]{}#&*!|>'\"%@`"
"""Characters that a plain scalar cannot begin with (YAML 1.2, 5.3)."""

_MAX_NUMBER_LENGTH = 100
"""A longer text that begins like a number is quoted without a closer look, which may take long."""

_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_ODD_NUMBER = re.compile(r"[-+]?[0-9_.]*_[0-9_.]*(?:[eE][-+]?[0-9_]*)?")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Token(StrEnum):
    """What a part of a line is."""

    KEY = "key"
    STRING = "string"
    NUMBER = "number"
    CONSTANT = "constant"
    """true, false, null, and the empty list and mapping."""
    COMMENT = "comment"


class YamlLine(msgspec.Struct, frozen=True, gc=False):
    """A line. Its text is printable but for tabs within a block of text. `gc=False`: a garbage
    collection would otherwise stop the screen for 100 ms to traverse 100,000 of them."""

    text: str
    path: str
    """Which field of the object it shows. No two lines of an object have the same path, and a line
    keeps it while others are added or removed around it."""
    key_start: int = 0
    key_end: int = 0
    """Where the key with its colon ends; equal to `key_start` if there is none."""
    token: Token = Token.STRING
    """What follows the key."""

    def tokens(self) -> Iterator[tuple[int, str]]:
        """Where each part of the line ends, and what it is; "" for blanks and dashes. The last one
        ends with the line."""
        yield self.key_start, ""
        yield self.key_end, Token.KEY
        yield len(self.text), self.token


def object_lines(
    value: Mapping[str, Any], *, folded: Mapping[str, str] | None = None
) -> list[YamlLine]:
    """The lines of an object, which is decoded JSON.

    `folded` maps a path of FOLDED_PATHS to what follows the number of lines in its comment; they
    are one line each. Raises RecursionError if the object is nested hundreds of levels deep.
    """
    writer = _Writer(folded or {})
    ordered = {key: value[key] for key in FIRST_KEYS if key in value}
    ordered.update(value)
    if ordered:
        writer.write_mapping(ordered, 0, "", "")
    else:
        writer.add("{}", "", token=Token.CONSTANT)
    return writer.lines


def object_text(value: Mapping[str, Any]) -> str:
    """The whole YAML of an object. Raises RecursionError like `object_lines`."""
    return "".join([f"{line.text}\n" for line in object_lines(value)])


class _Writer:
    """Writes the lines of one object."""

    def __init__(self, folded: Mapping[str, str]) -> None:
        self.lines: list[YamlLine] = []
        self._folded = folded

    def add(
        self,
        text: str,
        path: str,
        key_start: int = 0,
        key_end: int = 0,
        token: Token = Token.STRING,
    ) -> None:
        self.lines.append(YamlLine(text, path, key_start, key_end, token))

    def write_mapping(self, value: Mapping[str, Any], indent: int, path: str, lead: str) -> None:
        """`lead` begins the first line: the dash of a list's entry; "" for blanks alone."""
        blanks = " " * indent
        for key, one in value.items():
            child = f"{path}{_SEPARATOR}{_path_part(key)}"
            prefix, lead = lead or blanks, ""
            name = format_string(key)
            if len(name) > MAX_KEY_LENGTH:
                text = f"{prefix}? {name}"
                self.add(text, f"{child}{_KEY_MARK}", len(prefix), len(text))
                prefix, name = blanks, ""
            head = f"{prefix}{name}:"
            if child in self._folded:
                self._write_folded(head, one, child, len(prefix))
            else:
                self._write_value(head, one, indent, child, (len(prefix), len(head)))

    def _write_folded(self, head: str, value: Any, path: str, key_start: int) -> None:
        inner = _Writer({})
        inner._write_value(head, value, 0, path, (0, 0))
        count = len(inner.lines) - 1 if isinstance(value, (dict, list)) else len(inner.lines)
        noun = "line" if count == 1 else "lines"
        text = f"{head} # {count:,} {noun} folded{self._folded[path]}"
        self.add(text, path, key_start, len(head), Token.COMMENT)

    def _write_value(
        self, head: str, value: Any, indent: int, path: str, key: tuple[int, int]
    ) -> None:
        """A value after its key."""
        if value and isinstance(value, dict):
            self.add(head, path, *key)
            self.write_mapping(value, indent + 2, path, "")
        elif value and isinstance(value, list):
            self.add(head, path, *key)
            self._write_list(value, indent, path, "")
        else:
            self._write_scalar(f"{head} ", value, indent, path, key)

    def _write_list(self, value: Sequence[Any], indent: int, path: str, lead: str) -> None:
        blanks = " " * indent
        seen: dict[str, int] = {}
        for one in value:
            prefix, lead = f"{lead or blanks}- ", ""
            child = f"{path}{_SEPARATOR}{_number_repeated(_entry_part(one), seen)}"
            if one and isinstance(one, dict):
                self.write_mapping(one, indent + 2, child, prefix)
            elif one and isinstance(one, list):
                self._write_list(one, indent + 2, child, prefix)
            else:
                self._write_scalar(prefix, one, indent, child, (len(prefix), len(prefix)))

    def _write_scalar(
        self, head: str, value: Any, indent: int, path: str, key: tuple[int, int]
    ) -> None:
        if isinstance(value, str):
            if "\n" in value and (header := _block_header(value)):
                self._write_block(f"{head}{header}", value, indent, path, key)
            else:
                self.add(f"{head}{format_string(value)}", path, *key, Token.STRING)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self.add(f"{head}{_format_number(value)}", path, *key, Token.NUMBER)
        else:
            self.add(f"{head}{_format_constant(value)}", path, *key, Token.CONSTANT)

    def _write_block(
        self, head: str, value: str, indent: int, path: str, key: tuple[int, int]
    ) -> None:
        self.add(head, path, *key)
        blanks = " " * (indent + 2)
        seen: dict[str, int] = {}
        for line in value.removesuffix("\n").split("\n"):
            child = f"{path}{_SEPARATOR}{_number_repeated(_path_part(line), seen)}"
            self.add(f"{blanks}{line}" if line else "", child)


def format_string(text: str) -> str:
    """A string on one line: plain where every reader takes it for the same string, else quoted."""
    if _SIMPLE.fullmatch(text):
        return f'"{text}"' if text.lower() in _RESERVED or _is_number(text) else text
    if not _is_printable(text):
        return f'"{_escape(text)}"'
    if _can_be_plain(text):
        return text
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def _is_printable(text: str) -> bool:
    return text.isprintable() and (text.isascii() or sanitize(text) == text)


def _can_be_plain(text: str) -> bool:
    first, rest = text[:1], text[1:2]
    if first in _INDICATORS and (first not in "-?:" or rest in ("", " ")):
        return False
    if text[0] == " " or text[-1] in " :" or ": " in text or " #" in text:
        return False
    if text.startswith(("--- ", "... ")):
        return False
    return not (text.lower() in _RESERVED or _is_number(text))


def _is_number(text: str) -> bool:
    """Whether a reader may take the text, which is not empty, for a number or a time."""
    unsigned = text[1:] if text[0] in "+-" else text
    first = unsigned[:1]
    if not first or not (first.isdigit() or first in "._"):
        return unsigned.lower() in ("inf", "infinity", "nan")
    if len(text) > _MAX_NUMBER_LENGTH or _SEXAGESIMAL.fullmatch(text):
        return True
    if _DATE.fullmatch(text) or _ODD_NUMBER.fullmatch(text):
        return True
    if unsigned.lower() in (".inf", ".nan"):
        return True
    digits = text.replace("_", "").replace(",", "")
    try:
        float(digits)
    except ValueError:
        pass
    else:
        return True
    try:
        int(digits, 0)
    except ValueError:
        return False
    return True


def _escape(text: str) -> str:
    """`text` for double quotes."""
    characters = set(text)
    dropped = {ord(char): None for char in characters if sanitize(char) != char}
    kept = text.translate(dropped)
    marks = sanitize(kept) != kept
    return text.translate({ord(char): _escape_character(char, marks=marks) for char in characters})


def _escape_character(char: str, *, marks: bool) -> str:
    if (escape := _ESCAPES.get(char)) is not None:
        return escape
    if (
        char.isprintable()
        and sanitize(char) == char
        and not (marks and unicodedata.combining(char))
    ):
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _format_number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    # YAML 1.1 takes a number without a point for a string: 1e+20
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


def _format_constant(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[]" if isinstance(value, list) else "{}"


def _block_header(text: str) -> str:
    """What announces a text of several lines as a block; "" if it must be quoted: because of a
    character that must be escaped, or of a blank line at an edge, which readers treat
    differently."""
    body = text.rstrip("\n")
    lines = body.split("\n")
    if not body or lines[0].isspace() or lines[-1].isspace():
        return ""
    if not _is_printable(body.replace("\n", "").replace("\t", "")):
        return ""
    first = body.lstrip("\n")[0]
    ending = len(text) - len(body)
    return "|" + ("2" if first in " \t" else "") + ("-", "", "+")[min(ending, 2)]


# -- paths --------------------------------------------------------------------------------------


def _path_part(text: str) -> str:
    if len(text) <= _MAX_PATH_PART and _SEPARATOR not in text and _KEY_MARK not in text:
        return text
    return f"{hash(text):x}"


def _entry_part(value: object) -> str:
    """What distinguishes an entry of a list from the others."""
    if isinstance(value, dict):
        for key in _IDENTIFYING_KEYS:
            if isinstance(one := value.get(key), (str, int)):
                return f"{key}={_path_part(str(one))}"
        return ""
    return "" if isinstance(value, list) else f"={_path_part(str(value))}"


def _number_repeated(part: str, seen: dict[str, int]) -> str:
    """The part with the number of equal ones before it."""
    number = seen.get(part, 0)
    seen[part] = number + 1
    return f"{part}{_SEPARATOR}{number}{_KEY_MARK}" if number else part


# -- two versions of an object ------------------------------------------------------------------


class YamlText:
    """The lines of one version of an object, which can be compared with another one."""

    def __init__(self, lines: Iterable[YamlLine] = ()) -> None:
        self.lines = list(lines)
        self._positions = {line.path: at for at, line in enumerate(lines)}

    def clear(self) -> None:
        """Remove all lines in steps, between which other threads run."""
        while self.lines:
            del self.lines[-1000:]
        while self._positions:
            for path in list(islice(self._positions, 1000)):
                del self._positions[path]

    def index_of(self, path: str) -> int | None:
        """Index of the line of a path; None if there is none."""
        return self._positions.get(path)

    def changed_since(self, old: YamlText) -> frozenset[int]:
        """Indexes of the lines that are not in `old` with the same text. Comments do not count."""
        changed: list[int] = []
        for index, line in enumerate(self.lines):
            before = old.index_of(line.path)
            if (
                before is None or old.lines[before].text != line.text
            ) and line.token is not Token.COMMENT:
                changed.append(index)
        return frozenset(changed)

    def find_line(self, old: YamlText, index: int) -> int:
        """Index of the line that has `index` in `old`; if it was removed, of the next one that was
        not, else of the last one before it, else 0."""
        if not 0 <= index < len(old.lines):
            return 0
        for at in chain(range(index, len(old.lines)), range(index - 1, -1, -1)):
            if (found := self.index_of(old.lines[at].path)) is not None:
                return found
        return 0
