"""Requests and responses of chat, completion and embedding APIs as what was said by whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from servedeck.serving.text import format_size

_PARAMETERS = (
    *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "n", "stop", "seed"),
    *("stream", "response_format", "tool_choice", "reasoning_effort", "dimensions"),
)
"""Fields of a request that are named beside the messages, in this order."""
_MAX_PARAMETER_LENGTH = 60
_TEXT_FIELDS = (("prompt", "prompt"), ("inputs", "input"), ("input", "input"), ("query", "query"))
"""Fields of a request that have its text where it has no messages, and the role that is shown."""


class PartKind(StrEnum):
    """What a part of a message is."""

    TEXT = "text"
    REASONING = "reasoning"
    REFUSAL = "refusal"
    TOOL_CALL = "tool call"
    ATTACHMENT = "attachment"
    """An image, audio or a file, as one line that says what it is."""
    OTHER = "other"
    """JSON of a kind that is not known."""


class ChatPart(NamedTuple):
    """Part of a message."""

    kind: PartKind
    text: str
    title: str = ""
    """Name of the tool that is called, or of the kind that is not known."""


class ChatMessage(NamedTuple):
    """Something that was said."""

    role: str
    parts: tuple[ChatPart, ...]
    note: str = ""
    """Which of several choices it is, or which call of a tool it answers."""
    ending: str = ""
    """Why it ends."""


class Chat(NamedTuple):
    """What was said, in order."""

    messages: Sequence[ChatMessage]
    parameters: Sequence[tuple[str, str]] = ()
    """Other fields of the request, and their values."""


def request_chat(body: object) -> Chat | None:
    """The messages, the prompt or the input of a request, which is decoded JSON; None if it has
    none."""
    if not isinstance(body, Mapping):
        return None
    messages = _messages(body.get("messages"))
    for field, role in _TEXT_FIELDS if not messages else ():
        value = body.get(field)
        if isinstance(value, list) and any(_looks_like_message(one) for one in value):
            messages = _messages(value)
        elif (parts := _content_parts(value)) and value is not None:
            messages += [ChatMessage(role, (part,)) for part in parts]
    if isinstance(system := body.get("system") or body.get("instructions"), (str, list)):
        messages.insert(0, ChatMessage("system", tuple(_content_parts(system))))
    if not messages:
        return None
    parameters = [(name, _short_json(body[name])) for name in _PARAMETERS if name in body]
    if isinstance(tools := body.get("tools"), list) and tools:
        parameters.append(("tools", ", ".join(_tool_names(tools))))
    return Chat(messages, parameters)


def response_chat(body: object) -> Chat | None:
    """The messages of a response that is not streamed; None if it has none."""
    if not isinstance(body, Mapping):
        return None
    messages: list[ChatMessage] = []
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and (message := _choice_message(choice)) is not None:
            note = f"choice {choice.get('index', 0)}" if len(choices or ()) > 1 else ""
            reason = choice.get("finish_reason")
            ending = f"finish reason: {reason}" if isinstance(reason, str) else ""
            messages.append(message._replace(note=note, ending=ending))
    if not messages:
        messages = _messages([body.get("message")])  # Ollama
    for field in ("response", "generated_text", "output_text") if not messages else ():
        if isinstance(text := body.get(field), str):
            messages.append(ChatMessage("assistant", (ChatPart(PartKind.TEXT, text),)))
    if not messages and isinstance(output := body.get("output"), list):
        messages = _messages(output)  # OpenAI's Responses API
    return Chat(messages) if messages else None


def _choice_message(choice: Mapping[str, Any]) -> ChatMessage | None:
    if isinstance(text := choice.get("text"), str):
        return ChatMessage("assistant", (ChatPart(PartKind.TEXT, text),))
    found = _messages([choice.get("message")])
    return found[0] if found else None


def _looks_like_message(value: object) -> bool:
    return isinstance(value, Mapping) and ("role" in value or "content" in value)


def _messages(value: object) -> list[ChatMessage]:
    if not isinstance(value, list):
        return []
    result = []
    for one in value:
        if not _looks_like_message(one):
            continue
        parts = _reasoning_parts(one)
        parts += _content_parts(one.get("content"))
        if isinstance(refusal := one.get("refusal"), str):
            parts.append(ChatPart(PartKind.REFUSAL, refusal))
        parts += _call_parts(one.get("tool_calls"))
        call = one.get("tool_call_id")
        note = f"answers {call}" if isinstance(call, str) else ""
        if not note and isinstance(name := one.get("name"), str):
            note = name
        role = one.get("role")
        result.append(
            ChatMessage(role if isinstance(role, str) else "assistant", tuple(parts), note)
        )
    return result


def _reasoning_parts(message: Mapping[str, Any]) -> list[ChatPart]:
    for field in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(text := message.get(field), str) and text:
            return [ChatPart(PartKind.REASONING, text)]
    return []


def _content_parts(content: object) -> list[ChatPart]:
    """Parts of a content: a text, or a list of texts, images and others."""
    if content is None:
        return []
    if isinstance(content, str):
        return [ChatPart(PartKind.TEXT, content)]
    if not isinstance(content, list):
        return [_other_part(content)]
    if content and all(isinstance(one, int) for one in content):
        return [ChatPart(PartKind.ATTACHMENT, f"{len(content):,} token ids")]
    return [_content_part(one) for one in content]


def _content_part(part: object) -> ChatPart:
    if isinstance(part, str):
        return ChatPart(PartKind.TEXT, part)
    if not isinstance(part, Mapping):
        return _other_part(part)
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text") and isinstance(text := part.get("text"), str):
        return ChatPart(PartKind.TEXT, text)
    for name in ("image_url", "video_url", "audio_url"):
        if (url := _nested_text(part.get(name), "url")) is not None:
            return ChatPart(PartKind.ATTACHMENT, f"{name[:5]}: {_describe_url(url)}")
    if (data := _nested_text(part.get("input_audio"), "data")) is not None:
        return ChatPart(PartKind.ATTACHMENT, f"audio: {format_size(len(data) * 3 // 4)}")
    return _other_part(part, kind if isinstance(kind, str) else "")


def _nested_text(value: object, field: str) -> str | None:
    """The text itself, or in a field of an object."""
    found = value.get(field) if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else None


def _describe_url(url: str) -> str:
    if not url.startswith("data:"):
        return url
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0]
    size = len(data) * 3 // 4 if head.endswith(";base64") else len(data)
    return f"{media_type or 'data'}, {format_size(size)}"


def _call_parts(calls: object) -> list[ChatPart]:
    parts = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            parts.append(_other_part(call))
            continue
        name, arguments = function.get("name"), function.get("arguments")
        text = arguments if isinstance(arguments, str) else _json_text(arguments)
        parts.append(ChatPart(PartKind.TOOL_CALL, text, name if isinstance(name, str) else ""))
    return parts


def _tool_names(tools: Iterable[object]) -> list[str]:
    names = []
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        names.append(name if isinstance(name, str) else "?")
    return names


def _other_part(value: object, title: str = "") -> ChatPart:
    return ChatPart(PartKind.OTHER, _json_text(value), title)


def _json_text(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):  # nested hundreds of levels deep
        return "…"


def _short_json(value: object) -> str:
    text = value if isinstance(value, str) else _json_text(value)
    if len(text) <= _MAX_PARAMETER_LENGTH:
        return text
    return text[: _MAX_PARAMETER_LENGTH - 1] + "…"
