"""Which series are selected."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import Matcher, MatchOperator, escape_regex
from servedeck.promql.matching import MAX_VALUE_LENGTH, compile_matchers

LABELS = (("pod", "llama-0"), ("zone", "a\nb"))


@pytest.mark.parametrize(
    ("label", "operator", "value", "is_selected"),
    [
        ("pod", "=", "llama-0", True),
        ("pod", "=", "llama", False),
        ("pod", "!=", "llama", True),
        ("pod", "=~", "llama-.*", True),
        ("pod", "=~", "llama", False),
        ("pod", "!~", "llama", True),
        ("pod", "=~", "x|llama-0", True),
        ("zone", "=~", "a.b", True),
        ("absent", "=", "", True),
        ("absent", "=~", ".*", True),
        ("absent", "=~", ".+", False),
        ("__name__", "=", "up", True),
        ("__name__", "=~", "u|p", False),
    ],
)
def test_a_matcher_compares_the_whole_value(
    label: str, operator: MatchOperator, value: str, is_selected: bool
):
    assert compile_matchers([Matcher(label, operator, value)])("up", LABELS) is is_selected


def test_all_matchers_have_to_match():
    both = compile_matchers([Matcher("pod", "=~", "l.*"), Matcher("pod", "!=", "llama-0")])
    assert not both("up", LABELS)
    assert both("up", (("pod", "llama-1"),))


@pytest.mark.parametrize(
    "text",
    ["(a+)+", "(a|a)*", "(a|ab)*c", "(a*)*", "((a|b)?)*", ".*.*.*x", "a?" * 40, "(a{0,9}){9}"],
)
def test_a_regular_expression_that_may_take_long_is_refused(text: str):
    with pytest.raises(PromqlError, match="too many ways"):
        compile_matchers([Matcher("x", "=~", text)])


@pytest.mark.parametrize(
    "text", ["(", "[", "*", "a{9999999999}", r"(a)\1", "(?=a)", "(?<=a)b", ")"]
)
def test_a_regular_expression_that_is_none_is_refused(text: str):
    with pytest.raises(PromqlError):
        compile_matchers([Matcher("x", "!~", text)])


def test_what_selects_pods_is_not_refused():
    suffix = "[bcdfghjklmnpqrstvwxz2456789]{5}"
    pods = "|".join(f"llama-{number}-{suffix}" for number in range(2000))
    for text in (pods, ".*", ".+-0", "llama-.*|qwen-.*", "(?:a|b)-[0-9]+", "(?P<x>ab)*", r"\(\[a"):
        compile_matchers([Matcher("pod", "=~", text)])


def test_a_longer_value_matches_no_regular_expression():
    matches = compile_matchers([Matcher("x", "=~", "a*a*")])
    assert matches("", (("x", "a" * MAX_VALUE_LENGTH),))
    assert not matches("", (("x", "a" * (MAX_VALUE_LENGTH + 1)),))


@given(st.text(max_size=20))
def test_an_escaped_text_matches_itself_alone(text: str):
    matches = compile_matchers([Matcher("x", "=~", escape_regex(text))])
    assert matches("", (("x", text),))
    assert not matches("", (("x", text + "a"),))


@given(st.text("ab|(){}[]*+?.\\^$-,1:P<>", max_size=12), st.text("ab", max_size=6))
def test_any_regular_expression_is_that_of_re_or_refused(text: str, value: str):
    try:
        matches = compile_matchers([Matcher("x", "=~", text)])
    except PromqlError:
        return
    assert matches("", (("x", value),)) is bool(re.fullmatch(text, value, re.DOTALL))
