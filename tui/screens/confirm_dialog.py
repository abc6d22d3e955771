"""A question with a few options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.text_view import Paragraph, StatusLine, TextView


class DialogOption(NamedTuple):
    """One option."""

    key: str
    """The letter that chooses it; also the result."""
    label: str
    detail: str = ""


class ConfirmDialog(Overlay[str]):
    """The dialog; its result is the key of the option, "" for none."""

    SCOPE = "confirm"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("confirm")
    text_view = query_one(TextView)

    def __init__(self, title: str, lines: Sequence[str], options: Sequence[DialogOption]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._options = options
        self._cursor = 0

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view

    def on_mount(self) -> None:
        super().on_mount()
        self._update_text()

    def _update_text(self) -> None:
        paragraphs = [Paragraph()]
        for line in self._lines:
            paragraphs += [Paragraph(((line, ""),), 2), Paragraph()]
        for at, answer in enumerate(self._options):
            here = at == self._cursor
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
        self.text_view.set_paragraphs(paragraphs)

    def on_key(self, event: events.Key) -> None:
        if any(event.key == answer.key for answer in self._options):
            event.stop()
            self.dismiss(event.key)

    def do_choose(self) -> None:
        self.dismiss(self._options[self._cursor].key)

    def do_close(self) -> None:
        self.dismiss("")

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text_view.scroll_pages(1 if key == "pagedown" else -1)
            return
        self._cursor = (self._cursor + (1 if key in ("down", "j", "tab") else -1)) % len(
            self._options
        )
        self._update_text()
