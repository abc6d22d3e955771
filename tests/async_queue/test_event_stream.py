"""A streamed response, read event by event and joined to its text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.chat import PartKind
from servedeck.async_queue.event_stream import (
    EventStreamReader,
    StreamEvent,
    StreamText,
    read_stream,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def chunk(choice: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": choice, "delta": delta, "finish_reason": None}]}


def encode(chunks: Sequence[object], end: str = "\n", *, is_done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in chunks]
    return ("".join(lines) + (f"data: [DONE]{end}{end}" if is_done else "")).encode()


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in pairwise(edges)]


def read_pieces(pieces: Sequence[bytes]) -> list[StreamEvent]:
    reader = EventStreamReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.feed(b"", is_end=True)]


def texts_of(stream: StreamText) -> dict[tuple[str, str], str]:
    """The joined texts, by the note of the message and the kind of the part."""
    return {
        (message.note, part.kind.value): part.text
        for message in stream.messages()
        for part in message.parts
    }


@given(
    st.lists(st.tuples(TEXTS, st.booleans())),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_the_joined_text_is_that_of_the_deltas_however_it_is_cut(deltas, places, end):
    chunks = [
        chunk(**{"reasoning_content" if is_reasoning else "content": text})
        for text, is_reasoning in deltas
    ]
    stream = StreamText()
    for event in read_pieces(cut(encode(chunks, end), places)):
        stream.add(event)
    wanted = {
        ("", kind): text
        for kind, text in (
            ("text", "".join(text for text, is_reasoning in deltas if not is_reasoning)),
            ("reasoning", "".join(text for text, is_reasoning in deltas if is_reasoning)),
        )
        if text
    }
    assert texts_of(stream) == wanted
    assert stream.is_done
    assert stream.event_count == len(deltas) + 1


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_are_the_same_events_however_they_are_cut(data, places):
    assert read_pieces(cut(data, places)) == read_pieces([data])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_any_way_and_may_be_cut_within_their_end(end):
    data = end.join([b"event: odd", b"data: first", b"data: second", b"", b"data: x", b"", b""])
    for place in range(len(data)):
        pieces = [data[:place], data[place:]]
        assert read_pieces(pieces) == [StreamEvent("odd", "first\nsecond"), StreamEvent("", "x")]


def test_fields_of_events():
    data = (
        b"\xef\xbb\xbf: a comment\nevent: error\ndata: first\ndata:second\nid: 7\n\nevent: none\n\n"
    )
    assert read_pieces([data]) == [StreamEvent("error", "first\nsecond")]


def test_several_choices_and_calls_of_tools_are_joined_apart():
    calls = [
        {"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 1, "id": "c2", "function": {"name": "now", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '"Seoul"}'}},
    ]
    chunks = [
        chunk(0, role="assistant", content=""),
        chunk(1, content="b"),
        chunk(0, content="a"),
        *(chunk(0, tool_calls=[call]) for call in calls),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 3}},
    ]
    first, second = read_stream(encode(chunks)).messages()
    assert [(part.kind, part.title, part.text) for part in first.parts] == [
        (PartKind.TEXT, "", "a"),
        (PartKind.TOOL_CALL, "get_weather", '{"city": "Seoul"}'),
        (PartKind.TOOL_CALL, "now", "{}"),
    ]
    assert first.ending == "finish reason: tool_calls"
    assert (second.note, second.parts[0].text) == ("choice 1", "b")


def test_events_of_other_kinds_are_shown_as_they_are():
    chunks = [{"type": "ping"}, chunk(content="x"), {"error": {"message": "overloaded"}}, [1]]
    data = encode(chunks, is_done=False) + b"event: odd\ndata: not JSON\n\n"
    message, others = read_stream(data).messages()
    assert message.parts[0].text == "x"
    assert [(part.title, part.text) for part in others.parts] == [
        ("", '{"type": "ping"}'),
        ("", '{"error": {"message": "overloaded"}}'),
        ("", "[1]"),
        ("odd", "not JSON"),
    ]


def test_an_event_that_is_cut_off_is_left_out_of_a_beginning_alone():
    data = encode([chunk(content="whole")], is_done=False) + b'data: {"choices": [{"del'
    assert texts_of(read_stream(data, is_cut=True)) == {("", "text"): "whole"}
    assert len(read_stream(data).messages()) == 2


def test_completions_have_their_text_beside_the_delta():
    chunks = [{"choices": [{"index": 0, "text": text}]} for text in ("Hel", "lo")]
    assert texts_of(read_stream(encode(chunks))) == {("", "text"): "Hello"}


def test_what_was_joined_is_looked_through_once_for_all_choices(monkeypatch) -> None:
    """A stream may have as many choices as events."""
    looks = 0

    class Pieces(dict[Any, list[str]]):
        def items(self) -> Any:
            nonlocal looks
            looks += 1
            return super().items()

    text = StreamText()
    monkeypatch.setattr(text, "_pieces", Pieces())
    for index in range(100):
        chunk = {"choices": [{"index": index, "text": f"text {index}"}]}
        text.add(StreamEvent("", json.dumps(chunk)))
    messages = text.messages()
    assert [one.parts[0].text for one in messages] == [f"text {index}" for index in range(100)]
    assert looks == 1
