"""What an operator can do to one task, and who won where it ended at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from tui.task_view.times import moment_text

POSSIBLE_STATES: Mapping[TaskAction, tuple[TaskState, ...]] = {
    TaskAction.CANCEL: (TaskState.PENDING, TaskState.PROCESSING),
    TaskAction.RETRY: (TaskState.FAILED,),
    TaskAction.FRONT: (TaskState.PENDING,),
}
"""States of a task in which an action is possible."""
_DONE = {
    TaskAction.CANCEL: "cancelled",
    TaskAction.RETRY: "retried",
    TaskAction.FRONT: "moved to the front",
}


class TaskFlow(Protocol):
    """Runs actions on tasks: asks first where that is needed, and shows how they go."""

    def disabled_reason(self) -> str: ...

    def start(self, action: TaskAction, tasks: list[Task]) -> None: ...

    def submit_test(self, last: Task | None) -> None: ...


def change_disabled_reason(task: Task, action: TaskAction, *, is_deleted: bool) -> str:
    """Why the action is not possible as the task is, in one sentence; "" if it is."""
    if is_deleted:
        return "The task was deleted."
    possible = POSSIBLE_STATES[action]
    if task.state in possible:
        return ""
    states = " or ".join(one.value for one in possible)
    return f"The task is {task.state.value}: only one that is {states} can be {_DONE[action]}."


def won_before_cancel(task: Task, now: float) -> str:
    """What to say of a task that was to be cancelled and ended otherwise; "" if it did not."""
    if not task.state.is_final or task.state is TaskState.CANCELLED:
        return ""
    when = f" at {moment_text(task.ended, now)}" if task.ended is not None else ""
    return f"It was not cancelled: it {task.state.value}{when}, before the cancellation."
