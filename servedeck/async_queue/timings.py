"""How long a task waited and ran, and how fast it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from servedeck.async_queue.tasks import Attempt, Task, TaskState


class Timings(NamedTuple):
    """Seconds of a task, until now if it has not ended."""

    waited: float
    """In which no attempt ran."""
    ran: float
    """Of all attempts."""
    total: float


def task_timings(task: Task, attempts: Sequence[Attempt], now: float) -> Timings:
    """`attempts` are those that have ended, () if they are not known; `now` is by the clock of the
    store. No time is negative, whatever the clocks say."""
    end = task.ended if task.ended is not None else now
    total = max(end - task.created, 0.0)
    ran = sum(max(one.ended - one.began, 0.0) for one in attempts)
    is_last_missing = all(one.attempt != task.attempt for one in attempts)
    if task.started is not None and is_last_missing and task.state is not TaskState.PENDING:
        ran += max(end - task.started, 0.0)
    ran = min(ran, total)
    return Timings(total - ran, ran, total)


def tokens_per_second(task: Task) -> float | None:
    """Completion tokens by the time that the last attempt ran; None while that is not known."""
    if task.completion_tokens is None or task.started is None or task.ended is None:
        return None
    seconds = task.ended - task.started
    return task.completion_tokens / seconds if seconds > 0 else None
