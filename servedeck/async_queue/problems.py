"""What a gateway's error answers mean."""

from __future__ import annotations

import msgspec

from servedeck.async_queue.errors import (
    AsyncQueueError,
    ChangedMeanwhileError,
    NoSuchTaskError,
    RefusedError,
    StoreUnavailableError,
)
from servedeck.async_queue.tasks import ControlProblem, ControlState, Problem
from servedeck.cluster.http.errors import ApiError

_NO_TASK = ("No such task", "No response")
_STORE_AWAY = ("The store does not answer", "The store is not available", "The store is full")
_CLOSED = "The queue is closed"
_REFUSALS = frozenset({400, 409, 413, 414, 415, 422, 429})


def read_problem(body: bytes) -> Problem | None:
    """A problem document (RFC 9457), as gateways answer; None for what is none."""
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def convert_problem(error: ApiError) -> AsyncQueueError | None:
    """The error for a problem document of the gateway; None for any other answer, or for one that
    says nothing but its status."""
    problem = read_problem(error.body)
    if problem is None:
        return None
    sentence = problem.detail or f"{problem.title.rstrip('.')}."
    if error.code == 404 and problem.title in _NO_TASK:
        return NoSuchTaskError(sentence)
    if error.code == 412:
        return ChangedMeanwhileError(_describe_change(error.body) or sentence)
    if error.code in _REFUSALS or (error.code == 503 and problem.title == _CLOSED):
        return RefusedError(sentence)
    if error.code == 503 and problem.title in _STORE_AWAY:
        return StoreUnavailableError(f"{problem.title}: {problem.detail or 'try again later.'}")
    return None


def _describe_change(body: bytes) -> str:
    try:
        present = msgspec.json.decode(body, type=ControlProblem).present
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return f"Somebody else has changed it meanwhile; set now: {describe_control(present)}."


def describe_control(control: ControlState) -> str:
    """What is set, in words."""
    words = [
        f"concurrency {_describe_number(control.concurrency)}",
        f"concurrency of each Pod {_describe_number(control.pod_concurrency)}",
    ]
    words += ["paused"] if control.paused else []
    words += ["closed"] if control.closed else []
    return ", ".join(words)


def _describe_number(number: int | None) -> str:
    if number is None:
        return "as in the settings"
    return str(number) if number else "without limit"
