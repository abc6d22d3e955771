"""The lines around a task: its title, the sections, and why it is not up to date."""

from __future__ import annotations

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.tasks import Task
from tui.task_view.reader import TaskReader
from tui.task_view.section_view import SECTIONS, Section
from tui.task_view.summary import clean
from tui.task_view.times import moment_text
from widgets.styled_line import Line, Span
from widgets.task_rows import state_span


def title_line(task: Task, *, is_deleted: bool) -> Line:
    """The id and the state of the task."""
    line: Line = (
        (" ", ""),
        (f"Task {clean(task.id)}", "strong"),
        ("  ", ""),
        state_span(task.state),
    )
    return (*line, ("  deleted", "pending")) if is_deleted else line


def section_line(task: Task, shown: Section) -> Line:
    """The sections with their keys; the one that is shown in brackets."""
    notes = {
        Section.ATTEMPTS: f" {task.attempts_text}" if task.attempt else "",
        Section.RESPONSE: f" {task.status}" if task.status is not None else "",
    }
    spans: list[Span] = []
    for number, section in enumerate(SECTIONS, 1):
        is_shown = section is shown
        text = f"{number} {section.value}{notes.get(section, '')}"
        left, right = ("[", "]") if is_shown else (" ", " ")
        spans.append((f"{left}{text}{right} ", "title" if is_shown else "muted"))
    return tuple(spans)


def problem_line(reader: TaskReader, live: LiveQueue) -> Line:
    """Why what is shown may not be as it is now; () if it is."""
    if reader.is_deleted:
        return ((" The task was deleted; its last state is shown.", "pending"),)
    problem = live.problem if live.phase is not LivePhase.LIVE else live.store_problem
    problem = problem or reader.problem
    if not problem:
        return ()
    as_of = ""
    if live.lost_at is not None:
        as_of = f"As of {moment_text(live.lost_at, live.now())}: "
    return ((f" {as_of}{clean(problem)}", "warning"),)
