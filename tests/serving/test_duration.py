from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.duration import (
    format_duration,
    format_exact_duration,
    format_signed_duration,
    parse_duration,
)

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        # kubernetes apimachinery pkg/util/duration/duration_test.go
        (-2, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (1, "1s"),
        (70, "70s"),
        (2 * MINUTE - 1, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 5, "2m5s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (70 * MINUTE, "70m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR, "8h"),
        (47 * HOUR + 59 * MINUTE, "47h"),
        (49 * HOUR, "2d1h"),
        (2 * DAY, "2d"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY, "8d"),
        (367 * DAY, "367d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 2 * DAY, "2y2d"),
        (8 * YEAR - 1, "7y364d"),
        (8 * YEAR, "8y"),
        (20 * YEAR, "20y"),
    ],
)
def test_age_is_kubectls(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90, "90s"),
        (-1.5, "0s"),
        (-2, "-2s"),
        (-HOUR, "-60m"),
        (-(10 * MINUTE - 1), "-9m59s"),
        (-(3 * DAY + 4 * HOUR), "-3d4h"),
        (-(2 * YEAR + 364 * DAY), "-2y"),
    ],
)
def test_an_age_in_the_future_is_reported_as_far_ahead(seconds: float, text: str) -> None:
    assert format_signed_duration(seconds) == text


@given(st.integers(-8000 * YEAR, 8000 * YEAR))
def test_a_signed_age_fits_its_column(seconds: int) -> None:
    assert len(format_signed_duration(seconds)) <= 6


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("7d", 7 * DAY), ("1d2h", 26 * HOUR)],
)
def test_durations_that_are_typed(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1w", "h", "1h1d", "1.5h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0", "0h", "0m0s"])
def test_no_duration_is_zero(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is zero: enter a duration such as 90s"):
        parse_duration(text)


@given(st.integers(1, 10 * YEAR))
def test_an_exact_duration_is_read_back(seconds: int) -> None:
    assert parse_duration(format_exact_duration(seconds)) == seconds
    assert format_exact_duration(float(seconds)) == format_exact_duration(seconds)
