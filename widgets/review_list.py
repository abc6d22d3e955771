"""A text whose lines lead to the fields that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from widgets.styled_line import Line, wrap
from widgets.text_view import Lines, Paragraph


class Entry(NamedTuple):
    """A line of the review."""

    line: Line = ()
    hanging: int = 0
    path: str = ""
    """Field that the line leads to; "" for none."""
    section: str = ""
    """Key of the section that begins here."""


class ReviewList(Lines):
    """Entries with a cursor on those that lead somewhere."""

    COMPONENT_CLASSES = Lines.COMPONENT_CLASSES | {"review--cursor"}
    BINDINGS = [
        Binding("down,j", "step(1)", "Down", show=False),
        Binding("up,k", "step(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
        Binding("home,g", "edge(-1)", "Top", show=False),
        Binding("end,G", "edge(1)", "End", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """An entry was clicked."""

        path: str

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: tuple[Entry, ...] = ()
        self._owners: list[int] = []
        self._cursor = -1

    @property
    def path(self) -> str:
        """The field under the cursor, "" for none."""
        return self._entries[self._cursor].path if self._cursor >= 0 else ""

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    def set_entries(self, entries: Sequence[Entry], *, fresh: bool = False) -> None:
        """Show the entries; the cursor stays on its field where that is still there."""
        before = self.path
        self._entries = tuple(entries)
        places = [at for at, entry in enumerate(entries) if entry.path]
        same = [at for at in places if entries[at].path == before and not fresh]
        self._cursor = same[0] if same else -1
        self._owners = []
        self.set_paragraphs([Paragraph(one.line, one.hanging) for one in entries])
        if fresh:
            self.scroll_to(y=0, animate=False)
        self.refresh()

    def _wrap(self, width: int) -> list[Line]:
        lines: list[Line] = []
        self._owners = []
        for at, paragraph in enumerate(self._paragraphs):
            line, hanging = paragraph.line, paragraph.hanging
            made = wrap(line, width, hanging) if line else [line]
            lines += made
            self._owners += [at] * len(made)
        return lines

    def render_line(self, y: int) -> Strip:
        self.catch_up()
        index = self.scroll_offset.y + y
        if index < len(self._owners) and self._owners[index] == self._cursor and self.has_focus:
            style = self.rich_style + self.component_style("review--cursor", partial=True)
            return self.strip(self.lines[index], self.inner_width, style)
        return super().render_line(y)

    def _show_cursor(self) -> None:
        owned = [at for at, owner in enumerate(self._owners) if owner == self._cursor]
        if owned:
            self.scroll_to_region(
                Region(0, owned[0], 1, len(owned)), animate=False, x_axis=False, force=True
            )
        self.refresh()

    def action_step(self, step: int) -> None:
        """The next entry that leads somewhere; scrolls by a line where none is in reach."""
        places = [at for at, entry in enumerate(self._entries) if entry.path]
        if self._cursor < 0:
            top = self._owners[self.scroll_offset.y] if self._owners else 0
            places = [at for at in places if at >= top]
            target = places[0] if places and step > 0 else None
        elif step > 0:
            target = next((at for at in places if at > self._cursor), None)
        else:
            target = next((at for at in reversed(places) if at < self._cursor), None)
        if target is None or not self._in_reach(target):
            self.scroll_lines(step)
        else:
            self._cursor = target
            self._show_cursor()

    def _in_reach(self, entry: int) -> bool:
        """Whether the entry is on the screen or just beyond it, so that nothing is skipped."""
        if entry not in self._owners:
            return True  # nothing was laid out yet
        line = self._owners.index(entry)
        return self.scroll_offset.y - 2 <= line <= self.scroll_offset.y + self.size.height + 1

    def action_pages(self, pages: int) -> None:
        self._cursor = -1
        self.scroll_pages(pages)
        self.refresh()

    def action_edge(self, which: int) -> None:
        self._cursor = -1
        self.scroll_lines(which * 1_000_000)
        self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y
        if index < len(self._owners) and (path := self._entries[self._owners[index]].path):
            self.post_message(self.Chosen(path))
