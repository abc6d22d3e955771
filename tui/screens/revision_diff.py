"""The difference between two revisions of a serving, field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.serving.objects.field_changes import FieldChange
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.rollout_paragraphs import difference_paragraphs, difference_text
from widgets.text_view import TextView


class RevisionDiffScreen(Overlay[None]):
    """The difference; it does not change while it is open, as revisions do not."""

    SCOPE = "difference"
    BINDINGS: ClassVar[list[BindingType]] = bindings("difference", "app")
    text_view = query_one(TextView)

    def __init__(self, title: str, changes: Sequence[FieldChange]) -> None:
        super().__init__()
        self._heading = title
        self._changes = tuple(changes)

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.set_paragraphs(difference_paragraphs(self._heading, self._changes))
        self.text_view.focus()

    async def do_copy(self) -> None:
        text = difference_text(self._heading, self._changes)
        self.show_message(*await copy_with_message(text, self.app_context.write_to_terminal))

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
