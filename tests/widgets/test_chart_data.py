"""How values, axes and times are written."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.units import Unit, format_value
from widgets.chart_data import axis_range, axis_ticks
from widgets.chart_times import clock, time_ticks

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(params=["Europe/Berlin"])
def local_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def local(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, Unit.SECONDS, "–"),
        (math.nan, Unit.COUNT, "–"),
        (math.inf, Unit.COUNT, "–"),
        (0, Unit.COUNT, "0"),
        (1240, Unit.PER_SECOND, "1.24k"),
        (12.44, Unit.PER_SECOND, "12.4"),
        (0.25, Unit.PER_SECOND, "0.25"),
        (999.9, Unit.TOKENS_PER_SECOND, "1k"),
        (1e-9, Unit.COUNT, "1e-9"),
        (-3, Unit.COUNT, "-3"),
        (0, Unit.SECONDS, "0 s"),
        (0.85, Unit.SECONDS, "850 ms"),
        (0.0123, Unit.SECONDS, "12.3 ms"),
        (1e-9, Unit.SECONDS, "<0.01 ms"),
        (-1e-9, Unit.SECONDS, ">-0.01 ms"),
        (2.31, Unit.SECONDS, "2.31 s"),
        (119.0, Unit.SECONDS, "119 s"),
        (250, Unit.SECONDS, "4m10s"),
        (1e18, Unit.SECONDS, "1e18 s"),
        (0.93, Unit.PERCENT, "93 %"),
        (0.9996, Unit.PERCENT, "99.96 %"),
        (1, Unit.PERCENT, "100 %"),
        (0.00001, Unit.PERCENT, "<0.01 %"),
        (13.3e9, Unit.BYTES, "12.4 GiB"),
        (71, Unit.CELSIUS, "71 °C"),
        (312, Unit.WATTS, "312 W"),
        (1250, Unit.WATTS, "1.25 kW"),
        (2.5, Unit.CORES, "2.5"),
    ],
)
def test_a_value_as_an_operator_reads_it(value: float | None, unit: Unit, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(), st.sampled_from(Unit))
def test_any_value_is_short(value: float, unit: Unit) -> None:
    assert 0 < len(format_value(value, unit)) <= 14


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.integers(1, 20),
    st.sampled_from(Unit),
)
def test_an_axis_has_room_for_all_values(values: list[float], count: int, unit: Unit) -> None:
    low, high = axis_range(values, unit)
    assert math.isfinite(high - low) and high > low
    slack = (high - low) * 1e-6
    assert low - slack <= max(min(values), -1e300)
    assert high + slack >= min(max(values), 1e300)
    if unit is not Unit.CELSIUS:
        assert low <= 0 <= high
    ticks = axis_ticks(low, high, count, unit)
    assert len(ticks) <= count + 1
    assert len({tick.label for tick in ticks}) == len(ticks)
    assert all(len(tick.label) <= 20 for tick in ticks)
    assert all(low - slack <= tick.value <= high + slack for tick in ticks)
    for one, other in itertools.pairwise(ticks):
        assert other.value > one.value


@pytest.mark.parametrize(
    ("values", "unit", "labels"),
    [
        ([2.3], Unit.SECONDS, ["0 s", "500 ms", "1 s", "1.5 s", "2 s", "2.5 s"]),
        ([4000], Unit.SECONDS, ["0 s", "15m", "30m", "45m", "60m"]),
        ([0.93], Unit.PERCENT, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        ([0], Unit.COUNT, ["0", "1"]),
        ([1300], Unit.PER_SECOND, ["0", "500", "1k"]),
        ([13.3e9], Unit.BYTES, ["0 B", "4 GiB", "8 GiB", "12 GiB"]),
        ([71, 72.5], Unit.CELSIUS, ["71 °C", "71.5 °C", "72 °C", "72.5 °C"]),
        ([-5, 5], Unit.COUNT, ["-5", "0", "5"]),
    ],
)
def test_labels_of_an_axis(values: list[float], unit: Unit, labels: list[str]) -> None:
    assert [tick.label for tick in axis_ticks(*axis_range(values, unit), 5, unit)] == labels


@pytest.mark.usefixtures("local_zone")
def test_times_of_an_hour() -> None:
    start = local("2025-11-29T14:02:11")
    ticks = time_ticks(start, start + HOUR, 60)
    assert [tick.label for tick in ticks] == ["14:10", "14:20", "14:30", "14:40", "14:50", "15:00"]
    assert ticks[0].time == local("2025-11-29T14:10:00")


@pytest.mark.usefixtures("local_zone")
def test_a_midnight_has_its_date() -> None:
    start = local("2025-11-29T20:00:00")
    found = [tick.label for tick in time_ticks(start, start + 8 * HOUR, 50)]
    assert found == ["20:00", "22:00", "Nov 30", "02:00", "04:00"]


@pytest.mark.usefixtures("local_zone")
def test_the_hour_that_does_not_exist_has_no_label() -> None:
    start, end = local("2025-03-30T00:00:00"), local("2025-03-30T06:00:00")
    assert end - start == 5 * HOUR
    ticks = time_ticks(start, end, 60)
    found = [tick.label for tick in ticks if tick.label.endswith(":00")]
    assert found == ["01:00", "03:00", "04:00", "05:00", "06:00"]
    assert ticks[0].label == "Mar 30"
    assert all(clock(tick.time, has_seconds=False) == tick.label for tick in ticks[1:])


@pytest.mark.usefixtures("local_zone")
def test_the_hour_that_comes_twice_has_two_labels() -> None:
    start, end = local("2025-10-26T00:00:00"), local("2025-10-26T06:00:00")
    assert end - start == 7 * HOUR
    ticks = time_ticks(start, end, 60)
    found = [tick.label for tick in ticks]
    assert found == ["Oct 26", "01:00", "02:00", "02:00", "03:00", "04:00", "05:00", "06:00"]
    assert {b.time - a.time for a, b in itertools.pairwise(ticks)} == {HOUR}


@pytest.mark.usefixtures("local_zone")
@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26", "2025-11-29"])
def test_days_have_dates(day: str) -> None:
    start = local(f"{day}T12:00:00")
    ticks = time_ticks(start, start + 6 * DAY, 60)
    assert len(ticks) == 6
    assert all(clock(tick.time) == "00:00:00" for tick in ticks)


@given(
    st.floats() | st.floats(-1e12, 1e12),
    st.floats() | st.floats(0, 1e7),
    st.integers(-1, 300),
)
def test_labels_of_any_time_fit(start: float, seconds: float, cells: int) -> None:
    ticks = time_ticks(start, start + seconds, cells)
    assert sum(len(tick.label) + 1 for tick in ticks) <= cells + 20
    assert all(start <= tick.time <= start + seconds for tick in ticks)
    assert len(clock(start)) == len("00:00:00")
