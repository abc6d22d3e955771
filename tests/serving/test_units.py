from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.units import (
    format_duration,
    format_quantity,
    format_signed_duration,
    parse_quantity,
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
    ("text", "value"),
    [
        ("0", 0),
        ("1", 1),
        (4, 4),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("500m", Fraction(1, 2)),
        ("250u", Fraction(1, 4000)),
        ("1n", Fraction(1, 10**9)),
        ("2k", 2000),
        ("16Gi", 16 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("-3", -3),
        ("+3", 3),
    ],
)
def test_quantities(text: str | int, value: Fraction | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1gi", "1K", "1e999999999", "one", "1.2.3", "nan", "inf", "9" * 99]
)
def test_a_wrong_quantity_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a quantity: write a number such as 2, 500m"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("value", "binary", "text"),
    [
        (Fraction(0), False, "0"),
        (Fraction(1, 2), False, "500m"),
        (Fraction(2), False, "2"),
        (Fraction(2000), False, "2k"),
        (Fraction(16 * 2**30), True, "16Gi"),
        (Fraction(1500 * 2**20), True, "1500Mi"),
        (Fraction(1000), True, "1000"),
        (Fraction(1, 3), False, "333333334n"),
    ],
)
def test_quantities_are_written_short(value: Fraction, binary: bool, text: str) -> None:
    assert format_quantity(value, binary=binary) == text


@given(st.integers(-(10**18), 10**18), st.sampled_from([1, 10**3, 10**6, 10**9]), st.booleans())
def test_a_written_quantity_reads_back(number: int, part: int, binary: bool) -> None:
    value = Fraction(number, part)
    assert parse_quantity(format_quantity(value, binary=binary)) == value


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
def test_an_age_in_the_future_is_told_as_far_ahead(seconds: float, text: str) -> None:
    assert format_signed_duration(seconds) == text


@given(st.integers(-8000 * YEAR, 8000 * YEAR))
def test_a_signed_age_fits_its_column(seconds: int) -> None:
    assert len(format_signed_duration(seconds)) <= 6
