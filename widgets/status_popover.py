"""The status of one serving over the list, updated while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message

from servedeck.fleet.views import PodView, ServingView
from widgets.status_paragraphs import LogTail, status_paragraphs
from widgets.text_view import Paragraph, TextView

MIN_FRAMED_HEIGHT = 6
"""Minimum height in lines for a frame; a smaller popover has none."""


class StatusPopover(TextView):
    """The status of one serving over the list, beside its row."""

    DEFAULT_CSS = """
    StatusPopover {
        position: absolute;
        layer: overlay;
        display: none;
        border: round $border;
        padding: 0 1;
        scrollbar-background: $panel;
        scrollbar-background-hover: $panel;
        scrollbar-background-active: $panel;
    }
    StatusPopover.-frameless { border: none; border-left: outer $border; }
    """
    BINDINGS = [
        Binding("escape,space,q,enter", "close", "Close", id="status.close"),
        Binding("down,j", "lines(1)", "Down", show=False),
        Binding("up,k", "lines(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
        Binding("home,g", "lines(-1000000)", "Top", show=False),
        Binding("end,G", "lines(1000000)", "End", show=False),
    ]

    @dataclass
    class Closed(Message):
        """The operator closed the status."""

    @dataclass
    class UnknownKeyPressed(Message):
        """A digit was pressed that no Pod has."""

        key: str

    @dataclass
    class LogRequested(Message):
        """The key of a Pod was pressed."""

        pod: PodView

    def __init__(
        self, pod_keys: Sequence[str], clock: Callable[[], datetime], id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._pod_keys = tuple(pod_keys)
        self._clock = clock
        self.view: ServingView | None = None
        self.log_tail: LogTail | None = None
        self._capacity_hint = ""
        self._recovery = ""
        self._is_compact = False

    @property
    def is_open(self) -> bool:
        return self.view is not None

    def show_status(
        self,
        view: ServingView,
        log_tail: LogTail | None,
        capacity_hint: str = "",
        recovery: str = "",
    ) -> None:
        """Show or update the status of a serving; `place` positions it. `recovery` is the recovery
        step, if it is not that of the view."""
        fresh = self.view is None or self.view.key != view.key
        self.view, self.log_tail, self._capacity_hint = view, log_tail, capacity_hint
        self._recovery = recovery
        self.update_ages()
        if fresh:
            self.scroll_to(y=0, animate=False)

    def update_ages(self) -> None:
        """Update the ages; redraws only lines that changed."""
        if self.view is not None:
            self.set_paragraphs(self._build_paragraphs(self._is_compact))

    def _build_paragraphs(self, compact: bool) -> list[Paragraph]:
        assert self.view is not None
        return status_paragraphs(
            self.view,
            self._clock(),
            self.log_tail,
            self._pod_keys,
            capacity_hint=self._capacity_hint,
            recovery=self._recovery,
            compact=compact,
        )

    def hide(self) -> None:
        self.view = self.log_tail = None
        self.display = False

    def place(self, rows: Region, line: int) -> None:
        """Take the space that the text needs within `rows`, the lines of the list, below or above
        the row on `line`, so that the row stays visible; the larger side if neither is enough. A
        list of one or two lines is covered. Both are in cells of the screen."""
        if self.view is None:
            return
        below, above = rows.bottom - line - 1, line - rows.y
        most = max(below, above)
        covering = most < 2
        room = rows.height if covering else most
        frame = 2 if room >= MIN_FRAMED_HEIGHT else 0
        width = rows.width - (5 if frame else 4)
        whole = self._build_paragraphs(False)
        self._is_compact = frame + self.wrapped_height(width, whole) > room
        self.set_paragraphs(self._build_paragraphs(True) if self._is_compact else whole)
        height = min(frame + self.wrapped_height(width), room)
        if covering:
            y = rows.y
        elif height <= below or below >= above:
            y, height = line + 1, min(height, below)
        else:
            y = line - height
        self.set_class(not frame, "-frameless")
        self.styles.width, self.styles.height = rows.width, max(height, 1)
        self.styles.offset = (rows.x, y)
        self.display = True

    def action_close(self) -> None:
        self.post_message(self.Closed())

    def action_lines(self, lines: int) -> None:
        self.scroll_lines(lines)

    def action_pages(self, pages: int) -> None:
        self.scroll_pages(pages)

    def on_key(self, event: events.Key) -> None:
        if self.view is not None and event.key in self._pod_keys:
            number = self._pod_keys.index(event.key)
            if number < len(self.view.pods):
                self.post_message(self.LogRequested(self.view.pods[number]))
            elif event.key.isdigit():
                # Not a namespace key of the list below.
                self.post_message(self.UnknownKeyPressed(event.key))
            else:
                return
            event.stop()
            event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        inside = event.get_content_offset(self)
        if inside is None or self.view is None:
            return
        ref = self.target_at(inside.y)
        pod = next((pod for pod in self.view.pods if ref and pod.uid == ref), None)
        if pod is not None:
            self.post_message(self.LogRequested(pod))
