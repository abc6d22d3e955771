"""The answer to an inference request as it comes in: its text, its figures and its raw form. Pure:
the caller gives the bytes and the time of each piece."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from servedeck.async_queue.body_text import sanitize_long
from servedeck.async_queue.chat import PartKind, response_chat
from servedeck.async_queue.event_stream import DONE, EventStreamReader
from servedeck.detail.inference_body import (
    choice_texts,
    decode_json,
    describe_result,
    error_message,
    find_choices,
    has_result,
    read_count,
    short_line,
)
from servedeck.serving.text import format_size, one_line, sanitize

MAX_RAW_BYTES = 128 << 10
"""Bytes of the body that are kept to be shown."""
MAX_TEXT_LENGTH = 16 << 10
"""Characters of the answer's text that are kept."""
MAX_EVENT_LENGTH = 1 << 20
"""Characters of one event; a longer one ends the reading of events."""
MAX_JSON_BYTES = 4 << 20
"""Bytes of an answer in one piece that are read as JSON."""
_QUOTED_BYTES = 200
_CHECK_ROUTE = "check that the way leads to the inference server, and that it has this API"
_MAX_HEADERS = 100
_MAX_HEADER_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class InferenceFigures:
    """How an inference request was answered; seconds count from when it was sent, with the time for
    DNS, TCP and TLS of a new connection. None is what is not known."""

    status: int | None = None
    """The HTTP status."""
    headers_seconds: float | None = None
    """Until the headers of the answer had arrived."""
    first_token_seconds: float | None = None
    """Time to first token: until the first text of a stream."""
    total_seconds: float | None = None
    """Until the end of the answer."""
    prompt_tokens: int | None = None
    tokens: int | None = None
    """Of the answer."""
    tokens_are_counted: bool = False
    """Whether `tokens` are the chunks with text, as the server gave no usage."""
    tokens_per_second: float | None = None
    """After the first token, until the last: what follows the first, divided by the time that it
    took (as vllm/benchmarks/serve.py has the time per output token)."""
    finish_reason: str = ""
    model: str = ""
    """As the server names it."""


class InferenceAnswer:
    """Takes in one answer: `begin`, `feed` for each piece, and `finish`. What the server sent is
    sanitized in all that it gives."""

    def __init__(self, *, is_read: bool = False) -> None:
        """`is_read`: it is the answer to a GET, whose body is its text, whatever it is."""
        self._is_read = is_read
        self._status: int | None = None
        self._headers: Sequence[tuple[str, str]] = ()
        self._headers_seconds: float | None = None
        self._first_text_seconds: float | None = None
        self._last_text_seconds: float | None = None
        self._total_seconds: float | None = None
        self._chunks = 0
        self._usage: Mapping[str, Any] = {}
        self._finish_reason = ""
        self._model = ""
        self._texts: list[str] = []
        self._text_length = 0
        self._raw = bytearray()
        self._size = 0
        self._body = bytearray()
        """Of an answer that is no stream of events."""
        self._events: EventStreamReader | None = None
        self._is_done = False
        self.problem = ""
        """Why it is not answered, one sentence with what to do; "" if nothing is wrong so far."""
        self.notes: list[str] = []
        """What is special about it, a sentence each."""

    # -- what comes in --------------------------------------------------------------------------

    def begin(self, status: int, headers: Sequence[tuple[str, str]], seconds: float) -> None:
        """The status and the headers have arrived."""
        self._status, self._headers_seconds = status, seconds
        self._headers = [
            (one[:_MAX_HEADER_LENGTH], value[:_MAX_HEADER_LENGTH])
            for one, value in headers[:_MAX_HEADERS]
        ]
        if self.content_type == "text/event-stream":
            self._events = EventStreamReader()

    def feed(self, data: bytes, seconds: float) -> None:
        """A piece of the body has arrived, of any length."""
        self._size += len(data)
        if (room := MAX_RAW_BYTES - len(self._raw)) > 0:
            self._raw += data[:room]
        if not self.is_stream:
            if (room := MAX_JSON_BYTES - len(self._body)) > 0:
                self._body += data[:room]
            return
        # In parts: a line without an end is noticed before all of it is kept.
        for at in range(0, len(data), MAX_EVENT_LENGTH):
            self._read_events(data[at : at + MAX_EVENT_LENGTH], seconds)

    def finish(self, seconds: float) -> None:
        """The body has ended."""
        self._total_seconds = seconds
        if self.is_stream:
            self._read_events(b"", seconds, is_end=True)
            self._check_stream_end()
        elif self.is_success:
            self._read_json()

    def fail(self, problem: str, seconds: float) -> None:
        """Nothing more comes, for a reason in a sentence."""
        self._total_seconds = seconds
        self.problem = self.problem or problem

    def _read_events(self, data: bytes, seconds: float, *, is_end: bool = False) -> None:
        events = self._events
        if events is None:
            return  # one of them was too long
        for event in events.feed(data, is_end=is_end):
            if event.data.strip() == DONE:
                self._is_done = True
                continue
            self._read_chunk(decode_json(event.data.encode("utf-8", "replace")), seconds)
        if events.buffered > MAX_EVENT_LENGTH:
            self._events = None
            self.problem = self.problem or (
                f"The stream has an event of more than {format_size(MAX_EVENT_LENGTH)}, which is "
                "not read; look at the answer with curl -v."
            )

    def _read_chunk(self, chunk: object, seconds: float) -> None:
        """An event of OpenAI's chat or completions API; others are not text."""
        if not isinstance(chunk, Mapping):
            return
        if message := error_message(chunk):
            self.problem = self.problem or (
                f"The server reported an error in the middle of the answer: {message}."
            )
            return
        self._note_common(chunk)
        texts = [one for choice in find_choices(chunk) for one in choice_texts(choice)]
        for choice in find_choices(chunk):
            if isinstance(reason := choice.get("finish_reason"), str) and reason:
                self._finish_reason = short_line(reason)
        if not any(texts):
            return
        self._chunks += 1
        if self._first_text_seconds is None:
            self._first_text_seconds = seconds
        self._last_text_seconds = seconds
        self._add_text("".join(texts))

    def _note_common(self, body: Mapping[str, Any]) -> None:
        if isinstance(model := body.get("model"), str) and model:
            self._model = short_line(model)
        if isinstance(usage := body.get("usage"), Mapping):
            self._usage = usage

    def _add_text(self, text: str) -> None:
        room = MAX_TEXT_LENGTH - self._text_length
        if room > 0:
            self._texts.append(text[:room])
        self._text_length += len(text)

    def _check_stream_end(self) -> None:
        if self.problem:
            return
        if self._is_done:
            if not self._has_content:
                self.problem = (
                    "The stream ended with [DONE], but without text, finish reason and usage;"
                    f" {_CHECK_ROUTE}."
                )
        elif self._finish_reason:
            self.notes.append("The stream has no [DONE] at its end.")
        else:
            self.problem = (
                "The stream ended before the answer was complete, without [DONE]; look at the log "
                "of the server, and at the timeouts of what is in between."
            )

    @property
    def _has_content(self) -> bool:
        """Whether there was anything that an inference server answers with, as far as it is the
        same for all of them."""
        return bool(self._text_length or self._usage or self._finish_reason)

    def _read_json(self) -> None:
        if self._is_read:
            self._add_text(codecs.decode(bytes(self._body), "utf-8", "replace"))
            return
        if self.content_type == "text/html":
            self.problem = (
                "It answered with a web page and not with JSON; is there a login in between, or "
                "does the route lead elsewhere?"
            )
            return
        if self._size > len(self._body):
            self.notes.append(
                f"The answer is longer than {format_size(MAX_JSON_BYTES)} and was not read."
            )
            return
        body = decode_json(bytes(self._body))
        if message := error_message(body):
            self.problem = f"The server answered with an error: {message}."
            return
        if isinstance(body, Mapping):
            self._read_object(body)
        if not self._text_length and (result := describe_result(body)):
            self._add_text(result)
        if not self._has_content and not has_result(body):
            self.problem = f"{self._describe_other(body)}; {_CHECK_ROUTE}."

    def _read_object(self, body: Mapping[str, Any]) -> None:
        self._note_common(body)
        for choice in find_choices(body):
            if isinstance(reason := choice.get("finish_reason"), str) and reason:
                self._finish_reason = short_line(reason)
        chat = response_chat(body)
        for said in chat.messages if chat is not None else ():
            for part in said.parts:
                if part.kind is not PartKind.OTHER:
                    self._add_text(part.text or part.title)

    def _describe_other(self, body: object) -> str:
        """What came instead of an answer, without a full stop; `body` is it as JSON."""
        if not self._size:
            return f"It answered with {self._status} and an empty body"
        said = short_line(codecs.decode(bytes(self._body[:_QUOTED_BYTES]), "utf-8", "replace"))
        if body is not None or self._body.strip() == b"null":
            return f"It answered with JSON that is no answer of a model ({said})"
        kind = short_line(self.content_type) or "a body without a content type"
        return f"It answered with {kind} and not with JSON ({said})"

    # -- what it is -----------------------------------------------------------------------------

    @property
    def content_type(self) -> str:
        """In lower case, without parameters; "" before the headers."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def header(self, name: str) -> str:
        """Value of the first header of that name, which is in lower case; "" without one."""
        return next((value for one, value in self._headers if one.lower() == name), "")

    @property
    def is_success(self) -> bool:
        """Whether the HTTP status is one."""
        return self._status is not None and 200 <= self._status < 300

    @property
    def is_done(self) -> bool:
        """Whether the event was seen that ends a stream: nothing more is waited for."""
        return self._is_done

    @property
    def is_stream(self) -> bool:
        """Whether the server streams its answer."""
        return self.content_type == "text/event-stream"

    @property
    def status(self) -> int | None:
        return self._status

    @property
    def body(self) -> bytes:
        """The beginning of the body, as it came."""
        return bytes(self._raw)

    @property
    def text(self) -> str:
        """What the model said so far; sanitized, with line breaks. Of embeddings and rankings, what
        they are."""
        return sanitize_long("".join(self._texts))

    @property
    def piece_count(self) -> int:
        """Of how many pieces `text` consists so far."""
        return len(self._texts)

    def text_after(self, count: int) -> str:
        """What came after that many pieces; sanitized, with line breaks."""
        return sanitize_long("".join(self._texts[count:]))

    @property
    def is_text_cut(self) -> bool:
        """Whether `text` is only the beginning."""
        return self._text_length > MAX_TEXT_LENGTH

    @property
    def figures(self) -> InferenceFigures:
        completion = read_count(self._usage.get("completion_tokens"))
        tokens = completion if completion is not None else self._chunks or None
        first, last = self._first_text_seconds, self._last_text_seconds
        rate = None
        if tokens is not None and tokens > 1 and first is not None and last is not None:
            rate = (tokens - 1) / (last - first) if last > first else None
        return InferenceFigures(
            self._status,
            self._headers_seconds,
            first,
            self._total_seconds,
            read_count(self._usage.get("prompt_tokens")),
            tokens,
            completion is None and tokens is not None,
            rate,
            self._finish_reason,
            self._model,
        )

    @property
    def raw_text(self) -> str:
        """Status, headers and body as they came, sanitized; says what is not kept. "" before the
        headers. It may take 0.1 s: run it in a thread."""
        if self._status is None:
            return ""
        try:
            phrase = f" {HTTPStatus(self._status).phrase}"
        except ValueError:
            phrase = ""
        lines = [f"HTTP {self._status}{phrase}"]
        lines += [one_line(sanitize(f"{name}: {value}")) for name, value in self._headers]
        body = codecs.decode(bytes(self._raw), "utf-8", "replace")
        lines += ["", *sanitize_long(body.replace("\r\n", "\n").replace("\r", "\n")).split("\n")]
        if self._size > len(self._raw):
            kept, size = format_size(len(self._raw)), format_size(self._size)
            lines.append(f"… cut: the first {kept} of {size} are kept.")
        return "\n".join(lines)
