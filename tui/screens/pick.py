"""Choosing one of a list, narrowed by typing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from servedeck.serving.duration import format_duration
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.columns import Column, Row
from widgets.line_input import LineInput
from widgets.table import KeyedTable
from widgets.text_view import StatusLine


class Choice(NamedTuple):
    """A line to choose."""

    key: str
    label: str
    detail: str = ""
    keyword: str = ""
    """Further text that is searched."""
    disabled_reason: str = ""
    """Why it cannot be chosen now; "" if it can."""


def rank_choices(choices: Sequence[Choice], typed: str) -> list[Choice]:
    """The choices that contain the input, those that begin with it first."""
    wanted = typed.casefold().split()

    def rank(choice: Choice) -> int:
        head = choice.keyword.casefold() or choice.label.casefold()
        if wanted and head == wanted[0]:
            return 0
        return 1 if wanted and head.startswith(wanted[0]) else 2

    found = [
        choice
        for choice in choices
        if all(
            part in f"{choice.label}\n{choice.detail}\n{choice.keyword}".casefold()
            for part in wanted
        )
    ]
    return sorted(found, key=rank)


class PickScreen(Overlay[str | None]):
    """A list of choices under an input; its result is the key of the choice, None for none."""

    SCOPE = "pick"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("pick")
    PROMPT = ">"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("label", "NAME", min_width=18, max_width=60, priority=0),
        Column("detail", "", min_width=12, max_width=90, priority=1),
    )

    line_input = query_one(LineInput)
    table = query_one(KeyedTable)

    def __init__(self, title: str, choices: Sequence[Choice], selected_key: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._initial_key = selected_key

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield LineInput(self.PROMPT)
        yield KeyedTable(self.COLUMNS, format_age=format_duration)

    def on_mount(self) -> None:
        super().on_mount()
        self.table.can_focus = False
        self.line_input.input.focus()
        self.update_choices()
        self.table.select(self._initial_key)

    def add_choices(self, choices: Sequence[Choice]) -> None:
        """Add choices that are not in the list yet."""
        known = {choice.key for choice in self._choices}
        self._choices += [choice for choice in choices if choice.key not in known]
        if self.is_mounted:
            self.update_choices()

    def set_choices(self, choices: Sequence[Choice]) -> None:
        """Replace the choices; the cursor stays on its own."""
        self._choices = list(choices)
        if self.is_mounted:
            self.update_choices()

    def matching_choices(self) -> list[Choice]:
        """The choices that match the input."""
        return rank_choices(self._choices, self.line_input.text)

    def build_row(self, choice: Choice) -> Row:
        style_name = "muted" if choice.disabled_reason else ""
        return Row(
            choice.key,
            (choice.label, ((choice.disabled_reason or choice.detail, "muted"),)),
            style_name,
        )

    def update_choices(self) -> None:
        self.table.set_placeholder(((("Nothing matches what was typed.", "muted"),),))
        self.table.set_rows([self.build_row(choice) for choice in self.matching_choices()])

    def on_input_changed(self, event: Input.Changed) -> None:
        self.table.reset_cursor()
        self.update_choices()

    def on_input_submitted(self) -> None:
        self.do_choose()

    def on_keyed_table_cell_clicked(self) -> None:
        self.do_choose()

    def do_choose(self) -> None:
        key = self.table.cursor_key
        if key is None:
            self.show_message("Nothing matches what was typed; esc changes nothing.", "warning")
            return
        chosen = next(choice for choice in self._choices if choice.key == key)
        if chosen.disabled_reason:
            self.show_message(chosen.disabled_reason, "warning")
        else:
            self.dismiss(cast(str, key))

    def do_close(self) -> None:
        self.dismiss(None)

    def do_move(self, key: str) -> None:
        match key:
            case "down" | "ctrl+n":
                self.table.action_move(1)
            case "up" | "ctrl+p":
                self.table.action_move(-1)
            case "pagedown":
                self.table.action_page(1)
            case _:
                self.table.action_page(-1)
