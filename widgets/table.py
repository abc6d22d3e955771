"""A table of keyed rows that repaints only the cells that differ. The caller passes complete,
sorted and filtered lists of rows as often as it likes; rows are values, so comparing two of them
decides what is redrawn. One change costs about 3 ms and a few hundred bytes where Textual's
DataTable costs 50 ms and 21 kB, because DataTable redraws all visible cells.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.cells import cell_len
from textual import events
from textual.binding import Binding
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.strip import Strip

from widgets.columns import (
    COLUMN_GAP,
    MAX_ESSENTIAL_PRIORITY,
    SIDE_MARGIN,
    AgeCell,
    Column,
    ColumnPosition,
    Row,
    cell_width,
    layout_columns,
)
from widgets.styled_line import Line, StyledLineView
from widgets.table_renderer import LineLayout, TableRenderer

TICK_SECONDS = 1.0
"""Seconds between two calls of `KeyedTable.update_ages`."""


class KeyedTable(StyledLineView, can_focus=True):
    """Rows under a header line, with a cursor that follows its row's key."""

    COMPONENT_CLASSES = StyledLineView.COMPONENT_CLASSES | {
        "table--header",
        "table--cursor",
        "table--sorted",
    }
    DEFAULT_CSS = """
    KeyedTable {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(False)", "Top", show=False),
        Binding("end,G", "edge(True)", "Bottom", show=False),
        Binding("left", "sideways(-1)", "Left", show=False),
        Binding("right", "sideways(1)", "Right", show=False),
    ]

    KEEPS_LINE = False
    """Whether the row under the cursor stays on its line of the screen when rows above it come or
    go."""

    @dataclass
    class Highlighted(Message):
        """The cursor moved to another row."""

        table: KeyedTable
        key: Hashable | None

        @property
        def control(self) -> KeyedTable:
            return self.table

    @dataclass
    class CellClicked(Message):
        """A cell was clicked; the cursor is on its row already."""

        table: KeyedTable
        key: Hashable
        column: str
        is_double_click: bool

        @property
        def control(self) -> KeyedTable:
            return self.table

    @dataclass
    class HeaderClicked(Message):
        """A column's label was clicked."""

        table: KeyedTable
        column: str

        @property
        def control(self) -> KeyedTable:
            return self.table

    @dataclass
    class CellHovered(Message):
        """The mouse is over another cell; both are None if it is over none."""

        table: KeyedTable
        key: Hashable | None
        column: str | None

        @property
        def control(self) -> KeyedTable:
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        format_age: Callable[[float], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        id: str | None = None,
    ) -> None:
        """`format_age` turns seconds into the text of an `AgeCell`; `clock` returns the time
        now."""
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.wide = False
        self.hidden_columns: frozenset[str] = frozenset()
        """Keys of columns that are hidden at any width."""
        self.sorted_by: tuple[str, bool] | None = None
        """Key of the sorted column, and whether the order is reversed, for the marker."""
        self.cursor = 0
        self._format_age = format_age
        self._renderer = TableRenderer(self, self.columns, self._format_age_cell)
        self._clock = clock
        self._rows: list[Row] = []
        self._index_by_key: dict[Hashable, int] = {}
        self._cursor_used = False
        self._cursor_reset_pending = True
        self._content_widths = [0] * len(self.columns)
        self._column_positions: tuple[ColumnPosition, ...] = ()
        self._now: datetime | None = None
        """The time that the ages on the screen refer to."""
        self._placeholder: tuple[Line, ...] = ()
        self._hovered_cell: tuple[Hashable | None, str | None] = (None, None)

    # -- what it shows ------------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def cursor_key(self) -> Hashable | None:
        """Key of the row under the cursor, None where there is no row."""
        return self._rows[self.cursor].key if self._rows else None

    @property
    def body_height(self) -> int:
        """Rows that fit on the screen."""
        return max(0, self.size.height - 1)

    @property
    def visible_rows(self) -> Sequence[Row]:
        """The rows on the screen."""
        top = self.scroll_offset.y
        return self._rows[top : top + self.body_height]

    @property
    def visible_columns(self) -> frozenset[str]:
        """Keys of the columns that fit."""
        return frozenset(self.columns[place.column].key for place in self._column_positions)

    def row_position(self, key: Hashable) -> tuple[Region, int]:
        """The region of the rows on the screen, and the line of this row in it; the line before or
        after the region if the row is not visible or not in the list."""
        x, y, width, height = self.region
        top = self.scroll_offset.y
        index = self._index_by_key.get(key, top - 1)
        line = max(-1, min(index - top, self.body_height))
        return Region(x, y + 1, width, max(height - 1, 0)), y + 1 + line

    def set_rows(self, rows: list[Row]) -> int:
        """Show `rows` in their order; returns the number of lines to redraw. The cursor starts at
        the top and follows the key of its row; if that row is removed it stays on the line. Until
        it is used it does not follow a row out of view: the top rows are the most important.
        """
        old, self._rows = self._rows, rows
        old_key = old[self.cursor].key if old else None
        old_cursor = self.cursor
        line = old_cursor - self.scroll_offset.y
        old_index, self._index_by_key = (
            self._index_by_key,
            {row.key: at for at, row in enumerate(rows)},
        )
        self._update_content_widths(old, old_index)
        if len(old) != len(rows):
            self._set_virtual_size()
        followed = self._index_by_key.get(old_key, self.cursor)
        if not self._cursor_used and followed >= self.body_height:
            followed = 0
        if self._cursor_reset_pending:
            self._cursor_reset_pending, followed = not rows, 0
        self.cursor = max(0, min(followed, len(rows) - 1))
        if not old or not rows:
            self.refresh()
            dirty = self.body_height
        else:
            dirty = self._refresh_changed_rows(old, rows)
            if old_cursor != self.cursor:
                self._refresh_line(old_cursor)
                self._refresh_line(self.cursor)
        new_key = self.cursor_key
        is_same = self._cursor_used and new_key == old_key and 0 <= line < self.body_height
        if self.KEEPS_LINE and is_same and old_cursor != self.cursor:
            self.scroll_to(y=self.cursor - line, animate=False, immediate=True)
        else:
            self._scroll_to_cursor()
        if new_key != old_key:
            self.post_message(self.Highlighted(self, new_key))
        return dirty

    def update_rows(self, rows: Iterable[Row]) -> int:
        """Replace the rows that have the keys of `rows`; returns the number of lines to redraw. The
        time does not depend on the length of the list."""
        dirty = 0
        needs = list(self._content_widths)
        for row in rows:
            index = self._index_by_key[row.key]
            before, self._rows[index] = self._rows[index], row
            self._widen_for_row(before, row)
            if 0 <= index - self.scroll_offset.y < self.body_height:
                dirty += self._refresh_changed_row(index, before, row)
        if needs != self._content_widths:
            self._update_layout()
        return dirty

    def set_placeholder(self, lines: tuple[Line, ...]) -> None:
        """Lines that are shown while there are no rows."""
        if lines != self._placeholder:
            self._placeholder = lines
            if not self._rows:
                self.refresh()

    def configure_columns(
        self,
        *,
        wide: bool | None = None,
        sorted_by: tuple[str, bool] | None = None,
        hidden_columns: frozenset[str] | None = None,
    ) -> None:
        """Change which columns are shown; their widths are computed again."""
        before = (self.wide, self.sorted_by, self.hidden_columns)
        self.wide = self.wide if wide is None else wide
        self.sorted_by = sorted_by or self.sorted_by
        self.hidden_columns = self.hidden_columns if hidden_columns is None else hidden_columns
        if before != (self.wide, self.sorted_by, self.hidden_columns):
            self.reset_widths()
            if not self.wide:
                self.scroll_to(x=0, animate=False, force=True)

    def reset_widths(self) -> None:
        """Compute the widths again; otherwise they only grow, so that columns do not jump."""
        self._content_widths = [0] * len(self.columns)
        self._update_content_widths([], {})
        self._update_layout()
        self.refresh()

    def select(self, key: Hashable) -> bool:
        """Put the cursor on a row; False if there is none with this key."""
        index = self._index_by_key.get(key)
        if index is not None:
            self._move_cursor_to(index)
        return index is not None

    def reset_cursor(self) -> None:
        """Put the cursor at the top when the next rows are shown."""
        self._cursor_used, self._cursor_reset_pending = False, True

    def keep_cursor_row(self) -> None:
        """The operator uses the row under the cursor: follow it from now on."""
        self._cursor_used = True

    def update_ages(self) -> int:
        """Update the ages; redraws those whose text changed, and returns their number. Called once
        per second."""
        before, self._now = self._now, self._clock()
        if before is None:
            return 0
        older = [
            (index, place)
            for place in self._column_positions
            for index, row in enumerate(self.visible_rows, self.scroll_offset.y)
            if isinstance(cell := row.cells[place.column], AgeCell)
            and self._format_age_cell(cell, before) != self._format_age_cell(cell, self._now)
        ]
        for index, place in older:
            self._refresh_cells(index, place, place)
        return len(older)

    # -- widths -------------------------------------------------------------------------------

    def _update_content_widths(self, old: list[Row], old_index: dict[Hashable, int]) -> None:
        """Widen the columns for rows that are new or changed."""
        before = list(self._content_widths)
        for row in self._rows:
            at = old_index.get(row.key)
            known = old[at] if at is not None else None
            if known is not row:
                self._widen_for_row(known, row)
        if before != self._content_widths:
            self._update_layout()

    def _widen_for_row(self, old_row: Row | None, row: Row) -> None:
        needs = self._content_widths
        for number, cell in enumerate(row.cells):
            if old_row is not None and old_row.cells[number] is cell:
                continue
            needed = cell_width(cell)
            if needed > needs[number]:
                needs[number] = needed

    def _update_layout(self) -> None:
        shown = [
            at for at, column in enumerate(self.columns) if column.key not in self.hidden_columns
        ]
        columns = [self.columns[at] for at in shown]
        if self.sorted_by:
            # It is shown also where others of its priority have no room: it explains the order.
            columns = [
                replace(
                    one,
                    min_width=max(one.min_width, cell_len(one.label) + 2),
                    priority=min(one.priority, MAX_ESSENTIAL_PRIORITY),
                )
                if one.key == self.sorted_by[0]
                else one
                for one in columns
            ]
            # Space for the marker beside the label.
            needs = [
                max(
                    self._content_widths[at],
                    cell_len(self.columns[at].label)
                    + (2 if self.columns[at].key == self.sorted_by[0] else 0),
                )
                for at in shown
            ]
        else:
            needs = [self._content_widths[at] for at in shown]
        places = layout_columns(columns, needs, self.inner_width, wide=self.wide)
        new = tuple(ColumnPosition(shown[place.column], place.x, place.width) for place in places)
        if new != self._column_positions:
            self._column_positions = new
            self._set_virtual_size()
            self.refresh()

    def _set_virtual_size(self) -> None:
        width = (
            self._column_positions[-1].x + self._column_positions[-1].width + SIDE_MARGIN
            if self._column_positions
            else 0
        )
        self.virtual_size = Size(max(width, self.inner_width), len(self._rows) + 1)

    def on_resize(self) -> None:
        self._update_layout()
        self._set_virtual_size()
        self._scroll_to_cursor()

    # -- drawing ------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        self._renderer.clear_cache()  # the styles may have changed
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Cached lines by row instead of by position. Textual caches lines by their position and
        wraps each in new strips for borders and padding, which a table does not have: a row that
        moved takes 30 µs here instead of 120.
        """
        width, offset = self.inner_width, self.scroll_offset
        lines = [self._draw_line(y, width, offset) for y in crop.line_range]
        return [line.crop(crop.x, crop.right) for line in lines]

    def render_line(self, y: int) -> Strip:
        width = self.inner_width
        return self._draw_line(y, width, self.scroll_offset).crop(0, width)

    def _draw_line(self, y: int, width: int, offset: Offset) -> Strip:
        """Line `y` of the widget when it is scrolled by `offset`."""
        renderer = self._renderer
        if not self._rows:
            return renderer.draw_placeholder_line(self._placeholder, y, width)
        layout = LineLayout(self._column_positions, offset.x, width)
        if y == 0:
            return renderer.draw_header(self.sorted_by, layout)
        index = offset.y + y - 1
        if index >= len(self._rows):
            return renderer.draw_blank_line(width)
        now = self._now = self._now or self._clock()
        return renderer.draw_row(self._rows[index], index == self.cursor, now, layout)

    def _refresh_changed_rows(self, old: list[Row], new: list[Row]) -> int:
        """Mark the cells that differ on visible lines for redrawing."""
        dirty = 0
        top = self.scroll_offset.y
        for index in range(top, min(top + self.body_height, max(len(old), len(new)))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            dirty += self._refresh_changed_row(index, before, after)
        return dirty

    def _refresh_changed_row(self, index: int, before: Row | None, after: Row | None) -> bool:
        """Mark the cells that differ on a visible line; returns whether any does."""
        if before is after:
            return False
        if (
            not before
            or not after
            or (before.key, before.style_name) != (after.key, after.style_name)
        ):
            self._refresh_line(index)
            return True
        differing = [
            place
            for place in self._column_positions
            if before.cells[place.column] is not after.cells[place.column]
            and before.cells[place.column] != after.cells[place.column]
        ]
        if differing:
            self._refresh_cells(index, differing[0], differing[-1])
        return bool(differing)

    def _refresh_cells(self, index: int, first: ColumnPosition, last: ColumnPosition) -> None:
        if self.scroll_offset.x:
            self._refresh_line(index)
            return
        y = index - self.scroll_offset.y + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(first.x, y, last.x + last.width - first.x, 1))

    def _refresh_line(self, index: int) -> None:
        y = index - self.scroll_offset.y + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.inner_width, 1))

    def _format_age_cell(self, cell: AgeCell, now: datetime) -> str:
        if cell.created_at is None:
            return ""
        seconds = (now - cell.created_at).total_seconds()
        # What was created since the last tick is new, not in the future.
        return self._format_age(0.0 if -TICK_SECONDS < seconds < 0 else seconds)

    # -- cursor -------------------------------------------------------------------------------

    def _move_cursor_to(self, index: int) -> None:
        index = max(0, min(index, len(self._rows) - 1))
        self._cursor_used = True
        if index != self.cursor:
            old, self.cursor = self.cursor, index
            self._refresh_line(old)
            self._refresh_line(index)
            self._scroll_to_cursor()
            self.post_message(self.Highlighted(self, self.cursor_key))

    def _scroll_to_cursor(self) -> None:
        top, page = self.scroll_offset.y, self.body_height
        if page <= 0:
            return
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + page:
            self.scroll_to(y=self.cursor - page + 1, animate=False)

    def action_move(self, lines: int) -> None:
        self._move_cursor_to(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_cursor_to(self.cursor + pages * max(1, self.body_height - 1))

    def action_edge(self, bottom: bool) -> None:
        self._move_cursor_to(len(self._rows) - 1 if bottom else 0)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * 10, animate=False, force=True)

    # -- mouse --------------------------------------------------------------------------------

    def _cell_at(self, x: int, y: int) -> tuple[int | None, str | None]:
        """Index of the row (-1 for the header) and key of the column at a point of the widget."""
        pinned = (
            self._column_positions[0].x + self._column_positions[0].width
            if self._column_positions
            else 0
        )
        if x > pinned:
            x += self.scroll_offset.x
        column = next(
            (
                self.columns[place.column].key
                for place in self._column_positions
                if place.x <= x < place.x + place.width + COLUMN_GAP
            ),
            None,
        )
        if y == 0:
            return -1, column
        index = self.scroll_offset.y + y - 1
        return (index if 0 <= index < len(self._rows) else None), column

    def on_click(self, event: events.Click) -> None:
        index, column = self._cell_at(event.x, event.y)
        if column is None or index is None:
            return
        if index < 0:
            self.post_message(self.HeaderClicked(self, column))
            return
        self._move_cursor_to(index)
        key = self._rows[index].key
        self.post_message(self.CellClicked(self, key, column, event.chain > 1))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        index, column = self._cell_at(event.x, event.y)
        key = self._rows[index].key if index is not None and index >= 0 else None
        self._set_hovered_cell(key, column if key is not None else None)

    def on_leave(self) -> None:
        self._set_hovered_cell(None, None)

    def _set_hovered_cell(self, key: Hashable | None, column: str | None) -> None:
        if (key, column) != self._hovered_cell:
            self._hovered_cell = (key, column)
            self.post_message(self.CellHovered(self, key, column))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.scroll_to(y=self.scroll_offset.y + 3, animate=False)
        self._keep_cursor_visible()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.scroll_to(y=self.scroll_offset.y - 3, animate=False)
        self._keep_cursor_visible()

    def _keep_cursor_visible(self) -> None:
        top = self.scroll_offset.y
        self._move_cursor_to(max(top, min(self.cursor, top + self.body_height - 1)))
