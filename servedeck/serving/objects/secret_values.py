"""Values of an object that look secret, and a copy of the object without them.

What counts as secret is decided by `servedeck.serving.spec.env_file`, as in the form: the name of a
variable, or the shape of a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from servedeck.serving.spec.env_file import looks_secret
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import MASK

_WORD_PATTERN = re.compile(r"""([\s'",;]+)""")
"""Between the words of a command line, as in `contains_secret`."""

_QUOTED_PATTERN = re.compile(
    r"""(?<![\w-])([\w-]++)(=|[ \t]++)(["'])((?:(?!\3).)++)\3""", re.DOTALL
)
"""A name or a flag, and its value in quotes."""

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
                return self._mask_command(value)
            return [self.mask(one, key) for one in value]
        return value

    def _masked(self) -> str:
        self.count += 1
        return MASK

    def _mask_variable(self, value: dict[str, Any]) -> dict[str, Any]:
        """A mapping with `name` and `value`: a variable, a header."""
        name, text = value.get("name"), value.get("value")
        if isinstance(name, str) and isinstance(text, str) and text and looks_secret(name, text):
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

    def _mask_command(self, words: list[Any]) -> list[Any]:
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
        if "=" not in text and not _WORD_PATTERN.search(text):
            return text
        pieces = _WORD_PATTERN.split(_QUOTED_PATTERN.sub(self._mask_quoted, text))
        before = ""
        for at in range(0, len(pieces), 2):
            word = pieces[at]
            name, equals, value = word.partition("=")
            if word in ("", MASK):
                continue
            if looks_secret("", word) or (_is_secret_flag(before) and not word.startswith("-")):
                pieces[at] = self._masked()
            elif equals and value and looks_secret(_variable_name(name), value):
                pieces[at] = f"{name}={self._masked()}"
            before = word
        return "".join(pieces)

    def _mask_quoted(self, found: re.Match[str]) -> str:
        name, between, quote, _value = found.groups()
        if (between == "=" or name.startswith("-")) and looks_secret(_variable_name(name)):
            return f"{name}{between}{quote}{self._masked()}{quote}"
        return found[0]


def _is_secret_flag(word: str) -> bool:
    """Whether the word is a flag whose value is the next word."""
    return word.startswith("-") and "=" not in word and looks_secret(_variable_name(word))


def _variable_name(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
