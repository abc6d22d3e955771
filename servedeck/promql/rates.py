"""Functions of the samples of a range: rate, increase, irate, and those over time.

Source: promql/functions.go of Prometheus 3 (extrapolatedRate, instantValue). Its version 2 differs
in two points: a range includes its first millisecond, and a counter that begins in the range, later
than 1.1 intervals after its begin, is taken back to 0 where that is less than 1.1 intervals ago,
and not only where it is less than half of one.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import NamedTuple

from servedeck.promql.vectors import Values

RangeFunction = Callable[[list[float]], Values]
"""The results for the values at the times of the ranges that it is bound to."""

_THRESHOLD = 1.1
"""Up to so many intervals between samples a range without one is taken to be covered."""


TimeSpan = tuple[float, float]
"""First and last time, in seconds since the epoch."""


class Windows:
    """Which of the samples at `times` each range has, (end - seconds, end]."""

    def __init__(
        self,
        times: Sequence[float],
        ends: Sequence[float],
        seconds: float,
        *,
        has_nan: bool = False,
        joins: Sequence[TimeSpan] = (),
    ) -> None:
        """`has_nan` is whether a value at the times may be NaN. `joins` are those of
        `evaluate_range`."""
        self.has_nan = has_nan
        self.times = times
        self.ends = ends
        self.seconds = seconds
        self.joins = joins
        self.spans = [
            (bisect_right(times, round(end - seconds, 3)), bisect_right(times, end)) for end in ends
        ]
        """The first sample of each, and the one after its last."""

    @cached_property
    def extrapolations(self) -> Extrapolations:
        return Extrapolations.of(self)

    def counted_seconds(self) -> list[float]:
        """The seconds of each range that its increase is of: without those before a counter was
        joined, in which it may have counted as well."""
        result = [self.seconds] * len(self.spans)
        found = self.extrapolations
        for step, one in zip(found.steps, found.each, strict=True):
            begin = self.times[one.first]
            uncounted = begin - one.before - (self.ends[step] - self.seconds)
            if uncounted > 0 and any(start <= begin <= end for start, end in self.joins):
                result[step] -= uncounted
        return result


class Extrapolation(NamedTuple):
    """How the increase between two samples becomes that of the range: what the times say."""

    first: int
    last: int
    sampled: float
    """Seconds between the two."""
    before: float
    """Seconds that are added before the first, at most."""
    after: float

    @property
    def factor(self) -> float:
        return (self.sampled + self.before + self.after) / self.sampled

    def increase(self, difference: float, value: float, divisor: float) -> float:
        """The increase of a counter in the range, of that between the samples and the first value:
        it is not taken below 0."""
        before = self.before
        if difference > 0 and value >= 0:
            to_zero = self.sampled * (value / difference)
            before = min(before, to_zero)
        return difference * ((self.sampled + before + self.after) / self.sampled / divisor)


class Extrapolations(NamedTuple):
    """Those of all ranges that have two samples, by columns: one step is computed for all of them
    at once, in C."""

    steps: list[int]
    each: list[Extrapolation]
    firsts: Callable[[list[float]], tuple[float, ...]]
    lasts: Callable[[list[float]], tuple[float, ...]]
    factors: list[float]
    factors_per_second: list[float]
    ratios: list[float]
    """A counter whose first value times this is at least its increase does not come to 0."""

    @classmethod
    def of(cls, windows: Windows) -> Extrapolations:
        steps: list[int] = []
        each: list[Extrapolation] = []
        for step, (first, after) in enumerate(windows.spans):
            if after - first >= 2:
                steps.append(step)
                each.append(_extrapolate(windows, windows.ends[step], first, after - 1))
        ratios = [one.sampled / one.before if one.before else math.inf for one in each]
        return cls(
            steps,
            each,
            _getter([one.first for one in each]),
            _getter([one.last for one in each]),
            [one.factor for one in each],
            [one.factor / windows.seconds for one in each],
            ratios,
        )


def _extrapolate(windows: Windows, end: float, first: int, last: int) -> Extrapolation:
    # In whole milliseconds, as Prometheus has them: the results are the same to the last bit.
    times = windows.times
    sampled = round(times[last] - times[first], 3)
    average = sampled / (last - first)
    before = round(times[first] - (end - windows.seconds), 3)
    after = round(end - times[last], 3)
    threshold = average * _THRESHOLD
    return Extrapolation(
        first,
        last,
        sampled,
        before if before < threshold else average / 2,
        after if after < threshold else average / 2,
    )


def _getter(indexes: list[int]) -> Callable[[list[float]], tuple[float, ...]]:
    """Several items of a sequence at once."""
    if len(indexes) == 1:
        (index,) = indexes
        return lambda values: (values[index],)
    return operator.itemgetter(*indexes) if indexes else lambda _values: ()


def bind_increases(windows: Windows, divisor: float = 1.0) -> RangeFunction:
    """The increase of a counter in each range, where it has two samples. What it had before a reset
    counts too."""
    each = windows.extrapolations.each
    if len(windows.spans) > 1 or windows.has_nan or not each:
        return partial(_increases, windows, divisor)
    # Of one range alone, in half the time: what is shown live has one new one.
    start, last, sampled, before, after = each[0]
    factor = (sampled + before + after) / sampled / divisor

    def compute(values: list[float]) -> Values:
        first = values[start]
        difference = values[last] - first
        part = values[start : last + 1]
        if part == sorted(part) and sampled * first >= difference * before:
            return [difference * factor]
        return _increases(windows, divisor, values)

    return compute


def _increases(windows: Windows, divisor: float, values: list[float]) -> Values:
    found = windows.extrapolations
    result: Values = [None] * len(windows.spans)
    if not found.steps:
        return result
    start, end = found.each[0].first, found.each[-1].last + 1
    resets = _find_resets(windows, values, start, end)
    firsts, lasts = found.firsts(values), found.lasts(values)
    if resets:
        differences = [
            _add_resets(last - first, values, resets, one)
            for one, first, last in zip(found.each, firsts, lasts, strict=True)
        ]
    else:
        differences = list(map(operator.sub, lasts, firsts))
    # true of nearly every counter, and NaN makes it false
    if all(map(operator.ge, map(operator.mul, firsts, found.ratios), differences)):
        factors = found.factors if divisor == 1 else found.factors_per_second
        computed = list(map(operator.mul, differences, factors))
    else:
        computed = [
            one.increase(difference, first, divisor)
            for one, difference, first in zip(found.each, differences, firsts, strict=True)
        ]
    if len(computed) == len(result):
        return [*computed]
    for step, value in zip(found.steps, computed, strict=True):
        result[step] = value
    return result


def _find_resets(windows: Windows, values: list[float], start: int, end: int) -> list[int]:
    """Where a value is smaller than the one before."""
    if not windows.has_nan:
        part = values[start:end]
        if part == sorted(part):  # the fastest way to find out
            return []
    return [at for at in range(start + 1, end) if values[at] < values[at - 1]]


def _add_resets(
    difference: float, values: list[float], resets: list[int], one: Extrapolation
) -> float:
    low, high = bisect_right(resets, one.first), bisect_right(resets, one.last)
    for at in resets[low:high]:
        difference += values[at - 1]
    return difference


def bind_rates(windows: Windows) -> RangeFunction:
    """The same per second."""
    if not windows.joins:
        # Divided where Prometheus does: a quantile may depend on the last bit, where buckets are
        # empty.
        return bind_increases(windows, windows.seconds)
    increases, lengths = bind_increases(windows), windows.counted_seconds()

    def compute(values: list[float]) -> Values:
        return [
            None if increase is None else increase / length
            for increase, length in zip(increases(values), lengths, strict=True)
        ]

    return compute


def bind_instant_rates(windows: Windows) -> RangeFunction:
    """The rate between the last two samples of each range."""
    times = windows.times

    def compute(values: list[float]) -> Values:
        result: Values = []
        for first, after in windows.spans:
            if after - first < 2:
                result.append(None)
                continue
            last, before = values[after - 1], values[after - 2]
            difference = last if last < before else last - before
            result.append(difference / (times[after - 1] - times[after - 2]))
        return result

    return compute


def bind_over_time(function: Callable[[Sequence[float]], float], windows: Windows) -> RangeFunction:
    """A function of the values of each range that has one."""

    def compute(values: list[float]) -> Values:
        return [
            function(values[first:after]) if after > first else None
            for first, after in windows.spans
        ]

    return compute
