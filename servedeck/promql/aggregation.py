"""Aggregations over labels.

Source: promql/engine.go of Prometheus (aggregation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from servedeck.promql.expressions import AggregationOperator
from servedeck.promql.samples import Labels
from servedeck.promql.vectors import Values, Vector, VectorSeries


def aggregate(operator: AggregationOperator, vector: Vector, by: tuple[str, ...]) -> Vector:
    """One series for each set of values of the labels `by`, without a name."""
    kept = tuple(sorted(set(by)))
    groups: dict[Labels, list[Values]] = {}
    for name, labels, values in vector:
        key = _group_labels(labels, kept, name if "__name__" in kept else "")
        group = groups.get(key)
        if group is None:
            groups[key] = [values]
        else:
            group.append(values)
    function = _FUNCTIONS[operator]
    result: Vector = []
    for labels, group in groups.items():
        name = dict(labels).get("__name__", "")
        labels = tuple(pair for pair in labels if pair[0] != "__name__") if name else labels
        result.append(VectorSeries(name, labels, _combine(function, group)))
    return result


@lru_cache(maxsize=1 << 14)
def _group_labels(labels: Labels, by: tuple[str, ...], name: str) -> Labels:
    """The labels that are kept, in the order of their names; one that is absent or "" is none."""
    if not by:
        return ()
    values = dict(labels)
    if name:
        values["__name__"] = name
    return tuple((one, values[one]) for one in by if values.get(one))


def _combine(function: Callable[[Sequence[float]], float], group: list[Values]) -> Values:
    """The function of the values at each time."""
    columns = zip(*group, strict=True)
    if not any(None in values for values in group):
        return list(map(function, columns))
    result: Values = []
    for column in columns:
        present = [value for value in column if value is not None]
        result.append(function(present) if present else None)
    return result


def _sum(values: Sequence[float]) -> float:
    return float(sum(values))


def _average(values: Sequence[float]) -> float:
    total, count = sum(values), len(values)
    if math.isinf(total) and not any(map(math.isinf, values)):
        return sum(value / count for value in values)  # the sum alone is too large
    return total / count


def smallest(values: Sequence[float]) -> float:
    """The smallest number; NaN only if all are."""
    return min((value for value in values if value == value), default=math.nan)


def largest(values: Sequence[float]) -> float:
    """The largest number; NaN only if all are."""
    return max((value for value in values if value == value), default=math.nan)


def _count(values: Sequence[float]) -> float:
    return float(len(values))


_FUNCTIONS: dict[AggregationOperator, Callable[[Sequence[float]], float]] = {
    "sum": _sum,
    "min": smallest,
    "max": largest,
    "avg": _average,
    "count": _count,
}
OVER_TIME = {
    "sum_over_time": _sum,
    "min_over_time": smallest,
    "max_over_time": largest,
    "avg_over_time": _average,
    "count_over_time": _count,
    "last_over_time": lambda values: values[-1],
}
"""The functions of the samples of a range."""
