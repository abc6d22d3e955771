"""Tasks of an async queue as rows of a table: the columns, and the cell of each for a task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from servedeck.async_queue.tasks import Task, TaskState
from servedeck.serving.duration import format_duration
from servedeck.serving.moment import MAX_SECONDS, date_of
from servedeck.serving.text import one_line
from widgets.columns import MARK, AgeCell, Cell, Column, Row
from widgets.styled_line import Line, Span

TASK_COLUMNS = (
    Column("id", "ID", min_width=9, max_width=11, priority=0),
    Column("status", "STATUS", min_width=12, max_width=24, preferred=16, compact=4, priority=1),
    Column("request", "REQUEST", min_width=12, max_width=60, preferred=26, priority=2),
    Column("model", "MODEL", min_width=10, max_width=40, preferred=24, priority=6),
    Column("user", "USER", min_width=8, max_width=8, priority=8),
    Column("attempts", "TRIES", min_width=5, max_width=9, priority=5, align_right=True),
    Column("waited", "WAITED", min_width=6, max_width=8, priority=4, align_right=True),
    Column("run", "RUN", min_width=5, max_width=7, priority=4, align_right=True),
    Column("tokens", "TOKENS", min_width=9, max_width=16, priority=7, align_right=True),
    Column("age", "AGE", min_width=5, max_width=6, priority=3, align_right=True),
)
"""WAITED is the time until the last attempt began, RUN how long that took, TOKENS those of the
prompt and of the completion, AGE the time since the task was submitted."""

STATE_SPANS: Mapping[TaskState, Span] = {
    TaskState.PENDING: ("◌ Pending", "pending"),
    TaskState.PROCESSING: ("↻ Processing", "starting"),
    TaskState.COMPLETED: ("✓ Completed", "ready"),
    TaskState.FAILED: ("✗ Failed", "error"),
    TaskState.CANCELLED: ("- Cancelled", "scaled-down"),
}
"""Glyph and word of each state in its style; they show the same without color."""

SORT_COLUMNS = ("age", "waited", "run", "attempts", "tokens")
"""Columns that tasks can be sorted by. By age all of them are, by the others those that are
loaded."""

ID_LENGTH = 8
"""Characters of an id that are shown: the last ones, as ids of one minute begin alike."""
USER_LENGTH = 8
_PRECISE_SECONDS = 10.0
"""Up to which a duration has a decimal."""


def short_id(id: str) -> str:
    """The end of an id, "…3f9a01bc"."""
    text = one_line(id)
    return text if len(text) <= ID_LENGTH + 1 else f"…{text[-ID_LENGTH:]}"


def state_span(state: TaskState) -> Span:
    """Glyph and word of a state in its style."""
    return STATE_SPANS[state]


def seconds_waited(task: Task, now: float) -> float:
    """Time until the last attempt began, or until now while the task is pending."""
    if task.state is TaskState.PENDING:
        return max(now - task.created, 0.0)
    end = task.started if task.started is not None else task.ended
    return max((now if end is None else end) - task.created, 0.0)


def seconds_run(task: Task, now: float) -> float | None:
    """Duration of the last attempt, or of the present one until now; None before the first, and
    while the task waits for the next."""
    if task.started is None or task.state is TaskState.PENDING:
        return None
    if task.state is TaskState.PROCESSING:
        return max(now - task.started, 0.0)
    return max(task.ended - task.started, 0.0) if task.ended is not None else None


def token_count(task: Task) -> int | None:
    """Tokens of prompt and completion; None if they are not known."""
    if task.prompt_tokens is None and task.completion_tokens is None:
        return None
    return (task.prompt_tokens or 0) + (task.completion_tokens or 0)


def duration_text(seconds: float) -> str:
    """A duration that is over: "0.4s", "12s", "4m10s"."""
    return f"{seconds:.1f}s" if seconds < _PRECISE_SECONDS else format_duration(seconds)


def sort_tasks(
    tasks: Sequence[Task], column: str, *, is_reversed: bool, now: float
) -> Sequence[Task]:
    """The tasks by a column of SORT_COLUMNS other than age, ascending unless reversed; those
    without a value are last."""
    keys: Mapping[str, Callable[[Task], float | None]] = {
        "waited": lambda task: seconds_waited(task, now),
        "run": lambda task: seconds_run(task, now),
        "attempts": lambda task: task.attempt,
        "tokens": token_count,
    }
    key = keys[column]
    valued = [(value, task) for task in tasks if (value := key(task)) is not None]
    valued.sort(key=lambda one: one[0], reverse=is_reversed)
    return [*(task for _, task in valued), *(task for task in tasks if key(task) is None)]


class TaskRowBuilder:
    """Rows of tasks; each is built again only after its task or its mark has changed."""

    def __init__(self) -> None:
        self.is_wide = False
        """Whether ids are shown whole."""
        self._built: dict[str, _BuiltRow] = {}

    def build_rows(self, tasks: Iterable[Task], marked: Collection[str]) -> list[Row]:
        """Rows of the tasks in their order; forgets all others. `marked` are ids."""
        built: dict[str, _BuiltRow] = {}
        for task in tasks:
            known, is_marked = self._built.get(task.id), task.id in marked
            look = (is_marked, self.is_wide)
            if known is None or known.look != look or known.task is not task:
                row = build_task_row(task, is_marked=is_marked, is_wide=self.is_wide)
                known = _BuiltRow(task, look, row)
            built[task.id] = known
        self._built = built
        return [one.row for one in built.values()]

    def task(self, id: str) -> Task | None:
        """The task of a row."""
        found = self._built.get(id)
        return found.task if found is not None else None


class _BuiltRow(NamedTuple):
    """A row, and what it was built of."""

    task: Task
    look: tuple[bool, bool]
    row: Row


def build_task_row(task: Task, *, is_marked: bool = False, is_wide: bool = False) -> Row:
    """The row of a task, cells in the order of TASK_COLUMNS."""
    id = one_line(task.id) if is_wide else short_id(task.id)
    return Row(
        task.id,
        (
            ((MARK, "accent"), (id, "strong")) if is_marked else id,
            _status_cell(task),
            ((one_line(task.method), "muted"), (" ", ""), (one_line(task.path), "")),
            one_line(task.model),
            ((one_line(task.owner)[:USER_LENGTH], "muted"),),
            _attempts_cell(task),
            _waited_cell(task),
            _run_cell(task),
            ((_tokens_text(task), ""),),
            AgeCell(_time(task.created)),
        ),
        style_name="muted" if task.state is TaskState.CANCELLED else "",
    )


def _status_cell(task: Task) -> Line:
    span = state_span(task.state)
    if task.state is not TaskState.FAILED:
        return (span,)
    # The status of the response says most; without one, why it failed.
    why = str(task.status) if task.status is not None else one_line(task.reason).replace("_", " ")
    return (span, (" ", ""), (why, "strong"))


def _attempts_cell(task: Task) -> Line:
    if not task.attempt:
        return (("–", "muted"),)
    style = "warning" if task.attempt > 1 else "muted"
    return ((task.attempts_text, style),)


def _waited_cell(task: Task) -> Cell:
    if task.state is TaskState.PENDING:
        return AgeCell(_time(task.created))
    return ((duration_text(seconds_waited(task, task.created)), "muted"),)


def _run_cell(task: Task) -> Cell:
    if task.state is TaskState.PROCESSING and task.started is not None:
        return AgeCell(_time(task.started))
    seconds = seconds_run(task, 0.0)
    return ((duration_text(seconds) if seconds is not None else "", ""),)


def _tokens_text(task: Task) -> str:
    if task.prompt_tokens is None and task.completion_tokens is None:
        return ""
    return "+".join(
        "?" if count is None else f"{count:,}"
        for count in (task.prompt_tokens, task.completion_tokens)
    )


def _time(seconds: float) -> datetime | None:
    """None for a time that no calendar has."""
    return date_of(seconds) if 0 <= seconds < MAX_SECONDS else None
