"""What the body of an answer to an inference request says: errors, texts and figures in decoded
JSON. Pure; nothing of what a server sends is trusted."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from servedeck.async_queue.event_stream import DELTA_FIELDS
from servedeck.serving.text import one_line, sanitize, truncate

_MAX_MESSAGE_CELLS = 300
_NUMBER_LIMIT = 2**53
"""Up to which a number is one that JSON carries exactly (RFC 8259, 6); a float holds it, and a line
of the screen, too."""


def error_message(body: object) -> str:
    """The message of an error in a JSON body, one sanitized line without its full stop; "" if it is
    none. Servers have it at `error.message`, `error`, `message` or `detail`."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("type") or "no reason given"
    elif error is None and body.get("object") == "error":
        error = body.get("message") or "no reason given"  # vLLM before 0.10, LMDeploy
    if error is None or error is False or error == "":
        return ""
    return short_line(str(error)).rstrip(".")


def failure_message(body: bytes) -> str:
    """What a server says of a request that it refused, one sanitized line; "" if it says
    nothing."""
    found = decode_json(body)
    if isinstance(found, Mapping):
        if message := error_message(found):
            return message
        for field in ("message", "detail"):
            value = found.get(field)
            if value:
                shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
                return short_line(shown).rstrip(".")
        return ""
    text = codecs.decode(body[:4096], "utf-8", "replace").strip()
    return "" if text.startswith("<") else short_line(text).rstrip(".")


def decode_json(data: bytes) -> object:
    """The value; None if it is no JSON, and of null."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def find_choices(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The choices of OpenAI's chat or completions API."""
    choices = body.get("choices")
    return (
        (one for one in choices if isinstance(one, Mapping))
        if isinstance(choices, list)
        else iter(())
    )


def choice_texts(choice: Mapping[str, Any]) -> Iterator[str]:
    """Text, reasoning and arguments of tools in a chunk."""
    if isinstance(text := choice.get("text"), str):
        yield text
    delta = choice.get("delta")
    if not isinstance(delta, Mapping):
        return
    kinds = set()
    for field, kind in DELTA_FIELDS:
        # Some servers give the reasoning under both of its names.
        if isinstance(text := delta.get(field), str) and text and kind not in kinds:
            kinds.add(kind)
            yield text
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping) and isinstance(text := function.get("arguments"), str):
            yield text


def describe_result(body: object) -> str:
    """What an answer without text has: embeddings or a ranking; "" for neither. TEI has them in a
    list without an object around it (its router/src/http/types.rs)."""
    is_list = isinstance(body, list)
    data = body if is_list else body.get("data") if isinstance(body, Mapping) else None
    if isinstance(data, list) and data:
        vector = data[0].get("embedding") if isinstance(data[0], Mapping) else data[0]
        if isinstance(vector, list) and vector and isinstance(vector[0], int | float):
            count = "1 embedding" if len(data) == 1 else f"{len(data)} embeddings"
            return f"{count} of {len(vector):,} dimensions"
    results = body if is_list else body.get("results") if isinstance(body, Mapping) else None
    if isinstance(results, list) and results and isinstance(results[0], Mapping):
        score = results[0].get("relevance_score", results[0].get("score"))
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if is_number and -_NUMBER_LIMIT < score < _NUMBER_LIMIT:
            return f"relevance score {score:.4g}"
    return ""


_RESULT_FIELDS = ("data", "results", "outputs", "predictions", "embeddings")
"""Lists of what was asked for: OpenAI's and rerankers' APIs, and those of other servers."""


def has_result(body: object) -> bool:
    """Whether JSON without text, usage and finish reason is the answer of an inference server all
    the same: embeddings, scores, classes and other results, in an object, or as a list of objects
    or lists (TEI)."""
    if isinstance(body, list):
        return bool(body) and all(isinstance(one, Mapping | list) and one for one in body)
    if not isinstance(body, Mapping):
        return False
    return any(isinstance(body.get(name), list) for name in _RESULT_FIELDS)


def read_count(value: object) -> int | None:
    """A number of tokens, from 0 to less than 2**53; None if it is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < _NUMBER_LIMIT else None


def short_line(text: str) -> str:
    """External text as one short sanitized line."""
    return truncate(one_line(sanitize(text)), _MAX_MESSAGE_CELLS)
