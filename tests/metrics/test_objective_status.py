"""Whether an objective is met, and since when it is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.objective_status import (
    ObjectiveState,
    ObjectiveStatus,
    evaluate_objective,
    format_objective_value,
)
from servedeck.metrics.period import TimeGrid
from servedeck.serving.objectives import ObjectiveKind

GRID = TimeGrid(1_700_000_000.0, 60.0, 61)
P95, ERRORS = ObjectiveKind.P95, ObjectiveKind.ERRORS


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(*runs: tuple[float | None, int]) -> list[float | None]:
    """The values of a line, from its end backwards; the rest is 1.0."""
    found: list[float | None] = []
    for value, count in runs:
        found += [value] * count
    found += [1.0] * (GRID.count - len(found))
    return found[::-1]


def status(value, values=None, burnt=None, kind=P95, target=2.0) -> ObjectiveStatus:
    return evaluate_objective(kind, target, value, values or line(), GRID, burnt)


@pytest.mark.parametrize(
    ("value", "burnt", "state"),
    [
        (1.0, 0.2, ObjectiveState.MET),
        (1.0, None, ObjectiveState.MET),
        (1.8, 0.2, ObjectiveState.MET),
        (1.81, 0.2, ObjectiveState.AT_RISK),
        (2.0, 0.2, ObjectiveState.AT_RISK),
        (1.0, 1.0, ObjectiveState.AT_RISK),
        (2.01, 0.2, ObjectiveState.MISSED),
        (None, 3.0, ObjectiveState.UNKNOWN),
        (float("nan"), 0.2, ObjectiveState.UNKNOWN),
    ],
)
def test_the_state(value, burnt, state):
    assert status(value, burnt=burnt).state is state


def test_the_run_of_misses_begins_with_its_first_point():
    found = status(2.31, line((3.0, 13)), 1.4)
    assert found.since == GRID.end - 12 * 60
    assert not found.may_be_older
    assert found.sentence == (
        "P95 2.31 s is above its objective of 2 s since 23:01 (12m);"
        " 140 % of the budget of 1h is burnt"
    )


def test_a_gap_does_not_end_a_run_and_a_run_does_not_begin_in_one():
    found = status(3.0, line((3.0, 5), (None, 10), (3.0, 2), (None, 4), (1.0, 1), (3.0, 5)))
    assert found.since == GRID.end - 16 * 60
    assert status(3.0, line((None, 3), (3.0, 2))).since == GRID.end - 4 * 60


def test_a_run_of_the_whole_period_may_be_older():
    found = status(3.0, [3.0] * GRID.count)
    assert found.since == GRID.start
    assert found.may_be_older
    assert found.since_text == "since 22:13 or before (60m)"
    found = status(3.0, [None, *[3.0] * (GRID.count - 1)])
    assert (found.since, found.may_be_older) == (GRID.start + 60.0, False)


def test_a_miss_that_no_point_shows_has_no_begin():
    found = status(3.0, line())
    assert (found.state, found.since) == (ObjectiveState.MISSED, None)
    assert found.sentence == "P95 3 s is above its objective of 2 s"
    assert status(3.0, [None] * GRID.count).since is None


def test_the_line_alone_misses_nothing():
    found = status(1.0, [3.0] * GRID.count)
    assert (found.state, found.since) == (ObjectiveState.MET, None)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            status(1.0, burnt=0.2),
            "P95 1 s is within its objective of 2 s; 20 % of the budget of 1h",
        ),
        (status(1.95), "P95 1.95 s is close to its objective of 2 s"),
        (
            status(1.0, burnt=1.0),
            "P95 1 s is within its objective of 2 s, but 100 % of the budget of 1h",
        ),
        (
            status(None, burnt=0.004),
            "P95 is not known at present; its objective is 2 s; 0.4 % of the budget of 1h",
        ),
        (status(2.001), "P95 2 s is slightly above its objective of 2 s"),
        (
            status(0.0213, [0.0] * 61, 0.0, ERRORS, 0.01),
            "Error rate 2.13 % is above its objective of 1 %; 0 % of the budget of 1h",
        ),
    ],
)
def test_sentences(found: ObjectiveStatus, sentence: str):
    assert found.sentence.removesuffix(" is burnt") == sentence


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (status(1.0, burnt=0.2), "P95 1 s within 2 s; budget of 1h 20 % burnt"),
        (status(1.95), "P95 1.95 s close to 2 s"),
        (status(None), "P95 not known; objective 2 s"),
        (
            status(0.0213, [0.0] * 61, 0.0, ERRORS, 0.01),
            "Error rate 2.13 % > 1 %; budget of 1h 0 % burnt",
        ),
    ],
)
def test_short_sentences(found: ObjectiveStatus, sentence: str):
    assert found.short_sentence == sentence


@given(st.lists(st.none() | st.floats(0.0, 4.0), min_size=61, max_size=61))
def test_no_point_of_a_run_is_met(values):
    found = status(3.0, values)
    if found.since is None:
        last = next((one for one in reversed(values) if one is not None), None)
        assert last is None or last <= 2.0
        return
    first = round((found.since - GRID.start) / GRID.step)
    assert values[first] > 2.0
    assert all(one is None or one > 2.0 for one in values[first:])
    before = next((one for one in reversed(values[:first]) if one is not None), None)
    assert before is None or before <= 2.0


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (P95, 2.314, "2.31 s"),
        (P95, 0.48, "480 ms"),
        (P95, 0.9999, "1 s"),
        (P95, 12.0, "12 s"),
        (P95, 150.0, "2m30s"),
        (ERRORS, 0.0, "0 %"),
        (ERRORS, 0.00001, "<0.01 %"),
        (ERRORS, 0.999, "99.9 %"),  # not all of them
        (P95, 1e-6, "<0.01 ms"),
    ],
)
def test_values(kind, value, text):
    assert format_objective_value(kind, value) == text
