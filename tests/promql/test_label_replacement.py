"""label_replace: its text, what is parsed and what is evaluated, as in Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from servedeck.promql.errors import PromqlError
from servedeck.promql.evaluation import evaluate
from servedeck.promql.expressions import (
    Call,
    Matcher,
    Selector,
    Text,
    escape_replacement,
    format_expression,
    label_replace,
)
from servedeck.promql.matching import compile_matchers
from servedeck.promql.parser import parse_expression
from servedeck.promql.samples import SampleSeries

UP = Selector("up")


class Samples:
    """Series of `up` with a sample at the time 100, by their labels."""

    def __init__(self, *labels: dict[str, str]) -> None:
        self._series = [
            SampleSeries("up", tuple(sorted(one.items())), [100.0], [float(number)])
            for number, one in enumerate(labels, 1)
        ]

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterable[SampleSeries]:
        matches = compile_matchers(matchers)
        return [one for one in self._series if matches(one.name, one.labels)]


def labels_of(text: str, *labels: dict[str, str]) -> list[dict[str, str]]:
    return [dict(one.labels) for one in evaluate(parse_expression(text), Samples(*labels), 100.0)]


def test_the_text_is_that_of_prometheus():
    expression = label_replace(UP, "a", 'x"$1', "b", r"(.+)\.y")
    text = r'label_replace(up, "a", "x\"$1", "b", "(.+)\\.y")'
    assert format_expression(expression) == text
    assert parse_expression(text) == expression
    assert parse_expression("label_replace(up, 'a', `b`, '', '')") == label_replace(UP, "a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"a"', "A string as a value is not supported"),
        ('up + "a"', "A string as a value is not supported"),
        ('abs("a")', "Argument 1 of abs has to be a vector, not a string"),
        ('label_replace(up, "a", "b", "c")', "label_replace needs 5 arguments, not 4"),
        ('label_replace(up, "a", "b", "c", 1)', "Argument 5 .* has to be a string, not a number"),
        ('label_replace(1, "a", "b", "c", "d")', "Argument 1 .* has to be a vector"),
    ],
)
def test_what_is_no_expression(text, message):
    with pytest.raises(PromqlError, match=message):
        parse_expression(text)


def test_a_string_has_no_value():
    with pytest.raises(PromqlError, match="A string has no value"):
        evaluate(Text("a"), Samples(), 100.0)


POD = {"pod": "llama-7d9c4bbbbb-x7k2p", "zone": "a"}


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('"to", "$1", "pod", "(.+)-.{10}-.{5}"', "llama"),
        ('"to", "${1}x", "pod", "(.+)-.{10}-.{5}"', "llamax"),
        ('"to", "$1x", "pod", "(.+)-.{10}-.{5}"', None),  # a group named 1x, as in Go
        ('"to", "$first", "pod", "(?P<first>.+)-.{10}-.{5}"', "llama"),
        ('"to", "$2", "pod", "(.+)-.{10}-.{5}"', None),
        ('"to", "$99999999999", "pod", "(.+)"', None),
        ('"to", "$$1", "pod", "(.+)"', "$1"),
        ('"to", "a$", "pod", "(.+)"', "a$"),
        ('"to", "x", "pod", "llama"', None),  # the whole value has to match
        ('"to", "x", "", ""', "x"),
        ('"to", "x", "absent", ""', "x"),
        ('"to", "x", "absent", ".+"', None),
        ('"zone", "", "pod", ".+"', None),
    ],
)
def test_a_label_is_set(arguments, value):
    (found,) = labels_of(f"label_replace(up, {arguments})", POD)
    label = arguments.split('"')[1]
    assert found.get(label) == value
    assert found["pod"] == POD["pod"]


def test_a_label_is_replaced_where_it_matches():
    found = labels_of('label_replace(up, "zone", "x", "zone", "a")', {"zone": "a"}, {"zone": "b"})
    assert sorted(one["zone"] for one in found) == ["b", "x"]


def test_series_that_become_one_are_refused():
    with pytest.raises(PromqlError, match="same labels"):
        labels_of('label_replace(up, "zone", "x", "", "")', {"zone": "a"}, {"zone": "b"})


@pytest.mark.parametrize("label", ["", "a b", "1a", "a-b"])
def test_a_name_that_is_none_is_refused(label):
    with pytest.raises(PromqlError, match="name of a label"):
        labels_of(f'label_replace(up, "{label}", "x", "", "")', POD)


@pytest.mark.parametrize("regex", ["(", r"(a)\\1", "((a*)*)*b"])
def test_a_regular_expression_that_is_none_is_refused(regex):
    with pytest.raises(PromqlError, match="regular expression"):
        labels_of(f'label_replace(up, "a", "x", "zone", "{regex}")', POD)


@pytest.mark.parametrize("text", ["$1", "$$", "a$b${c}", "", "ä$\n"])
def test_an_escaped_replacement_is_itself(text):
    expression = label_replace(UP, "to", escape_replacement(text))
    (found,) = evaluate(expression, Samples(POD), 100.0)
    assert found.labels.get("to", "") == text
    assert isinstance(expression, Call)
