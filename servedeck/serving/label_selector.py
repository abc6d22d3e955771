"""Label selectors as kubectl and the API server read them: `k=v`, `k==v`, `k!=v`, `k in (a, b)`,
`k notin (a, b)`, `k>1`, `k<1`, `k`, `!k`, joined by commas.

Grammar, semantics and error messages of k8s.io/apimachinery pkg/labels/selector.go (labels.Parse).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servedeck.serving import name_validation
from servedeck.serving.spec.mapping.json_values import as_list, as_mapping, mappings

Labels = Mapping[str, str]

# Only these four characters separate tokens, and "=!=" is "=" and "!=": see Lexer in the source.
_TOKEN_PATTERN = re.compile(r"[ \t\r\n]*(==|!=|[=!<>(),]|[^=!<>(), \t\r\n]+|\Z)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "<", ">", "(", ")", ","))
_END = ""
_OPERATORS = {
    "=": "in",
    "==": "in",
    "!=": "notin",
    "in": "in",
    "notin": "notin",
    "<": "<",
    ">": ">",
}
_INTEGER_PATTERN = re.compile(r"([+-]?)0*([0-9]{1,19})", re.ASCII)


class LabelSelectorError(ValueError):
    """The text is not a label selector. str() is the API server's message; `position` is where in
    the text the token at fault begins."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a selector: a label, compared with values.

    `operator` is "in", "notin", "<", ">", "exists" or "!". `=` is "in", `!=` is "notin".
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet it. "notin" also matches where the label is absent."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number, limit = _parse_int64(value or ""), _parse_int64(self.values[0])
        if number is None or limit is None:
            return False
        return number > limit if self.operator == ">" else number < limit


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that all have to match; with none, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return all(each.matches(labels) for each in self.requirements)


def selects_labels(selector: Mapping[str, Any] | None, labels: Mapping[str, Any]) -> bool:
    """Whether a selector of labels alone, such as that of a Service, selects Pods with these
    labels; an empty one selects none."""
    return selector.items() <= labels.items() if selector else False


def format_label_selector(selector: Mapping[str, Any]) -> str:
    """The `selector` of a workload (matchLabels, matchExpressions) as text for a list request; ""
    if it is empty or malformed.

    Operators as in kubernetes apimachinery pkg/apis/meta/v1/helpers.go (LabelSelectorAsSelector).
    """
    parts = [f"{key}={value}" for key, value in as_mapping(selector, "matchLabels").items()]
    for one in mappings(selector.get("matchExpressions")):
        key, values = one.get("key"), ",".join(map(str, as_list(one.get("values"))))
        match one.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(f"{key}")
            case "DoesNotExist":
                parts.append(f"!{key}")
            case _:
                return ""
    return ",".join(parts)


def parse_label_selector(text: str) -> LabelSelector:
    """Parse a label selector. Raises LabelSelectorError."""
    return _Parser(text).parse_all()


def parse_label_selector_prefix(text: str) -> tuple[LabelSelector, str]:
    """Parse the label selector at the start of `text`; return it and the rest of the text.

    It ends before the first word that no comma or operator joins to it. Raises LabelSelectorError,
    also where the text does not begin with a requirement.
    """
    return _Parser(text).parse_prefix()


class _Parser:
    """Recursive descent over the tokens of `text`; the last token is _END."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, int]] = []  # with their positions
        position = 0
        while match := _TOKEN_PATTERN.match(text, position):
            position = match.end()
            self._tokens.append((match[1], match.start(1)))
            if not match[1]:
                break
        self._index = 0

    def parse_all(self) -> LabelSelector:
        found: list[Requirement] = []
        while self._peek() != _END:
            if not self._at_requirement():
                raise self._error(
                    f"found '{self._peek()}', expected: !, identifier, or 'end of string'"
                )
            found.append(self._parse_requirement())
            if self._peek() not in (",", _END):
                raise self._error(f"found '{self._peek()}', expected: ',' or 'end of string'")
            self._skip_comma()
        return LabelSelector(tuple(found))

    def parse_prefix(self) -> tuple[LabelSelector, str]:
        if not self._at_requirement():
            raise self._error(f"found '{self._peek()}', expected: !, identifier")
        found = [self._parse_requirement(is_prefix=True)]
        while self._skip_comma():
            found.append(self._parse_requirement(is_prefix=True))
        last, start = self._tokens[self._index - 1]
        return LabelSelector(tuple(found)), self._text[start + len(last) :]

    def _peek(self, offset: int = 0) -> str:
        return self._tokens[min(self._index + offset, len(self._tokens) - 1)][0]

    def _next(self) -> str:
        token = self._peek()
        self._index += token != _END
        return token

    def _at_requirement(self) -> bool:
        return self._peek() == "!" or _is_identifier(self._peek())

    def _skip_comma(self) -> bool:
        """Go past a comma, which another requirement has to follow; whether there was one."""
        if self._peek() != ",":
            return False
        self._next()
        if not self._at_requirement():
            raise self._error(f"found '{self._peek()}', expected: identifier after ','")
        return True

    def _parse_requirement(self, *, is_prefix: bool = False) -> Requirement:
        try:
            return self._parse_key_and_values(is_prefix=is_prefix)
        except LabelSelectorError as error:
            message = f"unable to parse requirement: {error}"
            raise LabelSelectorError(message, error.position) from None

    def _parse_key_and_values(self, *, is_prefix: bool) -> Requirement:
        is_absent = self._peek() == "!"
        if is_absent:
            self._next()
        key = self._parse_key()
        if is_absent:
            return Requirement(key, "!")
        if self._peek() in (",", _END):
            return Requirement(key, "exists")
        operator = _OPERATORS.get(self._peek())
        if is_prefix and (operator is None or not self._is_operator_used()):
            return Requirement(key, "exists")
        if operator is None:
            raise self._error(f"found '{self._peek()}', expected: in, notin, =, ==, !=, gt, lt")
        is_set = self._next() in ("in", "notin")
        if is_set and self._peek() != "(":
            raise self._error(f"found '{self._peek()}' expected: '('")
        start = self._index
        values = self._parse_set() if is_set else (self._parse_value(),)
        self._check_values(key, operator, values, start)
        return Requirement(key, operator, values)

    def _is_operator_used(self) -> bool:
        """False for the words "in" and "notin" without a set after them."""
        return self._peek() in _SYMBOLS or self._peek(1) == "("

    def _parse_key(self) -> str:
        key = self._peek()
        if not _is_identifier(key):
            raise self._error(f"found '{key}', expected: identifier")
        if errors := name_validation.qualified_name(key):
            raise self._error(f"<nil>: Invalid value: {_quote(key)}: {'; '.join(errors)}")
        return self._next()

    def _parse_value(self) -> str:
        if self._peek() in (",", _END):
            return ""
        if not _is_identifier(self._peek()):
            raise self._error(f"found '{self._peek()}', expected: identifier")
        return self._next()

    def _parse_set(self) -> tuple[str, ...]:
        """The values in parentheses, sorted; one that is left out is the empty text."""
        self._next()
        if self._peek() not in (",", ")") and not _is_identifier(self._peek()):
            raise self._error(f"found '{self._peek()}', expected: ',', ')' or identifier")
        found: set[str] = set()
        while True:
            found.add("" if self._peek() in (",", ")") else self._next())
            separator = self._peek()
            if separator == ")":
                self._next()
                return tuple(sorted(found))
            if separator != ",":
                raise self._error(f"found '{separator}', expected: ',' or ')'")
            self._next()
            if self._peek() not in (",", ")") and not _is_identifier(self._peek()):
                raise self._error(f"found '{self._peek()}', expected: ',', or identifier")

    def _check_values(self, key: str, operator: str, values: tuple[str, ...], start: int) -> None:
        errors = []
        if operator in ("<", ">") and _parse_int64(values[0]) is None:
            errors.append(
                f"values[0]: Invalid value: {_quote(values[0])}: for 'Gt', 'Lt' operators, the"
                " value must be an integer"
            )
        for index, value in enumerate(values):
            if found := name_validation.label_value(value):
                errors.append(
                    f"values[{index}][{key}]: Invalid value: {_quote(value)}: {'; '.join(found)}"
                )
        if errors:
            message = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
            raise LabelSelectorError(message, self._tokens[start][1])

    def _error(self, message: str) -> LabelSelectorError:
        """The error of the current token."""
        return LabelSelectorError(message, self._tokens[self._index][1])


def _is_identifier(token: str) -> bool:
    return token != _END and token not in _SYMBOLS


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parse_int64(text: str) -> int | None:
    match = _INTEGER_PATTERN.fullmatch(text)
    if match is None:
        return None
    number = int(match[1] + match[2])
    return number if -(2**63) <= number < 2**63 else None
