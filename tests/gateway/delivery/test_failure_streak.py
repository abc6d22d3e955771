"""When the inference server is said to serve nobody."""

from __future__ import annotations

import pytest

from servedeck.async_queue.tasks import FailureReason
from servedeck.gateway.delivery.failure_streak import FailureStreak
from servedeck.gateway.delivery.retry_policy import Result

BUSY = Result(status=503)
OK = Result(status=200)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _fail(streak: FailureStreak, clock: Clock, result: Result = BUSY) -> None:
    """Often and long enough."""
    for _ in range(3):
        streak.learn(result)
        clock.now += 2.0


def test_it_is_said_after_several_and_since_the_first() -> None:
    clock = Clock()
    streak = FailureStreak(clock)
    _fail(streak, clock)
    assert "503" in streak.message
    assert streak.since == 100.0
    assert streak.learn(Result(problem="It cannot be reached."))
    assert (streak.message, streak.since) == ("It cannot be reached.", 100.0)


def test_few_or_short_ones_are_not_enough() -> None:
    """While other requests are answered, several in a row may fail by chance."""
    clock = Clock()
    streak = FailureStreak(clock)
    assert not streak.learn(BUSY) and not streak.learn(BUSY)
    clock.now += 60.0
    assert (streak.message, streak.since) == ("", None)
    streak.learn(OK)
    assert not any(streak.learn(BUSY) for _ in range(10))
    assert (streak.message, streak.since) == ("", None)
    clock.now += 5.0
    assert streak.message


@pytest.mark.parametrize("answer", [OK, Result(status=404), Result(status=400), Result(status=302)])
def test_an_answer_ends_it(answer: Result) -> None:
    clock = Clock()
    streak = FailureStreak(clock)
    _fail(streak, clock)
    assert streak.learn(answer)
    assert (streak.message, streak.since) == ("", None)
    _fail(streak, clock)
    assert streak.since == 106.0


def test_answers_in_between_are_enough() -> None:
    clock = Clock()
    streak = FailureStreak(clock)
    for _ in range(10):
        assert not streak.learn(BUSY) and not streak.learn(BUSY) and not streak.learn(OK)
        clock.now += 60.0
        assert not streak.message


@pytest.mark.parametrize(
    "result",
    [
        Result(status=429),
        Result(status=500),
        Result(problem="No connection."),
        Result(status=200, problem="It closed the connection."),
    ],
)
def test_what_counts_as_a_failure(result: Result) -> None:
    clock = Clock()
    streak = FailureStreak(clock)
    _fail(streak, clock, result)
    assert streak.message


@pytest.mark.parametrize(
    "result",
    [
        Result(problem="No secret.", reason=FailureReason.LOST),
        Result(status=200, problem="Too large.", reason=FailureReason.RESULT_TOO_LARGE),
        Result(problem="No object store.", is_counted=False),
    ],
)
def test_what_says_nothing_of_the_inference_server(result: Result) -> None:
    clock = Clock()
    streak = FailureStreak(clock)
    _fail(streak, clock, result)
    _fail(streak, clock, result)
    assert (streak.message, streak.since) == ("", None)
    _fail(streak, clock)
    assert not streak.learn(result)
    assert streak.message
