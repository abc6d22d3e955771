"""Expressions of PromQL as objects, and as the text that Prometheus is asked.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MatchOperator = Literal["=", "!=", "=~", "!~"]
AggregationOperator = Literal["sum", "min", "max", "avg", "count"]
BinaryOperator = Literal[
    "+", "-", "*", "/", ">", "<", ">=", "<=", "==", "!=", "and", "or", "unless"
]

PRECEDENCE: dict[str, int] = {
    "or": 1,
    "and": 2,
    "unless": 2,
    "==": 3,
    "!=": 3,
    "<=": 3,
    "<": 3,
    ">=": 3,
    ">": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
}
"""A larger number binds tighter; all of them associate to the left."""

SET_OPERATORS = frozenset(("and", "or", "unless"))
COMPARISONS = frozenset(("==", "!=", "<=", "<", ">=", ">"))


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label; a regular expression matches the whole value."""

    label: str
    operator: MatchOperator
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of a name whose labels match."""

    name: str
    """"" for any name, which then has a matcher."""
    matchers: tuple[Matcher, ...] = ()
    window: float = 0.0
    """Seconds of a range vector; 0 for an instant vector."""
    offset: float = 0.0
    """Seconds before the time of the evaluation."""


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string, which only a function takes."""

    value: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its arguments."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    operator: AggregationOperator
    expression: Expression
    by: tuple[str, ...] = ()
    """Labels that are kept."""


@dataclass(frozen=True, slots=True)
class Binary:
    """An operation on two vectors whose series have the same labels, or with a number."""

    operator: BinaryOperator
    left: Expression
    right: Expression


Expression = Selector | Number | Text | Call | Aggregation | Binary


def format_expression(expression: Expression) -> str:
    """The expression as Prometheus reads it."""
    match expression:
        case Selector():
            return _format_selector(expression)
        case Number(value):
            return format_number(value)
        case Text(value):
            return quote(value)
        case Call(function, arguments):
            return f"{function}({', '.join(map(format_expression, arguments))})"
        case Aggregation(operator, inner, by):
            grouping = f" by ({', '.join(by)}) " if by else ""
            return f"{operator}{grouping}({format_expression(inner)})"
        case Binary(operator, left, right):
            own = PRECEDENCE[operator]
            return (
                f"{_format_operand(left, own)} {operator} {_format_operand(right, own, right=True)}"
            )


def _format_operand(expression: Expression, precedence: int, *, right: bool = False) -> str:
    text = format_expression(expression)
    if not isinstance(expression, Binary):
        return text
    own = PRECEDENCE[expression.operator]
    return f"({text})" if own < precedence or (right and own == precedence) else text


def _format_selector(selector: Selector) -> str:
    labels = ",".join(f"{one.label}{one.operator}{quote(one.value)}" for one in selector.matchers)
    text = selector.name + (f"{{{labels}}}" if labels or not selector.name else "")
    if selector.window:
        text += f"[{format_seconds(selector.window)}]"
    if selector.offset:
        text += f" offset {format_seconds(selector.offset)}"
    return text


def format_number(value: float) -> str:
    if value == float("inf"):
        return "Inf"
    if value == float("-inf"):
        return "-Inf"
    if value != value:
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def format_seconds(seconds: float) -> str:
    """A time as PromQL writes it, in whole milliseconds: "90s", "500ms"."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def quote(text: str) -> str:
    """`text` as a string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def escape_regex(text: str) -> str:
    """`text` as a regular expression (RE2) that matches it alone."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def total(expression: Expression, *by: str) -> Aggregation:
    return Aggregation("sum", expression, by)


def rate(selector: Selector) -> Call:
    return Call("rate", (selector,))


def first_of(expressions: Iterable[Expression]) -> Expression | None:
    """The first of the expressions that has a value, for each set of labels; None for none."""
    found: Expression | None = None
    for one in expressions:
        found = one if found is None else Binary("or", found, one)
    return found


def label_replace(
    expression: Expression, label: str, replacement: str, source: str = "", pattern: str = ""
) -> Call:
    """The series with a label more: the `replacement`, in which "$1" is a group of the `pattern`
    that the whole value of the label `source` matches; of others the series as it is."""
    texts = (Text(label), Text(replacement), Text(source), Text(pattern))
    return Call("label_replace", (expression, *texts))


def escape_replacement(text: str) -> str:
    """`text` as a replacement of `label_replace` that is the text itself."""
    return text.replace("$", "$$")


def quantile(share: float, buckets: Expression) -> Call:
    """The quantile of histograms: `buckets` have the label `le`, or are native histograms."""
    return Call("histogram_quantile", (Number(share), buckets))
