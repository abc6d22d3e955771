"""Values of an object that look secret, and a copy of the object without them.

What counts as secret is decided by `servedeck.serving.spec.env_file`, as in the form: the name of a
variable, or the shape of a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from servedeck.serving.objects.diff import MISSING, FieldPath, ListKey
from servedeck.serving.spec.env_file import contains_secret, looks_secret
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import MASK

_WORD_PATTERN = re.compile(r"""((?:[\s'",;]|\\\r?\n)+)""")
"""Between the words of a command line, as in `contains_secret`; also the end of a line that a
backslash continues."""

_QUOTED_PATTERN = re.compile(
    r"""(?<![\w-])([\w-]++)(=|(?:[ \t]|\\\r?\n)++)(["'])((?:(?!\3).)++)\3([^\s'",;]*+)""",
    re.DOTALL,
)
"""A name or a flag, and its value in quotes, with what follows these in the same word."""

_JSON_PATTERN = re.compile(
    r"""(?<!\\)(\\*+["'])([\w.-]++)(\1\s*+:\s*+)"""
    r"""(?:(\\*+["'])((?:(?!(?<!\\)\4)(?:\\.|.))++)(?:\4|\Z)|-?\d[\w.+-]*+|\[[^\[\]]*+\])""",
    re.DOTALL,
)
"""A name and its value in a JSON object, whose quotes a shell may need escaped: a text, a number or
a list."""

_HEADER_PATTERN = re.compile(
    r"""(?<![\w-])([A-Z][\w-]*+)"""
    r"""(:[ \t]*+(?:(?:Basic|Bearer|Token)[ \t]++)?)([^\s'"?=+-][^\s'"]*)""",
    re.IGNORECASE,
)
"""An HTTP header in a command line, with the scheme of its credentials (RFC 9110, 11.4), and its
value. `${TOKEN:-default}` is none."""

_SPACE_PATTERN = re.compile(r"(?<!\\)(?<!\\\r)[\s;,]")
"""What ends a word: not the end of a line that a backslash continues."""

_NAMELESS_VALUE_LISTS = frozenset({"tolerations"})
"""Lists whose entries have a `value` and no name that says what it is."""

_COMMAND_KEYS = ("command", "args")
_TEXT_MAPPINGS = {"ConfigMap": ("data",), "Secret": ("data", "stringData")}
"""Kind -> fields whose keys name their values, as variables do."""


def mask_secret_values(
    obj: Mapping[str, Any], *, except_annotation: str = ""
) -> tuple[JsonObject, int]:
    """A copy of an object (decoded JSON of any shape) with values that look secret replaced by
    MASK, and their number.

    Masked are: variables and headers by name or value; words of a command line; entries of a
    ConfigMap and settings of a KEDA trigger by key or value; every value of a Secret; anywhere a
    text that has the shape of a secret; annotations by name, and those that contain an object with
    any of these, but for `except_annotation`.
    """
    masker = _Masker(except_annotation)
    kind = obj.get("kind")
    result: JsonObject = {}
    for key, value in obj.items():
        if key in _TEXT_MAPPINGS.get(str(kind), ()):
            result[key] = masker.mask_named(value, every=kind == "Secret")
        else:
            result[key] = masker.mask(value, key)
    return result, masker.count


def mask_at(path: FieldPath, value: Any) -> Any:
    """The value of the field at a path of an object, with the same values masked as
    `mask_secret_values` masks in the object. Where the path does not have the name of a variable or
    a header, because it is there twice or its list has no keys, its value is masked."""
    if value is MISSING:
        return value
    if len(path) > 2 and path[-1] == "value" and isinstance(path[-2], int):
        is_plain = path[-3] in _NAMELESS_VALUE_LISTS or not isinstance(value, str)
        return value if is_plain else MASK
    wrapped = value
    for step in reversed(path):
        if isinstance(step, str):
            wrapped = {step: wrapped}
        elif isinstance(step, ListKey) and isinstance(wrapped, dict):
            wrapped = [{**dict(step.values), **wrapped}]
        else:
            wrapped = [wrapped]
    found: Any = _Masker().mask(wrapped, "")
    for step in path:
        found = found[step if isinstance(step, str) else 0]
    return found


def mask_arguments(words: Sequence[Any]) -> list[Any]:
    """The words of a command line with MASK instead of those that look secret."""
    return _Masker().mask_command(words)


def has_secret(text: str) -> bool:
    """Whether a text, a script or a part of a command line, has something that is masked."""
    return contains_secret(text) or mask_arguments((text,)) != [text]


def is_secret_variable(name: str, value: str) -> bool:
    """Whether the value of a variable is masked: by its name, by its shape, or because it is a
    command line or JSON with a secret in it."""
    return bool(value) and (looks_secret(name, value) or has_secret(value))


class _Masker:
    """Masks values and counts them."""

    def __init__(self, except_annotation: str = "") -> None:
        self.count = 0
        self._except_annotation = except_annotation

    def mask(self, value: Any, key: str) -> Any:
        """The value of a field, or of an entry of a list in that field."""
        if isinstance(value, str):
            return self._masked() if looks_secret("", value) else value
        if isinstance(value, dict):
            if key == "annotations":
                return {
                    name: one
                    if name == self._except_annotation
                    else self._mask_annotation(name, one)
                    for name, one in value.items()
                }
            named = self._mask_variable(value)
            return {
                name: self.mask_named(one)
                if key == "triggers" and name == "metadata"
                else self.mask(one, name)
                for name, one in named.items()
            }
        if isinstance(value, list):
            if key in _COMMAND_KEYS:
                return self.mask_command(value)
            return [self.mask(one, key) for one in value]
        return value

    def _masked(self) -> str:
        self.count += 1
        return MASK

    def _mask_variable(self, value: dict[str, Any]) -> dict[str, Any]:
        """A mapping with `name` and `value`: a variable, a header."""
        name, text = value.get("name"), value.get("value")
        if isinstance(name, str) and isinstance(text, str) and is_secret_variable(name, text):
            return {**value, "value": self._masked()}
        return value

    def mask_named(self, value: Any, *, every: bool = False) -> Any:
        """A mapping of names to texts."""
        if not isinstance(value, dict):
            return value
        return {
            name: self._masked()
            if isinstance(one, str) and one and (every or looks_secret(name, one))
            else one
            for name, one in value.items()
        }

    def _mask_annotation(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and value and looks_secret(name.rpartition("/")[2], value):
            return self._masked()
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                inner = None
            masker = _Masker()
            if isinstance(inner, dict):
                masker.count = mask_secret_values(as_mapping(inner))[1]
            else:
                masker.mask(inner, "")
            return self._masked() if masker.count else value
        return self.mask(value, "")

    def mask_command(self, words: Sequence[Any]) -> list[Any]:
        """The words of a command: those that are secret, and the one after a flag such as
        `--api-key`."""
        result: list[Any] = []
        before = ""
        for word in words:
            if not isinstance(word, str):
                result.append(word)
                before = ""
                continue
            if word and not word.startswith("-") and _is_secret_flag(before):
                result.append(self._masked())
            else:
                result.append(self._mask_line(word))
            before = word
        return result

    def _mask_line(self, text: str) -> str:
        """A word of a command, which may be a whole script."""
        if looks_secret("", text):
            return self._masked()
        text = _JSON_PATTERN.sub(self._mask_json, text)
        text = _HEADER_PATTERN.sub(self._mask_header, text)
        if "=" not in text and not _WORD_PATTERN.search(text):
            return text
        pieces = _WORD_PATTERN.split(_QUOTED_PATTERN.sub(self._mask_quoted, text))
        before = ""
        for at in range(0, len(pieces), 2):
            word = pieces[at]
            name, equals, value = word.partition("=")
            if word in ("", MASK):
                continue
            is_value = (_is_secret_flag(before) and not word.startswith("-")) or (
                _is_open_assignment(before) and not _SPACE_PATTERN.search(pieces[at - 1])
            )
            if is_value or looks_secret("", word):
                pieces[at] = self._masked()
            elif equals and value and looks_secret(_variable_name(name), value):
                pieces[at] = f"{name}={self._masked()}"
            before = word
        return "".join(pieces)

    def _mask_header(self, found: re.Match[str]) -> str:
        name, between, value = found.groups()
        is_secret = value != MASK and looks_secret(_variable_name(name))
        return f"{name}{between}{self._masked()}" if is_secret else found[0]

    def _mask_json(self, found: re.Match[str]) -> str:
        quote, name, colon = found.groups()[:3]
        if not looks_secret(name) or found[5] == MASK:
            return found[0]
        return f"{quote}{name}{colon}{quote}{self._masked()}{quote}"

    def _mask_quoted(self, found: re.Match[str]) -> str:
        name, between, quote, value, rest = found.groups()
        if (between == "=" or name.startswith("-")) and looks_secret(_variable_name(name)):
            is_masked = value == MASK and not rest
            return found[0] if is_masked else f"{name}{between}{quote}{self._masked()}{quote}"
        # A script in quotes, which may have others in it.
        inner = _QUOTED_PATTERN.sub(self._mask_quoted, value)
        return f"{name}{between}{quote}{inner}{quote}{rest}"


def _is_secret_flag(word: str) -> bool:
    """Whether the word is a flag whose value is the next word."""
    return word.startswith("-") and "=" not in word and looks_secret(_variable_name(word))


def _is_open_assignment(word: str) -> bool:
    """Whether the word is `API_KEY=`, whose value may follow in quotes."""
    name, equals, value = word.partition("=")
    return bool(equals) and not value and looks_secret(_variable_name(name))


def _variable_name(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
