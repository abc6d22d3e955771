"""The filter of tasks by state: each state with its count, the chosen one in brackets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.message import Message

from servedeck.async_queue.tasks import TaskState
from servedeck.metrics.units import Unit, format_value
from widgets.styled_line import Line, Span
from widgets.task_rows import STATE_SPANS
from widgets.text_view import StatusLine

STATES: tuple[TaskState | None, ...] = (None, *TaskState)
"""In the order of the line; None for all."""


def state_name(state: TaskState | None) -> str:
    """ "All", "Pending"."""
    return "All" if state is None else state.value.capitalize()


class TaskStates(StatusLine):
    """One line; a click on a state chooses it."""

    @dataclass
    class Chosen(Message):
        """A state was clicked; None for all."""

        state: TaskState | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._counts: Mapping[TaskState, int] | None = None
        self._selected: TaskState | None = None
        self._regions: list[tuple[int, int, TaskState | None]] = []

    def set_counts(
        self, counts: Mapping[TaskState, int] | None, selected: TaskState | None
    ) -> None:
        """Tasks in each state, None while that is not known, and the state that is shown."""
        self._counts, self._selected = counts, selected
        self._update_lines()

    def on_resize(self) -> None:
        self._update_lines()

    def _update_lines(self) -> None:
        width = self.inner_width
        if not width:
            return
        for are_exact, states in ((True, STATES), (False, STATES), (False, (self._selected,))):
            line, self._regions = self._build_line(states, are_exact=are_exact)
            if self._regions[-1][1] <= width:
                break
        self.set_lines(line)

    def _build_line(
        self, states: tuple[TaskState | None, ...], *, are_exact: bool
    ) -> tuple[Line, list[tuple[int, int, TaskState | None]]]:
        """The line, and the cells of each state."""
        spans: list[Span] = []
        regions = []
        x = 0
        for state in states:
            name, count = state_name(state), self._count(state, are_exact=are_exact)
            is_selected = state is self._selected
            left, right = ("[", "]") if is_selected else (" ", " ")
            style = "strong" if is_selected else "muted"
            color = STATE_SPANS[state][1] if state is not None and count not in ("", "0") else ""
            spans += [(f"{left}{name}", style)]
            if count:
                spans += [(" ", ""), (count, color)]
            spans.append((right, style))
            end = x + cell_len(f"{left}{name}{right}") + (cell_len(count) + 1 if count else 0)
            regions.append((x, end, state))
            x = end
        return tuple(spans), regions

    def _count(self, state: TaskState | None, *, are_exact: bool) -> str:
        if self._counts is None:
            return ""
        count = sum(self._counts.values()) if state is None else self._counts.get(state, 0)
        return f"{count:,}" if are_exact else format_value(count, Unit.COUNT)

    def on_click(self, event: events.Click) -> None:
        for start, end, state in self._regions:
            if start <= event.x < end:
                self.post_message(self.Chosen(state))
