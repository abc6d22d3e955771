"""What an operator can do to one task, and who won where it ended at the same time."""

from __future__ import annotations

from typing import Protocol

from servedeck.async_queue.bulk import unchanged_text, unsuitable_reason
from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from tui.task_view.times import moment_text


class TaskFlow(Protocol):
    """Runs actions on tasks: asks first where that is needed, and shows how they go."""

    def disabled_reason(self) -> str: ...

    def start(self, action: TaskAction, tasks: list[Task]) -> None: ...

    def submit_test(self, task: Task | None) -> None: ...


def change_disabled_reason(task: Task, action: TaskAction, *, is_deleted: bool) -> str:
    """Why the action is not possible as the task is, in one sentence; "" if it is."""
    if is_deleted:
        return "The task was deleted."
    return unsuitable_reason(action, [task.state])


def cancel_result(result: str, task: Task, now: float) -> str:
    """`result`, which says what became of the cancellation, with when the task ended if that was
    before it."""
    if not task.state.is_final or task.state is TaskState.CANCELLED:
        return result
    when = f" at {moment_text(task.ended, now)}" if task.ended is not None else ""
    text = f"It was not cancelled: it {task.state.value}{when}, before the cancellation."
    less = unchanged_text(TaskAction.CANCEL, task.state)
    return result.replace(less, text) if less in result else f"{result} {text}"
