"""The input of an operation's dialog: the number of replicas, or a name that must be typed."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.getters import query_one

from servedeck.serving.text import truncate
from widgets.line_input import PlainInput
from widgets.text_view import StatusLine

MAX_NAME_LENGTH = 253
"""Characters of the longest name of an object (RFC 1123 subdomain)."""
MAX_SHOWN_LENGTH = 20
"""Cells of a number that is wrong, in a sentence about it."""


@dataclass(frozen=True, slots=True)
class TypedName:
    """A name that must be typed before anything is deleted."""

    name: str
    reason: str
    """ "prod is a production context"."""


class OperationInput(Horizontal):
    """A label and one line."""

    input = query_one(PlainInput)

    def __init__(self, label: str) -> None:
        super().__init__(id="operation-input")
        self._label = label

    def compose(self) -> ComposeResult:
        label = StatusLine(id="input-label")
        label.set_lines(((f" {self._label} ", "key"),))
        label.styles.width = len(self._label) + 2
        yield label
        yield PlainInput(length_limit=MAX_NAME_LENGTH)

    @property
    def replicas(self) -> int | None:
        """The number of replicas as it is typed; None if it is none."""
        text = self.input.value.strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None

    @property
    def problem(self) -> str:
        """Why what is typed is no number of replicas, in a sentence; "" if it is one."""
        if self.replicas is not None:
            return ""
        if text := self.input.value.strip():
            shown = truncate(text, MAX_SHOWN_LENGTH)
            return f"{shown!r} is not a number of replicas; enter 0 or more."
        return "Enter the number of replicas, 0 or more."

    def propose_replicas(self, replicas: int) -> None:
        self.input.value = str(replicas)
        self.input.action_select_all()  # a digit replaces it

    def step_replicas(self, step: int) -> None:
        """Add to the number."""
        self.input.value = str(max((self.replicas or 0) + step, 0))
        self.input.cursor_position = len(self.input.value)
