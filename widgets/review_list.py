"""A text whose lines lead to their fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual import events
from textual.binding import Binding, BindingsMap
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from widgets.styled_line import Line, wrap
from widgets.text_view import Paragraph, TextView


class ReviewEntry(NamedTuple):
    """A line of the review."""

    line: Line = ()
    indent: int = 0
    path: str = ""
    """Field that the line leads to; "" for none."""
    section: str = ""
    """Key of the section that begins here."""


class ReviewList(TextView):
    """Entries with a cursor on those that lead to a field."""

    COMPONENT_CLASSES = TextView.COMPONENT_CLASSES | {"review--cursor"}
    BINDINGS = [
        Binding("down,j", "step(1)", "Down", show=False),
        Binding("up,k", "step(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
        Binding("home,g", "edge(-1)", "Top", show=False),
        Binding("end,G", "edge(1)", "End", show=False),
    ]

    KEY_ACTIONS = {
        key: bound[0].action for key, bound in BindingsMap(BINDINGS).key_to_bindings.items()
    }
    """Its keys -> their actions."""

    @dataclass
    class EntryClicked(Message):
        """An entry was clicked that leads to a field, or the head of a section."""

        path: str
        section: str = ""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: tuple[ReviewEntry, ...] = ()
        self._line_entries: list[int] = []
        self._cursor = -1

    @property
    def path(self) -> str:
        """The field under the cursor, "" for none."""
        return self._entries[self._cursor].path if self._cursor >= 0 else ""

    @property
    def entries(self) -> Sequence[ReviewEntry]:
        return self._entries

    def set_entries(self, entries: Sequence[ReviewEntry], *, reset: bool = False) -> None:
        """Show the entries; the cursor stays on its field where that is still there."""
        before = self.path
        self._entries = tuple(entries)
        places = [at for at, entry in enumerate(entries) if entry.path]
        same = [at for at in places if entries[at].path == before and not reset]
        self._cursor = same[0] if same else -1
        self._line_entries = []
        self.set_paragraphs([Paragraph(one.line, one.indent) for one in entries])
        if reset:
            self.scroll_to(y=0, animate=False)
        self.refresh()

    def _wrap(self, width: int) -> list[Line]:
        lines: list[Line] = []
        self._line_entries = []
        for at, paragraph in enumerate(self._paragraphs):
            line, hanging = paragraph.line, paragraph.indent
            made = wrap(line, width, hanging) if line else [line]
            lines += made
            self._line_entries += [at] * len(made)
        return lines

    def render_line(self, y: int) -> Strip:
        self.ensure_wrapped()
        index = self.scroll_offset.y + y
        if (
            index < len(self._line_entries)
            and self._line_entries[index] == self._cursor
            and self.has_focus
        ):
            style = self.rich_style + self.component_style("review--cursor", partial=True)
            return self.make_strip(self.lines[index], self.inner_width, style)
        return super().render_line(y)

    def _scroll_to_cursor(self) -> None:
        owned = [at for at, owner in enumerate(self._line_entries) if owner == self._cursor]
        if owned:
            self.scroll_to_region(
                Region(0, owned[0], 1, len(owned)), animate=False, x_axis=False, force=True
            )
        self.refresh()

    async def press_key(self, key: str) -> None:
        """Take the focus, and do what one of its keys does."""
        self.focus()
        await self.run_action(self.KEY_ACTIONS[key])

    def action_step(self, step: int) -> None:
        """Move to the next entry that leads to a field; scroll by a line if none is near."""
        places = [at for at, entry in enumerate(self._entries) if entry.path]
        if self._cursor < 0:
            top = self._line_entries[self.scroll_offset.y] if self._line_entries else 0
            places = [at for at in places if at >= top]
            target = places[0] if places and step > 0 else None
        elif step > 0:
            target = next((at for at in places if at > self._cursor), None)
        else:
            target = next((at for at in reversed(places) if at < self._cursor), None)
        if target is None or not self._is_near_viewport(target):
            self.scroll_lines(step)
        else:
            self._cursor = target
            self._scroll_to_cursor()

    def _is_near_viewport(self, entry_index: int) -> bool:
        """Whether the entry is visible or just beyond the edge, so that nothing is skipped."""
        if entry_index not in self._line_entries:
            return True  # nothing was laid out yet
        line = self._line_entries.index(entry_index)
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
        if index < len(self._line_entries):
            entry = self._entries[self._line_entries[index]]
            if entry.path or entry.section:
                self.post_message(self.EntryClicked(entry.path, entry.section))
