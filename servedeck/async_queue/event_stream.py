"""A response of server-sent events, read event by event and joined to the text that it carries."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from servedeck.async_queue.chat import ChatMessage, ChatPart, PartKind

DONE = "[DONE]"
"""Data of the event that ends a stream of OpenAI's API."""


class StreamEvent(NamedTuple):
    """One event."""

    name: str
    """ "" for one without a name."""
    data: str


class EventStreamReader:
    """Reads events from bytes, in whatever pieces they come (WHATWG HTML, 9.2.6)."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._line: list[str] = []
        """Pieces of the line that is not complete."""
        self._ends_with_return = False
        """Whether the last line ended with a carriage return, which a newline may follow."""
        self._name = ""
        self._data: list[str] = []
        self.buffered = 0
        """Characters of the event that is not complete, which are kept until it is."""

    def feed(self, data: bytes, *, is_end: bool = False) -> Iterator[StreamEvent]:
        """The events that are complete with `data`. At the end, also the last one without the blank
        line that should follow it: the stream may be cut off."""
        text = self._decode(data, is_end)
        if text:
            whole, text = text, text.removeprefix("\n") if self._ends_with_return else text
            self._ends_with_return = whole.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines[:-1]:
            self._line.append(line)
            self.buffered += len(line)
            whole, self._line = "".join(self._line), []
            if (event := self._read_line(whole)) is not None:
                yield event
        if lines[-1]:
            self._line.append(lines[-1])
            self.buffered += len(lines[-1])
        if is_end:
            self._read_line("".join(self._line))
            self._line = []
            if (event := self._read_line("")) is not None:
                yield event

    def _read_line(self, line: str) -> StreamEvent | None:
        if not line:
            event = StreamEvent(self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data, self.buffered = "", [], 0
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        else:
            self.buffered -= len(line)  # a comment that keeps the connection open: nothing is kept
            if field == "event":
                self._name = value
        return None


class _Key(NamedTuple):
    """What deltas are joined to."""

    choice: int
    kind: PartKind
    tool: int = 0


class StreamText:
    """The text of a stream: chunks of OpenAI's chat and completions APIs joined by choice; events
    of other kinds as they are."""

    def __init__(self) -> None:
        self._pieces: dict[_Key, list[str]] = {}
        self._titles: dict[_Key, str] = {}
        self._roles: dict[int, str] = {}
        self._finish_reasons: dict[int, str] = {}
        self._others: list[StreamEvent] = []
        self.event_count = 0
        self.is_done = False
        """Whether the event was seen that ends the stream."""

    def add(self, event: StreamEvent) -> None:
        """The next event."""
        self.event_count += 1
        if event.data.strip() == DONE:
            self.is_done = True
            return
        try:
            chunk = msgspec.json.decode(event.data.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            chunk = None
        if not self._add_chunk(chunk):
            self._others.append(event)

    def _add_chunk(self, chunk: object) -> bool:
        """Whether it is a chunk of a known kind; one without choices has only the usage."""
        if not isinstance(chunk, Mapping) or not isinstance(choices := chunk.get("choices"), list):
            return False
        if any(not _is_known(choice) for choice in choices) or "error" in chunk:
            return False
        for choice in choices:
            self._add_choice(choice)
        return True

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        number = _number(choice.get("index"))
        self._roles.setdefault(number, "")
        if isinstance(reason := choice.get("finish_reason"), str):
            self._finish_reasons[number] = reason
        if isinstance(text := choice.get("text"), str):
            self._append(_Key(number, PartKind.TEXT), text)
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            return
        if isinstance(role := delta.get("role"), str):
            self._roles[number] = role
        for field, kind in DELTA_FIELDS:
            if isinstance(text := delta.get(field), str):
                self._append(_Key(number, kind), text)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            self._add_call(number, call)

    def _add_call(self, choice: int, call: object) -> None:
        if not isinstance(call, Mapping):
            return
        key = _Key(choice, PartKind.TOOL_CALL, _number(call.get("index")))
        function = call.get("function")
        if not isinstance(function, Mapping):
            return
        if isinstance(name := function.get("name"), str):
            self._titles[key] = self._titles.get(key, "") + name
        arguments = function.get("arguments")
        self._append(key, arguments if isinstance(arguments, str) else "")

    def _append(self, key: _Key, text: str) -> None:
        self._pieces.setdefault(key, []).append(text)

    def messages(self) -> list[ChatMessage]:
        """What was joined, a message for each choice, and then the events of other kinds."""
        parts_of: dict[int, list[ChatPart]] = {}
        for key, pieces in self._pieces.items():
            if any(pieces) or key in self._titles:
                part = ChatPart(key.kind, "".join(pieces), self._titles.get(key, ""))
                parts_of.setdefault(key.choice, []).append(part)
        result = []
        for number, role in sorted(self._roles.items()):
            reason = self._finish_reasons.get(number, "")
            result.append(
                ChatMessage(
                    role or "assistant",
                    tuple(parts_of.get(number, ())),
                    f"choice {number}" if len(self._roles) > 1 else "",
                    f"finish reason: {reason}" if reason else "",
                )
            )
        if self._others:
            parts = [ChatPart(PartKind.OTHER, one.data, one.name) for one in self._others]
            result.append(ChatMessage("other events", tuple(parts)))
        return result


DELTA_FIELDS = (
    ("reasoning_content", PartKind.REASONING),
    ("reasoning", PartKind.REASONING),
    ("content", PartKind.TEXT),
    ("refusal", PartKind.REFUSAL),
)
"""Texts of a delta; servers name the reasoning one way or the other."""


def _is_known(choice: object) -> bool:
    return isinstance(choice, Mapping) and (
        isinstance(choice.get("delta"), Mapping) or isinstance(choice.get("text"), str)
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read_stream(data: bytes, *, is_cut: bool = False) -> StreamText:
    """The text of a whole stream; of its beginning, without the event that is not complete."""
    reader, text = EventStreamReader(), StreamText()
    for event in reader.feed(data, is_end=not is_cut):
        text.add(event)
    return text
