"""A question with a few answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.text_view import Bar, Lines, Paragraph


class Answer(NamedTuple):
    """One of the answers."""

    key: str
    """The letter that gives it; also the result."""
    label: str
    detail: str = ""


class AskScreen(Overlay[str]):
    """The question; its result is the key of the answer, "" where none was given."""

    SCOPE = "ask"
    HELPS = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("ask")
    text = query_one(Lines)

    def __init__(self, title: str, lines: Sequence[str], answers: Sequence[Answer]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._answers = answers
        self._at = 0

    def compose_body(self) -> ComposeResult:
        title = Bar(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        yield Lines()

    def on_mount(self) -> None:
        super().on_mount()
        self._draw()
        self.text.focus()

    def _draw(self) -> None:
        paragraphs = [Paragraph()]
        for line in self._lines:
            paragraphs += [Paragraph(((line, ""),), 2), Paragraph()]
        for at, answer in enumerate(self._answers):
            here = at == self._at
            paragraphs.append(
                Paragraph(
                    (
                        ("▌ " if here else "  ", "accent"),
                        (f"{answer.key}  ", "key"),
                        (f"{answer.label:<18}  ", "strong" if here else ""),
                        (answer.detail, "muted"),
                    ),
                    25,
                )
            )
        self.text.set_paragraphs(paragraphs)

    def on_key(self, event: events.Key) -> None:
        if any(event.key == answer.key for answer in self._answers):
            event.stop()
            self.dismiss(event.key)

    def do_choose(self) -> None:
        self.dismiss(self._answers[self._at].key)

    def do_close(self) -> None:
        self.dismiss("")

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text.scroll_pages(1 if key == "pagedown" else -1)
            return
        self._at = (self._at + (1 if key in ("down", "j", "tab") else -1)) % len(self._answers)
        self._draw()
