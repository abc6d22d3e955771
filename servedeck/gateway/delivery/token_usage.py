"""How many tokens a response says that it took, as OpenAI's API and its like do."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

TAIL_BYTES = 16 << 10
"""At the end of a response, where it says so: the last part of an event stream, or of an object."""

_NAME = b'"usage"'
_BEFORE_OBJECT = re.compile(rb"\s{0,8}:\s{0,8}(?=\{)")
_OBJECT_BYTES = 2 << 10
_TRIES = 4
_MOST = 1 << 53
_decoder = json.JSONDecoder()


class TokenUsage(NamedTuple):
    """None: it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_token_usage(tail: bytes) -> TokenUsage:
    """Of the last `usage` with numbers of tokens in the end of a response, which may be any
    bytes."""
    at, tries = len(tail), 0
    while tries < _TRIES and (at := tail.rfind(_NAME, 0, at)) >= 0:
        # In most parts of an event stream it is null.
        if match := _BEFORE_OBJECT.match(tail, at + len(_NAME)):
            found = _read_object(tail[match.end() : match.end() + _OBJECT_BYTES])
            if found != TokenUsage():
                return found
            tries += 1
    return TokenUsage()


def _read_object(data: bytes) -> TokenUsage:
    try:
        value, _ = _decoder.raw_decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return TokenUsage()
    return TokenUsage(
        _first_number(value, "prompt_tokens", "input_tokens"),
        _first_number(value, "completion_tokens", "output_tokens"),
    )


def _first_number(value: dict[str, object], *names: str) -> int | None:
    for name in names:
        found = value.get(name)
        if type(found) is int and 0 <= found < _MOST:
            return found
    return None
