"""What the tab Async Queue says in place of tasks, and about those that it shows."""

from __future__ import annotations

from collections.abc import Callable

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.tasks import QueueStatus, Task, TaskState
from servedeck.serving.text import one_line
from tui.async_queue.heading import clock_text
from widgets.styled_line import Line, Span
from widgets.task_states import state_name

KeyDisplay = Callable[[str], str]
"""The key of an action as it is shown."""


def placeholder_lines(live: LiveQueue | None, problem: str, key: KeyDisplay) -> tuple[Line, ...]:
    """What is shown while there are no tasks; `problem` is why there is no `live`."""
    lines: tuple[str, ...]
    style = "muted"
    if live is None:
        lines = (problem,)
    elif live.phase is LivePhase.OFF:
        lines = (
            "The async queue of this serving is off.",
            "",
            f"{key('queue.turn_on')} turns it on: requests with the header X-Async: true are then "
            "stored, and their responses can be fetched later.",
            "",
            f"It is asked every minute whether it is on; {key('queue.reconnect')} asks at once.",
        )
    elif live.phase is LivePhase.TOO_OLD:
        lines = (live.problem, "", f"{key('queue.turn_on')} updates it.")
    elif live.phase is LivePhase.FORBIDDEN:
        lines = (live.problem,)
    elif live.phase is LivePhase.RETRYING:
        at_once = f"It is tried again; {key('queue.reconnect')} tries it at once."
        lines, style = (live.problem, "", at_once), "warning"
    elif live.phase is LivePhase.CONNECTING:
        lines = ("Loading…",)
    else:
        lines = (_empty_text(live, key),)
    return tuple(((one_line(text), style),) if text else () for text in lines)


def _empty_text(live: LiveQueue, key: KeyDisplay) -> str:
    if live.problem:
        return "The tasks could not be read."
    if live.is_loading or live.has_after:
        return "No task matches so far; still searching." if live.query.text else "Loading…"
    if live.query.text:
        return "No task matches the filter."
    if live.query.state is not None:
        return f"No task is {state_name(live.query.state)}."
    return f"No task is stored. {key('queue.submit')} submits a test request."


def task_note(task: Task | None) -> Line:
    """What became of a task, in one line; "" for none."""
    if task is None:
        return ()
    spans: list[Span] = [(" ", "")]
    if task.state is TaskState.PENDING and task.next_attempt is not None:
        spans.append((f"next attempt at {clock_text(task.next_attempt)}: ", "muted"))
    elif task.reason:
        spans.append((f"{one_line(task.reason).replace('_', ' ')}: ", "error"))
    spans.append((one_line(task.message), ""))
    if not task.message and task.pod:
        where = "processed by" if task.state is TaskState.PROCESSING else "last attempt by"
        spans.append((f"{where} {one_line(task.pod)}", "muted"))
    return tuple(spans)


def list_info(live: LiveQueue, shown: int, marks: str, key: KeyDisplay, *, is_by_age: bool) -> Line:
    """Marks, new tasks, and what the order of the `shown` lines refers to."""
    found: list[Span] = [(marks, "accent")] if marks else []
    if live.newer and not live.oldest_first:
        newest = key("table.edge").partition("/")[0]
        found.append((f"{_newer_text(live)}; {newest} shows them", "accent"))
    if not is_by_age and (live.has_after or live.has_before):
        found.append((f"sorted: the {shown:,} loaded", "muted"))
    elif live.oldest_first:
        found.append(("oldest first", "muted"))
    if live.query.text and live.is_loading:
        found.append(("searching…", "muted"))
    spans: list[Span] = []
    for one in found:
        spans += [("   ", ""), one]
    return tuple(spans)


def _newer_text(live: LiveQueue) -> str:
    """What was submitted since is Pending at first; whether it matches is not known otherwise."""
    state, text = live.query
    is_known = not text and state in (None, TaskState.PENDING)
    return f"{live.newer:,} newer" if is_known else "newer ones may match"


def queue_disabled_reason(name: str, status: QueueStatus | None) -> str:
    """Why an action on the queue itself is not possible, in a sentence; "" if it is."""
    if status is None:
        return "" if name == "submit" else "The state of the queue is not known yet."
    if name == "retry_failed" and not status.counts.failed:
        return "No task has failed."
    if name == "purge" and not status.counts.pending:
        return "No task is pending."
    return ""
