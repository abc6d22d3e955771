"""The footer: keys and what they do, most important first, as many as the width holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message

from widgets.styled_line import Span
from widgets.text_view import Bar


class Hint(NamedTuple):
    """A key of the footer."""

    action: str
    key: str
    label: str
    off: bool = False
    """The action is not possible now; it is shown muted and struck through."""


class KeyBar(Bar):
    """Hints on one line; the last of them (help) always stands, the others as they fit."""

    @dataclass
    class Pressed(Message):
        """A hint was clicked."""

        action: str

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: tuple[Hint, ...] = ()
        self._spots: list[tuple[int, int, str]] = []

    def set_hints(self, hints: Sequence[Hint]) -> None:
        """Show the hints in their order."""
        if tuple(hints) != self._hints:
            self._hints = tuple(hints)
            self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        width = self.inner_width
        if not width or not self._hints:
            return
        *hints, last = self._hints
        room = width - 1 - _width(last)
        shown: list[Hint] = []
        for hint in hints:
            taken = _width(hint) + 2
            if taken > room:
                break
            shown.append(hint)
            room -= taken
        spans: list[Span] = [(" ", "")]
        self._spots = []
        x = 1
        for hint in (*shown, last):
            spans += [
                (hint.key, "muted" if hint.off else "key"),
                (" ", ""),
                (hint.label, "struck" if hint.off else "muted"),
                ("  ", ""),
            ]
            self._spots.append((x, x + _width(hint), hint.action))
            x += _width(hint) + 2
        self.set_lines(tuple(spans[:-1]))

    def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spots:
            if start <= event.x < end:
                self.post_message(self.Pressed(action))


def _width(hint: Hint) -> int:
    return cell_len(hint.key) + 1 + cell_len(hint.label)
