"""How fast tasks come and end, and what that means for those that wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.rates import (
    RateMeter,
    allowed_at_once,
    depth_series,
    failed_in_hour,
    outlook_text,
    queue_rates,
    rate_text,
    rate_texts,
    seconds_until_empty,
    seconds_until_start,
)
from servedeck.async_queue.tasks import QueueMinute, QueueStatus, StateCounts, WorkerStatus

MINUTE = 1_760_000_040.0
"""The beginning of a minute."""


def status(*minutes: QueueMinute, pending: int = 0, **changes: Any) -> QueueStatus:
    counts = StateCounts(pending=pending)
    values = {
        "serving": "team-a/llama",
        "version": "1",
        "counts": counts,
        "backlog": counts.backlog,
        "concurrency": 0,
        "pod_concurrency": 4,
        "max_depth": 1000,
        "minutes": list(minutes),
    }
    return QueueStatus(**{**values, **changes})


def minute(at: int, **changes: Any) -> QueueMinute:
    """The minute that began so many minutes ago."""
    return QueueMinute(time=MINUTE - 60 * at, **changes)


def test_the_present_minute_counts_by_the_part_that_has_passed():
    found = queue_rates(
        status(
            minute(2, submitted=9999),
            minute(1, submitted=120, completed=50, failed=10, cancelled=500),
            minute(0, submitted=30, completed=15),
        ),
        MINUTE + 15,
    )
    assert found == (150 / 75, 75 / 75)


def test_minutes_without_an_entry_are_quiet_ones():
    idle = status(minute(9, submitted=600, completed=600), pending=3)
    assert queue_rates(idle, MINUTE + 30) == (0, 0)
    assert outlook_text(idle, queue_rates(idle, MINUTE + 30)) == "nothing drains"


def test_the_first_minute_of_a_queue_is_not_a_slow_one():
    assert queue_rates(status(minute(0, submitted=20)), MINUTE + 10).arrival == 2


def test_nothing_is_known_without_minutes():
    assert queue_rates(status(), MINUTE) == (0, 0)
    assert outlook_text(status(), queue_rates(status(), MINUTE)) == "empty"


@given(
    counts=st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
    elapsed=st.floats(0, 59.999),
    pending=st.integers(0, 10**9),
)
def test_the_outlook_agrees_with_the_rates(counts: list[int], elapsed: float, pending: int):
    submitted, completed, failed = counts
    now = MINUTE + elapsed
    queue = status(
        minute(1, submitted=submitted, completed=completed, failed=failed),
        minute(0),
        pending=pending,
    )
    rates = queue_rates(queue, now)
    seconds = seconds_until_empty(queue, rates)
    assert rates.arrival >= 0 and rates.drain >= 0
    assert (seconds == 0) == (pending == 0)
    assert (seconds is None) == (pending > 0 and rates.drain <= rates.arrival)
    if seconds:
        left = pending + (rates.arrival - rates.drain) * seconds
        assert left == pytest.approx(0, abs=1e-6 * pending)


@pytest.mark.parametrize(
    ("submitted", "completed", "text"),
    [
        (0, 300, "empty in about 4m10s"),
        (300, 120, "grows by 3/s, never empty"),
        (120, 118, "grows by 2/min, never empty"),
        (60, 60, "does not shrink, never empty"),
        (0, 0, "nothing drains"),
    ],
)
def test_the_outlook(submitted: int, completed: int, text: str):
    queue = status(minute(1, submitted=submitted, completed=completed), minute(0), pending=1250)
    assert outlook_text(queue, queue_rates(queue, MINUTE)) == text


def test_long_tasks_are_not_taken_for_none():
    queue = status(minute(0), counts=StateCounts(pending=3, processing=2))
    assert outlook_text(queue, queue_rates(queue, MINUTE + 30)) == "none ended lately"


def test_a_blocked_queue_is_never_empty():
    busy = minute(1, submitted=60, completed=600)
    queue = status(busy, minute(0), pending=10, blocked_by="The queue is paused.")
    assert seconds_until_empty(queue, queue_rates(queue, MINUTE)) is None
    assert seconds_until_start(queue, queue_rates(queue, MINUTE), 3) is None
    assert outlook_text(queue, queue_rates(queue, MINUTE)) == "nothing drains"


def test_the_expected_start_is_when_those_before_have_ended():
    queue = status(minute(1, submitted=600, completed=90, failed=30), minute(0), pending=900)
    rates = queue_rates(queue, MINUTE)
    assert seconds_until_start(queue, rates, 10) == 5
    assert seconds_until_start(queue, rates, 0) == 0
    idle = status(pending=9)
    assert seconds_until_start(idle, queue_rates(idle, MINUTE), 1) is None


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0/s"),
        (1234.5, "1,234/s"),
        (12.34, "12/s"),
        (1.25, "1.2/s"),
        (3.0, "3/s"),
        (0.999, "1/s"),
        (0.5, "30/min"),
        (0.02, "1.2/min"),
        (1e-9, "<0.1/min"),
    ],
)
def test_rates_as_text(rate: float, text: str):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("rates", "texts"),
    [
        ((12.0, 0.5), ("12/s", "0.5/s")),
        ((0.5, 0.0), ("30/min", "0/min")),
        ((0.01, 2.0), ("<0.1/s", "2/s")),
        ((0.0, 0.0), ("0/s", "0/s")),
    ],
)
def test_rates_that_are_compared_have_one_unit(rates: tuple[float, ...], texts: tuple[str, ...]):
    assert rate_texts(*rates) == texts


def test_only_the_failures_of_the_last_hour_count():
    queue = status(minute(60, failed=1000), minute(59, failed=2), minute(0, failed=3))
    assert failed_in_hour(queue, MINUTE + 59) == 5


def test_depths_of_the_last_hour_end_with_the_present_one():
    queue = status(
        minute(75, depth=1), minute(59, depth=7), minute(2, depth=5), minute(1), pending=4
    )
    depths = depth_series(queue, MINUTE + 20)
    assert len(depths) == 60
    assert (depths[0], depths[-3], depths[-2], depths[-1]) == (7, 5, None, 4)
    assert depths.count(None) == 57


@pytest.mark.parametrize(
    ("concurrency", "pods", "allowed"), [(0, ("a", "b"), 8), (6, ("a", "b"), 6), (6, (), 0)]
)
def test_what_may_be_processed_at_once(concurrency: int, pods: tuple[str, ...], allowed: int):
    workers = [WorkerStatus(name="1", ready_pods=[*pods]), WorkerStatus(name="2")]
    assert allowed_at_once(status(concurrency=concurrency, workers=workers)) == allowed


# -- the last seconds -----------------------------------------------------------------------------


def test_a_burst_that_is_over_does_not_go_on():
    meter = RateMeter()
    meter.add(status(minute(0), time=MINUTE))
    for at in range(1, 11):
        meter.add(status(minute(0, submitted=100, completed=5 * at), time=MINUTE + at))
    assert meter.rates(MINUTE + 10) == (10, 5)
    for at in range(11, 60):
        meter.add(status(minute(0, submitted=100, completed=5 * at), time=MINUTE + at))
    assert meter.rates(MINUTE + 59) == (0, 5)


def test_the_meter_goes_on_in_the_next_minute():
    meter = RateMeter()
    meter.add(status(minute(1, submitted=7), time=MINUTE - 10))
    meter.add(status(minute(1, submitted=17), minute(0, submitted=3, failed=2), time=MINUTE + 5))
    meter.add(status(minute(0, submitted=13, failed=2, completed=3), time=MINUTE + 10))
    assert meter.rates(MINUTE + 10) == (23 / 20, 5 / 20)


def test_the_meter_falls_to_zero_without_news():
    meter = RateMeter()
    meter.add(status(minute(0), time=MINUTE))
    meter.add(status(minute(0, submitted=30, completed=30), time=MINUTE + 10))
    assert meter.rates(MINUTE + 30) == (1, 1)
    assert meter.rates(MINUTE + 41) == (0, 0)


def test_before_the_meter_has_seen_enough_the_minutes_count():
    meter = RateMeter()
    assert meter.rates(MINUTE) == (0, 0)
    known = status(minute(1, submitted=120, completed=60), minute(0), time=MINUTE)
    meter.add(known)
    assert meter.rates(MINUTE + 1) == queue_rates(known, MINUTE + 1)


def test_what_came_while_the_gateway_was_away_is_not_of_the_last_seconds():
    meter = RateMeter()
    meter.add(status(minute(1), time=MINUTE - 50))
    meter.add(status(minute(1, submitted=9000), minute(0), time=MINUTE + 1))
    meter.add(status(minute(1, submitted=9000), minute(0, submitted=10), time=MINUTE + 11))
    assert meter.rates(MINUTE + 11) == (1, 0)
