"""Vectors at all times of an evaluation at once, and the operators between them.

Source: promql/engine.go of Prometheus (VectorBinop, VectorAnd, VectorOr, VectorUnless).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import COMPARISONS, BinaryOperator
from servedeck.promql.samples import Labels

Values = list[float | None]
"""One for each time; None where there is no value."""
Scalar = list[float]
"""One for each time."""


class VectorSeries(NamedTuple):
    name: str
    """"" if it has none, as after a function."""
    labels: Labels
    values: Values


Vector = list[VectorSeries]


def divide(left: float, right: float) -> float:
    """A division of IEEE 754, by 0 too."""
    if right:
        return left / right
    if not left or left != left or right != right:
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def merge_series(vector: Vector) -> Vector:
    """Series with the same name and labels as one. Raises PromqlError if they have values at the
    same time."""
    found: dict[tuple[str, Labels], VectorSeries] = {}
    for one in vector:
        key = one[:2]
        known = found.get(key)
        found[key] = one if known is None else known._replace(values=_join(known, one))
    return vector if len(found) == len(vector) else list(found.values())


def _join(left: VectorSeries, right: VectorSeries) -> Values:
    joined: Values = []
    for one, other in zip(left.values, right.values, strict=True):
        if one is not None and other is not None:
            raise PromqlError("Several series of the result have the same labels.")
        joined.append(other if one is None else one)
    return joined


def operate_scalars(symbol: BinaryOperator, left: Scalar, right: Scalar) -> Scalar:
    return list(map(_ARITHMETIC[symbol], left, right))


def operate_with_scalar(
    symbol: BinaryOperator, vector: Vector, scalar: Scalar, *, is_left: bool
) -> Vector:
    """`is_left` is whether the scalar is the left operand. A comparison keeps the values of the
    vector for which it is true, and their names."""
    if symbol in COMPARISONS:
        compare = _COMPARE[symbol]
        kept: Vector = []
        for one in vector:
            values: Values = [
                value
                if value is not None
                and (compare(number, value) if is_left else compare(value, number))
                else None
                for value, number in zip(one.values, scalar, strict=True)
            ]
            kept.append(one._replace(values=values))
        return kept
    function = _ARITHMETIC[symbol]
    result: Vector = []
    for one in vector:
        pairs = zip(one.values, scalar, strict=True)
        if is_left:
            values = [None if value is None else function(number, value) for value, number in pairs]
        else:
            values = [None if value is None else function(value, number) for value, number in pairs]
        result.append(VectorSeries("", one.labels, values))
    return merge_series(result)


def operate(symbol: BinaryOperator, left: Vector, right: Vector) -> Vector:
    """Arithmetic or a comparison of the series that have the same labels, one with one. Raises
    PromqlError if several have them at one time."""
    others = _by_labels(right)
    is_comparison = symbol in COMPARISONS
    function = _COMPARE[symbol] if is_comparison else _ARITHMETIC[symbol]
    result: Vector = []
    matched: dict[Labels, Values] = {}
    for one in left:
        other = others.get(one.labels)
        if other is None:
            continue
        _claim(matched, one, other)
        values: Values = []
        for value, number in zip(one.values, other, strict=True):
            if value is None or number is None:
                values.append(None)
            elif is_comparison:
                values.append(value if function(value, number) else None)
            else:
                values.append(function(value, number))
        result.append(VectorSeries(one.name if is_comparison else "", one.labels, values))
    return merge_series(result)


def _by_labels(vector: Vector) -> dict[Labels, Values]:
    """The values by labels, whatever the names are. Raises PromqlError if several series have them
    at one time."""
    unnamed = merge_series([one._replace(name="") for one in vector])
    return {one.labels: one.values for one in unnamed}


def _claim(matched: dict[Labels, Values], one: VectorSeries, other: Values) -> None:
    """Raises PromqlError if another series of the left side was matched at the same time."""
    used: Values = [
        value if number is not None else None
        for value, number in zip(one.values, other, strict=True)
    ]
    known = matched.get(one.labels)
    if known is not None:
        used = _join(VectorSeries("", (), known), VectorSeries("", (), used))
    matched[one.labels] = used


def operate_sets(symbol: BinaryOperator, left: Vector, right: Vector) -> Vector:
    """`and`, `or` and `unless`, by labels and not by names."""
    if symbol == "or":
        taken = _presence(left)
        return merge_series([*left, *(_mask(one, taken, is_kept=False) for one in right)])
    present = _presence(right)
    return [_mask(one, present, is_kept=symbol == "and") for one in left]


def _presence(vector: Iterable[VectorSeries]) -> dict[Labels, list[bool]]:
    """At which times there is a series of these labels."""
    found: dict[Labels, list[bool]] = {}
    for one in vector:
        has = [value is not None for value in one.values]
        known = found.get(one.labels)
        found[one.labels] = has if known is None else list(map(operator.or_, known, has))
    return found


def _mask(
    series: VectorSeries, present: dict[Labels, list[bool]], *, is_kept: bool
) -> VectorSeries:
    """The series at the times at which its labels are present, or are not."""
    times = present.get(series.labels)
    if times is None:
        return series._replace(values=[None] * len(series.values)) if is_kept else series
    values: Values = [
        value if has is is_kept else None for value, has in zip(series.values, times, strict=True)
    ]
    return series._replace(values=values)


def transform(vector: Vector, function: Callable[[float], float]) -> Vector:
    """A function of each value; the names are dropped."""
    return merge_series(
        [
            VectorSeries("", one.labels, [None if x is None else function(x) for x in one.values])
            for one in vector
        ]
    )


def clamp(vector: Vector, limits: Sequence[float], *, is_minimum: bool) -> Vector:
    """Values not below the minimum, or not above the maximum, at each time."""

    def limited(value: float, limit: float) -> float:
        if value != value or limit != limit:
            return math.nan
        return max(value, limit) if is_minimum else min(value, limit)

    return merge_series(
        [
            VectorSeries(
                "",
                one.labels,
                [
                    None if value is None else limited(value, limit)
                    for value, limit in zip(one.values, limits, strict=True)
                ],
            )
            for one in vector
        ]
    )
