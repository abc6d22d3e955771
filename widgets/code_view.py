"""A text of up to 100,000 lines with highlighting, scrolled in both directions. Only the visible
lines are drawn, and of a long line only what is visible."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from widgets.scroll_bindings import SCROLL_BINDINGS
from widgets.styled_line import StyledLineView
from widgets.text_search import Hit, cells_before, display_text, slice_cells

GUTTER = 2
"""Cells left of the text, for the mark of a changed line."""

CHANGED_MARK = "~"

SIDEWAYS_CELLS = 20
"""Cells that left and right scroll by."""

MAX_DRAWN_LINES = 300
"""Drawn lines that are kept for the next paint; each takes 2 to 3 KiB."""

_MIN_CACHED_LENGTH = 4096
"""Characters of a line from which on the line as displayed is kept: to make it takes 1 ms for a
million characters."""


class CodeLine(Protocol):
    """A line of a text with parts that are highlighted."""

    @property
    def text(self) -> str: ...

    def tokens(self) -> Iterable[tuple[int, str]]:
        """The end of each part in characters, and its kind: "key", "string", "number", "constant",
        "comment" or "". The last part ends with the line."""


class CodeView(StyledLineView, can_focus=True):
    """Lines with marks for search hits and for changes."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {
        f"style--code-{kind}"
        for kind in ("key", "string", "number", "constant", "comment", "hit", "current", "changed")
    }
    DEFAULT_CSS = """
    CodeView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar = [
        *SCROLL_BINDINGS,
        Binding("end,G", "bottom", "End", show=False),
    ]

    @dataclass
    class ViewportChanged(Message):
        """Other lines are visible than before."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[CodeLine] = ()
        self._changed: Collection[int] = ()
        self._hits: Sequence[Hit] = ()
        self._current: int | None = None
        self._long_lines: dict[int, str] = {}
        """Long lines as they are displayed, by index."""
        self._drawn: dict[int, Strip] = {}
        """Drawn lines by index; those of `_drawn_for`."""
        self._drawn_for: tuple[object, ...] = ()

    # -- content ------------------------------------------------------------------------------

    @property
    def lines(self) -> Sequence[CodeLine]:
        return self._lines

    @property
    def top(self) -> int:
        """Index of the first visible line."""
        return self.scroll_offset.y

    @property
    def changed(self) -> Collection[int]:
        """Indexes of the lines that are marked as changed."""
        return self._changed

    def set_lines(
        self,
        lines: Sequence[CodeLine],
        *,
        width: int,
        top: int = 0,
        left: int = 0,
        changed: Collection[int] = (),
    ) -> None:
        """Show other lines, without hits. `width` is that of the widest line in cells, `top` the
        line that is the first visible one, if enough lines follow it; `left` the first cell."""
        self._lines, self._changed = lines, changed
        self._long_lines.clear()
        self._hits, self._current = (), None
        self.virtual_size = Size(width + GUTTER, len(lines))
        self.scroll_to(x=left, y=top, animate=False, force=True)
        self.refresh()

    def displayed_line(self, index: int) -> str:
        """The text of a line as it is displayed."""
        if (known := self._long_lines.get(index)) is not None:
            return known
        text = display_text(self._lines[index].text)
        if len(text) >= _MIN_CACHED_LENGTH:
            self._long_lines[index] = text
        return text

    # -- hits ---------------------------------------------------------------------------------

    @property
    def hits(self) -> Sequence[Hit]:
        """What the search found, in the order of the text."""
        return self._hits

    @property
    def current_hit(self) -> int | None:
        """Index of the hit that was gone to last."""
        return self._current

    def set_hits(self, hits: Sequence[Hit], current: int | None = None) -> None:
        """Mark hits, one of them as the current one; scrolls nowhere."""
        self._hits, self._current = hits, current
        self.refresh()

    def show_hit(self, index: int) -> None:
        """Make a hit the current one, and scroll to it if it is not visible."""
        self._current = index
        hit = self._hits[index]
        x, y = self.scroll_offset
        height, width = max(self.size.height, 1), self._text_width
        if not y <= hit.line < y + height:
            y = max(0, hit.line - height // 2)
        text = self.displayed_line(hit.line)
        start, end = cells_before(text, hit.start), cells_before(text, hit.end)
        if start < x + 1 or end > x + width - 1:
            # as little as possible is hidden at the left
            x = 0 if end < width else max(0, min(start - width // 4, start - 1))
        self.scroll_to(x=x, y=y, animate=False, force=True)
        self.refresh()

    def _hits_in(self, line: int, start: int, end: int) -> Iterator[tuple[int, Hit]]:
        """Hits of a line that begin before `end` and end after `start`, with their index."""
        at = bisect_left(self._hits, (line, 0, 0))
        if start > _MIN_CACHED_LENGTH:
            at = max(at, bisect_left(self._hits, (line, start, 0)) - 1)
        while at < len(self._hits) and (hit := self._hits[at]).line == line and hit.start < end:
            if hit.end > start:
                yield at, hit
            at += 1

    # -- drawing ------------------------------------------------------------------------------

    @property
    def _text_width(self) -> int:
        return max(self.inner_width - GUTTER, 1)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        if not regions and repaint:
            self._drawn.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draws only what was not drawn before: a key that scrolls by one line draws one. Textual
        draws every visible line again, which takes 10 ms at 160x50."""
        width, background = self.region.width, self.background_colors[1]
        filters = self.get_line_filters()
        drawn_for = (width, self.inner_width, self.scroll_offset.x, self.rich_style, background)
        if drawn_for != self._drawn_for or len(self._drawn) > MAX_DRAWN_LINES:
            self._drawn.clear()
            self._drawn_for = drawn_for
        strips = []
        for y in crop.line_range:
            index = self.scroll_offset.y + y
            if (strip := self._drawn.get(index)) is None:
                strip = self.render_line(y).adjust_cell_length(width, self.rich_style)
                for one in filters:
                    strip = strip.apply_filter(one, background)
                self._drawn[index] = strip
            strips.append(strip)
        if crop.column_span != (0, width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        width = self.inner_width
        x, top = self.scroll_offset
        index = top + y
        base = self.rich_style
        if index >= len(self._lines):
            return Strip.blank(width, base)
        text = self.displayed_line(index)
        room = max(width - GUTTER, 0)
        mark = f"{CHANGED_MARK} " if index in self._changed else " " * GUTTER
        segments = [Segment(mark, base + self.named_style("code-changed"))]
        part = slice_cells(text, x, room)
        hidden_left = x > 0 and bool(text[: part.start].strip())
        if hidden_left:
            part = slice_cells(text, x + 1, room - 1)
            segments.append(Segment("…", base + self.named_style("muted")))
        hidden_right = part.end < len(text)
        if hidden_right:
            part = slice_cells(text, x + hidden_left, room - hidden_left - 1)
        if part.blanks_before:
            segments.append(Segment(" " * part.blanks_before, base))
        segments += self._highlight(index, text, part.start, part.end, base)
        if hidden_right:
            segments.append(Segment(" " * part.blanks_after, base))
            segments.append(Segment("…", base + self.named_style("muted")))
        return Strip(segments).adjust_cell_length(width, base)

    def _highlight(
        self, index: int, text: str, start: int, end: int, base: Style
    ) -> Iterator[Segment]:
        """The characters from `start` to `end` with the styles of their tokens and hits."""
        hits = list(self._hits_in(index, start, end))
        begin = 0
        tokens = list(self._lines[index].tokens())
        for number, (stop, kind) in enumerate(tokens):
            if number == len(tokens) - 1:
                stop = len(text)
            first, last = max(begin, start), min(stop, end)
            begin = stop
            if first >= last:
                continue
            style = base + self.named_style(f"code-{kind}" if kind else "")
            for at, hit in hits:
                if hit.end <= first or hit.start >= last:
                    continue
                if hit.start > first:
                    yield Segment(text[first : hit.start], style)
                    first = hit.start
                to = min(hit.end, last)
                name = "code-current" if at == self._current else "code-hit"
                yield Segment(text[first:to], style + self.named_style(name))
                first = to
            if first < last:
                yield Segment(text[first:last], style)

    # -- moving -------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.scroll_to(x=self.scroll_offset.x, y=self.scroll_offset.y, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.ViewportChanged())

    def action_lines(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def action_pages(self, pages: int) -> None:
        self.action_lines(pages * max(1, self.size.height - 1))

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False)

    def action_bottom(self) -> None:
        self.scroll_to(y=len(self._lines), animate=False)

    def action_sideways(self, steps: int) -> None:
        x = self.scroll_offset.x + steps * SIDEWAYS_CELLS
        self.scroll_to(x=x, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(3)
