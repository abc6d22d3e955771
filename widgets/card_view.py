"""Cards: blocks of lines, one below the other, or two side by side in a wide terminal, with a
cursor on what can be chosen. Only lines that differ are repainted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from widgets.styled_line import Line, StyledLineView, fit_line

SIDE_BY_SIDE_WIDTH = 118
"""Cells from which two cards are side by side: a terminal of 120 columns, less the scrollbar."""
COLUMN_GAP = 3
SIDE_MARGIN = 1


class CardLine(NamedTuple):
    """One line of a block."""

    line: Line = ()
    item: Hashable | None = None
    """What is chosen with the cursor on the line; adjacent lines may share it. None for nothing."""


class Block(NamedTuple):
    """A card."""

    key: str
    build: Callable[[int], Sequence[CardLine]]
    """Its lines in so many cells. Called when the card or the width changes."""
    is_wide: bool = False
    """It takes the whole width beside no other."""


class Item(NamedTuple):
    """Where an item is."""

    key: Hashable
    column: int
    x: int
    y: int
    width: int
    height: int


class CardView(StyledLineView, can_focus=True):
    """Blocks with a cursor on their items, from top to bottom and left to right."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {"cards--cursor"}
    DEFAULT_CSS = """
    CardView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS = [
        Binding("down,j", "step(1)", "Down", show=False),
        Binding("up,k", "step(-1)", "Up", show=False),
        Binding("left", "column(-1)", "Left", show=False),
        Binding("right", "column(1)", "Right", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "pages(-1)", "Page up", show=False),
        Binding("home,g", "edge(False)", "Top", show=False),
        Binding("end,G", "edge(True)", "End", show=False),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor moved to another item."""

        key: Hashable | None

    @dataclass
    class ItemClicked(Message):
        """An item was clicked; the cursor is on it already."""

        key: Hashable
        is_double_click: bool

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._blocks: tuple[Block, ...] = ()
        self._lines: list[Line] = []
        self._items: list[Item] = []
        self._cursor_key: Hashable | None = None
        self._cursor_used = False
        self._initial_item: Hashable | None = None
        self._laid_out_width = 0

    # -- what it shows ------------------------------------------------------------------------

    @property
    def cursor_key(self) -> Hashable | None:
        """The item under the cursor, None for none."""
        return self._cursor_key

    @property
    def item_keys(self) -> Sequence[Hashable]:
        """All items, in the order of the cursor."""
        return [item.key for item in self._items]

    @property
    def lines(self) -> Sequence[Line]:
        """All lines as laid out."""
        return self._lines

    def set_blocks(
        self,
        blocks: Sequence[Block],
        *,
        initial_item: Hashable | None = None,
        reset: bool = False,
    ) -> None:
        """Show the blocks. The cursor is on `initial_item`, or on the first item, until it is moved
        (`reset`: again); then it stays on its item."""
        self._blocks = tuple(blocks)
        self._initial_item = initial_item
        if reset:
            self._cursor_key, self._cursor_used = None, False
            self.scroll_to(y=0, animate=False)
        self._update_lines()

    def clear(self) -> None:
        """Show nothing, and keep no text of what was shown, even while the view is hidden; the
        cursor stays for the next blocks."""
        self._blocks = ()
        self._lines, self._items = [], []
        self._laid_out_width = 0
        self.refresh()

    def select(self, key: Hashable) -> bool:
        """Put the cursor on an item; False if there is none with this key."""
        item = self._find(key)
        if item is not None:
            self._move_to(item)
        return item is not None

    def _update_lines(self) -> None:
        width = self.inner_width
        if not width:
            self._laid_out_width = 0  # hidden: laid out when it is drawn
            return
        before, old_item = self._lines, self._find(self._cursor_key)
        self._lay_out(width)
        self._set_content_height(width)
        changed = self._changed_regions(before, width)
        if changed:
            self.refresh(*changed)  # without regions it would repaint all
        self._keep_cursor(old_item)

    def _changed_regions(self, before: Sequence[Line], width: int) -> list[Region]:
        """The visible lines that differ, adjacent ones as one region."""
        top = self.scroll_offset.y
        regions: list[Region] = []
        for y in range(self.size.height):
            if _line_at(before, top + y) == _line_at(self._lines, top + y):
                continue
            if regions and regions[-1].bottom == y:
                regions[-1] = Region(0, regions[-1].y, width, regions[-1].height + 1)
            else:
                regions.append(Region(0, y, width, 1))
        return regions

    def _set_content_height(self, width: int) -> None:
        """Scroll over as many lines as there are. Neither the size nor the scrollbar, which is
        always there, depends on them, so that no layout of the screen is needed."""
        size = Size(width, len(self._lines))
        if size != self.virtual_size:
            self.set_reactive(Widget.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
            self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def _lay_out(self, width: int) -> None:
        self._laid_out_width = width
        self._lines, self._items = [], []
        if width < SIDE_BY_SIDE_WIDTH:
            for block in self._blocks:
                self._place(block.build(width - SIDE_MARGIN), 0, width)
            return
        beside: list[Sequence[CardLine]] = []
        column_width = (width - SIDE_MARGIN - COLUMN_GAP) // 2
        for block in self._blocks:
            if block.is_wide:
                self._place_columns(beside, column_width)
                beside = []
                self._place(block.build(width - SIDE_MARGIN), 0, width)
            else:
                beside.append(block.build(column_width))
        self._place_columns(beside, column_width)

    def _place(self, lines: Sequence[CardLine], x: int, width: int) -> None:
        """Append a block at the full width."""
        top = len(self._lines)
        for card_line in lines:
            self._lines.append(((" " * SIDE_MARGIN, ""), *card_line.line))
        self._add_items(lines, 0, x, top, width)

    def _place_columns(self, blocks: Sequence[Sequence[CardLine]], width: int) -> None:
        """Append blocks in two columns of about the same height, in their order."""
        if not blocks:
            return
        total, taken, split = sum(map(len, blocks)), 0, len(blocks)
        for number, block in enumerate(blocks):
            if taken + len(block) / 2 > total / 2:
                split = max(number, 1)
                break
            taken += len(block)
        columns = [
            [one for block in blocks[:split] for one in block],
            [one for block in blocks[split:] for one in block],
        ]
        top = len(self._lines)
        margin, gap = (" " * SIDE_MARGIN, ""), (" " * COLUMN_GAP, "")
        for number in range(max(map(len, columns))):
            left, right = (
                column[number].line if number < len(column) else () for column in columns
            )
            self._lines.append(
                (margin, *fit_line(left, width), gap, *right) if right else (margin, *left)
            )
        for at, column in enumerate(columns):
            self._add_items(column, at, at * (width + COLUMN_GAP), top, width + SIDE_MARGIN)

    def _add_items(
        self, lines: Sequence[CardLine], column: int, x: int, top: int, width: int
    ) -> None:
        for number, (_line, key) in enumerate(lines):
            if key is None:
                continue
            last = self._items[-1] if self._items else None
            y = top + number
            if last is not None and last.key == key and last.y + last.height == y:
                self._items[-1] = last._replace(height=last.height + 1)
            else:
                self._items.append(Item(key, column, x, y, width, 1))

    # -- the cursor ---------------------------------------------------------------------------

    def _find(self, key: Hashable | None) -> Item | None:
        if key is None:
            return None
        return next((item for item in self._items if item.key == key), None)

    def _keep_cursor(self, old: Item | None) -> None:
        """After new lines: the cursor follows its item; where that is gone, it goes to the item in
        its place. Until it is used, it is on the first item."""
        item = self._find(self._cursor_key) if self._cursor_used else None
        if item is None and self._items:
            if self._cursor_used and old is not None:
                item = min(
                    self._items, key=lambda one: (abs(one.y - old.y), one.column != old.column)
                )
            else:
                item = self._find(self._initial_item) or self._items[0]
        key = item.key if item is not None else None
        if item is not None and (old is None or old[2:] != item[2:]):
            self._refresh_item(item)
            if old is not None:
                self._refresh_item(old)
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.Highlighted(key))

    def _move_to(self, item: Item) -> None:
        before = self._find(self._cursor_key)
        self._cursor_used = True
        if before is not None:
            self._refresh_item(before)
        changed = item.key != self._cursor_key
        self._cursor_key = item.key
        self._refresh_item(item)
        first = item is self._items[0]
        # What is above the first item has no cursor: show it again on the way up.
        top = 0 if first else item.y
        height = item.y + item.height - top
        if height <= self.size.height or not first:
            self.scroll_to_region(
                Region(0, top, 1, height), animate=False, x_axis=False, force=True
            )
        if changed:
            self.post_message(self.Highlighted(item.key))

    def _refresh_item(self, item: Item) -> None:
        self.refresh(Region(0, item.y - self.scroll_offset.y, self.inner_width, item.height))

    def action_step(self, step: int) -> None:
        item = self._find(self._cursor_key)
        if item is None:
            self.scroll_relative(y=step, animate=False)
            return
        at = self._items.index(item) + step
        if not 0 <= at < len(self._items):
            self.scroll_relative(y=step, animate=False)
            return
        target = self._items[at]
        top, bottom = self.scroll_offset.y, self.scroll_offset.y + self.size.height
        is_near = top - self.size.height // 2 <= target.y <= bottom + self.size.height // 2
        if target.column == item.column and not is_near:
            self.scroll_relative(y=step, animate=False)  # long text between the two
        else:
            self._move_to(target)

    def action_column(self, step: int) -> None:
        """Go to the item beside the cursor."""
        item = self._find(self._cursor_key)
        if item is None:
            return
        others = [
            one
            for one in self._items
            if one.column == item.column + step and one.width == item.width
        ]
        if others:
            self._move_to(min(others, key=lambda one: abs(one.y - item.y)))

    def action_pages(self, pages: int) -> None:
        page = max(1, self.size.height - 1)
        self.scroll_relative(y=pages * page, animate=False)
        item = self._find(self._cursor_key)
        if item is None:
            return
        target = item.y + pages * page
        self._move_to(min(self._items, key=lambda one: (abs(one.y - target), one.column)))

    def action_edge(self, end: bool) -> None:
        if self._items:
            self._move_to(self._items[-1] if end else self._items[0])
        self.scroll_to(y=len(self._lines) if end else 0, animate=False)

    def on_click(self, event: events.Click) -> None:
        x, y = event.x, event.y + self.scroll_offset.y
        for item in self._items:
            if item.y <= y < item.y + item.height and item.x <= x < item.x + item.width:
                self._move_to(item)
                self.post_message(self.ItemClicked(item.key, event.chain >= 2))
                return

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # -- drawing ------------------------------------------------------------------------------

    def on_resize(self) -> None:
        if self.inner_width != self._laid_out_width:
            self._update_lines()
            self.refresh()

    def on_show(self) -> None:
        self._ensure_laid_out()

    def _ensure_laid_out(self) -> None:
        if not self._laid_out_width and self.inner_width:
            self._lay_out(self.inner_width)
            self._set_content_height(self.inner_width)
            self._keep_cursor(None)

    def render_line(self, y: int) -> Strip:
        self._ensure_laid_out()
        index = self.scroll_offset.y + y
        width, style = self.inner_width, self.rich_style
        if index >= len(self._lines):
            return Strip.blank(width, style)
        strip = self.make_strip(self._lines[index], width, style)
        item = self._find(self._cursor_key)
        if item is None or not self.has_focus or not item.y <= index < item.y + item.height:
            return strip
        cursor = self.component_style("cards--cursor", partial=True)
        end = min(item.x + item.width, width)
        marked = self.make_strip(self._lines[index], width, style + cursor)
        return Strip.join([strip.crop(0, item.x), marked.crop(item.x, end), strip.crop(end)])


def _line_at(lines: Sequence[Line], index: int) -> Line:
    return lines[index] if index < len(lines) else ()
