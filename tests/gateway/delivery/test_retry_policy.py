"""What becomes of a task after an attempt."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.delivery.retry_policy import (
    Again,
    Budget,
    Ended,
    Result,
    backoff_delay,
    decide,
    is_temporary,
    parse_retry_after,
)

BACKOFF, MAX_BACKOFF = 5.0, 300.0
PLENTY = Budget(failures=0, attempts_left=2, seconds_left=10_000)


def decided(result: Result, budget: Budget = PLENTY) -> Again | Ended:
    return decide(result, budget, backoff=BACKOFF, max_backoff=MAX_BACKOFF, rng=random.Random(1))


results = st.builds(
    Result,
    status=st.none() | st.integers(200, 599),
    problem=st.sampled_from(["", "Broken."]),
    retry_after=st.none() | st.floats(0, 1e9),
    reason=st.none() | st.sampled_from(FailureReason),
    is_counted=st.booleans(),
)
budgets = st.builds(
    Budget,
    failures=st.integers(0, 1000),
    attempts_left=st.integers(0, 100),
    seconds_left=st.floats(-10, 1e6),
)


@given(results, budgets)
def test_every_result_ends_the_task_or_has_it_tried_again_in_time(
    result: Result, budget: Budget
) -> None:
    decision = decided(result, budget)
    if isinstance(decision, Again):
        bound = min(MAX_BACKOFF, BACKOFF * 2.0 ** min(budget.failures, 20))
        assert bound / 2 <= decision.delay < budget.seconds_left
        if result.retry_after is not None:
            assert decision.delay >= min(result.retry_after, MAX_BACKOFF)
        assert decision.delay <= MAX_BACKOFF * 1.1
        assert budget.attempts_left > 0 or not result.is_counted
        assert result.reason is None
        assert result.problem or result.status is None or is_temporary(result.status)
        assert decision.message
    elif decision.state is TaskState.COMPLETED:
        assert result.status is not None
        assert result.status < 400
        assert not result.problem
    else:
        assert decision.state is TaskState.FAILED
        assert decision.reason in set(FailureReason)
        assert decision.message


@pytest.mark.parametrize(
    ("result", "budget", "reason"),
    [
        (Result(status=404), PLENTY, FailureReason.REFUSED),
        (Result(status=503), PLENTY._replace(attempts_left=0), FailureReason.EXHAUSTED),
        (Result(problem="Broken."), PLENTY._replace(attempts_left=0), FailureReason.EXHAUSTED),
        (Result(status=503, retry_after=200), PLENTY._replace(seconds_left=100), "expired"),
        (Result(status=200, problem="x", reason=FailureReason.LOST), PLENTY, FailureReason.LOST),
    ],
)
def test_why_a_task_fails(result: Result, budget: Budget, reason: str) -> None:
    decision = decided(result, budget)
    assert isinstance(decision, Ended)
    assert (decision.state, decision.reason) == (TaskState.FAILED, reason)


def test_an_attempt_that_was_not_made_is_not_counted() -> None:
    result = Result(problem="Away.", is_counted=False)
    decision = decided(result, PLENTY._replace(attempts_left=0))
    assert isinstance(decision, Again)
    assert not decision.is_counted


@given(st.integers(0, 10_000), st.integers())
def test_the_backoff_is_between_half_and_the_whole_of_its_bound(failures: int, seed: int) -> None:
    delay = backoff_delay(failures, BACKOFF, MAX_BACKOFF, random.Random(seed))
    bound = min(MAX_BACKOFF, BACKOFF * 2 ** min(failures, 20))
    assert bound / 2 <= delay <= bound


@pytest.mark.parametrize("asked", [0, 0.001, 1])
def test_a_retry_after_does_not_shorten_the_backoff(asked: float) -> None:
    """All attempts would be over while the server is still overloaded."""
    for failures in range(3):
        budget = PLENTY._replace(failures=failures)
        decision = decided(Result(status=503, retry_after=asked), budget)
        assert isinstance(decision, Again)
        assert decision.delay >= BACKOFF * 2**failures / 2


def test_the_backoff_doubles() -> None:
    rng = random.Random(1)
    means = [
        sum(backoff_delay(failures, 1.0, 1e9, rng) for _ in range(2000)) / 2000
        for failures in range(5)
    ]
    for earlier, later in itertools.pairwise(means):
        assert 1.8 < later / earlier < 2.2


NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 1.5 ", 1.5),
        ("-3", 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("١", None),
        (format_datetime(NOW.replace(hour=13), usegmt=True), 3600),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0),
        ("Sun, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW.timestamp()) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW.timestamp())
    assert seconds is None or seconds >= 0
