"""One whole value, which a card cuts, with a key to copy it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.text_view import Paragraph, TextView


class ValueScreen(Overlay[None]):
    """The value, wrapped to the width."""

    SCOPE = "value"
    BINDINGS: ClassVar[list[BindingType]] = bindings("value", "app")
    text_view = query_one(TextView)

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        lines = self._text.split("\n")
        self.text_view.set_paragraphs(
            [
                Paragraph(((self._title, "title"),)),
                Paragraph(),
                *(Paragraph(((line, ""),) if line else ()) for line in lines),
            ]
        )
        self.text_view.focus()

    async def do_copy(self) -> None:
        self.show_message(*await copy_with_message(self._text, self.app_context.write_to_terminal))

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
