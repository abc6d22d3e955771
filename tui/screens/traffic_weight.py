"""The dialog that asks how many percent of the requests another serving gets."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from servedeck.changes.traffic_split.plan import first_weight_problem, weight_problem
from servedeck.serving.objects.traffic_split import TOTAL_WEIGHT
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.line_input import LineInput
from widgets.text_view import Paragraph, StatusLine, TextView

FIRST_WEIGHT = 1
"""Percent that is proposed for a serving that gets no share yet."""


class TrafficWeightDialog(Overlay[int | None]):
    """Its result is the percentage, None for none."""

    SCOPE = "traffic_weight"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("traffic_weight")
    line_input = query_one(LineInput)
    text_view = query_one(TextView)

    def __init__(self, serving: str, other: str, weight: int, *, is_split: bool) -> None:
        """`weight` is proposed; with `is_split` the other one has a share already. Names are
        sanitized."""
        super().__init__()
        self._serving = serving
        self._other = other
        self._weight = weight
        self._is_split = is_split

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (f"Percent of the requests for {self._other}", "title")))
        yield title
        yield LineInput(">", f"0 to {TOTAL_WEIGHT}")
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        field = self.line_input.input
        field.value = str(self._weight)
        field.action_select_all()  # a digit replaces it
        field.focus()
        self._update_text()

    @property
    def _typed(self) -> int | None:
        text = self.line_input.text.strip().removesuffix("%").strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None

    def _update_text(self) -> None:
        typed = self._typed
        if typed is None or weight_problem(typed):
            text = f"The others go to {self._serving}."
        else:
            text = f"{self._other} gets {typed} %, {self._serving} {TOTAL_WEIGHT - typed} %."
        self.text_view.set_paragraphs([Paragraph(), Paragraph((("  ", ""), (text, "muted")), 2)])

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.line_input.show_error("")
        self._update_text()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        await self.action_do("traffic_weight.save")

    def do_step(self, key: str) -> None:
        weight = (self._typed or 0) + (1 if key == "up" else -1)
        field = self.line_input.input
        field.value = str(min(max(weight, 0), TOTAL_WEIGHT))
        field.cursor_position = len(field.value)

    def do_save(self) -> None:
        weight = self._typed
        problem = weight_problem(weight)
        if not self._is_split:
            problem = problem or first_weight_problem(weight, self._other)
        if problem:
            self.line_input.show_error(problem)
        else:
            self.dismiss(weight)

    def do_close(self) -> None:
        self.dismiss(None)
