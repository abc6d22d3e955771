"""The timeline of one serving: since when it has its status, and what changed before."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.cluster.watch.debounce import Debouncer
from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import ServingView
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.status.timeline import (
    StatusStart,
    TimelineEntry,
    clock_text,
    since_text,
)
from tui import status_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.deployment_watch import watch_deployment
from tui.ports.serving_source import SourceChanges
from tui.screens.base import Overlay
from tui.timeline_entries import status_start, timeline_entries
from widgets.styled_line import Line, wrap
from widgets.table import TICK_SECONDS, KeyedTable
from widgets.text_view import StatusLine
from widgets.timeline_strip import (
    TIMELINE_COLUMNS,
    entry_text,
    status_strip,
    strip_legend,
    timeline_rows,
)

UPDATE_SECONDS = 0.5
"""Seconds between two updates after the first one: all Pods make the timeline."""
MAX_SUMMARY_LINES = 3
"""Lines of the sentence above the strip."""


class TimelineScreen(Overlay[None]):
    """The entries, the newest at the end, kept up to date while it is open. Those of a deleted
    serving stay."""

    SCOPE = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline", "app")
    title_view = query_one("#title", StatusLine)
    summary = query_one("#timeline-summary", StatusLine)
    table = query_one(KeyedTable)

    def __init__(self, view: ServingView) -> None:
        super().__init__()
        self._view = view
        self._watch: DeploymentWatch | None = None
        self._debouncer: Debouncer | None = None
        self._entries: tuple[TimelineEntry, ...] = ()
        self._status_start: StatusStart | None = None

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield StatusLine(id="timeline-summary")
        yield KeyedTable(
            TIMELINE_COLUMNS, format_age=format_signed_duration, clock=self.app_context.clock
        )

    def on_mount(self) -> None:
        super().on_mount()
        self.table.focus()
        self.table.set_placeholder(((("  Nothing is known yet.", "muted"),),))
        self._debouncer = Debouncer(self._update, UPDATE_SECONDS)
        self._watch = watch_deployment(self.app_context, self._view.key, self._debouncer.request)
        self.set_interval(TICK_SECONDS, self._update_ages)
        self._update()

    async def on_unmount(self) -> None:
        if self._debouncer is not None:
            self._debouncer.close()
        if self._watch is not None:
            # A worker of the app: one of the screen would be cancelled with it.
            self.app.run_worker(_close(self._watch.close()), group="watches", exit_on_error=False)

    def on_changes(self, changes: SourceChanges) -> None:
        if changes.state_changed and self.is_attached:
            self._update_title()
        if self._view.key in changes.keys:
            view = self.app_context.source.fleet.view(self._view.key)
            if view is not None and view.uid == self._view.uid:
                self._view = view
            if self._debouncer is not None:
                self._debouncer.request()

    def _update(self) -> bool:
        """Show the timeline as it is now; returns whether the screen is shown."""
        if not self.is_attached:
            return False
        was_at_end = self.table.cursor >= len(self.table.rows) - 1
        self._entries = timeline_entries(self.app_context, self._view, self._watch)
        self._status_start = status_start(self._view, self._watch)
        rows = timeline_rows(self._entries, self.app_context.clock())
        self.table.set_rows(rows)
        if rows and was_at_end:
            self.table.select(rows[-1].key)
        self._update_title()
        self._update_summary()
        return True

    def _update_title(self) -> None:
        title: Line = ((" ", ""), (f"Timeline of {self._view.key}", "title"))
        width = self.title_view.inner_width or self.app.size.width
        state = self.app_context.source.state
        self.title_view.set_lines(status_text.line_with_connection(title, state, width))

    def _update_summary(self) -> None:
        width, now = self.summary.inner_width, self.app_context.clock()
        if not width:
            return
        lines: list[Line] = []
        status = self._view.status
        if text := since_text(self._entries, status, now, self._status_start):
            lines += wrap(((" ", ""), (text, "strong")), width - 1, indent=1)[:MAX_SUMMARY_LINES]
        if strip := status_strip(self._entries, now, width - 2):
            lines.append(((" ", ""), *strip))
            legend = strip_legend(self._entries, now)
            lines += wrap(((" ", ""), *legend), width - 1, indent=1)[:2]
        if self._watch is not None and (missing := self._watch.missing_permission):
            lines += wrap(((" ", ""), (missing, "warning")), width - 1, indent=1)
        lines = lines[: max(self.size.height // 2, 1)]
        self.summary.display = bool(lines)
        if lines:
            self.summary.styles.height = len(lines)
            self.summary.set_lines(*lines)

    def _update_ages(self) -> None:
        self.table.update_ages()
        self._update_title()
        self._update_summary()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._update_ages)

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        return "" if action.name != "open" or self._entries else "There is no change to open."

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.is_double_click:
            self.do_open()

    def do_open(self) -> None:
        """Show the whole text of the change under the cursor, which the column may cut."""
        from tui.screens.value import ValueScreen

        if not self._entries:
            return
        entry = self._entries[self.table.cursor]
        title = f"{entry.kind.value} at {clock_text(entry.end, self.app_context.clock())}"
        self.app.push_screen(ValueScreen(title.capitalize(), entry_text(entry)))

    def do_close(self) -> None:
        self.dismiss(None)


async def _close(closing: Awaitable[None]) -> None:
    await closing
