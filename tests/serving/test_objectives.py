"""The annotation of objectives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objectives import (
    MAX_LENGTH,
    ObjectiveError,
    ObjectiveKind,
    Objectives,
    format_objectives,
    format_seconds,
    format_share,
    objective_texts,
    parse_objectives,
    parse_seconds,
    parse_share,
)
from servedeck.serving.text import sanitize

seconds = st.floats(1e-6, 86_400.0)
shares = st.floats(1e-9, 1.0, exclude_max=True)
others = st.lists(st.sampled_from(["itl=20ms", "owner=ai", "p99", "x", "p95", "µ=1"]), max_size=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2s", 2.0),
        ("500ms", 0.5),
        ("1.5", 1.5),
        (".5s", 0.5),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        (" 2 S ", 2.0),
        ("1s500ms", 1.5),
        ("0.25ms", 0.00025),
    ],
)
def test_seconds(text: str, expected: float):
    assert parse_seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A time is missing; enter one such as 2s, 500ms or 1m30s."),
        ("fast", "'fast' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("-2s", "'-2s' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("1e3", "'1e3' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("2s1m", "'2s1m' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("nan", "'nan' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("٢s", "'٢s' is not a time; enter one such as 2s, 500ms or 1m30s."),
        ("0s", "A time must be more than 0; enter one such as 2s or 500ms."),
        ("0.0001ms", "A time must be at least a microsecond; enter one such as 2s or 500ms."),
        ("25h", "A time of more than a day is no objective; enter less."),
    ],
)
def test_a_text_that_is_no_time(text: str, message: str):
    with pytest.raises(ObjectiveError) as error:
        parse_seconds(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "expected"), [("1%", 0.01), ("0.01", 0.01), ("0.5 %", 0.005), (".1", 0.1)]
)
def test_shares(text: str, expected: float):
    assert parse_share(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A share is missing; enter one such as 1% or 0.01."),
        ("one", "'one' is not a share; enter one such as 1% or 0.01."),
        ("0", "A share of errors must be more than 0; enter one such as 1%."),
        (
            "0.00000001%",
            "A share of errors must be at least one in a billion; enter one such as 1%.",
        ),
        ("1", "A share of errors must be less than 100%; did you mean 1%?"),
        ("2.50", "A share of errors must be less than 100%; did you mean 2.5%?"),
        ("100%", "A share of errors must be less than 100%."),
    ],
)
def test_a_text_that_is_no_share(text: str, message: str):
    with pytest.raises(ObjectiveError) as error:
        parse_share(text)
    assert str(error.value) == message


@given(seconds)
def test_seconds_are_written_exactly(value: float):
    assert parse_seconds(format_seconds(value)) == value


@given(shares)
def test_shares_are_written_exactly(value: float):
    assert parse_share(format_share(value)) == value


@given(st.none() | seconds, st.none() | seconds, st.none() | shares, others)
def test_objectives_are_written_exactly(p95, ttft, error_rate, words):
    objectives = Objectives(p95, ttft, error_rate, tuple(words))
    assert parse_objectives(format_objectives(objectives))[0] == objectives


def test_objectives_of_an_annotation():
    objectives, problems = parse_objectives("p95=2s ttft=500ms errors=1%")
    assert objectives == Objectives(2.0, 0.5, 0.01)
    assert problems == ()
    assert objectives.targets == {
        ObjectiveKind.P95: 2.0,
        ObjectiveKind.TTFT: 0.5,
        ObjectiveKind.ERRORS: 0.01,
    }
    assert parse_objectives(" P95=2s,\n\terrors=1%; ") == (Objectives(2.0, None, 0.01), ())
    assert parse_objectives("")[0].is_empty


def test_what_is_wrong_is_said_and_the_rest_counts():
    objectives, problems = parse_objectives("p95=fast itl=20ms errors=1% errors=2%")
    assert objectives == Objectives(None, None, 0.01, ("itl=20ms",))
    assert problems == (
        "p95: 'fast' is not a time; enter one such as 2s, 500ms or 1m30s.",
        "'itl=20ms' is no objective; write p95=2s, ttft=500ms, errors=1%.",
        "There are two objectives errors; remove 'errors=2%'.",
    )
    assert format_objectives(objectives) == "errors=1% itl=20ms"


def test_texts_are_shown_as_they_are_written():
    texts = objective_texts("p95=\x1b[31mfast errors=0.01 errors=2% x=1")
    assert texts == {ObjectiveKind.P95: "fast", ObjectiveKind.ERRORS: "0.01"}


@given(st.text(max_size=3 * MAX_LENGTH // 2))
def test_any_text_is_read(text: str):
    objectives, problems = parse_objectives(f"p95={text}")
    shown = (*problems, *objective_texts(f"p95={text}").values())
    assert all(sanitize(one) == one and "\n" not in one for one in shown)
    assert parse_objectives(format_objectives(objectives))[0] == objectives
