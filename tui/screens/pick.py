"""Choosing one of a list, narrowed by typing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from servedeck.serving.units import age
from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.columns import Column, Row
from widgets.line_input import LineInput
from widgets.table import FleetTable
from widgets.text_view import Bar


class Choice(NamedTuple):
    """A line to choose."""

    key: str
    label: str
    detail: str = ""
    word: str = ""
    """What finds it besides label and detail."""
    off: str = ""
    """Why it cannot be chosen now; "" where it can."""


def ranked(choices: Sequence[Choice], typed: str) -> list[Choice]:
    """The choices that what was typed occurs in, those that begin with it first."""
    wanted = typed.casefold().split()

    def rank(choice: Choice) -> int:
        head = choice.word.casefold() or choice.label.casefold()
        if wanted and head == wanted[0]:
            return 0
        return 1 if wanted and head.startswith(wanted[0]) else 2

    found = [
        choice
        for choice in choices
        if all(
            part in f"{choice.label}\n{choice.detail}\n{choice.word}".casefold() for part in wanted
        )
    ]
    return sorted(found, key=rank)


class PickScreen(Overlay[str | None]):
    """A list of choices under an input; its result is the key of the choice, None for none."""

    SCOPE = "pick"
    HELPS = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("pick")
    PROMPT = ">"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("label", "NAME", least=18, most=60, rank=0),
        Column("detail", "", least=12, most=90, rank=1),
    )

    line = query_one(LineInput)
    table = query_one(FleetTable)

    def __init__(self, title: str, choices: Sequence[Choice], at: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._at = at

    def compose_body(self) -> ComposeResult:
        title = Bar(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield LineInput(self.PROMPT)
        yield FleetTable(self.COLUMNS, format_age=age)

    def on_mount(self) -> None:
        super().on_mount()
        self.table.can_focus = False
        self.line.input.focus()
        self.show_choices()
        self.table.select(self._at)

    def add(self, choices: Sequence[Choice]) -> None:
        """Offer what is not offered yet."""
        known = {choice.key for choice in self._choices}
        self._choices += [choice for choice in choices if choice.key not in known]
        if self.is_mounted:
            self.show_choices()

    def choices(self) -> list[Choice]:
        """What there is to choose, given what was typed."""
        return ranked(self._choices, self.line.text)

    def row(self, choice: Choice) -> Row:
        tone = "muted" if choice.off else ""
        return Row(choice.key, (choice.label, ((choice.off or choice.detail, "muted"),)), tone)

    def show_choices(self) -> None:
        self.table.set_placeholder(((("Nothing matches what was typed.", "muted"),),))
        self.table.set_rows([self.row(choice) for choice in self.choices()])

    def on_input_changed(self, event: Input.Changed) -> None:
        self.table.release()
        self.show_choices()

    def on_input_submitted(self) -> None:
        self.do_choose()

    def on_fleet_table_cell_clicked(self) -> None:
        self.do_choose()

    def do_choose(self) -> None:
        key = self.table.cursor_key
        if key is None:
            self.say("Nothing matches what was typed; esc changes nothing.", "warning")
            return
        chosen = next(choice for choice in self._choices if choice.key == key)
        if chosen.off:
            self.say(chosen.off, "warning")
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
