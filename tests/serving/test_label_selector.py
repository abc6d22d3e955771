"""Label selectors: what k8s.io/apimachinery 0.35 (labels.Parse) answers to the same texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.label_selector import (
    LabelSelectorError,
    format_label_selector,
    parse_label_selector,
    parse_label_selector_prefix,
    selects_labels,
)

LABEL_SETS = {
    "none": {},
    "empty": {"app": ""},
    "chat": {"app": "chat"},
    "code": {"app": "code"},
    "five": {"app": "5", "tier": "gold"},
    "in": {"in": "in"},
}
"""Labels of objects, by the name that the table uses for them."""


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("", "none empty chat code five in"),
        (" \t\r\n", "none empty chat code five in"),
        ("app=chat", "chat"),
        ("app==chat", "chat"),
        ("  app = chat  ", "chat"),
        ("app=", "empty"),
        ("app=,tier", ""),
        ("app!=chat", "none empty code five in"),
        ("app!=", "none chat code five in"),
        ("app", "empty chat code five"),
        ("!app", "none in"),
        ("! app", "none in"),
        ("app,tier=gold", "five"),
        ("app , !tier", "empty chat code"),
        ("app in (chat, code)", "chat code"),
        ("app in(chat,code),app!=chat", "code"),
        ("app notin (chat)", "none empty code five in"),
        ("app in ()", "empty"),
        ("app in (,)", "empty"),
        ("app in (,chat)", "empty chat"),
        ("app in (chat,)", "empty chat"),
        ("app in (chat,,code)", "empty chat code"),
        ("app notin ()", "none chat code five in"),
        ("app>4", "five"),
        ("app > 5", ""),
        ("app<6", "five"),
        ("in", "in"),
        ("in in (in)", "in"),
        ("notin notin (notin)", "none empty chat code five in"),
        ("in=in", "in"),
        ("example.com/app", ""),
    ],
)
def test_a_selector_matches(text: str, matched: str) -> None:
    selector = parse_label_selector(text)
    found = [name for name, labels in LABEL_SETS.items() if selector.matches(labels)]
    assert found == matched.split()


VALUE_RULE = "a valid label must be an empty string or consist of alphanumeric characters"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("==", "found '==', expected: !, identifier, or 'end of string'"),
        (",app", "found ',', expected: !, identifier, or 'end of string'"),
        ("app,", "found '', expected: identifier after ','"),
        ("app=chat,,", "found ',', expected: identifier after ','"),
        ("app=a b", "found 'b', expected: ',' or 'end of string'"),
        ("!app=chat", "found '=', expected: ',' or 'end of string'"),
        ("app in (chat) code", "found 'code', expected: ',' or 'end of string'"),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!app", "unable to parse requirement: found '!', expected: identifier"),
        ("app=!=chat", "unable to parse requirement: found '!=', expected: identifier"),
        ("app=(chat)", "unable to parse requirement: found '(', expected: identifier"),
        ("app in chat", "unable to parse requirement: found 'chat' expected: '('"),
        ("app in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("app in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("app in (a,", "unable to parse requirement: found '', expected: ',', or identifier"),
        (
            "app=-b-",
            f'unable to parse requirement: values[0][app]: Invalid value: "-b-": {VALUE_RULE}',
        ),
        (
            "app in (ok,-b-,a)",
            f'unable to parse requirement: values[0][app]: Invalid value: "-b-": {VALUE_RULE}',
        ),
        (
            "app>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' "
            "operators, the value must be an integer",
        ),
        (
            "app>9223372036854775808",
            'unable to parse requirement: values[0]: Invalid value: "9223372036854775808": for',
        ),
        (
            "app>-",
            "unable to parse requirement: [values[0]: Invalid value: \"-\": for 'Gt', 'Lt' "
            'operators, the value must be an integer, values[0][app]: Invalid value: "-": ',
        ),
        (
            "/app",
            'unable to parse requirement: <nil>: Invalid value: "/app": prefix part must be '
            "non-empty",
        ),
        ("-app", 'unable to parse requirement: <nil>: Invalid value: "-app": name part must'),
        (
            "a" * 64,
            f'unable to parse requirement: <nil>: Invalid value: "{"a" * 64}": name part must be '
            "no more than 63 bytes",
        ),
    ],
)
def test_an_invalid_selector_gives_the_api_servers_message(text: str, message: str) -> None:
    with pytest.raises(LabelSelectorError) as caught:
        parse_label_selector(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("app=chat", ""),
        ("app=chat word", " word"),
        ("app word", " word"),
        ("app in chat", " in chat"),
        ("app in (chat) notin", " notin"),
        ("app=chat, tier word, more", " word, more"),
        ("app!x", "!x"),
        ("app ", " "),
    ],
)
def test_a_prefix_ends_at_the_first_word_that_nothing_joins(text: str, rest: str) -> None:
    assert parse_label_selector_prefix(text)[1] == rest


@pytest.mark.parametrize(
    ("text", "position"), [("", 0), ("=", 0), ("app=(x)", 4), ("app, -x", 5), ("app=a,", 6)]
)
def test_an_error_says_where(text: str, position: int) -> None:
    with pytest.raises(LabelSelectorError) as caught:
        parse_label_selector_prefix(text)
    assert caught.value.position == position


@given(st.text(alphabet="ab1-/ \t,=!<>()é\0", max_size=20))
def test_a_prefix_without_rest_is_the_same_selector(text: str) -> None:
    try:
        whole = parse_label_selector(text)
    except LabelSelectorError:
        return
    if whole.requirements:
        selector, rest = parse_label_selector_prefix(text)
        assert (selector, rest.strip(" \t\r\n")) == (whole, "")


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": {"app": "a", "team": "b"}}, "app=a,team=b"),
        (
            {
                "matchLabels": {"app": "a"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["x", "y"]},
                    {"key": "env", "operator": "NotIn", "values": ["test"]},
                    {"key": "gpu", "operator": "Exists"},
                    {"key": "old", "operator": "DoesNotExist"},
                ],
            },
            "app=a,tier in (x,y),env notin (test),gpu,!old",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "Near"}]}, ""),
        ({"matchLabels": None, "matchExpressions": None}, ""),
    ],
)
def test_the_selector_of_a_workload_as_text(selector: dict[str, Any], text: str) -> None:
    assert format_label_selector(selector) == text
    parse_label_selector(text)


@pytest.mark.parametrize(
    ("selector", "is_selected"),
    [
        ({"app": "a"}, True),
        ({"app": "a", "team": "b"}, True),
        ({"app": "b"}, False),
        ({"app": "a", "tier": "x"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_labels_that_a_service_selects(
    selector: dict[str, str] | None, is_selected: bool
) -> None:
    assert selects_labels(selector, {"app": "a", "team": "b"}) is is_selected


def test_a_number_of_more_digits_than_int_reads_is_an_error_like_any_other() -> None:
    for number in ("0" * 5000 + "1", "9" * 5000):
        with pytest.raises(LabelSelectorError):
            parse_label_selector(f"app>{number}")
