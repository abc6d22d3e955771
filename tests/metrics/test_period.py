"""Times of graphs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.period import (
    MAX_POINTS,
    MIN_STEP,
    MIN_WINDOW,
    PERIODS,
    TimeGrid,
    choose_step,
    make_grid,
    rate_window,
)

seconds = st.floats(60, 40 * 86400)


@pytest.mark.parametrize(("period", "step"), [("1h", 15), ("6h", 90), ("24h", 360)])
def test_the_steps_of_the_periods(period: str, step: int):
    # the larger of 15 s and a 240th of the period
    [found] = [one for one in PERIODS if one.name == period]
    assert choose_step(found.seconds, MAX_POINTS) == step
    assert step == max(15, found.seconds / 240)


@given(seconds, st.integers(-3, 2000), st.sampled_from([1.0, MIN_STEP]))
def test_a_step_is_never_too_small(period: float, points: int, least: float):
    step = choose_step(period, points, least)
    assert step >= least
    assert step >= period / MAX_POINTS
    assert step == int(step)
    if points > 0:
        assert period / step <= points


@given(st.floats(1e9, 2e9), seconds, st.integers(1, 500), st.sampled_from([1.0, MIN_STEP]))
def test_a_grid_ends_now_and_covers_the_period(
    end: float, period: float, points: int, least: float
):
    grid = make_grid(end, period, points, least)
    assert grid.step == choose_step(period, points, least)
    assert end - grid.step < grid.end <= end
    assert grid.end % grid.step == grid.start % grid.step == 0
    assert abs(grid.seconds - period) <= grid.step
    assert 2 <= grid.count <= min(points, MAX_POINTS) + 2
    assert len(grid.times()) == grid.count
    assert (grid.times()[0], grid.times()[-1]) == (grid.start, grid.end)


@given(st.floats(1e9, 2e9), seconds, st.integers(1, 500), st.floats(0, 1e5))
def test_the_grids_of_two_moments_have_the_same_times(
    end: float, period: float, points: int, later: float
):
    first, second = make_grid(end, period, points), make_grid(end + later, period, points)
    common = {one for one in second.times() if one <= first.end}
    assert common <= set(first.times())


@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(1, 300), st.floats(-0.49, 0.49))
def test_the_index_of_a_time(start: int, step: int, count: int, off: float):
    grid = TimeGrid(float(start), float(step), count)
    for index, time in enumerate(grid.times()):
        assert grid.index(time) == index
        assert grid.index(time + off * step) == index
    assert grid.index(grid.start - 0.6 * step) is None
    assert grid.index(grid.end + 0.6 * step) is None


@given(st.floats(1, 3600), st.floats(0.1, 600))
def test_a_window_has_four_scrapes_and_no_request_between_points_is_missed(
    step: float, interval: float
):
    window = rate_window(step, interval)
    assert window >= 4 * interval and window >= step
    assert math.isclose(window, step) or math.isclose(window, max(4 * interval, MIN_WINDOW))
