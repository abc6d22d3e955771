"""What an autoscaler would have done, against cases that the documentation of Kubernetes computes
and against what must hold of every replay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.scaling.proposal import ScalingProposal
from servedeck.serving.scaling.replay import Replay, replay
from servedeck.serving.scaling.replay_settings import (
    HPA_SCALE_DOWN,
    Assumption,
    PolicyType,
    RecordedMetric,
    ReplaySettings,
    ScalingPolicy,
)
from servedeck.serving.scaling.scaling_metrics import MetricType, ScaledBy

START = 1_800_000_000.0
SYNC = 15.0
LATENCY = ReplaySettings(MetricType.VALUE, 5000.0, 1, 10)
WAITING = ReplaySettings(MetricType.AVERAGE_VALUE, 10.0, 1, 10)
AT_ONCE = replace(WAITING, scale_up_policies=(), scale_down_policies=(), scale_in_delay=0.0)
"""Without delays and limits."""


def record(
    values: Sequence[float | None], step: float = SYNC, replicas: Sequence[float | None] = ()
) -> RecordedMetric:
    """A metric with a value for each step, the last of which ends the time."""
    times = [START + number * step for number in range(len(values) + 1)]
    last = [replicas[-1]] if replicas else []
    return RecordedMetric(times, [*values, values[-1]], [*replicas, *last])


def counts(
    values: Sequence[float | None], settings: ReplaySettings, start: int = 1, step: float = SYNC
) -> list[int]:
    return list(replay(record(values, step), settings, start_replicas=start).replicas)


# -- the formula ------------------------------------------------------------------------------


def test_twice_the_target_doubles_the_replicas_and_half_of_it_halves_them() -> None:
    # "Algorithm details": currentMetricValue 200m and desiredMetricValue 100m; 50m
    settings = ReplaySettings(MetricType.VALUE, 0.1, 1, 20, 0.0)
    assert counts([0.2], settings, start=3) == [6]
    assert counts([0.05], settings, start=6) == [3]
    assert counts([0.05], settings, start=5) == [3]  # 2.5 is rounded up


def test_an_average_value_is_the_total_divided_by_the_target() -> None:
    assert counts([95.0], AT_ONCE, start=4) == [10]
    assert counts([41.0], AT_ONCE, start=1) == [5]
    assert counts([41.0], AT_ONCE, start=7) == [5]


@pytest.mark.parametrize(
    ("value", "expected"), [(109.0, 10), (91.0, 10), (111.0, 12), (88.0, 9), (110.0, 10)]
)
def test_within_the_tolerance_nothing_is_scaled(value: float, expected: int) -> None:
    settings = replace(AT_ONCE, max_replicas=20)
    assert counts([value], settings, start=10) == [expected]
    assert counts([value], replace(settings, tolerance=0.5), start=10) == [10]


def test_min_and_max_replicas_hold_at_once_without_the_policies() -> None:
    assert counts([5000.0], LATENCY, start=14) == [10]
    assert counts([5000.0], replace(LATENCY, min_replicas=3), start=1) == [3]
    assert counts([1e9] * 9, LATENCY)[-1] == 10
    assert counts([1e308] * 9, LATENCY)[-1] == 10


# -- windows and policies ---------------------------------------------------------------------


def test_the_usual_policies_add_four_pods_or_double_them_every_sync() -> None:
    # "Default behavior": 4 Pods or 100 percent every 15 seconds, whichever is more
    settings = replace(WAITING, max_replicas=100)
    assert counts([1000.0] * 6, settings) == [5, 10, 20, 40, 80, 100]


def test_policies_of_pods_and_percent_that_limit_scaling_down() -> None:
    # "Scaling policies": 4 Pods or 10 percent a minute take 80 replicas to 72, then 64; below 40
    # the Pods are more.
    policies = (
        ScalingPolicy(PolicyType.PODS, 4, 60.0),
        ScalingPolicy(PolicyType.PERCENT, 10, 60.0),
    )
    settings = replace(
        AT_ONCE, max_replicas=100, scale_down_policies=policies, sync_seconds=60.0, min_replicas=10
    )
    found = counts([100.0] * 16, settings, start=80, step=60.0)
    assert found == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10, 10, 10]
    # Four decisions a minute do not remove more than one.
    found = counts([100.0] * 8, replace(settings, sync_seconds=15.0), start=80)
    assert found == [72, 72, 72, 72, 64, 64, 64, 64]


def test_pods_are_added_no_faster_than_a_policy_allows() -> None:
    policy = (ScalingPolicy(PolicyType.PODS, 2, 60.0),)
    settings = replace(WAITING, scale_up_policies=policy)
    assert counts([95.0] * 10, settings) == [3, 3, 3, 3, 5, 5, 5, 5, 7, 7]


def test_each_policy_counts_the_changes_of_its_own_period() -> None:
    policies = (
        ScalingPolicy(PolicyType.PODS, 2, 30.0),
        ScalingPolicy(PolicyType.PODS, 3, 60.0),
    )
    settings = replace(WAITING, scale_up_policies=policies)
    # The first adds 3 by the longer period; 30 s later the shorter one has nothing to count.
    assert counts([95.0] * 5, settings) == [4, 4, 6, 6, 8]


def test_the_policies_of_each_direction_count_the_changes_of_both() -> None:
    proposal = ScalingProposal(ScaledBy.WAITING_REQUESTS, 10.0, scale_in_delay=0)
    settings = proposal.settings()
    # 2 are added; 1 fewer than the 3 of a minute ago is 2.
    assert counts([200.0] + [0.0] * 5, settings, start=3) == [5, 2, 2, 2, 2, 1]
    # 1 is removed; 2 more than the 3 of a minute ago are 5.
    assert counts([0.0] + [200.0] * 5, settings, start=3) == [2, 5, 5, 5, 5, 7]
    percent = ScalingPolicy(PolicyType.PERCENT, 100, 60.0)
    by_percent = replace(settings, scale_up_policies=(percent,))
    assert counts([0.0, 200.0], by_percent, start=3) == [2, 6]


def test_what_keda_does_at_zero_replicas_is_no_change_of_the_policies() -> None:
    proposal = ScalingProposal(ScaledBy.WAITING_REQUESTS, 10.0, 0, scale_in_delay=30)
    # From 4 to 0 and to 1 within a minute; the HPA adds 2 to the 1 that it finds.
    found = counts([40.0, 0.0, 0.0, 200.0, 200.0], proposal.settings(), start=4)
    assert found == [4, 4, 0, 1, 3]


def test_the_highest_of_the_scale_in_delay_holds() -> None:
    settings = replace(AT_ONCE, scale_in_delay=60.0)
    values = [80.0, 20.0, 20.0, 20.0, 20.0, 20.0]
    # 8 was recommended at 0 s; at 60 s it is not within 60 s any more.
    assert counts(values, settings) == [8, 8, 8, 8, 2, 2]
    assert counts([80.0, 20.0, 80.0, 20.0, 80.0], settings) == [8] * 5
    assert counts(values, replace(settings, scale_in_delay=0.0)) == [8, 2, 2, 2, 2, 2]


def test_what_there_is_at_the_begin_counts_as_recommended() -> None:
    settings = replace(AT_ONCE, scale_in_delay=30.0)
    assert counts([20.0] * 4, settings, start=9) == [9, 9, 2, 2]


def test_a_peak_that_was_cut_by_a_policy_adds_nothing_when_it_is_over() -> None:
    """The window of scaling down keeps what there is; only a recommendation raises it."""
    settings = ScalingProposal(ScaledBy.RESPONSE_TIME, 5000.0, scale_in_delay=300).settings()
    # 11 are recommended at 0 s, of which the policy adds 2; then 1 is.
    found = counts([100_000.0] + [500.0] * 24, settings)
    assert found == [3] * 20 + [2, 2, 2, 2, 1]


def test_the_windows_of_both_directions_keep_what_there_is() -> None:
    settings = replace(AT_ONCE, scale_in_delay=60.0, scale_up_window=60.0)
    assert counts([80.0, 20.0] * 6, settings, start=4) == [4] * 12


def test_the_window_of_scaling_up_waits_for_the_lowest() -> None:
    settings = replace(AT_ONCE, scale_up_window=30.0)
    assert counts([80.0] * 4, settings) == [1, 1, 8, 8]


# -- zero, gaps and starting ------------------------------------------------------------------


def test_without_load_all_replicas_go_after_the_delay_and_one_comes_back() -> None:
    settings = replace(WAITING, min_replicas=0, scale_in_delay=30.0)
    values = [30.0, 0.0, 0.0, 0.0, 0.0, 5.0, 45.0]
    found = replay(record(values), settings, start_replicas=3)
    assert list(found.replicas) == [3, 3, 0, 0, 0, 1, 5]
    assert (found.lowest, found.scale_ups, found.scale_downs) == (0, 2, 1)
    assert min(counts(values, replace(settings, min_replicas=1), start=3)) == 1


def test_zero_replicas_wait_for_the_delay_after_the_last_load() -> None:
    settings = replace(WAITING, min_replicas=0, scale_in_delay=30.0)
    assert counts([5.0] * 4 + [0.0] * 3, settings) == [1, 1, 1, 1, 1, 0, 0]


def test_no_data_is_no_load_or_nothing_is_scaled() -> None:
    values = [50.0, None, math.nan, math.inf]
    assert counts(values, AT_ONCE) == [5, 1, 1, 1]
    assert counts(values, replace(AT_ONCE, missing_is_zero=False)) == [5, 5, 5, 5]
    zero = replace(AT_ONCE, min_replicas=0, missing_is_zero=False)
    assert counts([None] * 3, zero, start=2) == [2, 2, 2]


def test_only_ready_replicas_count_for_a_value() -> None:
    settings = replace(LATENCY, scale_up_policies=(), startup_seconds=45.0, scale_in_delay=3600.0)
    # 1 × 2; then 1 ready × 2 is 2 again until the second is ready at 45 s
    assert counts([10_000.0] * 5, settings) == [2, 2, 2, 4, 4]
    assert counts([10_000.0] * 3, replace(settings, startup_seconds=0.0)) == [2, 4, 8]


def test_replicas_that_are_not_ready_are_removed_first() -> None:
    settings = replace(AT_ONCE, startup_seconds=600.0)
    recorded = record([50.0, 20.0, 30.0], replicas=[2.0] * 3)
    found = replay(
        recorded,
        replace(settings, metric_type=MetricType.VALUE, target=10.0),
        start_replicas=2,
        assumption=Assumption.LOAD_PER_REPLICA,
    )
    # 2 × 5, of which 8 start; then 2 ready × 2 of which 2 start: the load is that of 2 ready ones
    assert list(found.replicas) == [10, 4, 6]
    assert found.values == (50.0, 20.0, 30.0)


# -- assumptions ------------------------------------------------------------------------------


def test_a_latency_as_it_was_is_never_met_and_one_by_load_is() -> None:
    recorded = record([10_000.0] * 40, replicas=[2.0] * 40)
    settings = replace(LATENCY, scale_up_policies=())
    as_it_was = replay(recorded, settings, start_replicas=2)
    assert as_it_was.replicas[-1] == 10
    assert set(as_it_was.values) == {10_000.0}
    by_load = replay(recorded, settings, start_replicas=2, assumption=Assumption.LOAD_PER_REPLICA)
    assert set(by_load.replicas) == {4}
    assert by_load.values[:2] == (10_000.0, 5000.0)
    unknown = record([10_000.0] * 40, replicas=[None] * 40)
    same = replay(unknown, settings, start_replicas=2, assumption=Assumption.LOAD_PER_REPLICA)
    assert same.replicas == as_it_was.replicas


def test_replicas_that_were_not_recorded_are_the_last_known_ones() -> None:
    recorded = record([4000.0] * 3, replicas=[None, 2.0, None])
    found = replay(recorded, LATENCY, start_replicas=1, assumption=Assumption.LOAD_PER_REPLICA)
    assert found.values == (4000.0, 8000.0, 4000.0)


# -- the figures ------------------------------------------------------------------------------


def test_the_figures_of_a_replay() -> None:
    found = replay(
        record([10.0, 40.0, 40.0, 10.0]), replace(AT_ONCE, max_replicas=4), start_replicas=1
    )
    assert list(found.replicas) == [1, 4, 4, 1]
    assert found.times == tuple(START + SYNC * number for number in range(4))
    assert found.seconds == 60.0
    assert (found.highest, found.lowest, found.mean) == (4, 1, 2.5)
    assert found.replica_hours == pytest.approx(2.5 / 60)
    assert (found.scale_ups, found.scale_downs, found.scalings) == (1, 1, 2)
    assert found.seconds_at_max == 30.0
    assert found.seconds_above_target == 15.0  # before 4 replicas share the 40


def test_how_much_was_above_the_target() -> None:
    recorded = record([6000.0, 4000.0, None, math.nan], replicas=[1.0, 2.0, 2.0, 2.0])
    assert recorded.share_above(5000.0, MetricType.VALUE) == 0.5
    assert recorded.share_above(5000.0, MetricType.AVERAGE_VALUE) == 0.5
    assert recorded.share_above(1500.0, MetricType.AVERAGE_VALUE) == 1.0
    assert record([6000.0]).share_above(5000.0, MetricType.AVERAGE_VALUE) is None
    assert record([None]).share_above(5000.0, MetricType.VALUE) is None


def test_nothing_recorded_is_nothing_replayed() -> None:
    found = replay(RecordedMetric((), ()), LATENCY, start_replicas=1)
    assert found.replicas == ()
    assert (found.highest, found.lowest, found.mean, found.replica_hours) == (0, 0, 0.0, 0.0)
    one = replay(RecordedMetric((START,), (9000.0,)), LATENCY, start_replicas=1)
    assert one.replicas == (2,)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"target": 0.0}, "The target must be at least 0.001."),
        ({"target": math.nan}, "The target must be at least 0.001."),
        ({"min_replicas": -1}, "Min Replicas must be 0 or more."),
        ({"max_replicas": 0}, "Max Replicas must be at least 1"),
        ({"min_replicas": 5, "max_replicas": 4}, "Max Replicas must be at least 5"),
        ({"scale_in_delay": 3601.0}, "The Scale-in Delay must be from 0 to 3600 s."),
        ({"sync_seconds": 0.0}, "must be more than 0 s."),
        ({"metric_type": MetricType.UTILIZATION}, "cannot be replayed."),
    ],
)
def test_what_no_autoscaler_accepts_is_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(LATENCY, **change)  # type: ignore[arg-type]


def test_lists_that_do_not_fit_and_times_that_are_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="for each time"):
        RecordedMetric((1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="for each time"):
        RecordedMetric((1.0,), (1.0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="too long"):
        replay(RecordedMetric((0.0, 1e9), (1.0, 1.0)), LATENCY, start_replicas=1)


# -- what holds of every replay ---------------------------------------------------------------

values_ = st.lists(
    st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 500),
    min_size=1,
    max_size=40,
)
policies_ = st.lists(
    st.builds(
        ScalingPolicy,
        st.sampled_from(PolicyType),
        st.integers(1, 200),
        st.sampled_from((15.0, 60.0, 300.0)),
    ),
    max_size=2,
).map(tuple)
settings_ = st.builds(
    lambda low, more, **others: ReplaySettings(
        min_replicas=low, max_replicas=max(low + more, 1), **others
    ),
    low=st.integers(0, 5),
    more=st.integers(0, 30),
    metric_type=st.sampled_from((MetricType.VALUE, MetricType.AVERAGE_VALUE)),
    target=st.floats(0.01, 1000),
    scale_in_delay=st.floats(0, 600),
    scale_up_policies=policies_,
    scale_down_policies=policies_,
    scale_up_window=st.floats(0, 120),
    startup_seconds=st.sampled_from((0.0, 20.0, 200.0)),
    missing_is_zero=st.booleans(),
)


@given(values_, settings_, st.integers(0, 40), st.sampled_from(Assumption))
def test_the_replicas_stay_within_min_and_max(
    values: list[float | None], settings: ReplaySettings, start: int, assumption: Assumption
) -> None:
    recorded = record(values, 30.0, [2.0] * len(values))
    found = replay(recorded, settings, start_replicas=start, assumption=assumption)
    # From the first decision on; one of no data decides nothing within the limits.
    low, high = settings.min_replicas, settings.max_replicas
    assert all(low <= one <= high for one in found.replicas)
    assert found.lowest <= found.mean <= found.highest
    changes = [a != b for a, b in zip((start, *found.replicas), found.replicas, strict=False)]
    assert found.scalings == sum(changes)
    assert found.replica_hours * 3600 == pytest.approx(found.mean * found.seconds)


@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=40),
    st.floats(0.5, 50),
    st.floats(1, 10),
    st.floats(0, 300),
    st.integers(1, 20),
)
def test_a_higher_target_never_needs_more_replicas(
    values: list[float], target: float, factor: float, delay: float, start: int
) -> None:
    settings = replace(AT_ONCE, max_replicas=30, tolerance=0.0, scale_in_delay=delay)
    low = counts(values, replace(settings, target=target), start)
    high = counts(values, replace(settings, target=target * factor), start)
    assert all(a >= b for a, b in zip(low, high, strict=True))


@given(st.lists(st.floats(0, 500), min_size=1, max_size=40), st.floats(0, 300), st.floats(0, 300))
def test_a_longer_delay_never_has_fewer_replicas(
    values: list[float], delay: float, more: float
) -> None:
    settings = replace(AT_ONCE, max_replicas=30, tolerance=0.0)
    short = replay(record(values), replace(settings, scale_in_delay=delay), start_replicas=1)
    long = replay(record(values), replace(settings, scale_in_delay=delay + more), start_replicas=1)
    assert all(a <= b for a, b in zip(short.replicas, long.replicas, strict=True))


@given(st.floats(0, 500), settings_, st.integers(1, 30))
def test_a_constant_load_ends_at_what_the_formula_says(
    value: float, settings: ReplaySettings, start: int
) -> None:
    settings = replace(
        settings,
        metric_type=MetricType.AVERAGE_VALUE,
        min_replicas=max(settings.min_replicas, 1),
        max_replicas=max(settings.max_replicas, 1),
        scale_down_policies=HPA_SCALE_DOWN,
        scale_up_policies=(),
        tolerance=0.0,
    )
    last = counts([value] * 200, settings, start)[-1]
    wanted = math.ceil(round(value * 1000) / round(settings.target * 1000))
    assert last == min(max(wanted, settings.min_replicas), settings.max_replicas)


def test_the_same_replay_is_the_same() -> None:
    values = [abs(math.sin(number / 7)) * 90 for number in range(240)]
    first: Replay = replay(record(values), WAITING, start_replicas=1)
    assert first == replay(record(values), WAITING, start_replicas=1)
    assert 1 < first.highest <= 10
