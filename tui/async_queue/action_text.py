"""What the dialogs of actions on tasks say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from servedeck.async_queue.bulk import SUITABLE_STATES, BulkRun, suitable_words
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from servedeck.serving.text import format_count, one_line, sanitize, truncate
from widgets.styled_line import Line
from widgets.task_rows import state_span
from widgets.text_view import Paragraph

NO_TASK = "There is no task under the cursor."
MAX_TASKS = 10
"""Tasks that a dialog names."""
_MAX_PATH = 60
"""Cells of a path in a dialog."""
_MAX_FILTER = 200
_NOT_LISTED = ("? Not shown", "muted")
"""In place of the state of a task that the list does not have."""

_EFFECTS = {
    TaskAction.RETRY: (
        "It waits for its turn again, with all its attempts and a new deadline; the response that "
        "is stored of it is deleted.",
        "They wait for their turn again, with all their attempts and new deadlines; the responses "
        "that are stored of them are deleted.",
    ),
    TaskAction.FRONT: (
        "It is taken before all others that wait.",
        "They are taken before all others that wait, the oldest of them first.",
    ),
    TaskAction.FORGET: (
        "It is deleted with its response; nobody can ask for it any more.",
        "They are deleted with their responses; nobody can ask for them any more.",
    ),
}
"""Of one task, and of several."""
_LOSS = (
    "It is being processed: what is generated so far is lost.",
    "Those that are being processed lose what is generated so far.",
)
_CANCEL = (
    "It ends as Cancelled: its caller gets 409 instead of a result.",
    "They end as Cancelled: their callers get 409 instead of a result.",
)


def action_label(action: TaskAction, what: str) -> str:
    """ "Move 3 tasks to the front"."""
    if action is TaskAction.FRONT:
        return f"Move {what} to the front"
    verb = {TaskAction.CANCEL: "Cancel", TaskAction.RETRY: "Retry", TaskAction.FORGET: "Delete"}
    return f"{verb[action]} {what}"


def known_states(tasks: Sequence[Task], not_listed: Collection[str] = ()) -> list[TaskState | None]:
    """The states of the tasks; None for those that the list does not have, by their ids: what they
    were when they were seen last may be long ago."""
    return [None if one.id in not_listed else one.state for one in tasks]


def task_paragraphs(
    action: TaskAction, tasks: Sequence[Task], not_listed: Collection[str] = ()
) -> Iterator[Paragraph]:
    """What it does to these tasks, how many there are of each state, and the first of them."""
    counts = Counter(state for state in known_states(tasks, not_listed) if state is not None)
    unknown = len(tasks) - counts.total()
    many = len(tasks) > 1
    if many and counts:
        spans: list[tuple[str, str]] = [("  ", "")]
        for state in TaskState:
            if number := counts[state]:
                spans += [(", " if len(spans) > 1 else "", ""), (f"{number:,} ", "strong")]
                spans.append((state.value, state_span(state)[1]))
        yield Paragraph(tuple(spans), 2)
        left = sum(n for state, n in counts.items() if state not in SUITABLE_STATES[action])
        if left:
            what = "stays as it is" if left == 1 else "stay as they are"
            text = f"{left:,} {what}: only {suitable_words(action)} ones are changed."
            yield _muted(text)
    if unknown:
        yield _muted(_not_listed_text(action, unknown, len(tasks)))
    if action is TaskAction.CANCEL:
        if counts[TaskState.PROCESSING]:
            yield Paragraph((("  ! ", "warning"), (_LOSS[many], "warning")), 4)
        yield _muted(_CANCEL[many])
    else:
        yield _muted(_EFFECTS[action][many])
    yield Paragraph()
    for one in tasks[:MAX_TASKS]:
        yield Paragraph(_task_line(one, is_listed=one.id not in not_listed), 4)
    if len(tasks) > MAX_TASKS:
        yield _muted(f"… and {len(tasks) - MAX_TASKS:,} more")


def query_paragraphs(
    action: TaskAction, query: TaskQuery, count: int | None
) -> Iterator[Paragraph]:
    """What it does to all tasks that match."""
    states = [query.state] if query.state else [one for one in TaskState if not one.is_final]
    shown: str = query.state or suitable_words(action)
    yield Paragraph((("  State   ", "muted"), (shown, "strong")), 10)
    if query.text:
        text = truncate(one_line(sanitize(query.text)), _MAX_FILTER)
        yield Paragraph((("  Filter  ", "muted"), (text, "strong")), 10)
    number = "not known: they are looked for one after the other"
    if count is not None:
        number = f"{format_count(count, 'task')} now"
    yield Paragraph((("  Number  ", "muted"), (number, "")), 10)
    yield Paragraph()
    if action is TaskAction.CANCEL:
        if query.state is not TaskState.PENDING and TaskState.PROCESSING in states:
            yield Paragraph((("  ! ", "warning"), (_LOSS[1], "warning")), 4)
        yield _muted(_CANCEL[1])
    else:
        yield _muted(_EFFECTS[action][1])


def run_paragraphs(run: BulkRun, doing: str) -> Iterator[Paragraph]:
    """How far it is while it is `doing` something, or what became of it before its end."""
    if doing:
        yield Paragraph((("  ↻ ", "starting"), (f"{doing}: {run.progress()}…", "")), 4)
        if run.asked and run.is_running:
            yield Paragraph((("    ", ""), (run.summary(), "muted")), 4)
        return
    style_name = "error" if run.error else "warning"
    mark = "✗" if run.error else "!"
    yield Paragraph(((f"  {mark} ", style_name), (run.summary(), style_name)), 4)


def _not_listed_text(action: TaskAction, unknown: int, total: int) -> str:
    """Of tasks whose state is not known."""
    if total == 1:
        who = "It is not in the list now, so its state is not shown"
        return f"{who}; it stays as it is unless it is {suitable_words(action)}."
    who = "1 is" if unknown == 1 else f"{unknown:,} are" if unknown < total else "They are"
    whose = "its state is" if unknown == 1 else "their states are"
    text = f"{who} not in the list now, so {whose} not shown"
    return f"{text}; only {suitable_words(action)} ones are changed."


def _task_line(task: Task, *, is_listed: bool) -> Line:
    path = truncate(one_line(sanitize(task.path)), _MAX_PATH)
    method = truncate(one_line(sanitize(task.method)), 10)
    model = truncate(one_line(sanitize(task.model)), _MAX_PATH)
    label, style_name = state_span(task.state) if is_listed else _NOT_LISTED
    return (
        (f"  {label:<12}  ", style_name),
        (f"{method} {path}", ""),
        (f"  {model}" if model else "", "muted"),
        (f"  {one_line(sanitize(task.id))}", "muted"),
    )


def _muted(text: str) -> Paragraph:
    return Paragraph((("  ", ""), (text, "muted")), 2)
