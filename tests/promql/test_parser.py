"""Expressions as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import (
    PRECEDENCE,
    SET_OPERATORS,
    Aggregation,
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Selector,
    Text,
    format_expression,
)
from servedeck.promql.functions import AGGREGATIONS, FUNCTIONS, ValueType
from servedeck.promql.parser import parse_expression

names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in ("inf", "nan")
)
labels = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
seconds = st.integers(1, 10**10).map(lambda milliseconds: milliseconds / 1000)
matchers = st.builds(
    Matcher, labels, st.sampled_from(["=", "!="]), st.text(max_size=20)
) | st.builds(
    Matcher, labels, st.sampled_from(["=~", "!~"]), st.sampled_from(["a|b.*", "", r"x\.y", "[^a]+"])
)
offsets = st.just(0.0) | seconds | seconds.map(lambda value: -value)


def selectors(windows: st.SearchStrategy[float]) -> st.SearchStrategy[Expression]:
    many = st.lists(matchers, max_size=3).map(tuple)
    unnamed = st.builds(Matcher, labels, st.just("="), st.text(min_size=1)).map(lambda one: (one,))
    return st.builds(Selector, names, many, windows, offsets) | st.builds(
        Selector, st.just(""), unnamed, windows, offsets
    )


scalars = st.floats(allow_nan=False).map(Number) | st.just(Call("time", ()))


def extended(vectors: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    by_type = {
        ValueType.VECTOR: vectors,
        ValueType.SCALAR: scalars,
        ValueType.RANGE: selectors(seconds),
        ValueType.STRING: st.text(max_size=20).map(Text),
    }
    calls = [
        st.builds(Call, st.just(name), st.tuples(*(by_type[one] for one in arguments)))
        for name, (arguments, result) in FUNCTIONS.items()
        if result is ValueType.VECTOR
    ]
    return st.one_of(
        *calls,
        st.builds(
            Aggregation,
            st.sampled_from(AGGREGATIONS),
            vectors,
            st.lists(labels, max_size=3).map(tuple),
        ),
        st.builds(Binary, st.sampled_from(sorted(PRECEDENCE)), vectors, vectors),
        st.builds(
            Binary, st.sampled_from(sorted(PRECEDENCE.keys() - SET_OPERATORS)), vectors, scalars
        ),
        st.builds(Binary, st.just("*"), st.just(Number(-1.0)), vectors),
    )


expressions = st.recursive(selectors(st.just(0.0)), extended, max_leaves=8)


@given(expressions)
def test_an_expression_is_read_as_it_was_written(expression: Expression):
    assert parse_expression(format_expression(expression)) == expression


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            [
                "sum",
                "by",
                "(",
                ")",
                "rate",
                "a",
                "{",
                "}",
                "x",
                '="y"',
                "[5m]",
                "offset",
                "-",
                "1",
                "or",
                ",",
            ]
        )
    ).map(" ".join)
)
def test_any_text_is_an_expression_or_an_error(text: str):
    try:
        expression = parse_expression(text)
    except PromqlError as error:
        assert str(error).endswith(".")
    else:
        assert parse_expression(format_expression(expression)) == expression


A, B, C = Selector("a"), Selector("b"), Selector("c")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a - (b - c)", Binary("-", A, Binary("-", B, C))),
        ("a OR b and c", Binary("or", A, Binary("and", B, C))),
        ("a > 1 unless b", Binary("unless", Binary(">", A, Number(1)), B)),
        ("-a * b", Binary("*", Binary("*", Number(-1), A), B)),
        ("-2", Number(-2)),
        ("- -+2", Number(2)),
        ("0x1F / 1e3", Binary("/", Number(31), Number(1000))),
        ("+Inf", Number(float("inf"))),
        ("sum by (x, y,) (a)", Aggregation("sum", A, ("x", "y"))),
        ("sum(a) by (x)", Aggregation("sum", A, ("x",))),
        ("SUM BY () (a)", Aggregation("sum", A)),
        ("rate(a[1h30m])", Call("rate", (Selector("a", window=5400),))),
        ("rate(a[1500ms])", Call("rate", (Selector("a", window=1.5),))),
        ("a offset 1d", Selector("a", offset=86400)),
        ("a offset -5m", Selector("a", offset=-300)),
        ("sum + by", Binary("+", Selector("sum"), Selector("by"))),
        ("a:b{} # a comment\n", Selector("a:b")),
        ("a # one\n + # two\n b", Binary("+", A, B)),
        (r"""a{x="\"\\\n\x41\u00e9\101",y='"',z=`\n`}""", Selector("a", (
            Matcher("x", "=", '"\\\nAéA'), Matcher("y", "=", '"'), Matcher("z", "=", r"\n"),
        ))),
        ('{__name__=~"a|b"}', Selector("", (Matcher("__name__", "=~", "a|b"),))),
    ],
)  # fmt: skip
def test_what_a_text_means(text: str, expression: Expression):
    assert parse_expression(text) == expression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The end is not expected at character 1; a metric, a function or a number is needed."),
        ("a b", "'b' is not expected at character 3."),
        ("(a", "The end is not expected at character 3; ) is needed."),
        ("a > bool 1", "bool is not supported (character 5)."),
        ("a + on(x) b", "on is not supported (character 5)."),
        ("a / ignoring(x) group_left b", "ignoring is not supported (character 5)."),
        ("sum without (x) (a)", "without is not supported (character 5)."),
        ("topk(2, a)", "The aggregation topk is not supported (character 1)."),
        ("predict_linear(a[5m], 1)", "The function predict_linear is not supported (character 1)."),
        ("rate(a[5m:1m])", "A subquery is not supported (character 10)."),
        ("sum(a)[5m:1m]", "A subquery is not supported (character 7)."),
        ("a @ 5", "The modifier @ is not supported (character 3)."),
        ("a % 2", "The operator % is not supported (character 3)."),
        ('"x"', "A string as a value is not supported (character 1)."),
        ('a{x="y}', "A string has no end at character 5."),
        (r'a{x="\y"}', "A string at character 5 has an unknown escape."),
        ("a[5]", "'5' is not expected at character 3; a duration such as 5m is needed."),
        ("a[5m1h]", "The units of a duration are not in the order y w d h m s ms at character 3."),
        ("a[0s]", "A duration is 0 or too long at character 3."),
        ("a[5x]", "A number or a duration is not valid at character 3."),
        ("rate(a)", "Argument 1 of rate has to be a range of samples, not a vector."),
        ("abs(a[5m])", "Argument 1 of abs has to be a vector, not a range of samples."),
        ("clamp_min(a)", "clamp_min needs 2 arguments, not 1."),
        ("time(a)", "time needs 0 arguments, not 1."),
        ("sum(1)", "sum needs a vector."),
        ("1 and a", "The operator and needs vectors on both sides."),
        ("1 > 2", "> of two numbers needs bool, which is not supported."),
        ("{}", "The selector at character 1 has no name, and would select series without these "
               "labels."),
        ("$", "'$' is not expected at character 1."),
        ('a{x=~"("}', "A regular expression is not valid: "
                      "missing ), unterminated subpattern at position 0."),
    ],
)  # fmt: skip
def test_what_is_not_in_the_subset_is_named(text: str, message: str):
    with pytest.raises(PromqlError) as caught:
        parse_expression(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["(" * 5000, "-" * 5000 + "a", "a + " * 5000 + "a", "abs(" * 5000, "a" * (1 << 19)]
)
def test_a_text_of_any_size_is_read_or_refused(text: str):
    try:
        parse_expression(text)
    except PromqlError:
        assert not text.startswith("-")
    else:
        assert text.startswith("-")
