"""The footer: keys and what they do, the most important first, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message

from widgets.styled_line import Span
from widgets.text_view import StatusLine


class KeyHint(NamedTuple):
    """A key of the footer."""

    action: str
    key: str
    label: str
    disabled: bool = False
    """The action is not possible now; it is shown muted and struck through."""


class KeyFooter(StatusLine):
    """Hints on one line; the last one (help) is always shown, the others up to the first that does
    not fit."""

    @dataclass
    class Pressed(Message):
        """A hint was clicked."""

        action: str

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: tuple[KeyHint, ...] = ()
        self._click_regions: list[tuple[int, int, str]] = []

    def set_hints(self, hints: Sequence[KeyHint]) -> None:
        """Show the hints in their order."""
        if tuple(hints) != self._hints:
            self._hints = tuple(hints)
            self._update_lines()

    def on_resize(self) -> None:
        self._update_lines()

    def _update_lines(self) -> None:
        width = self.inner_width
        if not width or not self._hints:
            return
        *hints, last = self._hints
        room = width - 1 - _hint_width(last)
        shown: list[KeyHint] = []
        for hint in hints:
            taken = _hint_width(hint) + 2
            if taken > room:
                if shown:
                    break
                continue  # the most important one that fits, such as the way back
            shown.append(hint)
            room -= taken
        spans: list[Span] = [(" ", "")]
        self._click_regions = []
        x = 1
        for hint in (*shown, last):
            spans += [
                (hint.key, "muted" if hint.disabled else "key"),
                (" ", ""),
                (hint.label, "struck" if hint.disabled else "muted"),
                ("  ", ""),
            ]
            self._click_regions.append((x, x + _hint_width(hint), hint.action))
            x += _hint_width(hint) + 2
        self.set_lines(tuple(spans[:-1]))

    def on_click(self, event: events.Click) -> None:
        for start, end, action in self._click_regions:
            if start <= event.x < end:
                self.post_message(self.Pressed(action))


def _hint_width(hint: KeyHint) -> int:
    return cell_len(hint.key) + 1 + cell_len(hint.label)
