"""A long text of styled lines with a cursor: the line under it can be folded, opened or copied.
Only the visible lines are made and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from widgets.scroll_bindings import SCROLL_BINDINGS
from widgets.styled_line import Line, StyledLineView


class Place(NamedTuple):
    """Where a line is in what is shown, whatever the width."""

    part: int
    """Which of several documents that follow each other."""
    item: int
    """Number of what the line shows: one value, one line of a text."""
    line: int
    """Which of the lines that it is wrapped to."""


class Document(Protocol):
    """Lines that fit a width."""

    def __len__(self) -> int: ...

    def line(self, index: int) -> Line: ...

    def place(self, index: int) -> Place: ...

    def find(self, place: Place) -> int:
        """Index of the line there, or of the nearest one."""


class LineList:
    """Lines that are all made: of each item one or more."""

    def __init__(self, items: Sequence[Sequence[Line]] = ()) -> None:
        self._lines: list[tuple[int, Line]] = []
        self._starts: list[int] = []
        for number, item in enumerate(items):
            self._starts.append(len(self._lines))
            self._lines += [(number, line) for line in item]

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, index: int) -> Line:
        return self._lines[index][1]

    def place(self, index: int) -> Place:
        item = self._lines[index][0]
        return Place(0, item, index - self._starts[item])

    def find(self, place: Place) -> int:
        ends = [*self._starts[1:], len(self._lines)]
        if not self._starts:
            return 0
        item = min(place.item, len(self._starts) - 1)
        return max(min(self._starts[item] + place.line, ends[item] - 1), 0)


class JoinedDocument:
    """Documents after each other."""

    def __init__(self, parts: Sequence[Document]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def _locate(self, index: int) -> tuple[int, int]:
        for number, part in enumerate(self.parts):
            if index < len(part):
                return number, index
            index -= len(part)
        raise IndexError(index)

    def line(self, index: int) -> Line:
        part, at = self._locate(index)
        return self.parts[part].line(at)

    def place(self, index: int) -> Place:
        part, at = self._locate(index)
        return self.parts[part].place(at)._replace(part=part)

    def find(self, place: Place) -> int:
        number = min(place.part, len(self.parts) - 1)
        if number < 0:
            return 0
        part = self.parts[number]
        before = sum(map(len, self.parts[:number]))
        return before + min(part.find(place), max(len(part) - 1, 0))


class DocumentView(StyledLineView, can_focus=True):
    """A document, its cursor and its keys."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {
        "document--cursor",
        *(f"style--code-{kind}" for kind in ("key", "string", "number", "constant")),
    }
    DEFAULT_CSS = """
    DocumentView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar = [*SCROLL_BINDINGS[:-2], Binding("end,G", "bottom", "End", show=False)]

    @dataclass
    class CursorMoved(Message):
        """The cursor is on another line."""

    @dataclass
    class Clicked(Message):
        """The line under the cursor was clicked twice."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._document: Document = LineList()
        self._cursor = 0

    @property
    def document(self) -> Document:
        return self._document

    @property
    def cursor(self) -> int:
        """Index of the line under the cursor."""
        return self._cursor

    @property
    def place(self) -> Place:
        """Where the cursor is."""
        return self._document.place(self._cursor) if len(self._document) else Place(0, 0, 0)

    def set_document(self, document: Document, place: Place | None = None) -> int:
        """Show a document with the cursor at a place, by default at its first line; the line under
        the cursor stays at its height. Returns the number of redrawn lines."""
        before = self._visible_lines()
        offset = self._cursor - self.scroll_offset.y
        self._document = document
        found = document.find(place) if place is not None and len(document) else 0
        self._cursor = max(0, min(found, len(document) - 1))
        self.virtual_size = Size(self.inner_width, len(document))
        top = self._cursor - offset if place is not None else 0
        self.scroll_to(y=max(top, 0), animate=False, force=True)
        self._show_cursor()
        after = self._visible_lines()
        changed = [y for y, line in enumerate(after) if before[y : y + 1] != [line]]
        for y in changed:
            self.refresh(Region(0, y, self.inner_width, 1))
        return len(changed)

    def _visible_lines(self) -> list[tuple[Line, bool]]:
        top = self.scroll_offset.y
        return [
            (self._line(index), index == self._cursor)
            for index in range(top, top + self.size.height)
        ]

    def _line(self, index: int) -> Line:
        return self._document.line(index) if index < len(self._document) else ()

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        style = self.rich_style
        if index == self._cursor and len(self._document):
            style += self.component_style("document--cursor", partial=True)
        return self.make_strip(self._line(index), self.inner_width, style)

    # -- moving -------------------------------------------------------------------------------

    def move_to(self, index: int) -> None:
        """Put the cursor on a line, and scroll to it if it is not visible."""
        index = max(0, min(index, len(self._document) - 1))
        if index == self._cursor:
            return
        old, self._cursor = self._cursor, index
        top = self.scroll_offset.y
        self._show_cursor()
        if self.scroll_offset.y == top:
            for one in (old, index):
                self.refresh(Region(0, one - top, self.inner_width, 1))
        self.post_message(self.CursorMoved())

    def _show_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(self.size.height, 1)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def action_lines(self, lines: int) -> None:
        self.move_to(self._cursor + lines)

    def action_pages(self, pages: int) -> None:
        self.move_to(self._cursor + pages * max(1, self.size.height - 1))

    def action_top(self) -> None:
        self.move_to(0)

    def action_bottom(self) -> None:
        self.move_to(len(self._document) - 1)

    def on_resize(self) -> None:
        self._show_cursor()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.action_lines(3)

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y
        if index < len(self._document):
            self.move_to(index)
            if event.chain == 2:
                self.post_message(self.Clicked())
