"""A request as text that is edited."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.request_text import (
    MAX_BODY,
    RequestError,
    body_text,
    example_request,
    headers_text,
    read_body,
    read_headers,
    read_line,
)
from servedeck.serving.text import sanitize

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_is_shown_without_what_a_terminal_obeys_and_sent_as_it_was(value: object) -> None:
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        data = body.encode("utf-8", "surrogatepass")
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if any(one in body for one in ("Infinity", "NaN")) and not isinstance(value, str):
            continue
        text = body_text(data)
        assert sanitize(text) == text
        assert json.loads(read_body(text, [])) == json.loads(body)


@pytest.mark.parametrize(
    "char", ["\x1b", "\x7f", "\x9b", "\u202e", "\ufe0f", "\U000e0100", "\ud800", "👍🏽", "é", "한"]
)
def test_characters_of_strings_survive_the_editing(char: str) -> None:
    body = json.dumps({"content": f"a{char}b"}).encode()
    text = body_text(body)
    assert sanitize(text) == text
    assert json.loads(text)["content"] == f"a{char}b"


def test_many_marks_on_a_letter_survive_the_editing() -> None:
    content = "a" + "\u0301" * 20
    text = body_text(json.dumps({"content": content}).encode())
    assert sanitize(text) == text
    assert json.loads(text)["content"] == content


def test_json_is_indented() -> None:
    assert body_text(b'{"a":[1,"\xc3\xa9"]}') == '{\n  "a": [\n    1,\n    "é"\n  ]\n}'


def test_json_that_is_too_long_with_its_indents_has_none() -> None:
    value = {"input": [[number, -number] for number in range(1500)], "user": "é\x1b"}
    body = json.dumps(value).encode()
    assert len(json.dumps(value, indent=2)) > MAX_BODY > len(body)
    text = body_text(body)
    assert len(text) <= MAX_BODY and "\n" not in text
    assert sanitize(text) == text
    assert json.loads(text) == value


def test_json_that_is_too_long_with_its_escapes_cannot_be_edited() -> None:
    body = json.dumps("\u200b" * 6000, ensure_ascii=False).encode()
    assert len(body) < MAX_BODY
    with pytest.raises(RequestError, match=r"Its body has 35\.2 KiB with escapes, which is too"):
        body_text(body)


@pytest.mark.parametrize("body", [b"hello", b'{"a": 1e400}', b'{"a": NaN}', b"[" * 3000])
def test_what_is_no_json_is_edited_as_it_is(body: bytes) -> None:
    assert body_text(body).encode() == body


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\xff\x00", "is no text (2 B)"),
        (b"x" * (MAX_BODY + 1), "has 32.0 KiB, which is too much to edit"),
        (b"a\x1b[31mb", "has control characters"),
    ],
)
def test_what_cannot_be_edited_is_said(body: bytes, text: str) -> None:
    with pytest.raises(RequestError) as found:
        body_text(body)
    assert text in str(found.value)


def test_headers_without_those_of_the_connection_and_hidden_ones() -> None:
    text, hidden = headers_text(
        [
            ("content-type", "application/json"),
            ("Host", "example.com"),
            ("content-length", "12"),
            ("x-key", "[hidden]"),
            ("cookie", "a=b"),
            ("x-note", "a\r\nb\x1b[31m"),
        ]
    )
    assert text == "content-type: application/json\nx-note: a b"
    assert hidden == 2
    assert read_headers(text) == [("content-type", "application/json"), ("x-note", "a b")]


@pytest.mark.parametrize(
    ("text", "method", "path"),
    [
        ("POST /v1/chat/completions", "POST", "/v1/chat/completions"),
        (" put  /a?b=c%20d ", "PUT", "/a?b=c%20d"),
    ],
)
def test_a_line_is_read(text: str, method: str, path: str) -> None:
    assert read_line(text) == (method, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Nothing is no method"),
        ("GET /", "GET is no method of asynchronous requests; write one of POST, PUT, PATCH"),
        ("\x1b[31mX /", "X is no method"),
        ("POST", "must begin with /"),
        ("POST v1", "must begin with /"),
        ("POST /a b", "have no spaces"),
        ("POST /é", "percent-encoded"),
        ("POST /" + "a" * 8192, "more than 8,192 characters"),
    ],
)
def test_a_line_that_is_not_valid_is_said(text: str, message: str) -> None:
    with pytest.raises(RequestError) as found:
        read_line(text)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: b\nnonsense", "Line 2 is no header"),
        ("a b: c", "Line 1 is no header"),
        (": c", "Line 1 is no header"),
        ("X: é", "the value of X must be ASCII"),
        ("Authorization: Bearer x", "the API server's proxy removes it"),
        ("A: b\n\nhost: c", "host is set by the connection; remove line 3"),
        ("X-Async: true", "X-Async is set by the connection"),
    ],
)
def test_a_header_that_is_not_valid_is_said(text: str, message: str) -> None:
    with pytest.raises(RequestError) as found:
        read_headers(text)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b"}', "It is no valid JSON, line 2, column 5: Expecting ':' delimiter."),
        ("", "It is no valid JSON, line 1, column 1: Expecting value."),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[" * 100_000, "no JSON that can be read"),
    ],
)
def test_a_body_that_is_not_valid_is_said(text: str, message: str) -> None:
    with pytest.raises(RequestError) as found:
        read_body(text, [("Content-Type", "application/json; charset=utf-8")])
    assert message in str(found.value)


def test_a_body_of_another_type_is_not_checked() -> None:
    assert read_body("a=b", [("content-type", "application/x-www-form-urlencoded")]) == b"a=b"
    with pytest.raises(RequestError):
        read_body("a=b", [("content-type", "application/problem+json")])


@pytest.mark.parametrize(
    ("template", "model", "line", "fields"),
    [
        ("vllm", "llama", "POST /v1/chat/completions", {"model", "messages"}),
        ("tei", "bge", "POST /v1/embeddings", {"model", "input"}),
        ("nothing-known", "", "POST /", set()),
    ],
)
def test_an_example_for_each_server(template: str, model: str, line: str, fields: set[str]) -> None:
    text = example_request(template, model)
    assert text.line == line
    headers = read_headers(text.headers)
    assert headers == [("Content-Type", "application/json")]
    assert read_line(text.line)[0] == "POST"
    assert set(json.loads(read_body(text.body, headers))) == fields
