"""The YAML of an object: what is read from it is the object again, and its lines are printable."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.serving.text import sanitize
from servedeck.serving.yaml_text import (
    LAST_APPLIED,
    LAST_APPLIED_PATH,
    MANAGED_FIELDS_PATH,
    Token,
    YamlText,
    format_string,
    object_lines,
    object_text,
)

HOSTILE = (
    *(
        "",
        " ",
        "  a",
        "a ",
        "\t",
        "\tx\n",
        "a\tb\nc",
        "-",
        "- a",
        "--",
        "---",
        "--- a",
        "...",
        "-a",
    ),
    *("yes", "No", "on", "y", "null", "~", "Null", "true", "False", "=", "<<", "NaN", ".inf"),
    *("1", "1e3", "1E3", "0x1f", "0o17", "017", "0b1", "1_000", "_1", "._1", ".5", "5.", "+1", "-"),
    *("1:20", "12:30:45", "2024-01-01", "2024-01-01T00:00:00Z", "2024-1-1 0:0:0", "100m", "10Gi"),
    *(
        "10.0.0.1",
        "v1.2",
        "a: b",
        "a:",
        ":a",
        "a #b",
        "#a",
        "a#b",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
    ),
    *(
        "@a",
        "`a",
        "{a",
        "[a",
        "]",
        "}",
        ",a",
        "?",
        "? a",
        "?a",
        "'",
        '"',
        "it's",
        '{"a": "b"}',
        "\\",
    ),
    *("a\nb", "a\n", "a\n\n", "\n", "\n\n", "\na", "\n a\n", " a\nb", "a\n ", "a\n \n", "a\n  b\n"),
    *(
        "a\r\nb",
        "a\rb",
        "\x1b[31mred\x1b[0m",
        "\x1b]52;c;YQ==\x07",
        "\x9b1m",
        "\x00",
        "\x7f",
        "\x85",
    ),
    *("\u202eabc", "\u2066a\u2069", "\u200b", "\ufeffa", "\u2028", "\xa0a", "a\u3000b", "\ue000"),
    *(
        "한국어",
        "日本\n語",
        "👍🏽",
        "👩\u200d💻",
        "e\u0301",
        "e" + "\u0301" * 9,
        "\ufffe",
        "\U0010ffff",
    ),
    *(
        "a" * 5000,
        "a b " * 500,
        "가" * 3000,
        "x: " * 20,
        "\u0301",
        "١٢",
        "a\u0301\u0302\u0303\u0304b",
    ),
)
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("ab -:#?\"'\\\n\t\r|>~01._eExX\u0301\u202e\x1b가"), max_size=12),
    st.from_regex(r"[-+]?[0-9._]{1,6}([eE:xo][-+]?[0-9_:]{0,4})?", fullmatch=True),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


def assert_lines_are_harmless(value: dict[str, Any]) -> None:
    lines = object_lines(value)
    for line in lines:
        shown = line.text.replace("\t", "    ")
        assert shown.isprintable()
        assert sanitize(shown) == shown
        assert 0 <= line.key_start <= line.key_end <= len(line.text)
    assert len({line.path for line in lines}) == len(lines)


@given(OBJECTS)
@example({text: text for text in HOSTILE})
@example({"a": [[text, [text]] for text in HOSTILE]})
@example({"a": [{"name": text, "value": {text: [text]}} for text in HOSTILE]})
@example(
    {"a": ["a", "a", "a#1", [], [], [[]], {}, {}, "\0", "\1"], "b": {"": {"": 1}, "c": ["", ""]}}
)
@example({"a" * 2000: {"b": 1}, "b" * 2000: [1], "c" * 2000: "x\ny", "d": [{"e" * 2000: []}]})
def test_what_is_read_from_the_text_is_the_object(value: dict[str, Any]) -> None:
    assert yaml.safe_load(object_text(value)) == value
    assert_lines_are_harmless(value)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_string_is_the_same_for_both_parsers(text: str) -> None:
    written = object_text({"key": text, "list": [text], text: {text: "x"}})
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        assert yaml.load(written, loader) == {"key": text, "list": [text], text: {text: "x"}}


def test_the_text_has_the_form_of_kubectl() -> None:
    value = {
        "status": {"conditions": []},
        "kind": "Pod",
        "data": {"a": "1"},
        "spec": {
            "containers": [
                {"name": "s", "args": ["--port", "8000"], "command": ["sh", "-c", "a\nb\n"]},
                {"name": "t", "image": "a/b:v1", "ports": [{"containerPort": 80}], "env": {}},
            ],
            "nested": [[1, [2.5, None]], True],
        },
        "metadata": {"name": "llama", "annotations": {"json": '{"a":1}', "yes": "yes"}},
        "apiVersion": "v1",
    }
    assert object_text(value) == (
        """\
apiVersion: v1
kind: Pod
metadata:
  name: llama
  annotations:
    json: '{"a":1}'
    "yes": "yes"
spec:
  containers:
  - name: s
    args:
    - --port
    - "8000"
    command:
    - sh
    - -c
    - |
      a
      b
  - name: t
    image: a/b:v1
    ports:
    - containerPort: 80
    env: {}
  nested:
  - - 1
    - - 2.5
      - null
  - true
status:
  conditions: []
data:
  a: "1"
"""
    )
    assert object_text({}) == "{}\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[31m", '"\\x1B[31m"'),
        ("\u202eabc", '"\\u202Eabc"'),
        ("👍🏽", '"👍\\U0001F3FD"'),
        ("e" + "\u0301" * 4, '"e' + "\\u0301" * 4 + '"'),
        ("e\u0301", "e\u0301"),
        ("10.0.0.1", "10.0.0.1"),
        ("500m", "500m"),
        ('it\'s "a"', 'it\'s "a"'),
        ('"a": it\'s', "'\"a\": it''s'"),
    ],
)
def test_a_string_on_one_line(text: str, written: str) -> None:
    assert format_string(text) == written


def test_the_parts_of_a_line() -> None:
    lines = object_lines({"a": {"name": "x"}, "b": [{"m": 1}, "text"], "c": None, "d": []})
    found = [
        [(line.text[start:end], kind) for start, end, kind in spans]
        for line, spans in ((line, spans_of(line)) for line in lines)
    ]
    assert found == [
        [("a:", Token.KEY)],
        [("  ", ""), ("name:", Token.KEY), (" x", Token.STRING)],
        [("b:", Token.KEY)],
        [("- ", ""), ("m:", Token.KEY), (" 1", Token.NUMBER)],
        [("- ", ""), ("text", Token.STRING)],
        [("c:", Token.KEY), (" null", Token.CONSTANT)],
        [("d:", Token.KEY), (" []", Token.CONSTANT)],
    ]


def spans_of(line: Any) -> list[tuple[int, int, str]]:
    spans, start = [], 0
    for end, kind in line.tokens():
        if end > start:
            spans.append((start, end, kind))
        start = end
    return spans


def test_folded_fields_are_one_line() -> None:
    fields = [{"manager": "kubectl", "fieldsV1": {"f:a": {}}}, {"manager": "kubelet"}]
    applied = json.dumps({"a": 1})
    value = {
        "metadata": {"managedFields": fields, "annotations": {LAST_APPLIED: applied, "b": "c"}}
    }
    folded = {MANAGED_FIELDS_PATH: " (m unfolds)", LAST_APPLIED_PATH: ""}
    lines = object_lines(value, folded=folded)
    assert [line.text for line in lines] == [
        "metadata:",
        "  managedFields: # 4 lines folded (m unfolds)",
        "  annotations:",
        f"    {LAST_APPLIED}: # 1 line folded",
        "    b: c",
    ]
    assert lines[1].token is Token.COMMENT
    assert len(object_lines(value)) == 9


def make_object(**spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


def text_of(value: dict[str, Any], **options: Any) -> YamlText:
    return YamlText(object_lines(value, **options))


def test_changed_lines_are_those_whose_field_has_another_value() -> None:
    old = text_of(make_object(args=["a", "b"], env=[{"name": "X", "value": "1"}], n=1))
    new = text_of(
        make_object(
            args=["first", "a", "b"],
            env=[{"name": "W", "value": "1"}, {"name": "X", "value": "2"}],
            n=1,
        )
    )
    changed = new.changed_since(old)
    assert [new.lines[at].text.strip() for at in sorted(changed)] == [
        "- first",
        "- name: W",
        'value: "1"',
        'value: "2"',
    ]
    assert new.changed_since(new) == frozenset()


def test_a_comment_is_not_a_change() -> None:
    folded = {MANAGED_FIELDS_PATH: ""}
    old = text_of({"metadata": {"managedFields": [1]}}, folded=folded)
    new = text_of({"metadata": {"managedFields": [1, 2]}}, folded=folded)
    assert old.lines != new.lines
    assert new.changed_since(old) == frozenset()


def test_a_line_is_found_again_where_others_were_added_and_removed() -> None:
    old = text_of(make_object(args=["a", "b", "c"], script="one\ntwo\nthree\n"))
    new = text_of(make_object(more=[1, 2], args=["x", "b", "c"], script="zero\none\nthree\n"))

    def text_at(text: str) -> str:
        index = next(at for at, line in enumerate(old.lines) if line.text.strip() == text)
        return new.lines[new.find_line(old, index)].text.strip()

    assert text_at("- b") == "- b"
    assert text_at("- a") == "- b"  # removed: the next one
    assert text_at("two") == "three"
    assert text_at("one") == "one"
    assert YamlText().find_line(old, 5) == 0
    assert YamlText(old.lines[:2]).find_line(old, len(old.lines) - 1) == 1
    assert new.find_line(YamlText(), 3) == 0
