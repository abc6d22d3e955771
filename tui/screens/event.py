"""One Event in full: object, message, count, first and last time, source."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.serving.status.event_history import EventEntry, EventKey
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from widgets.event_rows import event_paragraphs, event_text
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine, TextView


class EventScreen(Overlay[None]):
    """The Event, kept up to date while it is open; one that was dropped stays."""

    SCOPE = "event"
    BINDINGS: ClassVar[list[BindingType]] = bindings("event", "app")
    title_view = query_one("#title", StatusLine)
    text_view = query_one(TextView)

    def __init__(self, serving_uid: str, key: EventKey) -> None:
        super().__init__()
        self._serving_uid = serving_uid
        self._key = key
        self._entry: EventEntry | None = None

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.focus()
        self.set_interval(TICK_SECONDS, self._update)
        self._update()

    def _update(self) -> None:
        found = self.app_context.history.events.entry(self._serving_uid, self._key)
        self._entry = found or self._entry
        if self._entry is not None:
            title = f"Event {self._entry.reason}"
            self.title_view.set_lines(((" ", ""), (title, "title")))
            self.text_view.set_paragraphs(event_paragraphs(self._entry, self.app_context.clock()))

    async def do_copy(self) -> None:
        if self._entry is None:
            return
        self.show_message(
            *await copy_with_message(event_text(self._entry), self.app_context.write_to_terminal)
        )

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
