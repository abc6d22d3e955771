"""The filter of tasks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.task_filter import (
    FIELDS,
    MAX_LENGTH,
    MAX_TYPED,
    check_typed_filter,
    fix_ages,
    parse_task_filter,
    require_complete_terms,
)
from servedeck.async_queue.tasks import Task, TaskState
from servedeck.serving.query_terms import QueryError

NOW = 1_000_000.0


def task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "id": "0a1b2c",
        "state": TaskState.FAILED,
        "attempt": 2,
        "max_attempts": 3,
        "urgency": 3,
        "created": NOW - 600,
        "deadline": NOW + 600,
        "reason": "exhausted",
        "message": "The Server said: Too Busy.",
        "status": 503,
        "pod": "llama-6f-x2",
        "owner": "5e884898",
        "method": "PUT",
        "path": "/v1/chat/completions?trace=7",
        "model": "Llama 3.1",
    }
    return Task(**values | changes)


def matches(text: str, **changes: Any) -> bool:
    return parse_task_filter(text, NOW).matches(task(**changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "0A1B",
        "chat/completions",
        "llama",
        "too busy",
        '"too busy"',
        "x2",
        "id:0a1",
        "path:/v1/chat",
        "path:trace=7",
        "method:put",
        "model:llama",
        'model:"llama 3"',
        "error:busy",
        "error:exhausted",
        "message:busy",
        "reason:exhausted",
        "reason:=exhausted",
        "reason:lost,exhausted",
        "pod:llama-6f",
        "user:5e88",
        "owner:5e88",
        "status:503",
        "status:50",
        "status:=429,503",
        "attempts:2",
        "attempts:=2",
        "attempts:>1",
        "attempts:<3",
        "attempt:2",
        "age:>5m",
        "age:5m",
        "age:<1h",
        "age:>9m59s",
        f"created:<{NOW - 599}",
        f"created:>{NOW - 601.5}",
        "model:",
        "age:",
        "!mistral",
        "!model:mistral",
        "!attempts:>2",
        "!age:<5m",
        "llama status:503 attempts:2 !age:>1h",
    ],
)
def test_terms_that_match(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "mistral",
        "put",  # the method, the user and the status are searched by their fields alone
        "5e884898",
        "503",
        "exhausted",
        "!llama",
        "id:llama",
        "path:/v2",
        "method:=pu",
        "model:=llama",
        "error:llama",
        "reason:busy",
        "pod:7f",
        "user:6e",
        "status:429",
        "status:=50",
        "attempts:1",
        "attempts:>2",
        "attempts:<2",
        "age:>10m",
        "age:<10m",
        "age:<5m",
        f"created:<{NOW - 600}",
        f"created:>{NOW - 600}",
        "!age:>5m",
        "llama status:503 attempts:3",
    ],
)
def test_terms_that_do_not_match(text: str) -> None:
    assert not matches(text)


def test_a_task_without_a_response_has_no_status() -> None:
    assert not matches("status:503", status=None)
    assert not matches("status:none", status=None)
    assert matches("!status:503", status=None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("state:failed", "There is no field state; the fields are id, path,"),
        ('model:"llama', "A quotation mark is not closed"),
        ("age:soon", "age:soon is no age; write age:>10m or age:<1h."),
        ("age:>", "age:> is no age"),
        ("age:0", "age:0 is no age"),
        ("age:=5m", "age:=5m is no age"),
        ("created:5", "created:5 is no time; write created:<N"),
        ("created:<", "created:< is no time"),
        ("created:>yesterday", "created:>yesterday is no time"),
        ("attempts:many", "attempts:many is no number"),
        ("attempts:>", "attempts:> is no number"),
        ("attempts:-1", "attempts:-1 is no number"),
        ("attempts:²", "attempts:² is no number"),
        ("attempts:1234567890", "attempts:1234567890 is no number"),
        ("!age:soon", "age:soon is no age"),
    ],
)
def test_what_is_no_filter_is_told(text: str, sentence: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_task_filter(text, NOW)
    assert str(caught.value).startswith(sentence)


# -- ages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("", ""),
        ("llama   status:503", "llama status:503"),
        ("age:>10m", "created:<999400.000"),
        ("age:10m", "created:<999400.000"),
        ("age:<1h", "created:>996400.000"),
        ("!age:<1h", "!created:>996400.000"),
        ('age:">10m"', "created:<999400.000"),
        ('model:"age:>1h" age:', 'model:"age:>1h" age:'),
    ],
)
def test_ages_become_times_of_creation(text: str, fixed: str) -> None:
    assert fix_ages(text, NOW) == fixed


def test_an_age_that_is_none_cannot_be_fixed() -> None:
    with pytest.raises(QueryError, match="is no age"):
        fix_ages("llama age:>soon", NOW)


terms = st.one_of(
    st.sampled_from(["llama", "!mistral", "status:503", 'model:"llama 3"', "attempts:>1"]),
    st.builds(
        lambda inverse, sign, seconds: f"{inverse}age:{sign}{seconds}",
        st.sampled_from(["", "!"]),
        st.sampled_from(["", "<", ">"]),
        st.integers(1, 2000),
    ),
)


@given(st.lists(terms), st.integers(0, 2000), st.integers(0, 5000))
def test_a_filter_with_fixed_ages_means_the_same_later(
    words: list[str], age: int, later: int
) -> None:
    text = " ".join(words)
    one = task(created=NOW - age)
    then = parse_task_filter(fix_ages(text, NOW), NOW + later)
    assert then.matches(one) == parse_task_filter(text, NOW).matches(one)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_sentence_says_why_not(text: str) -> None:
    try:
        parse_task_filter(text, NOW).matches(task())
        fix_ages(text, NOW)
    except QueryError as error:
        assert str(error)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_without_a_value_matches_everything(field: str) -> None:
    assert matches(f"{field}:")


def test_a_whole_id_by_itself_matches_that_task_alone() -> None:
    id, other = "a1" * 22, "b2" * 22
    assert matches(id.upper(), id=id)
    assert not matches(f" {id} ", id=other, path=f"/v1?id={id}")
    assert matches(id[:-1], id=other, path=f"/v1?id={id}")


@pytest.mark.parametrize(
    "text",
    [
        " ",
        '""',
        "!",
        "user:",
        "!user:",
        'user:""',
        "user:,",
        "user:=",
        "reason:=lost,",
        "llama id:",
    ],
)
def test_a_term_that_says_nothing_is_refused_where_tasks_are_changed(text: str) -> None:
    with pytest.raises(QueryError, match=r"has no text to match|is blank"):
        require_complete_terms(text)


@pytest.mark.parametrize("text", ["", "llama", "!llama", 'model:"a b"', "id:=ab", "age:>10m"])
def test_a_term_that_chooses_tasks_is_not(text: str) -> None:
    require_complete_terms(text)


def test_a_filter_that_was_typed_is_not_too_long_with_its_ages_fixed() -> None:
    text = "age:1m " * (MAX_TYPED // 7)
    check_typed_filter(text)
    fixed = fix_ages(text, 1_790_000_000.0)
    assert len(fixed) < MAX_LENGTH
    parse_task_filter(fixed, 0.0)
    with pytest.raises(QueryError, match="may have 500 characters; this one has 501"):
        check_typed_filter("x" * (MAX_TYPED + 1))
    with pytest.raises(QueryError, match="may have"):
        parse_task_filter("x" * (MAX_LENGTH + 1), 0.0)
