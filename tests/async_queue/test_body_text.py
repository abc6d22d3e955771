"""What a body is, and how it is shown."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.body_text import (
    HEX_BYTES,
    MAX_SHOWN_BYTES,
    BodyBytes,
    BodyKind,
    BodyText,
    hex_text,
    read_body_text,
    size_text,
)
from servedeck.async_queue.queue_api import Side
from servedeck.serving.text import sanitize

HOSTILE = "a\x1b[31mred\x1b]0;title\x07 \u202eb \u200bc [bold]d[/bold] 안녕"


def read(data: bytes, side: Side = Side.RESPONSE, *, size: int = 0, **options: Any) -> BodyText:
    return read_body_text(BodyBytes(data, size or len(data)), side, **options)


def read_json(value: object, side: Side = Side.RESPONSE) -> BodyText:
    return read(json.dumps(value).encode(), side, content_type="application/json")


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(str.encode),
    st.integers(0, 1000),
    st.sampled_from(["", "application/json", "text/plain; charset=utf-8", "image/png"]),
    st.sampled_from(["", "gzip", "deflate", "br", "identity"]),
    st.booleans(),
)
def test_any_bytes_are_shown_and_control_no_terminal(data, more, content_type, encoding, is_stream):
    for side in Side:
        body = read(
            data,
            side,
            size=len(data) + more,
            content_type=content_type,
            encoding=encoding,
            is_event_stream=is_stream,
        )
        assert sanitize(body.text) == body.text
        assert all(sanitize(note) == note for note in body.notes)
        for line in body.json.lines if body.json is not None else ():
            assert sanitize(line) == line
            assert "\n" not in line


def test_an_empty_body():
    assert read(b"", content_type="application/json").kind is BodyKind.EMPTY


def test_json_with_and_without_its_content_type():
    body = read(b' {"object": "list"}')
    assert body.kind is BodyKind.JSON
    assert body.json is not None
    assert body.json.lines == ["{", '  "object": "list"', "}"]
    assert body.notes == []
    for content_type in ("application/octet-stream", "application/x-www-form-urlencoded"):
        assert read(b'{"object": "list"}', content_type=content_type).kind is BodyKind.JSON


def test_invalid_json_is_text_with_a_note():
    body = read(b'{"a": }', content_type="application/json")
    assert body.kind is BodyKind.TEXT
    assert body.text == '{"a": }'
    assert body.notes == ["It is not valid JSON: invalid character (byte 6)."]
    assert read(b"{not said to be JSON}").notes == []


def test_json_that_is_nested_too_deeply_is_shown_without_a_chat():
    body = read(b"[" * 100_000 + b"]" * 100_000, content_type="application/json")
    assert body.kind is BodyKind.JSON
    assert body.notes[0] == "It is nested too deeply to be read as a chat."


def test_the_beginning_of_json_is_shown_as_json():
    data = json.dumps({"messages": [{"role": "user", "content": "안녕" * 100}]}).encode()
    utf8 = json.dumps({"content": "안녕" * 100}, ensure_ascii=False).encode()
    assert read(data[:200], size=len(data)).kind is BodyKind.JSON
    for end in range(20, 30):  # in the middle of a letter, too
        body = read(utf8[:end], size=len(utf8), content_type="application/json")
        assert (body.kind, len(body.notes)) == (BodyKind.JSON, 1)


def test_invalid_utf8_is_said_and_replaced():
    body = read(b'{"a": "\xff\xfe b"}', content_type="application/json")
    assert body.notes[0] == "2 places have bytes that are not valid UTF-8, shown as \ufffd."
    assert body.kind is BodyKind.JSON
    assert "\ufffd\ufffd b" in body.text
    assert read("a \ufffd is no mistake".encode()).notes == []


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", ""),
        (b"%PDF-1.7", "application/pdf"),
        (b"\0\1\2\3", "application/octet-stream"),
        (b"ID3", "audio/mpeg"),
        (bytes(range(128, 256)), ""),
    ],
)
def test_bytes_are_shown_in_hexadecimal(data, content_type):
    body = read(data, content_type=content_type)
    assert body.kind is BodyKind.BINARY
    assert body.text == hex_text(data)


def test_hexadecimal_as_hexdump_prints_it():
    assert hex_text(b"\x89PNG 0123456789abcdef") == (
        "00000000  89 50 4e 47 20 30 31 32 33 34 35 36 37 38 39 61  .PNG 0123456789a\n"
        "00000010  62 63 64 65 66                                   bcdef"
    )
    assert len(hex_text(b"\0" * 10_000).splitlines()) == HEX_BYTES // 16


def test_an_encoded_body_is_decoded():
    data = gzip.compress(b'{"object": "list"}')
    body = read(data, encoding="gzip", content_type="application/json")
    assert (body.kind, body.notes) == (BodyKind.JSON, ["It was sent encoded (gzip)."])
    cut = read(data[:-12], size=len(data), encoding="gzip", content_type="application/json")
    assert cut.kind is BodyKind.JSON
    wrong = read(b"no gzip", encoding="gzip", content_type="text/plain")
    assert wrong.notes == ["It is encoded (gzip), and shown as it was sent."]


def test_a_small_body_that_becomes_a_large_one_is_cut():
    data = zlib.compress(b" " * (MAX_SHOWN_BYTES + 10))
    body = read(data, encoding="deflate", content_type="text/plain")
    assert len(body.text) == MAX_SHOWN_BYTES


def test_a_stream_is_joined():
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)
    body = read(data + b"data: [DONE]\n\n", content_type="text/event-stream; charset=utf-8")
    assert body.kind is BodyKind.EVENT_STREAM
    assert body.chat is not None
    assert body.chat.messages[0].parts[0].text == "Hello"
    assert body.notes == ["3 events, joined."]
    cut_off = read(data, is_event_stream=True)
    assert cut_off.notes == ["2 events, joined.", "The stream has no [DONE] at its end."]


def test_escapes_are_left_out():
    body = read(HOSTILE.encode(), content_type="text/plain")
    assert body.text == "ared b c [bold]d[/bold] 안녕"


def test_how_much_is_shown():
    assert size_text(BodyBytes(b"x" * 1024, 1024)) == "1.0 KiB"
    assert size_text(BodyBytes(b"x" * (256 << 10), 100 << 20)) == "256.0 KiB of 100.0 MiB"


# -- what was said ------------------------------------------------------------------------------


def said(body: BodyText) -> list[tuple[str, list[tuple[str, str]]]]:
    """Who said what."""
    assert body.chat is not None
    return [
        (message.role, [(part.kind.value, part.text) for part in message.parts])
        for message in body.chat.messages
    ]


def test_a_request_with_messages():
    request = {
        "model": "llama",
        "temperature": 0.2,
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64," + "A" * 4096},
                    },
                    {"type": "input_audio", "input_audio": {"data": "A" * 4096, "format": "wav"}},
                    {"type": "odd", "x": 1},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
    }
    body = read_json(request, Side.REQUEST)
    assert said(body) == [
        ("system", [("text", "Be brief.")]),
        (
            "user",
            [
                ("text", "What is this?"),
                ("attachment", "image: image/png, 3.0 KiB"),
                ("attachment", "audio: 3.0 KiB"),
                ("other", '{"type":"odd","x":1}'),
            ],
        ),
        ("assistant", [("tool call", '{"a": 1}')]),
        ("tool", [("text", "42")]),
    ]
    assert body.chat is not None
    assert body.chat.parameters == [("temperature", "0.2"), ("tools", "get_weather")]
    assert body.chat.messages[-1].note == "answers c1"


@pytest.mark.parametrize(
    ("request_body", "messages"),
    [
        ({"prompt": "Once"}, [("prompt", [("text", "Once")])]),
        ({"prompt": ["a", "b"]}, [("prompt", [("text", "a")]), ("prompt", [("text", "b")])]),
        ({"prompt": [1, 2, 3]}, [("prompt", [("attachment", "3 token ids")])]),
        ({"input": "embed me"}, [("input", [("text", "embed me")])]),
        ({"inputs": "Hello"}, [("input", [("text", "Hello")])]),
        ({"input": [{"role": "user", "content": "Hi"}]}, [("user", [("text", "Hi")])]),
    ],
)
def test_requests_without_messages(request_body, messages):
    assert said(read_json(request_body, Side.REQUEST)) == messages


@pytest.mark.parametrize(
    ("response", "messages"),
    [
        (
            {"choices": [{"message": {"content": "Hi", "reasoning_content": "Hm"}}]},
            [("assistant", [("reasoning", "Hm"), ("text", "Hi")])],
        ),
        ({"choices": [{"text": "Hi"}]}, [("assistant", [("text", "Hi")])]),
        ({"message": {"role": "assistant", "content": "Hi"}}, [("assistant", [("text", "Hi")])]),
        ({"generated_text": "Hi"}, [("assistant", [("text", "Hi")])]),
    ],
)
def test_responses(response, messages):
    assert said(read_json(response)) == messages


FIELDS = (
    *("messages", "role", "content", "type", "text", "image_url", "url", "tool_calls", "function"),
    *("arguments", "name", "choices", "delta", "message", "prompt", "tools", "index", "reasoning"),
    *("finish_reason", "input_audio", "input", "output", "error"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_no_json_is_an_error(value):
    for side in Side:
        assert read_json(value, side).kind in (BodyKind.JSON, BodyKind.TEXT)
    event = b"data: " + json.dumps(value).encode() + b"\n\n"
    assert read(event, is_event_stream=True).kind is BodyKind.EVENT_STREAM
