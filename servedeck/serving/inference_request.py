"""A short request to a serving, to see whether and how fast it answers."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from servedeck.serving.client_examples import (
    example_body,
    readable_api_path,
    streaming_api_path,
)

DEFAULT_PROMPT = "Say hello in one sentence."
DEFAULT_MAX_TOKENS = 64
MAX_TOKENS_LIMIT = 100_000
"""Tokens of an answer that may be asked for."""


class InferenceRequest(NamedTuple):
    """What is sent to the inference server."""

    method: str
    """ "POST", or "GET" where no request with a prompt is known."""
    path: str
    """Below the address of the serving; begins with "/"."""
    body: bytes | None = None
    """JSON; None for a GET."""
    streams: bool = False
    """Whether the answer is asked for token by token."""

    @property
    def model(self) -> str:
        """Name of the model in it; "" for none."""
        if self.body is None:
            return ""
        found = json.loads(self.body).get("model")
        return found if isinstance(found, str) else ""

    def without_usage(self) -> InferenceRequest:
        """The same for a server that does not know `stream_options`."""
        if self.body is None:
            return self
        fields = json.loads(self.body)
        fields.pop("stream_options", None)
        return self._replace(body=_encode(fields))


def inference_path(template: str, model: str) -> str:
    """The API path of the inference server for a request to this model: one whose answer is
    streamed, if there is one. Files are neither sent nor received."""
    return streaming_api_path(template, model) or readable_api_path(template, model)


def takes_prompt(path: str) -> bool:
    """Whether a request with a prompt to this path is known; others are only read (GET)."""
    return example_body(path, "") is not None


def takes_max_tokens(template: str, model: str) -> bool:
    """Whether the length of the answer can be limited: where it is streamed."""
    return bool(streaming_api_path(template, model))


def make_inference_request(
    template: str, model: str, prompt: str, max_tokens: int, *, path: str = ""
) -> InferenceRequest:
    """The request for a model of the template's server. `path` is read with GET, if it is given.

    A stream is asked for its usage, which is in its last chunk then (OpenAI API reference,
    `stream_options.include_usage`; vLLM, SGLang, TGI and llama.cpp have it)."""
    if path:
        return InferenceRequest("GET", path if path.startswith("/") else f"/{path}")
    path = inference_path(template, model)
    body = example_body(path, model, prompt)
    if body is None:
        return InferenceRequest("GET", path)
    streams = path == streaming_api_path(template, model)
    if streams:
        body |= {
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    return InferenceRequest("POST", path, _encode(body), streams)


_PATH = re.compile(r"/[!-\"$-~]*")
"""Printable ASCII without "#"."""
_UP = re.compile(r"/(?:\.|%2e){1,2}(?=/|\?|$)", re.IGNORECASE)


def path_problem(path: str) -> str:
    """What is wrong with a path that was typed, and what to do, in a sentence; "" for nothing. None
    leads out of the address of the serving, below which it is read."""
    if not _PATH.fullmatch(path):
        return "Enter a path that begins with /, without spaces and #, such as /health."
    if _UP.search(path.partition("?")[0]):
        return "Enter a path without . and .. between its slashes."
    return ""


def prompt_problem(prompt: str) -> str:
    """The same of a prompt."""
    return "" if prompt.strip() else f"Enter a prompt, such as: {DEFAULT_PROMPT}"


def read_max_tokens(text: str) -> int | None:
    """The number of tokens that was typed; None if it is not one from 1 to MAX_TOKENS_LIMIT."""
    text = text.strip()
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    return number if 1 <= number <= MAX_TOKENS_LIMIT else None


def token_problem(token: str) -> str:
    """The same of an API token; it is not in the sentence."""
    return "" if re.fullmatch(r"[!-~]*", token) else "An API token has no spaces and only ASCII."


MAX_TOKENS_PROBLEM = f"Enter a number of tokens from 1 to {MAX_TOKENS_LIMIT:,}."


def _encode(body: dict[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
