"""The values of expressions, against what their definitions say, computed one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.promql.errors import PromqlError
from servedeck.promql.evaluation import (
    MAX_STEPS,
    KnownAggregations,
    evaluate,
    evaluate_range,
)
from servedeck.promql.expressions import Binary, Call, Expression, Number, Selector
from servedeck.promql.parser import parse_expression
from servedeck.promql.quantiles import bucket_quantile
from servedeck.promql.samples import STALE, RangeSeries, SampleSeries
from tests.promql.generated import INSTANTS, OVER_TIME, RANGES, generate


class Samples:
    """Given series. A `SampleSource` that selects by name alone."""

    def __init__(self, *series: SampleSeries) -> None:
        self._series = series

    def select(self, name: str, *_: object) -> list[SampleSeries]:
        return [one for one in self._series if name in ("", one.name)]


def series(
    values: Sequence[float], times: Sequence[float] = (), name: str = "a", **labels: str
) -> SampleSeries:
    """Samples each 10 s from 10 on, if no times are given."""
    times = times or [10.0 * (number + 1) for number in range(len(values))]
    return SampleSeries(name, tuple(sorted(labels.items())), times, values)


def value(text: str, time: float, *source: SampleSeries) -> float | None:
    """The value of an expression with at most one series."""
    found = evaluate(parse_expression(text), Samples(*source), time)
    assert len(found) <= 1
    return found[0].values[0] if found else None


def values(text: str, *source: SampleSeries, time: float = 10.0) -> dict[str, float | None]:
    """By the labels, "x=1"."""
    found = evaluate(parse_expression(text), Samples(*source), time)
    return {",".join(f"{k}={v}" for k, v in one.labels.items()): one.values[0] for one in found}


# -- ranges -------------------------------------------------------------------------------------


def plain_increase(samples: list[tuple[float, float]], start: float, end: float) -> float | None:
    """As it is defined, in exact order: the increase between samples, and that of the times before
    and after them at the same rate."""
    inside = [one for one in samples if start < one[0] <= end]
    if len(inside) < 2:
        return None
    increase = sum(new - old if new >= old else new for (_, old), (_, new) in pairwise(inside))
    duration = inside[-1][0] - inside[0][0]
    interval = duration / (len(inside) - 1)
    before, after = inside[0][0] - start, end - inside[-1][0]
    before = before if before < 1.1 * interval else interval / 2
    after = after if after < 1.1 * interval else interval / 2
    if increase > 0:
        before = min(before, duration * inside[0][1] / increase)
    return increase * (duration + before + after) / duration


counters = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 50)), max_size=25)


@given(counters, st.integers(10, 120), st.integers(1, 30))
def test_an_increase_is_what_its_definition_says(
    steps: list[tuple[int, int]], window: int, step: int
):
    times: list[float] = []
    for gap, _value in steps:
        times.append((times[-1] if times else 0) + gap)
    source = Samples(series([float(one) for _gap, one in steps], times or [0.0]))
    selector = Selector("a", window=window)
    samples = list(zip(times, [float(one) for _gap, one in steps], strict=True))
    for name, divisor in (("increase", 1), ("rate", window)):
        found = evaluate_range(Call(name, (selector,)), source, 0, 300, step)
        computed = found[0].values if found else [None] * (300 // step + 1)
        for number, one in enumerate(computed):
            end = float(number * step)
            wanted = plain_increase(samples, end - window, end)
            if wanted is None:
                assert one is None
            else:
                assert one == pytest.approx(wanted / divisor, rel=1e-9, abs=1e-12)


def test_a_counter_that_was_not_read_before_has_its_rate_at_once():
    """2 per second all the time, read from 1000 on; another one begins to count at 1040."""
    times = [1000.0 + 5 * number for number in range(30)]
    counter = series([9000.0 + 10 * number for number in range(30)], times)
    new = series([10.0 * number for number in range(22)], times[8:], name="b")
    source, rate = Samples(counter, new), parse_expression("rate(a[60s])")
    (found,) = evaluate_range(rate, source, 1000, 1145, 5, joins=[(1000.0, 1010.0)])
    assert found.values == [None, *[pytest.approx(2.0)] * 29]
    (plain,) = evaluate_range(rate, source, 1000, 1145, 5)
    assert plain.values[1] < 0.5, "of the whole minute"
    assert found.values[12:] == pytest.approx(plain.values[12:])
    for text in ("rate(b[60s])", "increase(a[60s])", "irate(a[60s])", "max_over_time(a[60s])"):
        expression = parse_expression(text)
        joined = evaluate_range(expression, source, 1000, 1145, 5, joins=[(1000.0, 1010.0)])
        expected = evaluate_range(expression, source, 1000, 1145, 5)
        assert joined[0].values == pytest.approx(expected[0].values), text


def test_a_rate_after_a_gap_is_that_since_it_is_read_again():
    times = [*(1000.0 + 5 * number for number in range(5)), *(1200.0, 1205.0, 1210.0)]
    counter = series([2 * one for one in times], times)
    rate = parse_expression("rate(a[60s])")
    (found,) = evaluate_range(rate, Samples(counter), 1210, 1210, 1, joins=[(1200.0, 1200.0)])
    assert found.values == [pytest.approx(2.0)]


def test_a_range_begins_after_its_start_and_has_its_end():
    ones = series([1, 1, 1, 1])
    assert value("count_over_time(a[20s])", 30, ones) == 2
    assert value("count_over_time(a[20s])", 29.999, ones) == 2
    assert value("count_over_time(a[20s])", 50, ones) == 1
    assert value("count_over_time(a[20s])", 60, ones) is None


def test_the_last_sample_counts_for_the_lookback():
    one = series([7], [10])
    assert value("a", 9.999, one) is None
    assert value("a", 10, one) == 7
    assert value("a", 309.999, one) == 7
    assert value("a", 310, one) is None
    assert evaluate(Selector("a"), Samples(one), 20, lookback=10) == []


def test_a_stale_series_has_no_value_at_once_and_its_range_still_has_the_samples():
    ended = series([1, 2, STALE, 4])
    assert [value("a", time, ended) for time in (29, 30, 39, 40)] == [2, None, None, 4]
    assert value("count_over_time(a[1m])", 40, ended) == 3
    assert value("increase(a[25s])", 30, ended) == value("increase(a[25s])", 30, series([1, 2]))


def test_the_timestamp_of_a_value_is_that_of_its_sample_and_of_a_result_the_time():
    source = series([1, 2], x="1")
    assert value("timestamp(a)", 27, source) == 20
    assert value("timestamp(a offset 10s)", 27, source) == 10
    assert value("timestamp(a + 1)", 27, source) == 27
    assert value("timestamp(a)", 1000, source) is None
    assert value("timestamp(a)", 35, series([1, STALE])) is None
    assert value("a and timestamp(a) >= time() - 5", 27, source) is None


def test_nan_is_a_value():
    assert math.isnan(value("a", 10, series([math.nan])) or 0)
    assert value("count_over_time(a[1m])", 20, series([math.nan, 1])) == 2


def test_an_offset_is_before_the_time():
    assert value("a offset 10s", 20, series([1, 2])) == 1
    assert value("a offset -10s", 10, series([1, 2])) == 2


def test_a_range_has_a_value_at_each_time_and_no_series_without_one():
    found = evaluate_range(Selector(""), Samples(series([1, 2]), series([5], [900], "b")), 5, 25, 5)
    assert found == [RangeSeries({"__name__": "a"}, [None, 1, 1, 2, 2])]


def test_each_step_of_a_range_is_the_value_at_its_time():
    source = generate(5, 7, 60, 12)
    start, step, count = 3.234, 13.0, 40
    for text in [one.format(w="1m") for one in RANGES + OVER_TIME] + INSTANTS:
        expression = parse_expression(text)
        whole = evaluate_range(expression, source, start, start + (count - 1) * step, step)
        for at in range(count):
            alone = evaluate(expression, source, start + at * step)
            wanted = {tuple(one.labels.items()): one.values[0] for one in alone}
            found = {
                tuple(one.labels.items()): one.values[at]
                for one in whole
                if one.values[at] is not None
            }
            assert found == pytest.approx(wanted, rel=1e-9, nan_ok=True), (text, at)


# -- histograms ---------------------------------------------------------------------------------


def plain_quantile(share: float, bounds: list[float], counts: list[int]) -> float:
    """The value below which that share of the observations is, if they are spread evenly over the
    bucket they are in."""
    rank, below, start = share * counts[-1], 0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank and count > below:
            if bound == math.inf:
                return bounds[-2]
            if below == 0 and start == 0 and bound <= 0:
                return bound
            return start + (bound - start) * (rank - below) / (count - below)
        below, start = count, bound
    raise AssertionError("the last bucket has all")


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True),
    st.lists(st.integers(0, 9), min_size=13, max_size=13),
    st.floats(0.001, 1),
)
def test_a_quantile_is_what_its_definition_says(bounds: list[int], more: list[int], share: float):
    edges = [*map(float, sorted(bounds)), math.inf]
    counts = [sum(more[: number + 1]) for number in range(len(edges))]
    found = bucket_quantile(share, edges, [float(one) for one in counts])
    if counts[-1] == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(plain_quantile(share, edges, counts), rel=1e-9)


@pytest.mark.parametrize(
    ("share", "bounds", "counts", "quantile"),
    [
        (0.5, [1, math.inf], [10, 10], 0.5),
        (0.5, [1, math.inf], [0, 10], 1),
        (0.5, [-1, math.inf], [10, 10], -1),
        (0.5, [0, math.inf], [10, 10], 0),
        (0.5, [math.inf], [10], math.nan),
        (0.5, [1, 2], [5, 10], math.nan),
        (0.5, [1, math.inf], [0, 0], math.nan),
        (-0.1, [1, math.inf], [1, 1], -math.inf),
        (1.1, [1, math.inf], [1, 1], math.inf),
        (math.nan, [1, math.inf], [1, 1], math.nan),
        (0.9, [1, 2, 3, math.inf], [10, 5, 20, 20], 2.8),  # the second is taken to have 10
        (0.5, [1, 2, math.inf], [1, 1 + 1e-15, 1], 0.5),
        (0.0, [1, math.inf], [0, 10], math.nan),
    ],
)
def test_quantiles_of_odd_histograms(
    share: float, bounds: list[float], counts: list[float], quantile: float
):
    assert bucket_quantile(share, bounds, counts) == pytest.approx(quantile, nan_ok=True)


def test_buckets_with_one_bound_are_one_and_those_without_do_not_count():
    found = values(
        "histogram_quantile(0.5, a)",
        series([4], le="1"),
        series([4], le="1.0"),
        series([16], le="+Inf"),
        series([99], le="x"),
        series([99]),
        series([2], le="1", pod="b"),
        series([2], le="+Inf", pod="b"),
    )
    assert found == {"": 1.0, "pod=b": 0.5}


# -- operators ----------------------------------------------------------------------------------

ONE, TWO = series([1], x="1"), series([2], x="2")
OTHER = series([10], name="b", x="2")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a + b", {"x=2": 12}),
        ("a > 1", {"__name__=a,x=2": 2}),
        ("a < b", {"__name__=a,x=2": 2}),
        ("3 - a", {"x=1": 2, "x=2": 1}),
        ("a and b", {"__name__=a,x=2": 2}),
        ("a unless b", {"__name__=a,x=1": 1}),
        ("b or a", {"__name__=a,x=1": 1, "__name__=b,x=2": 10}),
        ("sum(a)", {"": 3}),
        ("avg(a)", {"": 1.5}),
        ("count by (y) (a)", {"": 2}),
        ("a / 0", {"x=1": math.inf, "x=2": math.inf}),
        ("a / -0", {"x=1": -math.inf, "x=2": -math.inf}),
        ("scalar(b) + time()", {"": 20}),
        ("absent or vector(4)", {"": 4}),
        ("clamp_max(a, 1.5)", {"x=1": 1, "x=2": 1.5}),
    ],
)
def test_operators_match_series_by_their_labels(text: str, found: dict[str, float]):
    assert values(text, ONE, TWO, OTHER) == found


@pytest.mark.parametrize(
    "text", ["a + {x='2'}", "abs({x='2'})", "{x='2'} * 2", "rate({x='2'}[1m])"]
)
def test_what_would_be_two_series_with_the_same_labels_is_refused(text: str):
    with pytest.raises(PromqlError, match="same labels"):
        values(text, series([2, 3], x="2"), series([2, 3], name="b", x="2"), time=20)


def test_series_with_the_same_labels_one_after_the_other_are_one():
    source = Samples(series([1, STALE]), series([5], [30], "b"))
    (found,) = evaluate_range(parse_expression('{__name__=~"a|b"} + 0'), source, 10, 30, 10)
    assert found.values == [1, None, 5]


@pytest.mark.parametrize(
    "expression",
    [
        Selector("a", window=60),
        Call("rate", (Selector("a"),)),
        Call("no_function", ()),
        Binary("and", Number(1), Number(2)),
    ],
)
def test_an_expression_outside_the_subset_is_refused(expression: Expression):
    with pytest.raises(PromqlError):
        evaluate(expression, Samples(), 0)


@pytest.mark.parametrize(("end", "step"), [(10, 0), (-1, 1), (MAX_STEPS, 1), (math.nan, 1)])
def test_times_that_are_none_are_refused(end: float, step: float):
    with pytest.raises(PromqlError, match="steps"):
        evaluate_range(Number(1), Samples(), 0, end, step)


class CountedSamples(Samples):
    """Counts how often it is asked."""

    asked = 0

    def select(self, name: str, *_: object) -> list[SampleSeries]:
        self.asked += 1
        return super().select(name)


def test_quantiles_of_one_histogram_have_one_sum():
    buckets = (("0.1", 2.0), ("1", 5.0), ("+Inf", 6.0))
    source = CountedSamples(
        *(series([share * one for one in range(30)], le=le) for le, share in buckets)
    )
    expressions = [
        parse_expression(f"histogram_quantile({share}, sum by (le) (rate(a[1m])))")
        for share in (0.1, 0.5, 0.9)
    ]
    alone = [evaluate_range(one, source, 100.0, 280.0, 20.0) for one in expressions]
    assert source.asked == 3
    known: KnownAggregations = {}
    together = [evaluate_range(one, source, 100.0, 280.0, 20.0, known=known) for one in expressions]
    assert source.asked == 4 and together == alone
    assert len({one[0].values[-1] for one in alone}) == 3
