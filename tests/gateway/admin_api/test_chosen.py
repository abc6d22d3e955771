"""The part of all ids that a filter leaves: no task that matches is outside of it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.gateway.admin_api.chosen import IdRange, range_of, read_filter
from servedeck.gateway.identity import id_begin

NOW = float(int(time.time()))
"""About the present time, which terms are made from."""

TERMS = st.one_of(
    st.builds(
        "{}age:{}{}s".format,
        st.sampled_from(["", "!"]),
        st.sampled_from(["<", ">", ""]),
        st.integers(1, 200),
    ),
    st.builds(
        "{}created:{}{}".format,
        st.sampled_from(["", "!"]),
        st.sampled_from("<>"),
        st.one_of(
            st.integers(-200, 200).map(lambda seconds: NOW - seconds),
            st.sampled_from(["nan", "inf", "-inf", "1e300", "-1e300", "0"]),
        ),
    ),
    st.sampled_from(["model:llama", "created:", "age:", "attempts:0"]),
)


def make_task(created: float) -> Task:
    return Task(
        id=id_begin(created) + "8" * 32,
        state=TaskState.PENDING,
        attempt=0,
        max_attempts=1,
        urgency=3,
        created=created,
        deadline=created + 1,
        model="llama",
    )


@given(st.lists(TERMS, max_size=4), st.floats(-250, 250))
def test_what_matches_is_in_the_range(terms: list[str], age: float) -> None:
    now = time.time()
    task = make_task(now - age)
    found = read_filter(" ".join(terms), now)
    ids = range_of(found, now)
    if found.matches(task):
        assert ids.first <= task.id and (not ids.end or task.id < ids.end)


def test_an_age_leaves_a_part_of_all_ids() -> None:
    now = time.time()
    ids = range_of(read_filter("age:>1m age:<2m model:llama", now), now)
    for age, is_in in ((30, False), (90, True), (150, False)):
        assert (ids.first <= make_task(now - age).id < ids.end) == is_in
    assert range_of(read_filter("model:llama", now), now) == IdRange()


@pytest.mark.parametrize(
    ("after", "newest", "oldest"),
    [("", "c", "a"), ("b", "b", "b"), ("d", "c", "d"), ("0", "0", "a")],
)
def test_where_a_walk_goes_on(after: str, newest: str, oldest: str) -> None:
    ids = IdRange("a", "c")
    assert ids.start(after) == newest
    assert ids.start(after, oldest_first=True) == oldest
    assert IdRange().start(after) == after
    assert IdRange().start(after, oldest_first=True) == after


def test_where_a_walk_ends() -> None:
    ids = IdRange("a", "c")
    assert [ids.is_left(one) for one in ("0", "a1", "d")] == [True, False, False]
    oldest = [ids.is_left(one, oldest_first=True) for one in ("0", "b9", "c1", "d")]
    assert oldest == [False, False, True, True]
    for order in (False, True):
        assert not IdRange().is_left("0", oldest_first=order)
