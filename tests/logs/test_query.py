"""What a query matches, what is refused, and that no expression takes long."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBlock
from servedeck.logs.query import MAX_CHARS, LineQuery, QueryError
from servedeck.logs.regex_shape import has_alternatives, read_shape
from tests.logs.buffer_setup import make_block

ATOMS = [
    *(
        "a",
        "b",
        "A",
        "B",
        "ab",
        " ",
        "1",
        r"\d",
        r"\s",
        r"\S",
        r"\w+",
        ".",
        ".*",
        ".+",
        ".*?",
        "a*",
    ),
    *(
        "[ab]",
        "[^a]",
        "(a|b)",
        "(?:ab|ac)",
        r"\.",
        "^",
        "$",
        r"\b",
        "a|b",
        "b{2}",
        "a++",
        "(b)",
        "|",
    ),
    *("é", "k", "İ", "(?=b)", "(?<=a)", r"\*", ".*+", ".{2}", "[.*]", "(?>a*)", "a??", "(.*)"),
]
TEXTS = st.text("aAbBcC1. xéÉkKİ*\u212a", max_size=12)


def expected_flags(pattern: str) -> re.RegexFlag:
    letters = re.sub(r"\\.|\(\?[<=>]*", "", pattern)
    return re.NOFLAG if any(map(str.isupper, letters)) else re.IGNORECASE


@settings(max_examples=400)
@given(atoms=st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6), lines=st.lists(TEXTS))
def test_it_matches_what_the_regular_expression_matches(atoms: list[str], lines: list[str]) -> None:
    pattern = "".join(atoms)
    try:
        compiled = re.compile(pattern, expected_flags(pattern))
    except re.error:
        with pytest.raises(QueryError):
            LineQuery.parse(pattern)
        return
    assume(not read_shape(pattern, 0).is_exponential)
    query = LineQuery.parse(pattern)
    if not re.search(r"[\\.^$*+?{}\[\]|()]", pattern.replace(".*", "")):
        # text is compared in lower case, in which the Kelvin sign is a k, but no letter of Turkish
        lines = [line.replace("İ", "").replace("\u212a", "") for line in lines]
        assume("İ" not in pattern)
    assert [query.matches(line) for line in lines] == [
        compiled.search(line) is not None for line in lines
    ]


@settings(max_examples=300)
@given(
    atoms=st.lists(st.sampled_from(ATOMS), min_size=1, max_size=5),
    lines=st.lists(TEXTS, min_size=1),
)
def test_a_block_is_searched_line_by_line(atoms: list[str], lines: list[str]) -> None:
    try:
        query = LineQuery.parse("".join(atoms))
    except QueryError:
        assume(False)
    block = make_block([line.encode() for line in lines])
    expected = [index for index, line in enumerate(block.texts()) if query.matches(line)]
    assert query.find_lines(block) == expected
    for line in block.texts():
        spans = query.spans(line)
        assert all(start < end <= len(line) for start, end in spans)
        assert spans == sorted(spans)
        assert not spans or query.matches(line)


@pytest.mark.parametrize(
    ("text", "line", "spans"),
    [
        ("error", "an Error, an ERROR", [(3, 8), (13, 18)]),
        ("Error", "an Error, an ERROR", [(3, 8)]),
        ("a.*c", "xabcabc", [(1, 4), (4, 7)]),
        (r"took \d+ ms", "took 12 ms, took 3 ms", [(0, 10), (12, 21)]),
        (r"no\.such", "no such, no.such", [(9, 16)]),
        ("x*", "aaxxa", [(2, 4)]),
        (".*", "abc", []),
        ("i", "İi", [(0, 1), (1, 2)]),
        ("straße", "STRASSE Straße", [(8, 14)]),
        (r"id=\S.*end$", "id=1 end id=2 end", [(0, 17)]),
        (r"(?i)ERR", "an err", [(3, 6)]),
        (r"\S+", "ab cd", [(0, 2), (3, 5)]),
        ("%", "100%", [(3, 4)]),
        (" ", "a b", [(1, 2)]),
    ],
)
def test_spans(text: str, line: str, spans: list[tuple[int, int]]) -> None:
    query = LineQuery.parse(text)
    assert query.spans(line) == spans
    assert query.matches(line) == bool(spans or text == ".*")


@pytest.mark.parametrize("pattern", [r"a\sb", "a[^x]b", "(?s)a.b", r"(?m)a$\nb", "a.*b", r"a\n*b"])
def test_no_match_extends_over_the_end_of_a_line(pattern: str) -> None:
    block = make_block([b"xa", b"bx", b"ab"])
    assert set(LineQuery.parse(pattern).find_lines(block)) <= {2}


def test_anchors_mean_the_ends_of_a_line() -> None:
    block = make_block([b"ab", b"ba", b"b", b""])
    assert LineQuery.parse("^b").find_lines(block) == [1, 2]
    assert LineQuery.parse("b$").find_lines(block) == [0, 2]
    assert LineQuery.parse("^$").find_lines(block) == [3]
    assert LineQuery.parse(".*").find_lines(block) == [0, 1, 2, 3]


def test_what_is_shown_is_searched() -> None:
    block = make_block([b"\x1b[31mtime\x1b[0mout", b"caf\xc3\xa9 \xff\0", b"plain"])
    assert LineQuery.parse("timeout").find_lines(block) == [0]
    assert LineQuery.parse("CAFÉ").find_lines(block) == []
    assert LineQuery.parse("café").find_lines(block) == [1]
    assert LineQuery.parse("31m").find_lines(block) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Type the text or regular expression to look for."),
        ("(abc", "The regular expression is not valid: missing ), at position 1."),
        ("[a", "The regular expression is not valid: unterminated character set, at position 1."),
        ("ab*{", ""),
        ("*a", "The regular expression is not valid: nothing to repeat, at position 1."),
        (
            "(?<=a+)b",
            "The regular expression is not valid: look-behind requires fixed-width pattern.",
        ),
        ("a" * 2_001, "The text to look for is longer than 2,000 characters."),
        ("a{99999999999}", "The regular expression is too large."),
    ],
)
def test_a_refusal_is_a_sentence(text: str, sentence: str) -> None:
    if not sentence:
        assert LineQuery.parse(text).matches("abbb{")
        return
    with pytest.raises(QueryError) as error:
        LineQuery.parse(text)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a*)*b",
        "(a|a)+b",
        "(a|ab)*c",
        "(aa?)+$",
        r"(\w+\s?)*$",
        "(.*a){40}",
        "((a+)b?)+c",
    ],
)
def test_exponential_expressions_are_refused(pattern: str) -> None:
    with pytest.raises(QueryError, match="repeats what is repeated"):
        LineQuery.parse(pattern)


def test_many_repeats_that_depend_on_one_another_are_refused() -> None:
    with pytest.raises(QueryError, match="too many repeats"):
        LineQuery.parse("(.*)(.*)(.*)(.*)(.*)x")


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r"(\d+\.)+\d", "1.2.3"),
        (r"x(?:, \d+)*$", "x, 1, 2"),
        (r"(?:\d{1,3}\.){3}\d{1,3}", "at 10.0.0.1:80"),
        (r"([0-9a-f]{1,4}:){7}", "fe80:1:2:3:4:5:6:7"),
        ("([^,]*,)*x", "a,b,x"),
        ("(foo|bar)+x", "foobarx"),
        ("(a++)+b", "aab"),
        (r'"status":"?5\d\d', '{"status":503}'),
        (r"(?P<word>\w+) (?P=word)", "the the"),
        (r"(?:(a)|b)(?(1)c|d)", "ac"),
        (r"(?x) a  b # comment", "ab"),
    ],
)
def test_expressions_that_cannot_take_exponential_time_are_not(pattern: str, line: str) -> None:
    assert LineQuery.parse(pattern).matches(line)


@pytest.mark.parametrize(
    ("pattern", "searched"),
    [
        ("timeout", 0),
        ("refused.*port", 0),
        (r"timeout after \d+ ms", MAX_CHARS[0]),
        (r"GET.*status=\d.*took \d+ ms", MAX_CHARS[0]),
        (r"\d+ ms", MAX_CHARS[1]),
        ("(a.*)b.*c", MAX_CHARS[2]),
        ("(.*)(.*)(.*)x", MAX_CHARS[3]),
    ],
)
def test_how_much_of_a_line_is_searched(pattern: str, searched: int) -> None:
    assert LineQuery.parse(pattern).searched_chars == searched


def test_only_the_start_of_a_huge_line_is_searched_with_an_expression() -> None:
    query = LineQuery.parse(r"end\d")
    huge = "x" * MAX_CHARS[0]
    assert query.matches("end1" + huge)
    assert not query.matches(huge + "end1")
    assert LineQuery.parse("end1").matches(huge + "end1")
    block = make_block([huge.encode() + b"end1", b"end2"])
    assert query.find_lines(block) == [1]


@pytest.mark.parametrize(
    ("pattern", "char"),
    [
        (r"\d+\s?ms", "1"),
        (r"(\w|\d)+x", "a"),
        ("(a.*)a.*b", "a"),
        (r"(.*)(.*)(.*)x\d", "x"),
        ("a.*a.*a.*a.*a.*b", "a"),
        (r"a\d?.*a.*a.*a.*b\d", "a"),
    ],
)
def test_a_line_made_to_be_slow_ends(pattern: str, char: str) -> None:
    # without the bounds the first takes minutes, most others years
    assert not LineQuery.parse(pattern).matches(char * 200_000)


def test_a_block_of_slow_lines_is_left_in_between() -> None:
    query = LineQuery.parse(r"\d+\s?ms")
    block = make_block([b"1" * 2_000 + b"xms"] * 10)
    steps = query.steps(block)
    pauses = sum(1 for _ in steps)
    assert pauses > 1
    assert query.find_lines(block) == []


def test_text_in_lower_case_has_each_character_in_its_place() -> None:
    # else the spans of a match would be wrong
    growing = {char for char in map(chr, range(sys.maxunicode + 1)) if len(char.lower()) != 1}
    assert growing == {"İ"}


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r"timeout after \d+ ms", ("timeout after ",)),
        ("error|warn", ("error", "warn")),
        ("(?:disk|memory) full", (" full",)),
        ("(disk){2,}", ("disk",)),
        ("(disk)?", ()),
        ("disk|.", ()),
        ("(?i:disk)", ()),
        ("(?=disk).", ()),
        (r"\d", ()),
        ("x", ()),
    ],
)
def test_the_text_that_every_match_contains(pattern: str, literals: tuple[str, ...]) -> None:
    assert read_shape(pattern, 0).literals == literals


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a|b", True), ("(a|b)", False), (r"a\|b", False), ("[|]", False), ("[]|]", False)],
)
def test_alternatives_outside_of_parentheses(pattern: str, expected: bool) -> None:
    assert has_alternatives(pattern) == expected


def test_a_query_is_compared_by_what_was_typed() -> None:
    assert LineQuery.parse("a") == LineQuery("a")
    assert LineQuery.parse("a", inverse=True) != LineQuery.parse("a")
    assert len({LineQuery("a"), LineQuery("a"), LineQuery("b")}) == 2


def test_an_inverse_query_says_what_matches() -> None:
    query = LineQuery.parse("a", inverse=True)
    assert query.matches("a")
    block: LogBlock = make_block([b"a", b"b"])
    assert query.find_lines(block) == [0]
