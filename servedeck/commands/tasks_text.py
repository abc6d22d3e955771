"""Tasks of an async queue as text and JSON. All texts of tasks are untrusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from servedeck.async_queue.tasks import (
    Attempt,
    FeedEvent,
    QueueStatus,
    RequestView,
    ResponseView,
    Task,
    TaskDetail,
    TaskState,
)
from servedeck.async_queue.timings import task_timings
from servedeck.fleet.view_json import API_VERSION
from servedeck.serving.duration import format_duration
from servedeck.serving.text import (
    cell_width,
    format_count,
    format_size,
    one_line,
    sanitize,
    truncate,
)

_NONE = "<none>"
_COLUMNS = (
    *("ID", "STATE", "METHOD", "PATH", "MODEL", "ATTEMPTS", "WAITED", "RAN", "TOKENS", "AGE"),
    *("STATUS", "USER", "POD", "MESSAGE"),
)
_WIDE_COLUMNS = 4
"""Of them, that a narrow table does not have."""
_MAX_CELL_WIDTH = 100
_COLUMN_SEPARATOR = "   "
_SHORT_SECONDS = 9.95
_TIMES = ("created", "started", "ended", "deadline", "next_attempt", "expires")


def clean(text: str) -> str:
    """Untrusted text for one line."""
    return one_line(sanitize(text))


def format_moment(seconds: float | None) -> str:
    """Seconds since the epoch as "2026-01-31T14:05:30.250Z"; "" for None, and for what is no
    time."""
    if seconds is None:
        return ""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_seconds(seconds: float) -> str:
    """A time that something took: "0.8s", "4m10s"."""
    seconds = max(seconds, 0.0)
    return f"{seconds:.1f}s" if seconds < _SHORT_SECONDS else format_duration(seconds)


# -- the list -------------------------------------------------------------------------------------


class TaskTable:
    """Rows of tasks whose columns keep the width that was printed first."""

    def __init__(self, *, wide: bool) -> None:
        self.columns = _COLUMNS if wide else _COLUMNS[:-_WIDE_COLUMNS]
        self._widths = [len(one) for one in self.columns]

    def lines(self, tasks: Sequence[Task], now: float, *, header: bool) -> list[str]:
        """The rows as aligned lines; `now` is by the clock of the store."""
        rows = [_cells(one, now)[: len(self.columns)] for one in tasks]
        if header:
            rows.insert(0, self.columns)
        for row in rows:
            self._widths = [
                max(width, cell_width(text)) for width, text in zip(self._widths, row, strict=True)
            ]
        return [self._line(one) for one in rows]

    def _line(self, row: Sequence[str]) -> str:
        padded = (
            text + " " * (width - cell_width(text))
            for text, width in zip(row, self._widths, strict=True)
        )
        return _COLUMN_SEPARATOR.join(padded).rstrip()


def _cells(task: Task, now: float) -> tuple[str, ...]:
    timings = task_timings(task, (), now)
    has_run = task.started is not None and task.state is not TaskState.PENDING
    texts = (
        task.id,
        task.state.value,
        task.method,
        task.path,
        task.model,
        task.attempts_text,
        format_seconds(timings.waited),
        format_seconds(timings.ran) if has_run else "",
        format_tokens(task),
        format_duration(max(now - task.created, 0.0)),
        "" if task.status is None else str(task.status),
        task.owner,
        task.pod,
        task.message,
    )
    return tuple(truncate(clean(one), _MAX_CELL_WIDTH) or _NONE for one in texts)


def format_tokens(task: Task) -> str:
    """Tokens of prompt and completion, "12+340", "?+340" where one is not known; "" if both are
    not."""
    counts = task.prompt_tokens, task.completion_tokens
    if counts == (None, None):
        return ""
    return "+".join("?" if one is None else str(one) for one in counts)


def queue_line(name: str, status: QueueStatus) -> str:
    """The state of the queue, one line."""
    counts = status.counts
    limit = f" of {status.concurrency:,}" if status.concurrency else ""
    text = f"{name}: {counts.pending:,} pending, {counts.processing:,}{limit} processing"
    return clean(f"{text}; {status.blocked_by}" if status.blocked_by else text)


# -- one task -------------------------------------------------------------------------------------


def detail_lines(
    task: TaskDetail,
    attempts: Sequence[Attempt],
    request: RequestView,
    response: ResponseView | None,
    now: float,
) -> Iterator[str]:
    """Everything about a task but its bodies. Its lines are sanitised when they are written."""
    reason = f" ({task.reason})" if task.reason else ""
    yield f"{task.id}: {task.state.value}{reason}"
    if task.message:
        yield f"  message: {task.message}"
    if task.position is not None:
        yield f"  place in the queue: {format_count(task.position, 'task')} before it"
    yield f"  attempts: {task.attempts_in_words}"
    for name in _TIMES:
        if moment := format_moment(getattr(task, name)):
            yield f"  {name.replace('_', ' ')}: {moment}"
    timings = task_timings(task, attempts, now)
    yield (
        f"  waited {format_seconds(timings.waited)}, ran {format_seconds(timings.ran)},"
        f" total {format_seconds(timings.total)}"
    )
    if tokens := format_tokens(task):
        yield f"  tokens (prompt+completion): {tokens}"
    yield f"  urgency: {task.urgency}"
    for name, value in (("user", task.owner), ("Pod", task.pod), ("callback", request.callback)):
        if value:
            yield f"  {name}: {value}"
    if task.has_credentials:
        yield "  it was submitted with credentials"
    for one in attempts:
        yield f"  {_attempt_line(one)}"
    model = f", model {clean(task.model)}" if task.model else ""
    stream = ", stream" if task.is_stream else ""
    size = format_size(task.request_bytes)
    yield f"  request: {clean(request.method)} {clean(request.path)}{model}{stream}, {size}"
    for name, value in request.headers:
        yield f"    {name}: {value}"
    if response is not None:
        yield f"  response: status {response.status}, {format_size(task.response_bytes)}"
        for name, value in response.headers:
            yield f"    {name}: {value}"


def _attempt_line(attempt: Attempt) -> str:
    words = [f"attempt {attempt.attempt}: {format_moment(attempt.began)}"]
    words += [f"for {format_seconds(attempt.ended - attempt.began)}"]
    words += [f"on {clean(attempt.pod)}"] if attempt.pod else []
    words += ["no answer" if attempt.status is None else f"status {attempt.status}"]
    words += [] if attempt.is_counted else ["not counted"]
    words += [attempt.message] if attempt.message else []
    return ", ".join(words)


# -- JSON -----------------------------------------------------------------------------------------


def task_json(task: Task, now: float) -> dict[str, Any]:
    """The JSON object of a task (docs/tasks.md)."""
    timings = task_timings(task, (), now)
    return {
        "id": clean(task.id),
        "state": task.state.value,
        "method": clean(task.method),
        "path": clean(task.path),
        "model": clean(task.model),
        "isStream": task.is_stream,
        "user": clean(task.owner),
        "urgency": task.urgency,
        "attempts": task.attempt,
        "maxAttempts": task.max_attempts,
        "created": _json_moment(task.created),
        "started": _json_moment(task.started),
        "ended": _json_moment(task.ended),
        "deadline": _json_moment(task.deadline),
        "nextAttempt": _json_moment(task.next_attempt),
        "expires": _json_moment(task.expires),
        "waitedSeconds": round(timings.waited, 3),
        "ranSeconds": round(timings.ran, 3),
        "reason": clean(task.reason),
        "message": clean(task.message),
        "status": task.status,
        "pod": clean(task.pod),
        "requestBytes": task.request_bytes,
        "responseBytes": task.response_bytes,
        "promptTokens": task.prompt_tokens,
        "completionTokens": task.completion_tokens,
    }


def detail_json(
    task: TaskDetail,
    attempts: Sequence[Attempt],
    request: RequestView,
    response: ResponseView | None,
    now: float,
) -> dict[str, Any]:
    timings = task_timings(task, attempts, now)
    return {
        "apiVersion": API_VERSION,
        "kind": "Task",
        **task_json(task, now),
        "waitedSeconds": round(timings.waited, 3),
        "ranSeconds": round(timings.ran, 3),
        "position": task.position,
        "hasCredentials": task.has_credentials,
        "hasCallback": task.has_callback,
        "madeAttempts": [
            {
                "attempt": one.attempt,
                "pod": clean(one.pod),
                "began": _json_moment(one.began),
                "ended": _json_moment(one.ended),
                "status": one.status,
                "message": clean(one.message),
                "isCounted": one.is_counted,
            }
            for one in attempts
        ],
        "requestHeaders": _headers_json(request.headers),
        "responseHeaders": None if response is None else _headers_json(response.headers),
    }


def list_json(name: str, status: QueueStatus) -> dict[str, Any]:
    """That of a list, its items left out."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TaskList",
        "serving": name,
        "queue": msgspec.to_builtins(status),
        "items": [],
    }


def event_json(event: FeedEvent) -> dict[str, Any]:
    """That of a change; the state of a task that was deleted is null."""
    return {
        "time": _json_moment(event.time),
        "id": clean(event.id),
        "state": None if event.state is None else event.state.value,
        "attempts": event.attempt,
    }


def _headers_json(headers: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": clean(name), "value": clean(value)} for name, value in headers]


def _json_moment(seconds: float | None) -> str | None:
    return format_moment(seconds) or None
