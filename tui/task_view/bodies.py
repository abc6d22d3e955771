"""The sections Request and Response: the head, and above the body what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.async_queue.body_text import MAX_SHOWN_BYTES, BodyKind, size_text
from servedeck.async_queue.tasks import RequestView, ResponseView, Task, TaskState
from servedeck.serving.text import format_count, format_size
from tui.task_view.body_sources import BodyView, available_views
from tui.task_view.reader import BodyState
from tui.task_view.summary import Items, clean, labelled
from tui.task_view.times import took_text
from widgets.styled_line import Line, wrap

KeyDisplay = Callable[[str], str]
"""The key of an action, as it is shown."""

_VIEW_NAMES = {
    BodyView.CHAT: "the conversation",
    BodyView.JSON: "JSON",
    BodyView.RAW: "what was sent",
}


def request_items(
    head: RequestView | None, problem: str, width: int, *, shows_headers: bool
) -> Items:
    """The head of a request; `problem` is why it is not known."""
    if head is None:
        return _unknown(problem, width)
    line: Line = ((f"{clean(head.method)} ", "strong"), (clean(head.path), ""))
    items = [wrap(line, width, 2)]
    if head.attempt_seconds is not None:
        limit = took_text(head.attempt_seconds)
        items.append(labelled("Time limit", f"{limit} for each attempt", width))
    if head.callback:
        items.append(labelled("Callback", clean(head.callback), width))
    return [*items, *_header_items(head.headers, width, shows_headers=shows_headers)]


def response_items(
    head: ResponseView | None,
    task: Task,
    problem: str,
    width: int,
    *,
    is_missing: bool,
    shows_headers: bool,
) -> Items:
    """The head of a response; `is_missing` says that there is none."""
    if head is None:
        return _unknown(problem, width) if not is_missing else [wrap(_no_response(task), width)]
    style = "ready" if head.status < 400 else "error"
    items: Items = [[((f"Status {head.status}", style),)]]
    return [*items, *_header_items(head.headers, width, shows_headers=shows_headers)]


def _unknown(problem: str, width: int) -> Items:
    if not problem:
        return [[(("Loading…", "muted"),)]]
    return [wrap(((clean(problem), "warning"),), width)]


def _no_response(task: Task) -> Line:
    texts = {
        TaskState.PENDING: "There is no response yet: the task waits.",
        TaskState.PROCESSING: "There is no response yet: the task is being processed.",
        TaskState.CANCELLED: "There is no response: the task was cancelled.",
    }
    return ((texts.get(task.state, "No response is stored."), "muted"),)


def _header_items(headers: Sequence[tuple[str, str]], width: int, *, shows_headers: bool) -> Items:
    if not shows_headers:
        return [[((f"{format_count(len(headers), 'header')} not shown", "muted"),)]]
    return [
        wrap(((f"{clean(name)}: ", "accent"), (clean(value), "")), width, 2)
        for name, value in headers
    ]


def body_heading(
    state: BodyState, view: BodyView | None, key_display: KeyDisplay, width: int
) -> Items:
    """What a body is, how much of it is shown, and what is special about it."""
    items: Items = [[()]]
    body, text = state.body, state.text
    if body is None or text is None:
        if state.is_withheld:
            items.append(wrap((("The body is not shown: ", "warning"),), width))
            items.append(wrap(((clean(state.problem), "warning"),), width))
        elif state.problem:
            items.append(wrap(((clean(state.problem), "warning"),), width))
        else:
            items.append([(("Loading the body…", "muted"),)])
        return items
    if text.kind is BodyKind.EMPTY:
        return [*items, [(("The body is empty.", "muted"),)]]
    line: Line = (("Body", "title"), (f"  {text.kind.value}, {size_text(body)}", ""))
    if view is not None:
        views = available_views(text)
        at = views.index(view)
        names = ", then ".join(_VIEW_NAMES[one] for one in (*views[at + 1 :], *views[:at]))
        if names:
            line = (*line, (f"; {key_display('task.view')} shows {names}", "muted"))
    items.append(wrap(line, width, 2))
    if state.is_loading:
        items.append([(("Loading more…", "muted"),)])
    elif state.can_load_more:
        more = f"{key_display('task.more')} shows more, {key_display('task.save')} saves all of it"
        items.append(wrap(((more, "muted"),), width))
    elif body.is_cut:
        most = f"More than {format_size(MAX_SHOWN_BYTES)} is not shown; "
        items.append(
            wrap(((f"{most}{key_display('task.save')} saves all of it.", "warning"),), width)
        )
    if state.problem:
        items.append(wrap(((clean(state.problem), "warning"),), width))
    items += [wrap(((clean(note), "pending"),), width) for note in text.notes]
    return [*items, [()]]
