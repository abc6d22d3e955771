"""The values of expressions over samples, computed as Prometheus does."""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

from servedeck.promql import rates
from servedeck.promql.aggregation import OVER_TIME, aggregate
from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import (
    SET_OPERATORS,
    Aggregation,
    Binary,
    Call,
    Expression,
    Number,
    Selector,
    Text,
)
from servedeck.promql.functions import ValueType, check_type
from servedeck.promql.label_replacement import replace_label
from servedeck.promql.matching import compile_matchers
from servedeck.promql.quantiles import histogram_quantile
from servedeck.promql.rates import TimeSpan
from servedeck.promql.samples import RangeSeries, SampleSeries, SampleSource, is_stale
from servedeck.promql.vectors import (
    Scalar,
    Values,
    Vector,
    VectorSeries,
    clamp,
    merge_series,
    operate,
    operate_scalars,
    operate_sets,
    operate_with_scalar,
    transform,
)

LOOKBACK = 300.0
"""Seconds for which the last sample of a series counts (Prometheus' --query.lookback-delta)."""
MAX_STEPS = 11_000
"""As in Prometheus' API."""

KnownAggregations = dict[Aggregation, Vector]
"""Aggregations with their series, which nothing changes afterwards."""

_RANGE_FUNCTIONS: dict[str, Callable[[rates.Windows], rates.RangeFunction]] = {
    "rate": rates.bind_rates,
    "increase": rates.bind_increases,
    "irate": rates.bind_instant_rates,
    **{name: partial(rates.bind_over_time, function) for name, function in OVER_TIME.items()},
}


def evaluate(
    expression: Expression, source: SampleSource, time: float, *, lookback: float = LOOKBACK
) -> list[RangeSeries]:
    """The series of an expression at a time, in seconds since the epoch, each with one value. A
    number is a series without labels. Raises PromqlError."""
    return evaluate_range(expression, source, time, time, 1.0, lookback=lookback)


def evaluate_range(
    expression: Expression,
    source: SampleSource,
    start: float,
    end: float,
    step: float,
    *,
    lookback: float = LOOKBACK,
    known: KnownAggregations | None = None,
    joins: Sequence[TimeSpan] = (),
) -> list[RangeSeries]:
    """The series of an expression at `start`, `start + step`, … up to `end`, ordered by labels;
    those without any value are left out. All times are in seconds, and whole milliseconds of them
    count. `known` has the aggregations that were computed before, of the same samples at the same
    times, and gets those of this expression: quantiles of one histogram differ in nothing else.
    `joins` are times in which reading began: a counter whose first sample in a range is in one of
    them has counted before as well, and its rate is that since the sample, and not less because of
    the time in which it was not read.
    Raises PromqlError for an expression outside the subset, and where Prometheus refuses to compute
    one from these series."""
    if check_type(expression) is ValueType.RANGE:
        raise PromqlError("A range of samples has no value; a function such as rate needs it.")
    if check_type(expression) is ValueType.STRING:
        raise PromqlError("A string has no value; only a function takes it.")
    if not step > 0 or not end >= start or (end - start) / step >= MAX_STEPS:
        raise PromqlError(f"The times are not 1 to {MAX_STEPS:,} steps.")
    count = math.floor(round((end - start) / step, 6)) + 1
    times = [round(start + number * step, 3) for number in range(count)]
    known = {} if known is None else known
    evaluation = _Evaluation(source, times, lookback, known, joins)
    if check_type(expression) is ValueType.SCALAR:
        return [RangeSeries({}, evaluation.scalar(expression))]
    found = [
        RangeSeries({"__name__": name, **dict(labels)} if name else dict(labels), values)
        for name, labels, values in evaluation.vector(expression)
        if values.count(None) < count
    ]
    return sorted(found, key=lambda one: sorted(one.labels.items()))


class _Evaluation:
    """Of one expression at all its times at once."""

    def __init__(
        self,
        source: SampleSource,
        times: list[float],
        lookback: float,
        known: KnownAggregations,
        joins: Sequence[TimeSpan],
    ) -> None:
        self._source = source
        self._times = times
        self._lookback = lookback
        self._known = known
        self._joins = joins

    def scalar(self, expression: Expression) -> Scalar:
        match expression:
            case Number(value):
                return [value] * len(self._times)
            case Binary(symbol, left, right):
                return operate_scalars(symbol, self.scalar(left), self.scalar(right))
            case Call("scalar", (inner,)):
                return self._single_values(self.vector(inner))
            case Call("time", ()):
                return list(self._times)
        raise PromqlError("A number is needed.")

    def _single_values(self, vector: Vector) -> Scalar:
        """The value where the vector has one series, else NaN."""
        result: Scalar = []
        for step in range(len(self._times)):
            present = [value for one in vector if (value := one.values[step]) is not None]
            result.append(present[0] if len(present) == 1 else math.nan)
        return result

    def vector(self, expression: Expression) -> Vector:
        match expression:
            case Selector():
                return self._select_instants(expression)
            case Call():
                return self._call(expression)
            case Aggregation():
                return self._aggregate(expression)
            case Binary():
                return self._binary(expression)
        raise PromqlError("A vector is needed.")

    def _aggregate(self, aggregation: Aggregation) -> Vector:
        found = self._known.get(aggregation)
        if found is None:
            inner = self.vector(aggregation.expression)
            found = aggregate(aggregation.operator, inner, aggregation.by)
            self._known[aggregation] = found
        return found

    def _binary(self, binary: Binary) -> Vector:
        symbol = binary.operator
        if check_type(binary.left) is ValueType.SCALAR:
            numbers = self.scalar(binary.left)
            return operate_with_scalar(symbol, self.vector(binary.right), numbers, is_left=True)
        left = self.vector(binary.left)
        if check_type(binary.right) is ValueType.SCALAR:
            return operate_with_scalar(symbol, left, self.scalar(binary.right), is_left=False)
        function = operate_sets if symbol in SET_OPERATORS else operate
        return function(symbol, left, self.vector(binary.right))

    def _call(self, call: Call) -> Vector:
        match call.function, call.arguments:
            case "histogram_quantile", (share, buckets):
                return histogram_quantile(self.scalar(share), self.vector(buckets))
            case "abs", (inner,):
                return transform(self.vector(inner), abs)
            case "clamp_min" | "clamp_max" as name, (inner, limit):
                limits = self.scalar(limit)
                return clamp(self.vector(inner), limits, is_minimum=name == "clamp_min")
            case "vector", (number,):
                return [VectorSeries("", (), list(self.scalar(number)))]
            case "label_replace", (inner, *others):
                texts = [one.value for one in others if isinstance(one, Text)]
                return replace_label(self.vector(inner), *texts)
            case "timestamp", (inner,):
                return self._timestamps(inner)
            case name, (Selector() as selector,):
                return self._compute_ranges(name, selector)
        raise PromqlError(f"The function {call.function} is not supported.")

    def _select(self, selector: Selector, before: float) -> tuple[list[float], list[SampleSeries]]:
        """The times less the offset, and the series from `before` seconds before the first."""
        compile_matchers(selector.matchers)  # raises PromqlError
        times = self._times
        if selector.offset:
            times = [round(time - selector.offset, 3) for time in times]
        found = self._source.select(
            selector.name, selector.matchers, round(times[0] - before, 3), times[-1]
        )
        return times, list(found)

    def _select_instants(self, selector: Selector) -> Vector:
        """The last value at each time that is not older than the lookback."""
        times, found = self._select(selector, self._lookback)
        known: dict[int, tuple[Sequence[float], list[int]]] = {}
        result: Vector = []
        for one in found:
            # Series of one Pod have the same times: their samples are found once.
            entry = known.get(id(one.times))
            if entry is None:
                entry = (one.times, self._last_samples(one.times, times))
                known[id(one.times)] = entry
            values: Values = [None if at < 0 else one.values[at] for at in entry[1]]
            if any(map(operator.ne, values, values)):
                values = [None if value is None or is_stale(value) else value for value in values]
            result.append(VectorSeries(one.name, one.labels, values))
        return result

    def _timestamps(self, expression: Expression) -> Vector:
        """When the values were read, if they are those of samples; else when they are computed."""
        if isinstance(expression, Selector):
            times, found = self._select(expression, self._lookback)
            result = [VectorSeries("", one.labels, self._sample_times(one, times)) for one in found]
        else:
            result = [
                VectorSeries(
                    "",
                    labels,
                    [
                        None if value is None else time
                        for time, value in zip(self._times, values, strict=True)
                    ],
                )
                for _, labels, values in self.vector(expression)
            ]
        return merge_series(result)

    def _sample_times(self, series: SampleSeries, times: Sequence[float]) -> Values:
        return [
            None if at < 0 or is_stale(series.values[at]) else series.times[at]
            for at in self._last_samples(series.times, times)
        ]

    def _last_samples(self, sample_times: Sequence[float], times: Sequence[float]) -> list[int]:
        """The last sample at each time; -1 for none."""
        result: list[int] = []
        for time in times:
            at = bisect_right(sample_times, time) - 1
            is_old = at >= 0 and sample_times[at] <= round(time - self._lookback, 3)
            result.append(-1 if is_old else at)
        return result

    def _compute_ranges(self, function: str, selector: Selector) -> Vector:
        """A function of the samples of a range, which has no name. Raises PromqlError if two series
        differ in their names alone."""
        bind, joins = _RANGE_FUNCTIONS[function], self._joins
        times, found = self._select(selector, selector.window)
        known: dict[int, rates.RangeFunction] = {}
        result: Vector = []
        for name, labels, sample_times, values in found:
            if not isinstance(values, list):
                values = list(values)
            if math.isnan(sum(values)):
                sample_times, values = _without_stale(sample_times, values)
                windows = rates.Windows(
                    sample_times, times, selector.window, has_nan=True, joins=joins
                )
                compute = bind(windows)
            elif (bound := known.get(id(sample_times))) is not None:
                compute = bound
            else:
                windows = rates.Windows(sample_times, times, selector.window, joins=joins)
                compute = known[id(sample_times)] = bind(windows)
            kept = name if function == "last_over_time" else ""
            result.append(VectorSeries(kept, labels, compute(values)))
        # The series of one name differ in their labels.
        return result if selector.name else merge_series(result)


def _without_stale(
    times: Sequence[float], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    pairs = [pair for pair in zip(times, values, strict=True) if not is_stale(pair[1])]
    return [time for time, _ in pairs], [value for _, value in pairs]
