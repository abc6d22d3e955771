"""Sparklines: width, peaks, gaps, and zero told from a little."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.sparkline import ASCII_BARS, UTF8_BARS, bar_rows, sparkline
from tests.widgets.chart_samples import Values, any_values


@given(any_values, st.integers(0, 300), st.integers(1, 4), st.booleans())
def test_any_values_in_any_width(values: Values, width: int, height: int, is_utf8: bool) -> None:
    bars = set(UTF8_BARS if is_utf8 else ASCII_BARS) | {" "}
    text = sparkline(values, width, is_utf8=is_utf8)
    assert len(text) == width and set(text) <= bars
    rows = bar_rows(values, width, height, is_utf8=is_utf8)
    assert [len(row) for row in rows] == [width] * height


@pytest.mark.parametrize("bars", [UTF8_BARS, ASCII_BARS])
def test_bars_rise_from_zero(bars: str) -> None:
    values = [0.0, 1, 2, 3, 4, 5, 6, 7]
    assert sparkline(values, 8, is_utf8=bars is UTF8_BARS) == bars


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, -math.inf])
def test_a_gap_is_a_space(gap: float | None) -> None:
    assert sparkline([7, gap, 7], 3, is_utf8=True) == "█ █"


def test_zero_differs_from_a_gap_and_from_a_little() -> None:
    assert sparkline([0, None, 1, 1e6], 4, is_utf8=True) == "▁ ▂█"
    assert sparkline([0, 0], 2, is_utf8=True) == "▁▁"
    assert sparkline([5, 5], 2, is_utf8=True) == "██"


def test_a_peak_is_in_its_part_and_few_values_are_at_the_right() -> None:
    values = [1.0] * 1440
    values[720] = 1e6
    text = sparkline(values, 12, is_utf8=True)
    assert text == "▂▂▂▂▂▂█▂▂▂▂▂"
    assert sparkline([1.0], 4, is_utf8=True) == "   █"


def test_rows_add_up() -> None:
    assert bar_rows([0, 3, 8], 3, 2, is_utf8=True, ends=(0, 8)) == ("  █", "▁▇█")
    assert bar_rows([4], 1, 2, is_utf8=True, ends=(0, 8)) == ("▁", "█")
