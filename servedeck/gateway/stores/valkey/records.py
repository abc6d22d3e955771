"""How tasks, requests and responses are written in Valkey."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from servedeck.async_queue.tasks import Attempt, FeedEvent, Task, TaskState
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.stores.store import (
    Claimed,
    Content,
    Control,
    End,
    NewTask,
    Response,
    States,
)

STATE_LETTERS = {
    TaskState.PENDING: "P",
    TaskState.PROCESSING: "R",
    TaskState.COMPLETED: "C",
    TaskState.FAILED: "F",
    TaskState.CANCELLED: "X",
}
_STATES = {letter: state for state, letter in STATE_LETTERS.items()}

TASK = (
    ("s", "state"),
    ("n", "attempt"),
    ("m", "max_attempts"),
    ("p", "urgency"),
    ("at", "created"),
    ("st", "started"),
    ("en", "ended"),
    ("dl", "deadline"),
    ("nx", "next_attempt"),
    ("ex", "expires"),
    ("y", "reason"),
    ("g", "message"),
    ("hs", "status"),
    ("pd", "pod"),
    ("o", "owner"),
    ("me", "method"),
    ("pa", "path"),
    ("mo", "model"),
    ("sr", "is_stream"),
    ("qz", "request_bytes"),
    ("rz", "response_bytes"),
    ("ti", "prompt_tokens"),
    ("to", "completion_tokens"),
)
"""Fields of a task's hash and of Task. What has its default is not stored. functions.lua also
keeps u (attempts that count), f (virtual finish time), w (worker), qo and ro (objects), ik
(idempotency key), hc (has credentials), cb (has a callback) and ct (how often that was claimed)."""
TASK_FIELDS = tuple(short for short, _ in TASK)
FOUND_FIELDS = (*TASK_FIELDS, "hc", "cb")

_HEAD = struct.Struct(">IIQ")
"""Lengths of the head and of the object's name, and the size of the body."""
_CURSOR = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?\Z")


def milliseconds(seconds: float) -> int:
    """At least one for a time that is not zero."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def encode_text(text: str) -> bytes:
    # a path may hold any byte of a request line
    return text.encode("utf-8", "surrogateescape")


def decode_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _decode_time(data: bytes) -> float:
    return int(data) / 1000


_DECODER_OF_FIELD: Mapping[str, Callable[[bytes], Any]] = {
    "state": lambda letter: _STATES[letter.decode()],
    "is_stream": lambda data: data == b"1",
    **dict.fromkeys(
        ("created", "started", "ended", "deadline", "next_attempt", "expires"), _decode_time
    ),
    **dict.fromkeys(
        (
            *("attempt", "max_attempts", "urgency", "status", "request_bytes", "response_bytes"),
            *("prompt_tokens", "completion_tokens"),
        ),
        int,
    ),
}
"""All others are text."""
_DECODERS = tuple((name, _DECODER_OF_FIELD.get(name, decode_text)) for _, name in TASK)


def is_cursor(text: str) -> bool:
    return _CURSOR.match(text) is not None


def pack(head: bytes, body: Content) -> bytes:
    """A request or a response in one value."""
    name = encode_text(body.object)
    return b"".join((_HEAD.pack(len(head), len(name), body.size), head, name, body.data))


def unpack(data: bytes) -> Response:
    """What pack() was given."""
    head_length, name_length, size = _HEAD.unpack_from(data)
    name_at = _HEAD.size + head_length
    body_at = name_at + name_length
    name = decode_text(data[name_at:body_at])
    return Response(data[_HEAD.size : name_at], Content(data[body_at:], name, size))


def submit_arguments(task: NewTask, max_depth: int) -> list[bytes | str | int]:
    """Of the function `submit`, for one task."""
    head = msgspec.json.decode(task.head, type=RequestHead)
    fields: list[bytes | str | int] = ["m", task.max_attempts, "p", task.urgency]
    for name, value, default in (
        ("o", encode_text(task.owner), b""),
        ("me", encode_text(head.method), b"POST"),
        ("pa", encode_text(head.path), b"/"),
        ("mo", encode_text(head.model), b""),
        ("sr", int(head.is_stream), 0),
        ("qz", task.body.size, 0),
        ("qo", encode_text(task.body.object), b""),
        ("ik", encode_text(task.idempotency_key), b""),
        ("hc", int(bool(task.credentials)), 0),
        ("cb", int(task.has_callback), 0),
    ):
        if value != default:
            fields += (name, value)
    fixed: list[bytes | str | int] = [
        task.id,
        max_depth,
        task.idempotency_key,
        task.fingerprint,
        encode_text(task.owner),
        task.urgency,
        milliseconds(task.lifetime),
        pack(task.head, task.body),
        task.credentials,
    ]
    return [len(fixed) + len(fields), *fixed, *fields]


def encode_attempt(record: Attempt) -> bytes:
    """JSON without what has its default, as each ended task keeps at least one."""
    fields = msgspec.structs.asdict(record)
    if record.is_counted:
        del fields["is_counted"]
    return msgspec.json.encode({name: one for name, one in fields.items() if one not in (None, "")})


def finish_arguments(end: End) -> list[bytes | str | int]:
    """Of the function `finish`, for one task."""
    has_response = bool(end.head) or end.status is not None
    return [
        end.id,
        end.attempt,
        STATE_LETTERS[end.state],
        end.reason,
        encode_text(end.message),
        milliseconds(end.keep),
        encode_attempt(end.record),
        pack(end.head, end.body) if has_response else b"",
        "" if end.status is None else end.status,
        end.body.size,
        encode_text(end.body.object),
        *("" if one is None else one for one in (end.prompt_tokens, end.completion_tokens)),
    ]


def control_arguments(control: Control) -> list[str | bytes | int | float]:
    """Of the function `set_control`."""
    limits = (control.concurrency, control.pod_concurrency)
    return [
        "1" if control.paused else "",
        *("" if one is None else str(one) for one in limits),
        control.closed_by,
    ]


def state_letters(states: States) -> str:
    if isinstance(states, TaskState):
        return STATE_LETTERS[states]
    return "".join(STATE_LETTERS[one] for one in (STATE_LETTERS if states is None else states))


def decode_state(letter: bytes | None) -> TaskState | None:
    return None if letter is None else _STATES.get(letter.decode())


def decode_task(id: str, values: Sequence[Any]) -> Task:
    """Of the values of TASK_FIELDS."""
    found = {
        name: decode(value)
        for (name, decode), value in zip(_DECODERS, values, strict=False)
        if value is not None
    }
    return Task(id=id, **found)


def decode_claimed(row: Sequence[Any]) -> Claimed:
    id, attempt, pod, request, credentials, left, attempts_left = row
    head, body = unpack(request)
    return Claimed(
        id=id.decode(),
        attempt=attempt,
        pod=pod.decode(),
        head=head,
        body=body,
        credentials=credentials,
        seconds_left=left / 1000,
        attempts_left=attempts_left,
    )


def decode_events(lines: bytes) -> list[FeedEvent]:
    """Of lines of cursor, id, state and attempt."""
    return [decode_event(*line.split(" ")) for line in lines.decode().split("\n") if line]


def decode_event(cursor: str, id: str, letter: str, attempt: str) -> FeedEvent:
    return FeedEvent(
        cursor=cursor,
        id=id,
        state=_STATES.get(letter),
        attempt=int(attempt),
        time=int(cursor.partition("-")[0]) / 1000,
    )
