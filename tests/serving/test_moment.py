"""Moments as other programs give them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from servedeck.serving.moment import date_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (1_769_868_330.25, datetime(2026, 1, 31, 14, 5, 30, 250_000, tzinfo=UTC)),
        (0.0, EPOCH),
        (-1.0, EPOCH),
        (-math.inf, EPOCH),
        (math.nan, EPOCH),
        (1e15, LAST),
        (1e300, LAST),
        (math.inf, LAST),
    ],
)
def test_a_time_that_has_no_date_has_the_nearest_one(seconds: float, date: datetime) -> None:
    assert date_of(seconds) == date
