"""JSON as indented lines that can be folded."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue import json_text
from servedeck.async_queue.json_text import (
    FOLDED_LINES,
    PACKED_LENGTH,
    JsonText,
    format_json,
    line_tokens,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=30,
)


def joined(text: JsonText) -> str:
    return "\n".join(text.lines)


@given(VALUES, st.sampled_from([None, 0, 3]), st.booleans())
def test_the_lines_are_the_same_value(value, indent, is_ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    assert json.loads(joined(format_json(text))) == value


NUMBERS = st.lists(st.integers() | st.floats(allow_nan=False) | st.none(), max_size=80)


@given(
    st.dictionaries(st.text("abc", max_size=6), NUMBERS), st.sampled_from([None, 0]), st.integers(0)
)
def test_long_lists_of_numbers(value, indent, length):
    text = json.dumps(value, indent=indent)
    cut = length % (len(text) + 1) or len(text)
    shown = format_json(text[:cut])
    assert "".join("".join(shown.lines).split()) == "".join(text[:cut].split())
    assert max(map(len, shown.lines)) < 2 * PACKED_LENGTH
    if cut == len(text):
        entries = [len(one) for one in (value, *value.values()) if one]
        assert list(shown.counts.values()) == entries


@given(VALUES, st.integers(0, 400))
def test_a_text_that_is_cut_off_loses_no_character(value, length):
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)[:length]
    lines = format_json(text).lines
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.text(st.sampled_from('{}[]",:\\ \n1ae-'), max_size=40))
def test_what_is_not_json_is_shown_too(text):
    lines = format_json(text).lines
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(VALUES, st.data())
def test_folded_lines_hide_what_is_in_them(value, data):
    text = format_json(json.dumps(value))
    indexes = range(len(text.lines))
    foldable = [index for index in indexes if text.can_fold(index)]
    folded = data.draw(st.sets(st.sampled_from(foldable))) if foldable else set()
    shown = list(text.visible(folded))
    hidden = {at for one in folded for at in range(one + 1, text.last[one] + 1)}
    assert shown == [index for index in indexes if index not in hidden]
    for index in indexes:
        parent = text.parent(index)
        if parent is not None:
            assert parent < index <= text.last[parent]


def test_how_it_looks():
    text = format_json(
        '{"a": [1, 2.50, -3e5], "b": {}, "c": [], "d": {"e": "x: y, [z]"}, "f": null}'
    )
    assert text.lines == [
        "{",
        '  "a": [',
        "    1, 2.50, -3e5",
        "  ],",
        '  "b": {},',
        '  "c": [],',
        '  "d": {',
        '    "e": "x: y, [z]"',
        "  },",
        '  "f": null',
        "}",
    ]
    assert text.folded_line(0) == "{ … 5 entries }"
    assert text.folded_line(1) == '  "a": [ … 3 entries ],'
    assert text.folded_line(6) == '  "d": { … 1 entry },'
    assert not text.can_fold(4)


def test_letters_are_decoded_and_controls_are_not():
    source = r'["\uc548\ub155 \ud83d\ude00", "\u001b[31m\u200b\n", "\\u0041", "\ud83d", "\u202e"]'
    assert format_json(source).lines[1:-1] == [
        '  "안녕 😀",',
        r'  "\u001b[31m\u200b\n",',
        r'  "\\u0041",',
        r'  "\ud83d",',
        r'  "\u202e"',
    ]


def test_data_is_folded_at_first():
    numbers = [0.123456789] * 200
    picture = "data:image/png;base64," + "A" * 5000
    text = format_json(json.dumps({"embedding": numbers, "short": [1, 2], "url": picture}))
    assert text.lines[1] == '  "embedding": ['
    assert text.last[1] > FOLDED_LINES
    url = next(at for at, line in enumerate(text.lines) if "url" in line)
    assert text.folded_at_first == {1, url}
    assert text.folded_line(1) == '  "embedding": [ … 200 entries ],'
    assert text.folded_line(url).endswith("… (5,024 characters)")
    words = format_json(json.dumps(["word " * 1000]))
    assert not words.folded_at_first


def test_a_value_that_is_cut_off_can_be_folded():
    text = format_json('{"messages": [{"role": "user", "content": "Hel')
    assert text.lines[-1] == '      "content": "Hel'
    assert text.folded_line(1) == '  "messages": [ … 1 entry ]'
    assert list(text.visible({1})) == [0, 1]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_no_depth_is_too_deep(opening):
    text = format_json(opening * 50_000)
    assert len(text.lines) == 50_000 + (opening != "[")
    assert max(map(len, text.lines)) < 60
    assert text.parent(49_999) == 49_998


def test_more_lines_than_can_be_shown_are_left_out(monkeypatch):
    monkeypatch.setattr(json_text, "MAX_LINES", 10)
    text = format_json(json.dumps(["x"] * 50))
    assert text.omits_lines
    assert len(text.lines) == 10


def test_more_numbers_than_can_be_shown_are_left_out(monkeypatch):
    monkeypatch.setattr(json_text, "MAX_LINES", 10)
    text = format_json(json.dumps([1] * 1000))
    assert text.omits_lines
    assert len(text.lines) == 10
    assert text.counts[0] == sum(line.count("1") for line in text.lines)


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ('  "key": "value",', ["key", "string"]),
        ('    "only a string"', ["key", "string"]),
        ('  "n": -12,', ["key", "number"]),
        ('  "t": true', ["key", "constant"]),
        ('  "list": [', ["key", ""]),
    ],
)
def test_the_parts_of_a_line(line, kinds):
    tokens = line_tokens(line)
    assert [kind for _, kind in tokens] == kinds
    assert tokens[-1].end == len(line)
    assert all(first.end <= second.end for first, second in pairwise(tokens))
    start = tokens[0].end
    assert line[:start].rstrip(": ").lstrip().strip('"').isalnum() or not line[:start].strip()


@pytest.mark.parametrize("mark", [",", ":", ",:"])
def test_marks_without_values_make_no_long_line(mark: str) -> None:
    """Each would be a copy of all those before it."""
    text = "[" + mark * 5000
    lines = format_json(text).lines
    assert "".join("".join(lines).split()) == text
    assert max(map(len, lines)) < 200


def test_a_key_without_its_value_is_shown_before_the_next() -> None:
    assert joined(format_json('{"secret": "shown": 1')) == '{\n  "secret": "shown":\n  1'
