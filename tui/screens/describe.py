"""Everything that is known about a serving as one text, for a ticket or a chat."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.watch.debounce import Debouncer
from servedeck.detail.description import DescriptionWatch, format_description
from servedeck.fleet.views import ServingView
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from tui.screens.scrolling import scroll_by_key
from tui.status_text import stale_line
from widgets.text_view import Paragraph, TextView

UPDATE_SECONDS = 1.0
"""Seconds between two updates after the first one: the text has a line for each Pod."""
LABEL_INDENT = 4


class DescribeScreen(Overlay[None]):
    """What `servedeck describe` prints, kept up to date while it is open; the text of a deleted
    serving stays."""

    SCOPE = "describe"
    BINDINGS: ClassVar[list[BindingType]] = bindings("describe", "app")
    text_view = query_one(TextView)

    def __init__(self, view: ServingView) -> None:
        super().__init__()
        self._view = view
        self._watch: DescriptionWatch | None = None
        self._debouncer: Debouncer | None = None
        self._lines: list[str] = []

    def compose_body(self) -> ComposeResult:
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.focus()
        self.text_view.set_paragraphs([Paragraph((("Loading…", "muted"),))])
        self._debouncer = Debouncer(self._update, UPDATE_SECONDS)
        self._watch = DescriptionWatch(
            self.app_context.detail_service, self._view.key, self._debouncer.request
        )
        self._update()

    async def on_unmount(self) -> None:
        if self._debouncer is not None:
            self._debouncer.close()
        if self._watch is not None:
            await self._watch.close()

    def on_changes(self, changes: SourceChanges) -> None:
        is_concerned = self._view.key in changes.keys or changes.state_changed
        if is_concerned and self._debouncer is not None:
            self._debouncer.request()

    def _update(self) -> bool:
        """Show the description as it is now; returns whether there is one."""
        watch = self._watch
        if not self.is_attached or watch is None or not watch.is_settled:
            return False
        source, history = self.app_context.source, self.app_context.history
        fleet = source.fleet
        self._view = fleet.view(self._view.key) or self._view
        now = self.app_context.clock()
        observed = history.timeline.entries(self._view.uid)
        description = watch.describe(self._view, fleet, now, observed, history.events)
        self._lines = format_description(description, now)
        paragraphs = [_paragraph(line) for line in self._lines]
        if stale := stale_line(source.state):
            paragraphs = [Paragraph(stale), Paragraph(()), *paragraphs]
        self.text_view.set_paragraphs(paragraphs)
        self.update_footer()
        return True

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name == "copy" and not self._lines:
            return "The description is still loading."
        return ""

    async def do_copy(self) -> None:
        key = self._view.key
        self.show_message(
            *await copy_with_message(
                "\n".join(self._lines),
                self.app_context.write_to_terminal,
                alternative=f"`servedeck describe {key.namespace}/{key.name}` prints it.",
            )
        )

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)


def _paragraph(line: str) -> Paragraph:
    is_heading = bool(line) and not line.startswith(" ") and ":" not in line
    return Paragraph(((line, "title" if is_heading else ""),) if line else (), LABEL_INDENT)
