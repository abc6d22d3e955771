"""The functions of the subset, and which values an expression has: its type.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import (
    COMPARISONS,
    PRECEDENCE,
    SET_OPERATORS,
    Aggregation,
    Binary,
    Call,
    Expression,
    Number,
    Selector,
    Text,
)

MAX_DEPTH = 100
"""How deep expressions may be nested, which is how often an evaluation calls itself."""

AGGREGATIONS = ("sum", "min", "max", "avg", "count")


class ValueType(Enum):
    """What an expression is at one time; the value is its name in a message."""

    SCALAR = "a number"
    VECTOR = "a vector"
    RANGE = "a range of samples"
    STRING = "a string"


_RANGE, _VECTOR, _SCALAR = (ValueType.RANGE,), (ValueType.VECTOR,), (ValueType.SCALAR,)
_STRING = (ValueType.STRING,)

FUNCTIONS: Mapping[str, tuple[tuple[ValueType, ...], ValueType]] = {
    "rate": (_RANGE, ValueType.VECTOR),
    "irate": (_RANGE, ValueType.VECTOR),
    "increase": (_RANGE, ValueType.VECTOR),
    "avg_over_time": (_RANGE, ValueType.VECTOR),
    "count_over_time": (_RANGE, ValueType.VECTOR),
    "last_over_time": (_RANGE, ValueType.VECTOR),
    "max_over_time": (_RANGE, ValueType.VECTOR),
    "min_over_time": (_RANGE, ValueType.VECTOR),
    "sum_over_time": (_RANGE, ValueType.VECTOR),
    "abs": (_VECTOR, ValueType.VECTOR),
    "clamp_max": (_VECTOR + _SCALAR, ValueType.VECTOR),
    "clamp_min": (_VECTOR + _SCALAR, ValueType.VECTOR),
    "histogram_quantile": (_SCALAR + _VECTOR, ValueType.VECTOR),
    "label_replace": (_VECTOR + _STRING * 4, ValueType.VECTOR),
    "scalar": (_VECTOR, ValueType.SCALAR),
    "time": ((), ValueType.SCALAR),
    "timestamp": (_VECTOR, ValueType.VECTOR),
    "vector": (_SCALAR, ValueType.VECTOR),
}
"""By name: the types of the arguments, and the type of the result."""


def check_type(expression: Expression, depth: int = 0) -> ValueType:
    """The type of an expression. Raises PromqlError if a part of it has not the type that is needed
    there, or is none of the subset."""
    if depth > MAX_DEPTH:
        raise PromqlError(f"The expression is nested more than {MAX_DEPTH} deep.")
    match expression:
        case Number():
            return ValueType.SCALAR
        case Text():
            return ValueType.STRING
        case Selector():
            return _selector_type(expression)
        case Call():
            return _call_type(expression, depth)
        case Aggregation(operator, inner, _):
            if operator not in AGGREGATIONS:
                raise PromqlError(f"The aggregation {operator} is not supported.")
            if check_type(inner, depth + 1) is not ValueType.VECTOR:
                raise PromqlError(f"{operator} needs a vector.")
            return ValueType.VECTOR
        case Binary():
            return _binary_type(expression, depth)


def _selector_type(selector: Selector) -> ValueType:
    if selector.window < 0:
        raise PromqlError("The range of a selector is not more than 0.")
    return ValueType.RANGE if selector.window else ValueType.VECTOR


def _call_type(call: Call, depth: int) -> ValueType:
    name = call.function
    if name not in FUNCTIONS:
        raise PromqlError(f"The function {name} is not supported.")
    wanted, result = FUNCTIONS[name]
    if len(call.arguments) != len(wanted):
        noun = "argument" if len(wanted) == 1 else "arguments"
        raise PromqlError(f"{name} needs {len(wanted)} {noun}, not {len(call.arguments)}.")
    for number, (argument, needed) in enumerate(zip(call.arguments, wanted, strict=True), 1):
        found = check_type(argument, depth + 1)
        if found is not needed:
            raise PromqlError(
                f"Argument {number} of {name} has to be {needed.value}, not {found.value}."
            )
    return result


def _binary_type(binary: Binary, depth: int) -> ValueType:
    operator = binary.operator
    if operator not in PRECEDENCE:
        raise PromqlError(f"The operator {operator} is not supported.")
    sides = (check_type(binary.left, depth + 1), check_type(binary.right, depth + 1))
    if ValueType.RANGE in sides:
        raise PromqlError(f"The operator {operator} cannot be used with a range of samples.")
    if ValueType.STRING in sides:
        raise PromqlError(f"The operator {operator} cannot be used with a string.")
    if operator in SET_OPERATORS and ValueType.SCALAR in sides:
        raise PromqlError(f"The operator {operator} needs vectors on both sides.")
    if sides != (ValueType.SCALAR, ValueType.SCALAR):
        return ValueType.VECTOR
    if operator in COMPARISONS:
        raise PromqlError(f"{operator} of two numbers needs bool, which is not supported.")
    return ValueType.SCALAR
