"""The input of a search or filter: found as it is typed, enter keeps it, esc clears it."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from widgets.line_input import LineInput


class SearchLine(LineInput):
    """Hidden until `open`. Posts Input.Changed and Input.Submitted, and Cleared."""

    DEFAULT_CSS = "SearchLine { display: none; }"
    BINDINGS: ClassVar = [Binding("escape", "clear_search", "Clear", show=False)]

    class Cleared(Message):
        """The search was given up."""

    def __init__(self, prompt: str = "/", placeholder: str = "", id: str | None = None) -> None:
        super().__init__(prompt, placeholder, id=id)

    def open(self) -> None:
        """Show it without text. What was found before stays until something is typed."""
        self.clear()
        self.display = True
        self.input.focus()

    def close(self) -> None:
        """Hide it."""
        self.display = False

    def clear(self) -> None:
        """Remove the text without a message."""
        with self.input.prevent(self.input.Changed):
            self.input.value = ""

    def action_clear_search(self) -> None:
        self.clear()
        self.post_message(self.Cleared())
