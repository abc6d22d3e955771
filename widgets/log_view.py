"""A log that may be long and fast, of which only the visible lines are read and drawn. It follows
the end until the operator moves up; then the visible lines stay in place, whatever arrives below or
is dropped above them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from widgets.log_viewport import LogRow, LogViewport, ShownLines
from widgets.scroll_bindings import SCROLL_BINDINGS
from widgets.styled_line import Line, Span, StyledLineView, fit_line, line_width
from widgets.text_search import slice_cells

FLUSH_SECONDS = 0.25
"""Seconds between two paints of a log that is written continuously. A scrolled log is repainted as
a whole (18 kB at 120x40), so more than four paints per second would overload a slow connection;
lines after a pause are painted at once."""

HOLD_SECONDS = 0.02
"""Seconds between two questions whether a paint is still held."""

SIDEWAYS_CELLS = 20
"""Cells of one step to the side."""

_TRACK, _THUMB = "│", "█"
_ANSI_PREFIX = "ansi "


class Mark(NamedTuple):
    """What a part of the log contains, beside it."""

    glyph: str
    style_name: str


def _no_marks(height: int) -> Sequence[Mark | None]:
    return (None,) * height


@lru_cache(maxsize=64)
def _ansi_style(name: str) -> Style:
    """Style of a name such as "ansi bold red"."""
    return Style.parse(name.removeprefix(_ANSI_PREFIX))


class LogView(StyledLineView, can_focus=True):
    """Draws lines that a buffer holds; the pane says which, and how each looks."""

    DEFAULT_CSS = "LogView { height: 1fr; overflow: hidden hidden; }"
    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {"log--cursor", "log--selected"}
    BINDINGS = [
        *SCROLL_BINDINGS,
        Binding("end,G", "follow", "Follow the end", show=False),
    ]

    @dataclass
    class ViewportChanged(Message):
        """The visible lines, the cursor, or whether the end is followed, changed."""

        log: LogView

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._viewport = LogViewport()
        self.cursor: int | None = None
        """Number of the line under the cursor; None while the end is followed."""
        self.selection_start: int | None = None
        """Number of the line where a selection began; it ends at the cursor."""
        self._marks: Callable[[int], Sequence[Mark | None]] = _no_marks
        self._left = 0
        self._painted_bar: list[Segment] | None = None
        """The scrollbar while it is painted."""
        self._flushed_at = 0.0
        self._flush_scheduled = False
        self._paused_at = 0
        """Lines with this and higher numbers came after the view was paused."""
        self._mouse_down = False
        self.is_held: Callable[[], bool] = lambda: False
        """Whether new lines wait to be painted, as the effect of a key is to be painted first."""

    @property
    def following(self) -> bool:
        """Whether the end is followed."""
        return self._viewport.at_end

    @property
    def wrapping(self) -> bool:
        """Whether long lines are wrapped, or cut at the edge."""
        return self._viewport.wrapping

    @property
    def _lines(self) -> ShownLines:
        return self._viewport.lines

    @property
    def _rows(self) -> list[tuple[int, LogRow | Line]]:
        """The visible rows with the numbers of their lines."""
        self._note_size()
        return self._viewport.rows()

    def _note_size(self) -> None:
        """The size may have changed since the last paint."""
        viewport, width = self._viewport, max(self.inner_width - 1, 1)
        if (viewport.width, viewport.height) != (width, self.size.height):
            viewport.width, viewport.height = width, self.size.height
            viewport.invalidate()

    # -- content ------------------------------------------------------------------------------

    def show(
        self,
        lines: ShownLines,
        format_line: Callable[[int], LogRow],
        marks: Callable[[int], Sequence[Mark | None]] = _no_marks,
    ) -> None:
        """Show `lines`, each as `format_line` says. `marks` gives what is beside each of a number
        of equal parts of all lines."""
        self._viewport.lines, self._viewport.format_line = lines, format_line
        self._marks = marks
        self.repaint_lines()

    def clear(self) -> None:
        """Another log is shown: follow its end."""
        viewport = self._viewport
        viewport.at_end, viewport.top, viewport.top_piece = True, 0, 0
        self.cursor = self.selection_start = None
        self._left = 0
        self.repaint_lines()

    def set_lines(self, lines: ShownLines) -> None:
        """Show other lines of the same log; the one at the cursor, or the first visible one, stays
        where it is, or the next one that is shown."""
        self._note_size()
        viewport = self._viewport
        kept = self.cursor if self.cursor is not None else viewport.top
        offset = viewport.row_of(kept) or 0
        viewport.lines = lines
        if not self.following and (count := lines.count):
            at = min(lines.holder(kept), count - 1)
            kept = lines.numbers(at, at + 1)[0]
            self.cursor = kept if self.cursor is not None else None
            viewport.place(kept, offset)
        self.repaint_lines()

    def repaint_lines(self) -> None:
        """Lines look different than before."""
        self._viewport.forget_formats()
        self.refresh()
        self.post_message(self.ViewportChanged(self))

    def note_appended(self) -> None:
        """There are more lines: painted at once after a pause, else four times a second."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            pause = self._flushed_at + FLUSH_SECONDS - monotonic()
            if pause <= 0:
                self.call_next(self._flush)
            else:
                self.set_timer(pause, self._flush)

    def _flush(self) -> None:
        if self.is_held():
            self.set_timer(HOLD_SECONDS, self._flush)
            return
        self._flush_scheduled = False
        self._flushed_at = monotonic()
        self._viewport.note_appended()
        self.refresh()
        self.post_message(self.ViewportChanged(self))

    @property
    def lines_below(self) -> int:
        """Number of lines below the visible ones."""
        return max(0, self._lines.count - self._visible_positions()[1]) if self._rows else 0

    @property
    def new_count(self) -> int:
        """Number of lines that came since the view was paused."""
        return 0 if self.following else self._lines.count - self._lines.position(self._paused_at)

    @property
    def current(self) -> int | None:
        """The line at the cursor, or the last visible one; None without lines."""
        if self.cursor is not None:
            return self.cursor
        return self._rows[-1][0] if self._rows else None

    @property
    def selected(self) -> tuple[int, int] | None:
        """Numbers of the first and the last selected line; the one at the cursor without a
        selection."""
        if self.cursor is None:
            return None
        start = self.cursor if self.selection_start is None else self.selection_start
        return min(start, self.cursor), max(start, self.cursor)

    # -- drawing ------------------------------------------------------------------------------

    def on_resize(self) -> None:
        cursor = self.cursor
        if cursor is not None and all(number != cursor for number, _ in self._rows):
            self._viewport.place(cursor, self.size.height // 2)
        self.refresh()

    def named_style(self, name: str) -> Style:
        return _ansi_style(name) if name.startswith(_ANSI_PREFIX) else super().named_style(name)

    def render_lines(self, crop: Region) -> list[Strip]:
        self._painted_bar = self._make_bar()
        try:
            return super().render_lines(crop)
        finally:
            self._painted_bar = None

    def render_line(self, y: int) -> Strip:
        bars = self._painted_bar or self._make_bar()
        bar = bars[min(y, len(bars) - 1)]
        rows, width = self._viewport.rows(), self._viewport.width
        style = self.rich_style
        if y >= len(rows):
            return Strip([Segment(" " * width, style), bar], width + 1)
        number, row = rows[y]
        if number == self.cursor:
            style += self.component_style("log--cursor", partial=True)
        elif (selected := self.selected) is not None and selected[0] <= number <= selected[1]:
            style += self.component_style("log--selected", partial=True)
        line = self._shifted(row, width) if isinstance(row, LogRow) else row
        return Strip([*self.make_segments(line, width, style), bar], width + 1)

    def _shifted(self, row: LogRow, width: int) -> Line:
        """A line that is not wrapped: its head, and its text from the left edge on."""
        if not self._left:
            return fit_line((*row.head, *row.text), width)
        room = max(width - line_width(row.head), 0)
        spans: list[Span] = []
        skip = self._left
        for text, style_name in row.text:
            taken = line_width(((text, ""),))
            if taken <= skip:
                skip -= taken
                continue
            cut = slice_cells(text, skip, room)
            spans.append((" " * cut.blanks_before + text[cut.start : cut.end], style_name))
            room -= line_width((spans[-1],))
            skip = 0
        return fit_line((*row.head, *spans), width)

    def _make_bar(self) -> list[Segment]:
        """The scrollbar beside the rows, at least one cell: which part is visible, and what is in
        the others."""
        height, count, style = self.size.height, self._lines.count, self.rich_style
        first, last = self._visible_positions()
        scrolls = count > last - first
        total = max(count, height)
        end = max(last * height, first * height + total)
        marks = self._marks(height)
        if not count or not height or len(marks) != height:
            marks = (None,) * max(height, 1)
        muted = style + self.named_style("muted")
        track, thumb = Segment(_TRACK, muted), Segment(_THUMB, muted)
        bar: list[Segment] = []
        for y, mark in enumerate(marks):
            in_view = scrolls and first * height <= y * total < end
            if mark is None:
                bar.append(thumb if in_view else track)
                continue
            mark_style = style + self.named_style(mark.style_name)
            bar.append(
                Segment(mark.glyph, mark_style + Style(reverse=True) if in_view else mark_style)
            )
        return bar

    def _visible_positions(self) -> tuple[int, int]:
        return self._viewport.positions if self._rows else (0, 0)

    # -- moving -------------------------------------------------------------------------------

    def set_following(self, following: bool) -> None:
        """Follow the end, or pause with the cursor at the last visible line."""
        if not following and self.following:
            self._pause()
        elif following:
            self._viewport.at_end = True
            self.cursor = self.selection_start = None
        self._moved()

    def _pause(self) -> None:
        """Keep the visible lines where they are."""
        self._note_size()
        self._viewport.stay()
        self._paused_at = self._lines.end
        if self._rows and self.cursor is None:
            self.cursor = self._rows[-1][0]

    def go_to(self, number: int, *, center: bool = True) -> None:
        """Move the cursor to a line, or to the next one that is shown, and make it visible."""
        count = self._lines.count
        if not count:
            return
        if self.following:
            self._pause()
        position = min(self._lines.holder(number), count - 1)
        self.cursor = self._lines.numbers(position, position + 1)[0]
        height = max(self.size.height, 1)
        rows = self._rows
        if all(one != self.cursor for one, _ in rows):
            above = not rows or self.cursor < rows[0][0]
            y = height // 2 if center else 0 if above else height - 1
            self._viewport.place(self.cursor, y)
        self._moved()

    def _moved(self) -> None:
        self._viewport.invalidate()
        self.refresh()
        self.post_message(self.ViewportChanged(self))

    def _scroll_in_line(self, rows: int) -> bool:
        """Scroll within the line at the cursor, where it is wrapped to more rows than the screen
        has; False if it has none left in that direction."""
        self._note_size()
        if self.cursor is None or not self._viewport.scroll_in_line(self.cursor, rows):
            return False
        self._moved()
        return True

    def action_lines(self, lines: int) -> None:
        if (self.following and lines > 0) or self._scroll_in_line(lines):
            return
        current = self.current
        if current is None:
            return
        position = self._lines.position(current) + lines
        position = max(0, min(position, self._lines.count - 1))
        self.go_to(self._lines.numbers(position, position + 1)[0], center=False)

    def action_pages(self, pages: int) -> None:
        self.action_lines(pages * max(1, self.size.height - 1))

    def action_top(self) -> None:
        if self._lines.count:
            self.go_to(self._lines.numbers(0, 1)[0], center=False)

    def action_follow(self) -> None:
        if self.selection_start is not None and self._lines.count:
            self.go_to(self._lines.numbers(self._lines.count - 1, self._lines.count)[0])
        else:
            self.set_following(True)

    def action_sideways(self, steps: int) -> None:
        if not self.wrapping:
            self._left = max(0, self._left + steps * SIDEWAYS_CELLS)
            self.refresh()

    def set_wrapping(self, wrapping: bool) -> None:
        """Wrap long lines, or cut them at the edge."""
        self._viewport.wrapping = wrapping
        self._left = self._viewport.top_piece = 0
        self._moved()

    def toggle_selection(self) -> None:
        """Begin a selection at the cursor, or end it."""
        if self.following:
            self._pause()
        self.selection_start = self.cursor if self.selection_start is None else None
        self._moved()

    # -- mouse --------------------------------------------------------------------------------

    def _number_at(self, y: int) -> int | None:
        rows = self._rows
        return rows[y][0] if 0 <= y < len(rows) else None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        number = self._number_at(event.y)
        if number is None:
            return
        event.stop()
        if self.following:
            self._pause()
        self._mouse_down = True
        self.capture_mouse()
        self.cursor, self.selection_start = number, None
        self._moved()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        number = self._number_at(event.y)
        if self._mouse_down and number is not None and number != self.cursor:
            if self.selection_start is None:
                self.selection_start = self.cursor
            self.cursor = number
            self._moved()

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        if self._mouse_down:
            self._mouse_down = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self._scroll(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self._scroll(3)

    def _scroll(self, lines: int) -> None:
        """Move the view, and the cursor with it where it would leave the view."""
        if self.following:
            if lines > 0:
                return
            self._pause()
        elif self._scroll_in_line(lines):
            return
        first, _last = self._visible_positions()
        count = self._lines.count
        position = max(0, min(first + lines, count - 1))
        if not count:
            return
        self._viewport.place(self._lines.numbers(position, position + 1)[0], 0)
        rows = self._rows
        is_at_end = bool(rows) and self._lines.position(rows[-1][0] + 1) >= count
        if lines > 0 and is_at_end and self.selection_start is None:
            self.set_following(True)
            return
        if rows and self.cursor is not None:
            self.cursor = max(rows[0][0], min(self.cursor, rows[-1][0]))
        self._moved()
