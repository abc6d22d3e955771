"""A log that may be long and fast: a ring buffer of which only visible lines are drawn. It follows
the end until the operator scrolls up, then keeps the visible lines in place, even while older ones
are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from widgets.scroll_bindings import SCROLL_BINDINGS
from widgets.styled_line import Line, StyledLineView, fit_line, sanitized, wrap

FLUSH_SECONDS = 0.25
"""Seconds between two paints of a log that is written continuously. A scrolled log is repainted as
a whole (18 kB at 120x40), so more than four paints per second would overload a slow connection;
lines after a pause are painted at once."""

MAX_LINE_LENGTH = 4096
"""Maximum length of a line in cells; some servers log whole prompts."""


def _line_width(line: str) -> int:
    # most lines are ASCII, and asking rich for ten thousand widths takes longer than a frame
    return len(line) if line.isascii() else cell_len(line)


class StreamLog(StyledLineView, can_focus=True):
    """The last `capacity` lines of a stream."""

    DEFAULT_CSS = """
    StreamLog {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS = [
        *SCROLL_BINDINGS,
        Binding("end,G", "follow", "Follow the end", show=False),
    ]

    @dataclass
    class ViewportChanged(Message):
        """The visible lines, or whether the end is followed, changed."""

        log: StreamLog

    def __init__(self, capacity: int = 10_000, marker: str = "", id: str | None = None) -> None:
        """`marker` begins lines that the container did not write."""
        super().__init__(id=id)
        self._marker = marker
        self.following = True
        self.wrapping = False
        self._lines: deque[str] = deque(maxlen=capacity)
        self._dropped_count = 0
        self._pending: list[str] = []
        self._flushed_at = 0.0
        self._flush_scheduled = False
        self._max_line_width = 0
        self._rows: list[tuple[int, Line]] = []
        self._wrapped_width = 0
        self._updating_scroll = False

    # -- content ------------------------------------------------------------------------------

    @property
    def lines(self) -> Sequence[str]:
        """The lines in the buffer, oldest first."""
        return self._lines

    @property
    def dropped_count(self) -> int:
        """Number of lines that were dropped."""
        return self._dropped_count

    @property
    def lines_below(self) -> int:
        """Number of lines below the visible ones."""
        return max(0, self._row_count() - round(self.scroll_y) - self.size.height)

    def write_lines(self, lines: Iterable[str]) -> None:
        """Add lines; they are painted at once after a pause, else four times a second."""
        self._pending.extend(lines)
        capacity = self._lines.maxlen or 0
        if len(self._pending) > capacity:
            self._dropped_count += len(self._pending) - capacity
            del self._pending[:-capacity]
        if not self._flush_scheduled:
            self._flush_scheduled = True
            pause = self._flushed_at + FLUSH_SECONDS - self._now()
            if pause <= 0:
                self.call_next(self._flush)
            else:
                self.set_timer(pause, self._flush)

    def clear(self) -> None:
        """Remove all lines and follow the end again."""
        self._lines.clear()
        self._pending.clear()
        self._rows.clear()
        self._dropped_count = self._max_line_width = 0
        self.following = True
        self._set_virtual_size()
        self.scroll_to(x=0, y=0, animate=False, force=True)
        self.refresh()

    def set_wrapping(self, wrapping: bool) -> None:
        """Wrap long lines, or cut them at the edge."""
        if wrapping != self.wrapping:
            self.wrapping = wrapping
            self._rewrap()

    @staticmethod
    def _now() -> float:
        from time import monotonic

        return monotonic()

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._flushed_at = self._now()
        batch, self._pending = self._pending, []
        if not batch:
            return
        batch = [line[:MAX_LINE_LENGTH] for line in batch]
        capacity = self._lines.maxlen or 0
        gone = max(0, len(self._lines) + len(batch) - capacity)
        rows_gone = self._row_count_of_oldest(gone)
        self._lines.extend(batch)
        self._dropped_count += gone
        self._max_line_width = max(self._max_line_width, *map(_line_width, batch))
        if self.wrapping:
            del self._rows[:rows_gone]
            self._rows += self._wrap_lines(
                batch, self._dropped_count + len(self._lines) - len(batch)
            )
        top = self.scroll_offset.y
        self._updating_scroll = True
        self._set_virtual_size()
        if self.following:
            self._scroll_to_bottom()
            self.refresh()
        elif rows_gone:
            self.scroll_to(y=max(0, top - rows_gone), animate=False)
            self.refresh()
        elif top + self.size.height > self._row_count() - len(batch):
            self.refresh()
        self._updating_scroll = False
        self.post_message(self.ViewportChanged(self))

    def _row_count_of_oldest(self, line_count: int) -> int:
        """Number of screen rows of the oldest `gone` lines."""
        if not self.wrapping:
            return line_count
        limit = self._dropped_count + line_count
        return sum(1 for number, _line in self._rows if number < limit) if line_count else 0

    def _wrap_lines(self, lines: Iterable[str], first_number: int) -> list[tuple[int, Line]]:
        width = max(self.inner_width, 1)
        return [
            (number, piece)
            for number, line in enumerate(lines, first_number)
            for piece in wrap(((line, self._style_name(line)),), width, indent=2)
        ]

    def _style_name(self, line: str) -> str:
        """Style of a line: lines that the container did not write are highlighted."""
        return "accent" if self._marker and line.startswith(self._marker) else ""

    def _rewrap(self) -> None:
        """Lay out the lines again, keeping the first visible line in place."""
        top = self._line_at(self.scroll_offset.y)
        self._wrapped_width = self.inner_width
        self._rows = self._wrap_lines(self._lines, self._dropped_count) if self.wrapping else []
        self._updating_scroll = True
        self._set_virtual_size()
        if self.following:
            self._scroll_to_bottom()
        else:
            self.scroll_to(x=0, y=self._row_of(top), animate=False, force=True)
        self._updating_scroll = False
        self.refresh()

    def _line_at(self, row: int) -> int:
        """Number of the line that a row belongs to, counted from the first one received."""
        if self._rows:
            return self._rows[min(row, len(self._rows) - 1)][0]
        return self._dropped_count + row

    def _row_of(self, line: int) -> int:
        if not self.wrapping:
            return line - self._dropped_count
        return next((row for row, (number, _) in enumerate(self._rows) if number >= line), 0)

    def _row_count(self) -> int:
        return len(self._rows) if self.wrapping else len(self._lines)

    def _set_virtual_size(self) -> None:
        width = self.inner_width if self.wrapping else max(self._max_line_width, self.inner_width)
        self.virtual_size = Size(width, self._row_count())

    # -- drawing ------------------------------------------------------------------------------

    def on_resize(self) -> None:
        if self.wrapping and self.inner_width != self._wrapped_width:
            self._rewrap()
        self._set_virtual_size()
        if self.following:
            self._scroll_to_bottom()

    def render_line(self, y: int) -> Strip:
        width = self.inner_width
        x, top = self.scroll_offset
        index = top + y
        if index >= self._row_count():
            return Strip.blank(width, self.rich_style)
        if self.wrapping:
            return self.make_strip(self._rows[index][1], width, self.rich_style)
        line = sanitized(self._lines[index])
        style_name = self._style_name(line)
        if x == 0:
            return self.make_strip(fit_line(((line, style_name),), width), width, self.rich_style)
        whole = self.make_strip(((line, style_name),), x + width, self.rich_style)
        return whole.crop(x, x + width)

    # -- moving -------------------------------------------------------------------------------

    def _scroll_to_bottom(self) -> None:
        self.scroll_to(y=self._row_count(), animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._updating_scroll or round(old_value) == round(new_value):
            return
        self.following = new_value >= self.max_scroll_y
        self.post_message(self.ViewportChanged(self))

    def set_following(self, following: bool) -> None:
        """Follow the end, or pause."""
        self.following = following
        if following:
            self._scroll_to_bottom()
        self.post_message(self.ViewportChanged(self))

    def action_lines(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def action_pages(self, pages: int) -> None:
        self.action_lines(pages * max(1, self.size.height - 1))

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False)
        if self.max_scroll_y > 0:
            self.following = False

    def action_follow(self) -> None:
        self.set_following(True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * 20, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(3)
