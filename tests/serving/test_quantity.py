from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.quantity import format_quantity, parse_quantity


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
        ("1e003", 1000),
        ("1e-0003", Fraction(1, 1000)),
        ("-3", -3),
        ("+3", 3),
    ],
)
def test_quantities(text: str | int, value: Fraction | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1gi", "1K", "1e999999999", "one", "1.2.3", "nan", "inf", "9" * 99]
)
def test_a_wrong_quantity_is_rejected_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a quantity: enter a number such as 2, 500m"):
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
