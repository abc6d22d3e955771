"""An input that filters what is below it while one types; escape clears it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding
from textual.message import Message

from widgets.history_line import HistoryLine


class FilterLine(HistoryLine):
    """Posts Textual's Input.Changed and Input.Submitted, and Cleared."""

    BINDINGS = [Binding("escape", "clear", "Clear", show=False)]

    @dataclass
    class Cleared(Message):
        """Escape was pressed."""

        filter_line: FilterLine

    def action_clear(self) -> None:
        self.input.value = ""
        self.post_message(self.Cleared(self))
