"""Fields of JSON and key=value lines, and the filter by field."""

from __future__ import annotations

import json
from array import array
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.block import LogBlock
from servedeck.logs.buffer import LogBuffer
from servedeck.logs.fields import (
    LONGEST_LINE,
    MOST_FIELDS,
    FieldQuery,
    format_fields,
    parse_fields,
)
from servedeck.logs.filter import LogFilter
from servedeck.logs.lines import LineBatch, ns_to_stamp
from servedeck.logs.query import QueryError

_JSON = (
    '{"level":"error","message":"no answer","status":503,"user":{"id":7,"name":"a b"},"ok":null}'
)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            _JSON,
            {
                "level": "error",
                "message": "no answer",
                "status": "503",
                "user.id": "7",
                "user.name": "a b",
                "ok": "null",
            },
        ),
        ('(APIServer pid=1) {"a":true,"b":[1,{"c":2}]}', {"a": "true", "b": '[1,{"c":2}]'}),
        ('{"a":{},"b":1.5}', {"a": "{}", "b": "1.5"}),
        ('{"a":"\\u001b[31mred\\u001b[0m\\nnext\\u202e"}', {"a": "red↵next"}),
        (
            'time="2026-11-29" level=warn msg="it is \\"slow\\"" took=12ms',
            {"time": "2026-11-29", "level": "warn", "msg": 'it is "slow"', "took": "12ms"},
        ),
        (
            "INFO 11-29 01:02:03 [x.py:1] config: model='a b', dtype=torch.float16, seed=0)",
            {"model": "a b", "dtype": "torch.float16", "seed": "0"},
        ),
        ("one=pair only", None),
        ("GET /v1?a=1&b=2", None),
        ("a == b and c == d", None),
        ("no fields", None),
        ("{}", None),
        ('{"cut": ', None),
        ("{not json} a=1 b=2", None),
        ("", None),
    ],
)
def test_fields_of_a_line(text: str, fields: dict[str, str] | None) -> None:
    assert parse_fields(text) == fields


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (_JSON, 'no answer level=error status=503 user.id=7 user.name="a b" ok=null'),
        (
            '(APIServer pid=1) {"msg":"m","severity":"INFO","x":""}',
            '(APIServer pid=1) m severity=INFO x=""',
        ),
        ('ts=1 level=info msg="a b" c=d', "a b level=info ts=1 c=d"),
        ('{"fields":{"message":"m"},"level":"INFO"}', "m level=INFO"),
        ("INFO config: model=a, seed=0", "INFO config: model=a, seed=0"),
        ("plain", "plain"),
        ("{", "{"),
    ],
)
def test_shown_as_fields(text: str, shown: str) -> None:
    assert format_fields(text) == shown


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("level=error", True),
        ("level=ERROR", True),
        ("level>=warning", True),
        ("level<error", False),
        ("level!=info", True),
        ("severity=error", True),
        ("status>=500", True),
        ("status = 503", True),
        ("status==503.0", True),
        ("status<500", False),
        ("status!=200", True),
        ("user.name=a b", True),
        ('user.name="a b"', True),
        ("user.name!=x", True),
        ("user.name=~^a", True),
        ("user.name!~^a", False),
        ("message=~answer$", True),
        ("message>1", False),
        ("missing=1", False),
        ("missing!=1", False),
        ("ok=null", True),
    ],
)
def test_the_filter_by_field(query: str, matches: bool) -> None:
    assert FieldQuery.parse(query).matches(_JSON) is matches


def test_the_level_of_other_formats_is_a_field() -> None:
    query = FieldQuery.parse("level>=error")
    assert query.matches("(EngineCore pid=1) ERROR 11-29 01:02:03 [core.py:1] x")
    assert not query.matches("INFO:     10.0.0.1:1 - x")
    assert not query.matches("no level")
    assert FieldQuery.parse("level=error").matches('{"level":50}')


def test_matching_lines_of_a_block_and_where() -> None:
    query = FieldQuery.parse("status>=500")
    lines = ["x", _JSON, "status=200 a=b", "status=501 a=b"]
    stamp = ns_to_stamp(0)
    block = LogBlock(0, "\n".join(lines).encode(), stamp * 4, array("H", [1] * 4))
    assert query.find_lines(block) == [1, 3]
    steps = query.steps(block)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value == [1, 3]
            break
    start, end = query.spans(_JSON)[0]
    assert _JSON[start:end] == "503"
    assert query.spans("status=200 a=b") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "key, an operator"),
        ("level", "key, an operator"),
        ("status>=many", "compares numbers"),
        ("level>=loud", "no level"),
        ("model=~(", "not valid"),
        ("model=~(a+)+", "repeats what is repeated"),
        ("model=~", "Type the text"),
    ],
)
def test_what_is_no_filter_is_said(query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        FieldQuery.parse(query)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=8))
def test_every_json_object_can_be_shown(members: dict[str, object]) -> None:
    text = json.dumps(members)
    fields = parse_fields(text)
    for key, value in (fields or {}).items():
        # Characters of private use are kept: fonts of terminals draw them.
        assert all(char.isprintable() or category(char) == "Co" for char in key + value)
    assert "\n" not in format_fields(text)


@given(st.text(alphabet="{}[]\":,=\\ a1'", max_size=60))
def test_malformed_lines_have_no_fields_and_raise_nothing(text: str) -> None:
    parse_fields(text)
    format_fields(text)
    FieldQuery.parse("a=1").matches(text)


def test_bounds() -> None:
    many = json.dumps({f"k{index}": index for index in range(MOST_FIELDS * 3)})
    assert len(parse_fields(many) or {}) == MOST_FIELDS
    pairs = " ".join(f"k{index}={index}" for index in range(MOST_FIELDS * 3))
    assert len(parse_fields(pairs) or {}) == MOST_FIELDS
    assert parse_fields('{"a":"' + "x" * LONGEST_LINE + '"}') is None
    depth = 5000
    assert parse_fields('{"a":' * depth + "1" + "}" * depth) is None
    assert parse_fields('{"a":' * 20 + "1" + "}" * 20) is not None


async def test_a_log_is_filtered_by_field() -> None:
    buffer = LogBuffer()
    try:
        texts = [b"status=200 a=b", b"status=503 a=b", b"  goes on", b"INFO: x", b"status=500 a=b"]
        buffer.append(LineBatch([ns_to_stamp(0)] * 5, texts, [1] * 5))
        shown = LogFilter(buffer, (FieldQuery.parse("status>=500"),))
        hidden = LogFilter(buffer, (FieldQuery.parse("status>=500", inverse=True),))
        while shown.advance(0.0) or hidden.advance(0.0):
            pass
        assert shown.numbers(0, 9) == [1, 2, 4]
        assert hidden.numbers(0, 9) == [0, 3]
    finally:
        buffer.close()
