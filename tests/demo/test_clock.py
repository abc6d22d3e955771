from __future__ import annotations

import asyncio
import time

import pytest

from servedeck.demo.clock import Clock, format_timestamp, parse_timestamp
from tests.waiting import with_timeout


def test_timers_run_in_the_order_of_their_time_and_then_of_their_making() -> None:
    clock, ran = Clock(100.0), list[tuple[str, float]]()

    def timer(name: str) -> None:
        ran.append((name, clock.time()))

    clock.call_at(105, lambda: timer("late"))
    clock.call_at(103, lambda: timer("first"))
    clock.call_at(103, lambda: timer("second"))
    clock.advance(10)
    assert ran == [("first", 103), ("second", 103), ("late", 105)]
    assert clock.time() == 110


def test_a_timer_may_set_another_that_is_due_within_the_same_step() -> None:
    clock, ran = Clock(0.0), list[float]()
    clock.call_later(1, lambda: clock.call_later(1, lambda: ran.append(clock.time())))
    clock.advance(1.5)
    assert ran == []
    clock.advance(1)
    assert ran == [2.0]


def test_a_canceled_timer_does_not_run_and_is_not_due() -> None:
    clock, ran = Clock(0.0), list[int]()
    clock.call_later(1, lambda: ran.append(1)).cancel()
    assert clock.next_due is None
    clock.advance(2)
    assert ran == []


def test_a_time_in_the_past_is_due_now_but_not_within_the_call() -> None:
    clock, ran = Clock(50.0), list[float]()
    clock.call_at(10, lambda: ran.append(clock.time()))
    assert ran == []
    clock.run_due()
    assert ran == [50.0]


def test_time_stands_still_until_somebody_moves_it() -> None:
    clock = Clock(7.0)
    assert clock.time() == clock.time() == 7.0


def test_a_timer_cannot_move_the_clock_that_runs_it() -> None:
    clock = Clock(0.0)
    clock.call_later(1, lambda: clock.advance(5))
    with pytest.raises(RuntimeError, match="must not move the clock"):
        clock.advance(2)


async def test_a_running_clock_follows_the_wall_at_its_speed_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, fired = Clock(0.0), asyncio.Event()
    clock.call_later(600, fired.set)
    clock.start(speed=20_000)
    await with_timeout(fired.wait())
    assert clock.time() >= 600
    clock.stop()
    stopped_at = clock.time()
    monkeypatch.setattr("servedeck.demo.clock._monotonic", lambda: time.monotonic() + 1e9)
    assert clock.time() == stopped_at


async def test_a_timer_that_comes_before_those_known_is_run_in_time() -> None:
    clock, fired = Clock(0.0), asyncio.Event()
    clock.call_later(10_000, lambda: None)
    clock.start()
    clock.call_later(0.01, fired.set)
    await with_timeout(fired.wait())
    clock.stop()


async def test_sleep_waits_on_this_clock() -> None:
    clock = Clock(0.0)
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(1)
    await with_timeout(sleeping)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
async def test_an_invalid_speed_is_rejected(speed: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        Clock(0.0).start(speed)


def test_stamps_are_the_apis() -> None:
    assert format_timestamp(0) == "1970-01-01T00:00:00Z"
    assert parse_timestamp(format_timestamp(1_795_000_000)) == 1_795_000_000
    assert Clock(1.5).micro_timestamp() == "1970-01-01T00:00:01.500000Z"
