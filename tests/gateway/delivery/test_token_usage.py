"""Tokens that the end of a response tells of, which may be any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.gateway.delivery.token_usage import TAIL_BYTES, TokenUsage, read_token_usage

USAGE = {
    "prompt_tokens": 12,
    "total_tokens": 46,
    "completion_tokens": 34,
    "prompt_tokens_details": {"cached_tokens": 4},
}
CHAT = {"id": "a", "choices": [{"message": {"content": "Hello"}}], "usage": USAGE}


def stream(*parts: object) -> bytes:
    lines = [f"data: {json.dumps(one)}\n\n" for one in parts]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


@pytest.mark.parametrize("indent", [None, 2])
def test_of_an_object(indent: int | None) -> None:
    body = json.dumps(CHAT, indent=indent).encode()
    assert read_token_usage(body) == TokenUsage(12, 34)
    compact = json.dumps({**CHAT, "kv_transfer_params": None}, separators=(",", ":")).encode()
    assert read_token_usage(compact) == TokenUsage(12, 34)


def test_of_the_last_part_of_a_stream_that_has_it() -> None:
    part = {"choices": [{"delta": {"content": "x"}}], "usage": None}
    early = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 1}}
    last = {"choices": [], "usage": USAGE}
    body = stream(*[part] * 50, early, *[part] * 50, last, *[part] * 20)
    assert read_token_usage(body[-TAIL_BYTES:]) == TokenUsage(12, 34)


def test_of_another_api() -> None:
    responses = {"output": [], "usage": {"input_tokens": 5, "output_tokens": 6}}
    assert read_token_usage(json.dumps(responses).encode()) == TokenUsage(5, 6)
    embeddings = {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    assert read_token_usage(json.dumps(embeddings).encode()) == TokenUsage(8, None)


def test_a_text_of_the_model_is_no_usage() -> None:
    said = json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    body = {"usage": USAGE, "choices": [{"message": {"content": said}}]}
    assert read_token_usage(json.dumps(body).encode()) == TokenUsage(12, 34)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b'"usage"',
        b'"usage":',
        b'"usage":{',
        b'"usage":{"prompt_tokens":',
        b'{"usage": null}',
        b'{"usage": [1]}',
        b'{"usage": {"cpu": 3}}',
        b'{"usage": {"prompt_tokens": "12", "completion_tokens": 1.5}}',
        b'{"usage": {"prompt_tokens": true, "completion_tokens": -1}}',
        b'{"usage": {"prompt_tokens": 9007199254740992}}',
        b'{"usage": {"prompt_tokens": ' + b"9" * 1500 + b"}}",
        b'{"usage": {"prompt_tokens": NaN, "completion_tokens": Infinity}}',
        b'{"usage": {"\xff\xfe": 1}}',
        b'"usage":{' * 2000,
        b'{"usage":' + b"[" * 3000,
        b'{"usage": {"a":' + b"[" * 3000,
    ],
)
def test_what_says_nothing(body: bytes) -> None:
    assert read_token_usage(body) == TokenUsage()


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_it_never_fails(before: bytes, after: bytes) -> None:
    read_token_usage(before + b'"usage":{' + after)
    found = read_token_usage(before + b'"usage":{"prompt_tokens":1}')
    assert found == TokenUsage(1, None)
