"""One field of a serving's form: its label, help, default, kind of input, and the conversion
between text and value."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from servedeck.serving.quantity import parse_quantity

_MAX_COMMAND_LINE_LENGTH = 500_000
"""Of one text: shlex takes quadratic time for a long word."""

FieldValue = str | int | float | tuple[str, ...] | None


class InputKind(StrEnum):
    """Kind of input; it determines the type of the value."""

    TEXT = "text"
    """str"""
    INTEGER = "integer"
    """int, or None if the field may be empty"""
    FLOAT = "fraction"
    """float, or None if the field may be empty"""
    QUANTITY = "quantity"
    """str, a Kubernetes quantity"""
    CHOICE = "choice"
    """str, one of `choices`"""
    SUGGESTION = "suggestion"
    """str, one of `choices` or free text"""
    ARGUMENTS = "arguments"
    """tuple of str, entered as one shell-quoted line"""


@dataclass(frozen=True, slots=True)
class Field:
    """An input of a form."""

    name: str
    """Name in the spec; its path in a form is the name, or "settings." plus the name for a
    template's field."""
    label: str
    help: str
    kind: InputKind = InputKind.TEXT
    default: FieldValue = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    advanced: bool = False
    """Shown under Advanced Settings."""

    def with_name(self, name: str) -> Field:
        return replace(self, name=name)

    def parse(self, raw: object) -> FieldValue:
        """Value of form input or YAML. Raises ValueError with one sentence."""
        if self.kind is InputKind.INTEGER:
            return None if _is_blank(raw) and self.default is None else parse_int(raw)
        if self.kind is InputKind.FLOAT:
            return None if _is_blank(raw) else parse_float(raw)
        if self.kind is InputKind.ARGUMENTS:
            return parse_arguments(raw)
        written = parse_text(raw).strip()
        if self.kind is InputKind.QUANTITY:
            return parse_quantity_text(written)
        if self.kind is InputKind.CHOICE:
            for choice in self.choices:
                if choice.lower() == written.lower():
                    return choice
            choices = join_choices(self.choices)
            raise ValueError(f"{_shorten_quote(written)} is not a valid value; choose {choices}.")
        return written

    def format(self, value: Any) -> str:
        """The input's text for a value; `parse` converts it back."""
        return format_value(value)


def format_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return shlex.join(str(part) for part in value)
    return str(value)


def parse_text(raw: object) -> str:
    if raw is None:
        return ""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return str(raw)
    raise ValueError("This must be text, not a list or a mapping.")


def parse_int(raw: object) -> int:
    if _is_blank(raw):
        raise ValueError("A whole number is missing; enter a value such as 1.")
    if isinstance(raw, bool) or not isinstance(raw, (int, str)):
        raise ValueError(f"{_shorten_quote(raw)} is not a whole number; enter a value such as 1.")
    if isinstance(raw, int):
        return raw
    written = raw.strip()
    digits = written.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise ValueError(
            f"{_shorten_quote(written)} is not a whole number; enter a value such as 1."
        )
    return int(written)


def parse_float(raw: object) -> float:
    if _is_blank(raw):
        raise ValueError("A number is missing; enter a value such as 0.9.")
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise ValueError(f"{_shorten_quote(raw)} is not a number; enter a value such as 0.9.")
    try:
        value = float(raw)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{_shorten_quote(raw)} is not a number; enter a value such as 0.9."
        ) from None
    if not math.isfinite(value):
        raise ValueError(f"{_shorten_quote(raw)} is not a number; enter a value such as 0.9.")
    return value


def parse_bool(raw: object) -> bool:
    if raw is None:
        raise ValueError("A value is missing; enter true or false.")
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in ("true", "yes", "on"):
        return True
    if isinstance(raw, str) and raw.strip().lower() in ("false", "no", "off", ""):
        return False
    raise ValueError(f"{_shorten_quote(raw)} is neither true nor false; enter one of them.")


def parse_arguments(raw: object) -> tuple[str, ...]:
    """A command line: one text, split as a POSIX shell splits it, or a list of arguments."""
    if raw is None:
        return ()
    if isinstance(raw, str):
        if len(raw) > _MAX_COMMAND_LINE_LENGTH:
            raise ValueError("This command line is too long; enter it as a list of arguments.")
        try:
            return tuple(shlex.split(raw))
        except ValueError:
            raise ValueError(
                "A quotation mark is not closed, or a backslash ends the line; correct it."
            ) from None
    if isinstance(raw, (list, tuple)):
        if not all(isinstance(part, (str, int, float)) for part in raw):
            raise ValueError("Each argument must be text; put lists and mappings in quotes.")
        return tuple(format_value(part) for part in raw)
    raise ValueError("This must be a command line or a list of arguments.")


def parse_quantity_text(raw: object, examples: str = "500m, 2 or 16Gi") -> str:
    """The text of a quantity. Raises ValueError with one sentence that contains `examples`, which
    suit the field."""
    written = parse_text(raw).strip()
    if not written:
        raise ValueError(f"A quantity is missing; enter a value such as {examples}.")
    try:
        parse_quantity(written, examples)
    except ValueError as exc:
        raise ValueError(f"{exc}.") from None
    return written


def join_choices(choices: tuple[str, ...]) -> str:
    named = ", ".join(choices[:-1])
    return f"{named} or {choices[-1]}" if named else choices[-1]


def _is_blank(raw: object) -> bool:
    return raw is None or (isinstance(raw, str) and not raw.strip())


def _shorten_quote(raw: object) -> str:
    shown = repr(raw)
    return shown if len(shown) <= 40 else shown[:39] + "…"
