"""An input that brings back what was entered in it before."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from widgets.line_input import LineInput

MAX_HISTORY = 50
"""Texts that are kept while the input exists. They are never saved."""


class HistoryLine(LineInput):
    """Up and down go through the texts that were entered, and back to what was being typed. Another
    change of the text ends that: the next key up brings the newest."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "history(-1)", "Earlier", show=False),
        Binding("down", "history(1)", "Later", show=False),
    ]

    def __init__(self, prompt: str, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(prompt, placeholder, id=id)
        self._entered: list[str] = []
        self._at = 0
        """Place in the history; its length for what is being typed."""
        self._typed = ""
        self._shown: str | None = None
        """What up or down has put into the input."""

    def on_input_changed(self) -> None:
        if self.text != self._shown:  # typed, pasted or cleared
            self._shown = None
            self._at = len(self._entered)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._remember(event.value.strip())

    def use(self, text: str) -> None:
        """Put a text into the input as if it had been entered there."""
        self.input.value = text
        self._remember(text.strip())

    def _remember(self, text: str) -> None:
        if text:
            self._entered = [*(one for one in self._entered if one != text), text][-MAX_HISTORY:]
        self._at = len(self._entered)

    def action_history(self, step: int) -> None:
        at = min(max(self._at + step, 0), len(self._entered))
        if at == self._at:
            return
        if self._at == len(self._entered):
            self._typed = self.text
        self._at = at
        self._shown = self._typed if at == len(self._entered) else self._entered[at]
        self.input.value = self._shown
        self.input.cursor_position = len(self.input.value)
