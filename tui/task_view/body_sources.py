"""A body as the lines of a document: as what was said, as JSON, or as it was sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from servedeck.async_queue.body_text import BodyKind, BodyText, sanitize_long
from servedeck.async_queue.chat import Chat, ChatMessage, ChatPart, PartKind
from servedeck.async_queue.json_text import JsonText, format_json, line_tokens
from servedeck.serving.text import one_line
from widgets.styled_line import Span
from widgets.wrapped_document import TextSource

MAX_LINES = 500_000
"""Lines of a text that are shown at most: each takes a hundred times the memory of a newline."""
_INDENT = "  "
_LONG_LINE = 10_000
"""Characters of a line from which on its parts are kept."""


class BodyView(StrEnum):
    """How a body is shown."""

    CHAT = "chat"
    JSON = "JSON"
    RAW = "raw"


def available_views(body: BodyText) -> Sequence[BodyView]:
    """The ways in which a body can be shown, the best one first."""
    views = []
    if body.chat is not None:
        views.append(BodyView.CHAT)
    if body.json is not None:
        views.append(BodyView.JSON)
    return [*views, BodyView.RAW] if body.kind is not BodyKind.EMPTY else []


def body_source(body: BodyText, view: BodyView, folded: Collection[int]) -> TextSource:
    """The lines of a body; `folded` are lines of its JSON."""
    if view is BodyView.CHAT and body.chat is not None:
        return PlainSource(chat_lines(body.chat))
    if view is BodyView.JSON and body.json is not None:
        return JsonSource(body.json, folded)
    return PlainSource(_first_lines(TextLine(line) for line in _split(body.text)))


class TextLine(NamedTuple):
    """A line in one style."""

    text: str
    style_name: str = ""


class PlainSource:
    """Lines that each have one style."""

    hanging = 2

    def __init__(self, lines: Sequence[TextLine]) -> None:
        self._lines = lines

    def shown(self) -> Iterable[int]:
        return range(len(self._lines))

    def text(self, index: int) -> str:
        return self._lines[index].text

    def spans(self, index: int, text: str) -> Sequence[tuple[int, str]]:
        return [(len(text), self._lines[index].style_name)]

    def mark(self, index: int) -> Span:
        return ("", "")


class JsonSource:
    """The lines of a JSON text that are not folded."""

    hanging = 4

    def __init__(self, json: JsonText, folded: Collection[int]) -> None:
        self._json = json
        self._folded = frozenset(folded)
        self._long_lines: dict[int, Sequence[tuple[int, str]]] = {}

    def shown(self) -> Iterable[int]:
        return self._json.visible(self._folded)

    def text(self, index: int) -> str:
        json = self._json
        return json.folded_line(index) if index in self._folded else json.lines[index]

    def spans(self, index: int, text: str) -> Sequence[tuple[int, str]]:
        if (known := self._long_lines.get(index)) is not None:
            return known
        spans = [(end, f"code-{kind}" if kind else "") for end, kind in line_tokens(text)]
        if len(text) >= _LONG_LINE:
            self._long_lines[index] = spans
        return spans

    def mark(self, index: int) -> Span:
        if not self._json.can_fold(index):
            return ("", "")
        return ("+ " if index in self._folded else "- ", "muted")


# -- what was said ------------------------------------------------------------------------------


def chat_lines(chat: Chat) -> list[TextLine]:
    """What was said, each message under its role."""
    return _first_lines(_all_chat_lines(chat))


def _all_chat_lines(chat: Chat) -> Iterator[TextLine]:
    if chat.parameters:
        named = [f"{one_line(name)} {one_line(value)}" for name, value in chat.parameters]
        yield TextLine(sanitize_long(", ".join(named)), "muted")
    for at, message in enumerate(chat.messages):
        if at or chat.parameters:
            yield TextLine("")
        yield from _message_lines(message)


def _message_lines(message: ChatMessage) -> Iterator[TextLine]:
    note = f" ({one_line(message.note)})" if message.note else ""
    yield TextLine(sanitize_long(f"{one_line(message.role)}{note}"), "title")
    for part in message.parts:
        yield from _part_lines(part)
    if message.ending:
        yield TextLine(f"{_INDENT}{sanitize_long(one_line(message.ending))}", "muted")


def _part_lines(part: ChatPart) -> list[TextLine]:
    title = sanitize_long(one_line(part.title))
    match part.kind:
        case PartKind.TEXT:
            return _indent(part.text)
        case PartKind.REASONING:
            return [TextLine(f"{_INDENT}Reasoning:", "muted"), *_indent(part.text, "muted")]
        case PartKind.REFUSAL:
            return [TextLine(f"{_INDENT}Refusal:", "warning"), *_indent(part.text)]
        case PartKind.ATTACHMENT:
            return [TextLine(f"{_INDENT}[{sanitize_long(one_line(part.text))}]", "accent")]
        case PartKind.TOOL_CALL:
            head = TextLine(f"{_INDENT}Calls the tool {title}".rstrip(), "accent")
            return [head, *_json_lines(part.text)]
        case PartKind.OTHER:
            head = TextLine(f"{_INDENT}{title}:" if title else "", "accent")
            return [*([head] if title else ()), *_json_lines(part.text)]


def _json_lines(text: str) -> list[TextLine]:
    """Indented if it is JSON, as it is otherwise."""
    if text.lstrip()[:1] not in ("{", "["):
        return _indent(text)
    return [TextLine(_INDENT * 2 + line) for line in format_json(sanitize_long(text)).lines]


def _indent(text: str, style_name: str = "") -> list[TextLine]:
    if not text:
        return []
    return [TextLine(_INDENT + line, style_name) for line in _split(sanitize_long(text))]


# -- many lines ---------------------------------------------------------------------------------


def _split(text: str) -> list[str]:
    """The lines of a text, at most one more than are shown."""
    return text.split("\n", MAX_LINES + 1)[: MAX_LINES + 1]


def _first_lines(lines: Iterable[TextLine]) -> list[TextLine]:
    """Those that are shown; the last one says so if there are more."""
    found = list(islice(lines, MAX_LINES + 1))
    if len(found) > MAX_LINES:
        found[-1] = TextLine(f"Only the first {MAX_LINES:,} lines are shown.", "warning")
    return found
