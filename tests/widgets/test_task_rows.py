"""Tasks as rows: durations, tokens, the order by each column, and what is built again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.tasks import Task, TaskState
from widgets.columns import AgeCell
from widgets.styled_line import plain_text
from widgets.task_rows import (
    SORT_COLUMNS,
    STATE_SPANS,
    TASK_COLUMNS,
    TaskRowBuilder,
    build_task_row,
    duration_text,
    seconds_run,
    seconds_waited,
    short_id,
    sort_tasks,
    token_count,
)

NOW = 1_790_000_000.0


def task(state: TaskState = TaskState.PENDING, **fields: Any) -> Task:
    given = {"id": "t" * 44, "attempt": 0, "max_attempts": 3, "urgency": 3, "created": NOW - 100}
    return Task(state=state, **{**given, "deadline": NOW + 9, **fields})


def text(one: Task, column: str) -> str:
    at = [each.key for each in TASK_COLUMNS].index(column)
    cell = build_task_row(one).cells[at]
    if isinstance(cell, AgeCell):
        return "age"
    return cell if isinstance(cell, str) else plain_text(cell)


@pytest.mark.parametrize(
    ("one", "waited", "run"),
    [
        (task(), 100, None),
        (task(attempt=1, started=NOW - 60), 100, None),  # waits for another attempt
        (task(TaskState.PROCESSING, started=NOW - 60), 40, 60),
        (task(TaskState.COMPLETED, started=NOW - 60, ended=NOW - 50), 40, 10),
        (task(TaskState.CANCELLED, ended=NOW - 90), 10, None),
        (task(TaskState.FAILED, started=NOW + 60, ended=NOW), 160, 0),  # clocks that differ
        (task(created=NOW + 60), 0, None),
    ],
)
def test_waiting_and_run_time(one: Task, waited: float, run: float | None):
    assert (seconds_waited(one, NOW), seconds_run(one, NOW)) == (waited, run)


def test_only_times_that_go_on_are_ages():
    assert text(task(), "waited") == "age"
    running = task(TaskState.PROCESSING, started=NOW - 60)
    assert (text(running, "waited"), text(running, "run")) == ("40s", "age")
    ended = task(TaskState.COMPLETED, started=NOW - 60, ended=NOW - 59.5)
    assert (text(ended, "waited"), text(ended, "run")) == ("40s", "0.5s")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0s"), (9.94, "9.9s"), (10, "10s"), (250, "4m10s")]
)
def test_durations(seconds: float, shown: str):
    assert duration_text(seconds) == shown


def test_why_a_task_failed_is_beside_its_state():
    assert text(task(TaskState.FAILED, status=503, reason="exhausted"), "status") == "✗ Failed 503"
    assert text(task(TaskState.FAILED, reason="result_too_large"), "status").endswith(
        "result too large"
    )
    assert text(task(TaskState.CANCELLED), "status") == "- Cancelled"


def test_each_state_differs_without_color():
    assert set(STATE_SPANS) == set(TaskState)
    assert len({words[0] for words in STATE_SPANS.values()}) == len(TaskState)
    assert len({span[1] for span in STATE_SPANS.values()}) == len(TaskState)


def test_tokens():
    assert text(task(), "tokens") == ""
    assert text(task(prompt_tokens=1200, completion_tokens=3), "tokens") == "1,200+3"
    assert text(task(prompt_tokens=12), "tokens") == "12+?"
    assert token_count(task(prompt_tokens=12)) == 12


def test_ids_are_shown_by_their_ends():
    assert short_id("0199" + "0" * 32 + "3f9a01bc") == "…3f9a01bc"
    assert short_id("short") == "short"


TASKS = st.lists(
    st.builds(
        task,
        st.sampled_from(TaskState),
        created=st.floats(NOW - 1e6, NOW),
        started=st.none() | st.floats(NOW - 1e6, NOW),
        ended=st.none() | st.floats(NOW - 1e6, NOW),
        attempt=st.integers(0, 5),
        prompt_tokens=st.none() | st.integers(0, 10**6),
    ),
    max_size=30,
)


@given(tasks=TASKS, column=st.sampled_from(SORT_COLUMNS[1:]), is_reversed=st.booleans())
def test_sorting_loses_no_task_and_puts_those_without_a_value_last(tasks, column, is_reversed):
    keys: dict[str, Any] = {
        "waited": lambda one: seconds_waited(one, NOW),
        "run": lambda one: seconds_run(one, NOW),
        "attempts": lambda one: one.attempt,
        "tokens": token_count,
    }
    found = sort_tasks(tasks, column, is_reversed=is_reversed, now=NOW)
    assert sorted(map(id, found)) == sorted(map(id, tasks))
    values = [keys[column](one) for one in found]
    known = [value for value in values if value is not None]
    assert values == [*known, *[None] * (len(values) - len(known))]
    assert known == sorted(known, reverse=is_reversed)


def test_only_rows_that_changed_are_built_again():
    builder = TaskRowBuilder()
    one, other = task(id="a"), task(id="b")
    first = builder.build_rows([one, other], ())
    changed = task(TaskState.CANCELLED, id="b")
    second = builder.build_rows([one, changed], ())
    assert second[0] is first[0] and second[1] is not first[1]
    assert builder.task("b") is changed
    third = builder.build_rows([one, changed], ("a",))
    assert third[0] is not second[0] and third[1] is second[1]
    builder.build_rows([one], ())
    assert builder.task("b") is None
    builder.is_wide = True
    assert builder.build_rows([one], ())[0] is not first[0]


def test_more_attempts_than_are_allowed_are_shown_alone() -> None:
    """Those before a retry do not count, so "4/3" would look like an error."""
    assert text(task(attempt=3), "attempts") == "3/3"
    assert text(task(attempt=4), "attempts") == "4"
    assert task(attempt=3).attempts_in_words == "3 of 3"
    assert task(attempt=4).attempts_in_words.startswith("4; 3 are allowed")
