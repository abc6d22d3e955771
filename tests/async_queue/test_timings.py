"""How long a task waited and ran."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.tasks import Attempt, Task, TaskState
from servedeck.async_queue.timings import task_timings, tokens_per_second


def make_task(**fields: Any) -> Task:
    given: dict[str, Any] = {
        "id": "1",
        "state": TaskState.COMPLETED,
        "attempt": 1,
        "max_attempts": 3,
        "urgency": 3,
        "created": 100.0,
        "started": 110.0,
        "ended": 115.0,
        "deadline": 1000.0,
    }
    return Task(**{**given, **fields})


def test_it_waits_between_its_attempts():
    attempts = [Attempt(attempt=1, began=110.0, ended=112.0)]
    task = make_task(attempt=2, started=120.0, ended=125.0)
    assert task_timings(task, attempts, 999.0) == (18.0, 7.0, 25.0)
    both = [*attempts, Attempt(attempt=2, began=120.0, ended=125.0)]
    assert task_timings(task, both, 999.0) == (18.0, 7.0, 25.0)


def test_it_goes_on_until_now():
    running = make_task(state=TaskState.PROCESSING, ended=None)
    assert task_timings(running, (), 130.0) == (10.0, 20.0, 30.0)
    pending = make_task(state=TaskState.PENDING, attempt=0, started=None, ended=None)
    assert task_timings(pending, (), 130.0) == (30.0, 0.0, 30.0)


@given(
    st.sampled_from(list(TaskState)),
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=4),
    *[st.none() | st.floats(0, 1e6)] * 2,
    st.floats(0, 1e6),
)
def test_no_time_is_negative_whatever_the_clocks_say(state, times, started, ended, now):
    attempts = [
        Attempt(attempt=number, began=began, ended=end)
        for number, (began, end) in enumerate(times, 1)
    ]
    task = make_task(state=state, started=started, ended=ended, attempt=len(attempts))
    waited, ran, total = task_timings(task, attempts, now)
    assert min(waited, ran, total) >= 0
    assert waited + ran == pytest.approx(total)


def test_tokens_per_second():
    assert tokens_per_second(make_task(completion_tokens=100)) == 20.0
    assert tokens_per_second(make_task()) is None
    assert tokens_per_second(make_task(completion_tokens=1, ended=110.0)) is None
    assert tokens_per_second(make_task(completion_tokens=1, ended=None)) is None
