"""A scrolling text of styled lines that repaints only the lines that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.geometry import Region, Size
from textual.strip import Strip

from widgets.styled_line import Line, StyledLineView, wrap


class Paragraph(NamedTuple):
    """A line that is wrapped to the width, its second and later lines indented."""

    line: Line = ()
    indent: int = 0
    no_wrap: bool = False
    """Cut at the edge instead of wrapped (for tables)."""
    keep_spans: bool = False
    """Broken between spans where that is possible."""
    target: str = ""
    """What a click on it leads to; "" for nothing."""

    def cut(self, length: int) -> Paragraph:
        """The paragraph with at most `length` characters of each span, ending in "…" if it was
        cut."""
        if all(len(text) <= length for text, _style_name in self.line):
            return self
        return self._replace(
            line=tuple(
                (text if len(text) <= length else f"{text[: max(length - 1, 0)]}…", style_name)
                for text, style_name in self.line
            )
        )


class TextView(StyledLineView, can_focus=True):
    """Paragraphs, scrolled by keys and wheel."""

    DEFAULT_CSS = """
    TextView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._paragraphs: tuple[Paragraph, ...] = ()
        self._lines: list[Line] = []
        self._wrapped_width = 0

    @property
    def lines(self) -> Sequence[Line]:
        """The lines as wrapped to the width."""
        return self._lines

    def set_paragraphs(self, paragraphs: Sequence[Paragraph]) -> int:
        """Show the paragraphs; returns the number of redrawn lines."""
        self._paragraphs = tuple(paragraphs)
        return self._update_lines()

    def wrapped_height(self, width: int, paragraphs: Sequence[Paragraph] | None = None) -> int:
        """Number of lines of the paragraphs (those shown, or others) in `width` cells."""
        return len(self._wrap(width) if paragraphs is None else wrap_paragraphs(paragraphs, width))

    def _wrap(self, width: int) -> list[Line]:
        return wrap_paragraphs(self._paragraphs, width)

    def target_at(self, y: int) -> str:
        """What the paragraph on line `y` of the visible part leads to."""
        at = self.scroll_offset.y + y
        for paragraph in self._paragraphs:
            at -= len(wrap_paragraphs((paragraph,), self._wrapped_width))
            if at < 0:
                return paragraph.target
        return ""

    def _update_lines(self) -> int:
        width = self.inner_width
        if not width:
            # It is hidden. Shown again in the size that it had, it is not resized: the first line
            # that is drawn lays it out.
            self._wrapped_width = 0
            self.refresh()
            return 0
        old, new = self._lines, self._wrap(width)
        self._lines = new
        self._wrapped_width = width
        if len(old) != len(new):
            self.virtual_size = Size(width, len(new))
        dirty = 0
        top = self.scroll_offset.y
        for y in range(self.size.height):
            index = top + y
            before = old[index] if index < len(old) else ()
            after = new[index] if index < len(new) else ()
            if before != after:
                self.refresh(Region(0, y, width, 1))
                dirty += 1
        return dirty

    def on_resize(self) -> None:
        if self.inner_width != self._wrapped_width:
            self._update_lines()
            self.refresh()

    def ensure_wrapped(self) -> None:
        """Lay the lines out where that was not possible when they were set."""
        width = self.inner_width
        if not self._wrapped_width and width:
            self._lines, self._wrapped_width = self._wrap(width), width
            self.virtual_size = Size(width, len(self._lines))

    def on_show(self) -> None:
        self.ensure_wrapped()

    def render_line(self, y: int) -> Strip:
        self.ensure_wrapped()
        index = self.scroll_offset.y + y
        style = self.rich_style
        if index >= len(self._lines):
            return Strip.blank(self.inner_width, style)
        return self.make_strip(self._lines[index], self.inner_width, style)

    def scroll_lines(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def scroll_pages(self, pages: int) -> None:
        self.scroll_lines(pages * max(1, self.size.height - 1))


def wrap_paragraphs(paragraphs: Sequence[Paragraph], width: int) -> list[Line]:
    """The lines that the paragraphs take in `width` cells."""
    lines: list[Line] = []
    for line, hanging, cut, whole, _ref in paragraphs:
        if line and not cut:
            lines += wrap(line, width, hanging, keep_spans=whole)
        else:
            lines.append(line)
    return lines


class StatusLine(StyledLineView):
    """One or a few lines that do not scroll; only lines that differ are repainted."""

    DEFAULT_CSS = """
    StatusLine { height: 1; overflow: hidden hidden; }
    """
    can_focus = False

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    def set_lines(self, *lines: Line) -> None:
        """Show the lines, the first one at the top."""
        old, self._lines = self._lines, lines
        for y in range(self.size.height):
            if old[y : y + 1] != lines[y : y + 1]:
                self.refresh(Region(0, y, self.inner_width, 1))

    def set_text(self, line: Line, max_lines: int, indent: int = 0) -> None:
        """Show one line of text, wrapped to as many lines as it needs, at most `max_lines`; an
        empty one takes no space."""
        width = self.inner_width or self.app.size.width
        lines = wrap(line, max(width - 1, 1), indent)[:max_lines] if line else []
        self.display = bool(lines)
        if lines:
            self.styles.height = len(lines)
            self.set_lines(*lines)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else ()
        return self.make_strip(line, self.inner_width, self.rich_style)
