"""The sections of a task beside its bodies: what it is, and its attempts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from servedeck.async_queue.tasks import Attempt, Task, TaskDetail, TaskState
from servedeck.async_queue.timings import task_timings, tokens_per_second
from servedeck.serving.text import format_count, format_size, one_line, sanitize
from tui.task_view.times import ago_text, moment_text, took_text, until_text
from widgets.styled_line import Line, Span, wrap
from widgets.task_rows import state_span

LABEL_WIDTH = 15
"""Cells of the labels."""
NARROW_WIDTH = 45
"""Cells below which values are not aligned."""
_REASONS = {
    "refused": "The inference server refused it.",
    "exhausted": "The last attempt that was allowed failed.",
    "expired": "Its deadline passed before it ended.",
    "result_too_large": "Its response was too large to be stored.",
    "lost": "Its body or its credentials can no longer be read.",
}
"""What a FailureReason means."""

Items = list[list[Line]]
"""The lines of each item, wrapped to the width."""


class TaskPicture(NamedTuple):
    """What is shown of a task, at one moment."""

    task: Task
    detail: TaskDetail | None
    attempts: Sequence[Attempt] | None
    now: float
    seconds_until_start: Callable[[int], float | None]
    """Expected, for a task that so many are taken before; None if nothing says so."""
    is_blocked: bool = False
    """Whether nothing drains, as the gateway says."""


def clean(text: str) -> str:
    """Untrusted text on one line."""
    return one_line(sanitize(text))


def labelled(label: str, value: Line | str, width: int) -> list[Line]:
    """A value with its label; the value is wrapped beside it."""
    spans: Line = ((value, ""),) if isinstance(value, str) else value
    if width < NARROW_WIDTH:
        return wrap(((f"{label}: ", "muted"), *spans), width, 2)
    return wrap(((label.ljust(LABEL_WIDTH), "muted"), *spans), width, LABEL_WIDTH)


def summary_items(picture: TaskPicture, width: int) -> Items:
    """What the task is, why it is as it is, and how long everything took."""
    task = picture.task
    rows: list[tuple[str, Line | str]] = [("State", _state_line(task))]
    rows += _reasons(task)
    rows += _places(picture)
    rows.append(("", ""))
    rows += _timings(picture)
    rows.append(("", ""))
    rows += _request(task, picture.detail)
    rows.append(("", ""))
    rows += _times(picture)
    return [labelled(label, value, width) if label else [()] for label, value in rows]


def _state_line(task: Task) -> Line:
    spans: list[Span] = [state_span(task.state)]
    if task.status is not None:
        spans.append((f" with status {task.status}", ""))
    if task.state is TaskState.PROCESSING and task.pod:
        spans.append((f" in {clean(task.pod)}", ""))
    return tuple(spans)


def _reasons(task: Task) -> list[tuple[str, Line | str]]:
    rows: list[tuple[str, Line | str]] = []
    if task.reason:
        why = _REASONS.get(task.reason, clean(task.reason))
        rows.append(("Reason", ((why, "strong"),)))
    if task.message:
        rows.append(("Message", ((clean(task.message), "warning" if task.reason else ""),)))
    return rows


def _places(picture: TaskPicture) -> list[tuple[str, Line | str]]:
    task, detail, now = picture.task, picture.detail, picture.now
    if task.state is not TaskState.PENDING:
        return []
    if task.next_attempt is not None and task.next_attempt > now:
        return [("Next attempt", ago_text(task.next_attempt, now))]
    if detail is None or detail.position is None:
        return []
    position = detail.position
    verb = "is" if position == 1 else "are"
    place = (
        f"{format_count(position, 'task')} {verb} taken before it"
        if position
        else "It is the next one"
    )
    seconds = picture.seconds_until_start(position)
    if seconds is None:
        why = "nothing drains now" if picture.is_blocked else "when it starts is not known"
        return [("Place", f"{place}; {why}.")]
    return [("Place", f"{place}; it is expected to start in about {until_text(seconds)}.")]


def _timings(picture: TaskPicture) -> list[tuple[str, Line | str]]:
    task = picture.task
    times = task_timings(task, picture.attempts or (), picture.now)
    is_running = task.state is TaskState.PROCESSING
    waited = f"{took_text(times.waited)}{' so far' if task.state is TaskState.PENDING else ''}"
    ran = f"{took_text(times.ran)}{' so far' if is_running else ''}" if task.attempt else "not yet"
    rows: list[tuple[str, Line | str]] = [
        ("Attempts", task.attempts_in_words),
        ("Waited", waited),
        ("Ran", ran),
        ("Total", f"{took_text(times.total)}{'' if task.state.is_final else ' so far'}"),
    ]
    tokens = [
        f"{count:,} {name}"
        for count, name in (
            (task.prompt_tokens, "of the prompt"),
            (task.completion_tokens, "of the completion"),
        )
        if count is not None
    ]
    if (rate := tokens_per_second(task)) is not None:
        tokens.append(f"{rate:,.1f} tokens/s")
    return [*rows, ("Tokens", ", ".join(tokens))] if tokens else rows


def _request(task: Task, detail: TaskDetail | None) -> list[tuple[str, Line | str]]:
    streamed = ", streamed" if task.is_stream else ""
    size = f"{format_size(task.request_bytes)}{streamed}"
    rows: list[tuple[str, Line | str]] = [
        ("Request", f"{clean(task.method)} {clean(task.path)}, {size}"),
    ]
    if task.status is not None:
        rows.append(("Response", format_size(task.response_bytes)))
    if task.model:
        rows.append(("Model", clean(task.model)))
    if task.pod:
        rows.append(("Pod", clean(task.pod)))
    rows.append(("User", clean(task.owner) or "without credentials"))
    rows.append(("Urgency", f"{task.urgency} (0 is first, 7 last)"))
    if detail is None:
        return rows
    credentials = "submitted with credentials" if detail.has_credentials else "none"
    if detail.has_credentials and task.state is TaskState.FAILED:
        credentials += "; they were deleted at its end: a retry needs others"
    rows.append(("Credentials", credentials))
    rows.append(("Callback", "a URL is notified of the end" if detail.has_callback else "none"))
    return rows


def _times(picture: TaskPicture) -> list[tuple[str, Line | str]]:
    task, now = picture.task, picture.now
    named = (
        ("Created", task.created),
        ("Last attempt", task.started),
        ("Ended", task.ended),
        ("Deadline", None if task.state.is_final else task.deadline),
        ("Deleted", task.expires),
    )
    return [(label, ago_text(time, now)) for label, time in named if time is not None]


# -- attempts -----------------------------------------------------------------------------------


class AttemptRow(NamedTuple):
    """An attempt, or the one that runs."""

    number: int
    pod: str
    began: float
    ended: float | None = None
    """None while it runs."""
    status: int | None = None
    message: str = ""
    is_counted: bool = True


def attempt_rows(task: Task, attempts: Sequence[Attempt]) -> list[AttemptRow]:
    """The attempts that have ended and the one that runs, the newest last."""
    rows = [
        AttemptRow(
            one.attempt, one.pod, one.began, one.ended, one.status, one.message, one.is_counted
        )
        for one in attempts
    ]
    is_running = task.state is TaskState.PROCESSING and task.started is not None
    if is_running and all(row.number != task.attempt for row in rows):
        rows.append(AttemptRow(task.attempt, task.pod, task.started or 0.0))
    return rows


def attempt_items(rows: Sequence[AttemptRow], now: float, width: int) -> Items:
    """An item for each attempt."""
    pods = max([len(clean(row.pod)) for row in rows], default=0)
    return [_attempt_lines(row, now, pods, width) for row in rows]


def _attempt_lines(row: AttemptRow, now: float, pods: int, width: int) -> list[Line]:
    took = took_text((now if row.ended is None else row.ended) - row.began)
    spans: list[Span] = [
        (f"{row.number:>3}  ", "strong"),
        (f"{moment_text(row.began, now)}  ", ""),
        (f"{(clean(row.pod) or '–').ljust(pods)}  ", ""),
    ]
    if row.ended is None:
        spans.append((f"running for {took}", "starting"))
    else:
        answer = "no answer" if row.status is None else str(row.status)
        is_good = row.status is not None and row.status < 400 and not row.message
        spans.append((f"{answer}  ", "ready" if is_good else "error"))
        spans.append((took, ""))
    if not row.is_counted:
        spans.append(("  not counted", "muted"))
    lines = wrap(tuple(spans), width, 5, keep_spans=True)
    if row.message:
        lines += wrap(((" " * 5, ""), (clean(row.message), "muted")), width, 5)
    return lines
